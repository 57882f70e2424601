//! What is wrong though the store goes on: an operator is told so.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Set and cleared by whoever tries.
#[derive(Debug, Default)]
pub struct Health {
    mark_fails: AtomicBool,
    checkpoints_fail: AtomicBool,
    /// Since when another process keeps the writer from writing.
    locked_since: Mutex<Option<Instant>>,
    /// Outcomes that could not be recorded, and are tried again.
    outcomes_kept: AtomicUsize,
    /// Whether a job runs, or is to run, with nothing beside it.
    runs_alone: AtomicBool,
}

impl Health {
    /// The high-water mark was written, or was not. True if it was otherwise before.
    pub fn mark(&self, fails: bool) -> bool {
        self.mark_fails.swap(fails, Ordering::Relaxed) != fails
    }

    /// A checkpoint was made, or was not.
    pub fn checkpoint(&self, fails: bool) {
        self.checkpoints_fail.store(fails, Ordering::Relaxed);
    }

    /// The database is locked by another process since then, or it is not.
    pub fn locked(&self, since: Option<Instant>) {
        *self.locked_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// So many outcomes wait to be recorded.
    pub fn keeps_outcomes(&self, count: usize) {
        self.outcomes_kept.store(count, Ordering::Release);
    }

    pub fn runs_alone(&self, does: bool) {
        self.runs_alone.store(does, Ordering::Relaxed);
    }

    /// Each in a sentence.
    pub fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        if let Some(since) = *self.locked_since.lock().unwrap_or_else(PoisonError::into_inner) {
            troubles.push(format!(
                "another process has locked the database for {} seconds: nothing is written until it lets go",
                since.elapsed().as_secs()
            ));
        }
        match self.outcomes_kept.load(Ordering::Acquire) {
            0 => {}
            count => troubles.push(format!("outcomes that wait to be recorded: {count}")),
        }
        if self.mark_fails.load(Ordering::Relaxed) {
            let what = "the high-water mark cannot be written: a later loss may not be noticed";
            troubles.push(what.to_owned());
        }
        if self.checkpoints_fail.load(Ordering::Relaxed) {
            troubles.push("checkpoints fail: the log of commits grows".to_owned());
        }
        troubles
    }

    /// How many outcomes wait to be recorded.
    pub fn outcomes_kept(&self) -> usize {
        self.outcomes_kept.load(Ordering::Acquire)
    }

    /// Whether a job runs with nothing beside it, or is to.
    pub fn has_lone_job(&self) -> bool {
        self.runs_alone.load(Ordering::Relaxed)
    }
}
