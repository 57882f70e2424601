//! API keys: who may use the service. Kept in the data directory, read anew when they change.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::domain::Timestamp;

use super::secret::write_private;
use super::watched::Watched;

const FILE: &str = "keys.json";
const PREFIX: &str = "fut_";

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

/// The keys of one data directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Keys {
    table: Watched<Table>,
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
        let read = |text: &str| Ok(serde_json::from_str(text)?);
        Self { table: Watched::new(data_dir.join(FILE), read) }
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
        Ok(self.table.current()?.keys.clone())
    }

    /// Whether a request that brought `given` may pass.
    ///
    /// # Errors
    /// An I/O error: then nobody may.
    pub fn verdict(&self, given: Option<&str>) -> io::Result<Verdict> {
        let table = self.table.current()?;
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

    /// Changes the file.
    fn change(&self, change: impl FnOnce(&mut Table)) -> io::Result<()> {
        let _alone = self.table.alone()?;
        let mut table = self.table.load()?;
        change(&mut table);
        write_private(self.table.file(), &serde_json::to_string_pretty(&table)?)
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
