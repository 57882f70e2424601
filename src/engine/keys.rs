//! API keys: who may use the service. Kept in the data directory, read anew when they change.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::domain::Timestamp;

use super::secret::write_private;

const FILE: &str = "keys.json";
const LOCK_FILE: &str = "keys.lock";
const PREFIX: &str = "fut_";
/// A running server sees a change of the file within this. A command that makes or revokes a key waits as
/// long before it ends, so that its user need not.
pub const SEEN_WITHIN: Duration = Duration::from_millis(50);

/// One key, as it is kept: its secret only as a digest.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Key {
    /// Its public part, by which it is listed and revoked.
    pub id: String,
    /// What it is for, in its owner's words.
    pub name: String,
    /// When it was made, in Unix milliseconds.
    pub created_at_ms: i64,
    /// SHA-256 of the whole key, in hexadecimal digits.
    sha256: String,
}

#[derive(Debug, Default, Deserialize, Serialize)]
struct Table {
    keys: Vec<Key>,
}

/// What tells one content of the file from another: every change makes a new file.
type Stamp = Option<(u64, i64, i64, u64)>;

/// The keys of one data directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Keys {
    directory: PathBuf,
    read: Arc<Mutex<Read>>,
}

/// The file as it was read, and when it was last looked at.
#[derive(Debug, Default)]
struct Read {
    looked_at: Option<Instant>,
    stamp: Stamp,
    table: Arc<Table>,
}

/// Whether a request may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is no key at all: on loopback everything is allowed.
    Open,
    /// The key with this id.
    Key(String),
    /// No key was given, and one is needed.
    Missing,
    /// The key is not known, or was revoked.
    Unknown,
}

impl Keys {
    /// The keys in `data_dir`.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self { directory: data_dir.to_owned(), read: Arc::default() }
    }

    /// Makes a key and gives its text, which is shown once and kept nowhere: `fut_<id>_<secret>`.
    ///
    /// # Errors
    /// An I/O error.
    pub fn create(&self, name: &str, now: Timestamp) -> io::Result<(Key, String)> {
        let id = digits(&rand::random::<[u8; 6]>());
        let text = format!("{PREFIX}{id}_{}", digits(&rand::random::<[u8; 32]>()));
        let key = Key { id, name: name.to_owned(), created_at_ms: now.0, sha256: digest(&text) };
        self.change(|table| table.keys.push(key.clone()))?;
        Ok((key, text))
    }

    /// Takes a key back; false if there is none with this id. It is refused within [`SEEN_WITHIN`].
    ///
    /// # Errors
    /// An I/O error.
    pub fn revoke(&self, id: &str) -> io::Result<bool> {
        let mut found = false;
        self.change(|table| {
            let before = table.keys.len();
            table.keys.retain(|key| key.id != id);
            found = table.keys.len() < before;
        })?;
        Ok(found)
    }

    /// All keys, oldest first.
    ///
    /// # Errors
    /// An I/O error.
    pub fn list(&self) -> io::Result<Vec<Key>> {
        Ok(self.current()?.keys.clone())
    }

    /// Whether a request that brought `given` may pass.
    ///
    /// # Errors
    /// An I/O error: then nobody may.
    pub fn verdict(&self, given: Option<&str>) -> io::Result<Verdict> {
        let table = self.current()?;
        if table.keys.is_empty() {
            return Ok(Verdict::Open);
        }
        let Some(given) = given else { return Ok(Verdict::Missing) };
        let wanted = digest(given);
        // The digest of what was given does not depend on any key, so its comparison tells nothing.
        let same = |key: &&Key| bool::from(key.sha256.as_bytes().ct_eq(wanted.as_bytes()));
        let found = table.keys.iter().find(same);
        Ok(found.map_or(Verdict::Unknown, |key| Verdict::Key(key.id.clone())))
    }

    fn current(&self) -> io::Result<Arc<Table>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_fresh = |at: Instant| now.saturating_duration_since(at) < SEEN_WITHIN;
        if !read.looked_at.is_some_and(is_fresh) {
            let stamp = self.stamp()?;
            if read.stamp != stamp {
                (read.table, read.stamp) = (Arc::new(self.load()?), stamp);
            }
            read.looked_at = Some(now);
        }
        Ok(Arc::clone(&read.table))
    }

    fn stamp(&self) -> io::Result<Stamp> {
        match fs::metadata(self.directory.join(FILE)) {
            Ok(file) => Ok(Some((file.ino(), file.mtime(), file.mtime_nsec(), file.size()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn load(&self) -> io::Result<Table> {
        match fs::read_to_string(self.directory.join(FILE)) {
            Ok(text) => Ok(serde_json::from_str(&text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Table::default()),
            Err(error) => Err(error),
        }
    }

    /// Changes the file, alone: two commands at once must not lose each other's key.
    fn change(&self, change: impl FnOnce(&mut Table)) -> io::Result<()> {
        let lock = self.directory.join(LOCK_FILE);
        let lock: File =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(lock)?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
        let mut table = self.load()?;
        change(&mut table);
        write_private(&self.directory.join(FILE), &serde_json::to_string_pretty(&table)?)
    }
}

fn digest(text: &str) -> String {
    digits(Sha256::digest(text.as_bytes()).as_slice())
}

fn digits(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}
