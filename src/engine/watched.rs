//! A file of the data directory that a command may change while the server runs: read anew when it is another.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A running server sees a change of a file within this. A command that changes one waits as long before it
/// ends, so that its user need not.
pub const SEEN_WITHIN: Duration = Duration::from_millis(50);

/// What tells one content of the file from another: every change makes a new file.
type Stamp = Option<(u64, i64, i64, u64)>;

/// What the file says. A clone shares it.
#[derive(Debug)]
pub(super) struct Watched<T> {
    file: PathBuf,
    parse: fn(&str) -> io::Result<T>,
    seen: Arc<Mutex<Seen<T>>>,
}

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self { file: self.file.clone(), parse: self.parse, seen: Arc::clone(&self.seen) }
    }
}

/// The file as it was read, and when it was last looked at.
#[derive(Debug)]
struct Seen<T> {
    looked_at: Option<Instant>,
    stamp: Stamp,
    content: Arc<T>,
}

impl<T: Default> Watched<T> {
    /// A file that `parse` reads; where there is none, it says the default.
    pub(super) fn new(file: PathBuf, parse: fn(&str) -> io::Result<T>) -> Self {
        let seen = Seen { looked_at: None, stamp: None, content: Arc::default() };
        Self { file, parse, seen: Arc::new(Mutex::new(seen)) }
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// What it said at most [`SEEN_WITHIN`] ago.
    ///
    /// # Errors
    /// An I/O error, or that it cannot be parsed.
    pub(super) fn current(&self) -> io::Result<Arc<T>> {
        let mut seen = self.lock();
        let now = Instant::now();
        let is_fresh = |at: Instant| now.saturating_duration_since(at) < SEEN_WITHIN;
        if !seen.looked_at.is_some_and(is_fresh) {
            let stamp = self.stamp()?;
            if seen.stamp != stamp {
                (seen.content, seen.stamp) = (Arc::new(self.load()?), stamp);
            }
            seen.looked_at = Some(now);
        }
        Ok(Arc::clone(&seen.content))
    }

    /// What it said when it could last be read.
    pub(super) fn last(&self) -> Arc<T> {
        Arc::clone(&self.lock().content)
    }

    /// What it says now.
    ///
    /// # Errors
    /// As [`Watched::current`].
    pub(super) fn load(&self) -> io::Result<T> {
        match fs::read_to_string(&self.file) {
            Ok(text) => (self.parse)(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
            Err(error) => Err(error),
        }
    }

    /// Alone until what it gives is dropped: two commands at once must not lose each other's change.
    ///
    /// # Errors
    /// An I/O error.
    pub(super) fn alone(&self) -> io::Result<File> {
        let lock = self.file.with_extension("lock");
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(lock)?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
        Ok(lock)
    }

    fn stamp(&self) -> io::Result<Stamp> {
        match fs::metadata(&self.file) {
            Ok(file) => Ok(Some((file.ino(), file.mtime(), file.mtime_nsec(), file.size()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen<T>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
