//! What is wrong though the store goes on: an operator is told so.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Store;

/// Set and cleared by whoever tries.
#[derive(Debug, Default)]
pub(super) struct Health {
    mark_fails: AtomicBool,
    checkpoints_fail: AtomicBool,
}

impl Health {
    /// The high-water mark was written, or was not. True if it was otherwise before.
    pub(super) fn mark(&self, fails: bool) -> bool {
        self.mark_fails.swap(fails, Ordering::Relaxed) != fails
    }

    /// A checkpoint was made, or was not.
    pub(super) fn checkpoint(&self, fails: bool) {
        self.checkpoints_fail.store(fails, Ordering::Relaxed);
    }

    /// Each in a sentence.
    pub(super) fn troubles(&self) -> Vec<&'static str> {
        let all = [
            (
                &self.mark_fails,
                "the high-water mark cannot be written: a later loss may not be noticed",
            ),
            (&self.checkpoints_fail, "checkpoints fail: the log of commits grows"),
        ];
        all.into_iter()
            .filter(|(is_so, _)| is_so.load(Ordering::Relaxed))
            .map(|(_, it)| it)
            .collect()
    }
}

impl Store {
    /// Whether there is so little room on the disk that submissions are refused (G16).
    #[must_use]
    pub fn has_little_room(&self) -> bool {
        self.space.is_low()
    }

    /// What is wrong though it goes on, each in a sentence.
    #[must_use]
    pub fn troubles(&self) -> Vec<&'static str> {
        self.health.troubles()
    }
}
