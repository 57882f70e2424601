//! Room on the disk (G16). Submissions are refused while there is little, so that what was accepted has the rest of it to come
//! to its end; and a file holds some back that is let go when even that is used up.

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::store::sqlite::durability::files::{directory_of, new_private};

const RESERVE_FILE: &str = "reserve";
const RESERVE_BYTES: u64 = 8 * 1024 * 1024;
/// With less than this free nothing more is accepted; again with so much.
const LOW_BYTES: u64 = 16 * 1024 * 1024;
const ENOUGH_BYTES: u64 = 24 * 1024 * 1024;
/// A server that starts with less lets the reserve go first.
const NOTHING_BYTES: u64 = 1024 * 1024;
/// The disk is asked no more often.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is known of the disk. The writer and whoever asks whether it accepts anything look at one.
#[derive(Debug)]
pub struct Space {
    directory: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    looked_at: Option<Instant>,
    is_low: bool,
}

impl Space {
    /// The disk that `database` is on. Before the database is opened: it may need what is held back.
    pub fn of(database: &Path) -> Self {
        let directory = directory_of(database).to_owned();
        let it = Self { directory, seen: Mutex::default() };
        if it.free().is_ok_and(|free| free < NOTHING_BYTES) {
            it.let_go();
        }
        it
    }

    /// Whether submissions are refused now.
    pub fn is_low(&self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_fresh = |at: Instant| now.saturating_duration_since(at) < LOOK_EVERY;
        if !seen.looked_at.is_some_and(is_fresh) {
            *seen = Seen { looked_at: Some(now), is_low: self.look(seen.is_low) };
        }
        seen.is_low
    }

    /// A commit found no room: what was held back is let go, for the ends of what runs.
    pub fn is_full(&self) {
        self.let_go();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Seen { looked_at: Some(Instant::now()), is_low: told(seen.is_low, true, 0) };
    }

    /// Whether there is little, and whether there was.
    fn look(&self, was_low: bool) -> bool {
        match self.free() {
            Ok(free) if free < LOW_BYTES => told(was_low, true, free),
            Ok(free) if free >= ENOUGH_BYTES || !was_low => {
                self.hold_back(free);
                told(was_low, false, free)
            }
            // Between the two it stays as it was.
            Ok(_) => was_low,
            Err(error) => {
                tracing::debug!(%error, "it is not known how much room is left");
                was_low
            }
        }
    }

    fn free(&self) -> io::Result<u64> {
        let disk = statvfs(&self.directory)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn reserve(&self) -> PathBuf {
        self.directory.join(RESERVE_FILE)
    }

    /// Holds room back, if there is so much that it is not missed.
    fn hold_back(&self, free: u64) {
        let reserve = self.reserve();
        if reserve.exists() || free < ENOUGH_BYTES + RESERVE_BYTES {
            return;
        }
        let held = new_private(&reserve).and_then(|file| {
            fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES)?;
            file.sync_all()
        });
        if let Err(error) = held {
            tracing::debug!(%error, "no room can be held back");
            self.let_go();
        }
    }

    fn let_go(&self) {
        if let Err(error) = fs::remove_file(self.reserve())
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "what was held back cannot be let go");
        }
    }
}

/// What is so now, and a word of it if it was otherwise.
fn told(was_low: bool, is_low: bool, free_bytes: u64) -> bool {
    match (was_low, is_low) {
        (false, true) => {
            tracing::error!(free_bytes, "the disk is nearly full; submissions are refused");
        }
        (true, false) => {
            tracing::warn!(free_bytes, "there is room on the disk again; submissions are taken");
        }
        (true, true) | (false, false) => {}
    }
    is_low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g16_room_is_held_back_and_let_go_when_there_is_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let space = Space::of(&directory.path().join("futurity.db"));
        assert!(!space.is_low(), "a disk with less than that is no place for tests");
        let reserve = directory.path().join(RESERVE_FILE);
        assert_eq!(fs::metadata(&reserve).expect("a reserve").len(), RESERVE_BYTES);
        space.is_full();
        assert!(space.is_low() && !reserve.exists());
        space.seen.lock().expect("a look").looked_at = None;
        assert!(!space.is_low() && reserve.exists(), "with room again it is as before");
    }
}
