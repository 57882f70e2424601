//! API keys: who may do what. Kept in the data directory, read anew when they change.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::domain::Timestamp;

use super::secret::write_private;
use super::watched::Watched;

/// The file of keys in the data directory.
pub const FILE: &str = "keys.json";
const PREFIX: &str = "fut_";

/// Every request is held against each of them.
const KEYS_MAX: usize = 1_000;

/// What a key allows.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// To make jobs and batches.
    Submit,
    /// To look at everything, to wait and to follow.
    Read,
    /// To cancel, complete, retry and forget jobs, to add and repeat callbacks, to pause queues.
    Manage,
    /// Everything: settings of queues and their end besides the others.
    Admin,
}

impl Scope {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Read => "read",
            Self::Manage => "manage",
            Self::Admin => "admin",
        }
    }
}

/// What [`Key`] allows if its file, of an older server, does not say.
fn everything() -> BTreeSet<Scope> {
    BTreeSet::from([Scope::Admin])
}

/// What is asked for with a new key.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What it is for, in its owner's words.
    pub name: String,
    /// What it allows.
    pub scopes: BTreeSet<Scope>,
    /// From when on it is refused; none: never.
    pub expires_at: Option<Timestamp>,
}

/// One key, as it is kept: its secret only as a digest.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Key {
    /// Its public part, by which it is listed and revoked.
    pub id: String,
    /// What it is for, in its owner's words.
    pub name: String,
    /// What it allows.
    #[serde(default = "everything")]
    pub scopes: BTreeSet<Scope>,
    /// When it was made, in Unix milliseconds.
    pub created_at_ms: i64,
    /// From when on it is refused, in Unix milliseconds; none: never.
    #[serde(default)]
    pub expires_at_ms: Option<i64>,
    /// Of the whole key.
    sha256: Digest,
}

/// SHA-256, kept in hexadecimal digits. What a request brings is held against the bytes: it is at the rate of all requests.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
struct Digest([u8; 32]);

impl Digest {
    fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(digits: String) -> Result<Self, Self::Error> {
        let wrong = || "sha256 is not 64 hexadecimal digits";
        let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
        let mut bytes = [0; 32];
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return Err(wrong());
        }
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let value =
                |digit: u8| char::from(digit).to_digit(16).and_then(|it| u8::try_from(it).ok());
            let (high, low) = value(pair[0]).zip(value(pair[1])).ok_or_else(wrong)?;
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digits(&digest.0)
    }
}

impl Key {
    /// Whether it allows what `scope` stands for.
    #[must_use]
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at_ms.is_some_and(|at| at <= now.0)
    }
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
    /// The key with this id allows it.
    Key(String),
    /// No key was given, and one is needed.
    Missing,
    /// The key is not known, or was revoked.
    Unknown,
    /// The key's time is over.
    Expired,
    /// The key with this id allows other things only.
    Forbidden(String, BTreeSet<Scope>),
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
    /// An I/O error; also that there are as many keys as there may be.
    pub fn create(&self, new: NewKey, now: Timestamp) -> io::Result<(Key, String)> {
        let id = digits(&rand::random::<[u8; 6]>());
        let text = format!("{PREFIX}{id}_{}", digits(&rand::random::<[u8; 32]>()));
        let NewKey { name, scopes, expires_at } = new;
        let (created_at_ms, expires_at_ms) = (now.0, expires_at.map(|at| at.0));
        let key = Key { id, name, scopes, created_at_ms, expires_at_ms, sha256: Digest::of(&text) };
        self.change(|table| {
            if table.keys.len() >= KEYS_MAX {
                let full =
                    format!("there are {KEYS_MAX} keys already; revoke those that nobody uses");
                return Err(io::Error::other(full));
            }
            table.keys.push(key.clone());
            Ok(())
        })?;
        Ok((key, text))
    }

    /// Takes a key back; false if there is none with this id. It is refused within [`SEEN_WITHIN`].
    ///
    /// # Errors
    /// An I/O error.
    pub fn revoke(&self, id: &str) -> io::Result<bool> {
        self.change(|table| {
            let before = table.keys.len();
            table.keys.retain(|key| key.id != id);
            Ok(table.keys.len() < before)
        })
    }

    /// All keys, oldest first.
    ///
    /// # Errors
    /// An I/O error.
    pub fn list(&self) -> io::Result<Vec<Key>> {
        Ok(self.table.current()?.keys.clone())
    }

    /// Whether a request that brought `given` may do what `needed` stands for.
    ///
    /// # Errors
    /// An I/O error: then nobody may.
    pub fn verdict(
        &self,
        given: Option<&str>,
        needed: Scope,
        now: Timestamp,
    ) -> io::Result<Verdict> {
        let table = self.table.current()?;
        if table.keys.is_empty() {
            return Ok(Verdict::Open);
        }
        let Some(given) = given else { return Ok(Verdict::Missing) };
        let wanted = Digest::of(given);
        // The digest of what was given does not depend on any key, so its comparison tells nothing.
        let same = |key: &&Key| bool::from(key.sha256.0.ct_eq(&wanted.0));
        Ok(match table.keys.iter().find(same) {
            None => Verdict::Unknown,
            Some(key) if key.has_expired(now) => Verdict::Expired,
            Some(key) if key.allows(needed) => Verdict::Key(key.id.clone()),
            Some(key) => Verdict::Forbidden(key.id.clone(), key.scopes.clone()),
        })
    }

    /// Whether the key of this id still holds: neither revoked nor expired. While the file cannot be read, none does.
    #[must_use]
    pub fn still_holds(&self, id: &str, now: Timestamp) -> bool {
        let holds = |key: &Key| key.id == id && !key.has_expired(now);
        self.table.current().is_ok_and(|table| table.keys.iter().any(holds))
    }

    /// Changes the file, unless `change` refuses.
    fn change<T>(&self, change: impl FnOnce(&mut Table) -> io::Result<T>) -> io::Result<T> {
        let _alone = self.table.alone()?;
        let mut table = self.table.load()?;
        let changed = change(&mut table)?;
        write_private(self.table.file(), &serde_json::to_string_pretty(&table)?)?;
        Ok(changed)
    }
}

/// Whether this is what a file of keys may say.
#[cfg(any(test, fuzzing))]
pub(super) fn is_table(text: &str) -> bool {
    serde_json::from_str::<Table>(text).is_ok()
}

fn digits(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    fn new(scopes: &[Scope], expires_at: Option<Timestamp>) -> NewKey {
        NewKey { name: String::new(), scopes: scopes.iter().copied().collect(), expires_at }
    }

    /// A clock of its own for each look, or the file would be looked at once in a while only.
    fn verdict(directory: &Path, text: &str, needed: Scope, at: i64) -> Verdict {
        Keys::new(directory).verdict(Some(text), needed, Timestamp(at)).expect("the file")
    }

    #[test]
    fn a_key_holds_until_the_moment_of_its_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let keys = Keys::new(directory.path());
        let ends = new(&[Scope::Read], Some(Timestamp(5_000)));
        let (key, text) = keys.create(ends, NOW).expect("a key");
        let at = |at| verdict(directory.path(), &text, Scope::Read, at);
        assert_eq!((at(4_999), at(5_000)), (Verdict::Key(key.id.clone()), Verdict::Expired));
        let holds = |at| Keys::new(directory.path()).still_holds(&key.id, Timestamp(at));
        assert!(holds(4_999) && !holds(5_000));
        assert!(!Keys::new(directory.path()).still_holds("another", NOW));
    }

    #[test]
    fn a_key_of_a_file_without_scopes_may_do_everything() {
        let directory = tempfile::tempdir().expect("a directory");
        let old = format!(
            r#"{{"keys":[{{"id":"ab","name":"old","created_at_ms":1,"sha256":"{}"}}]}}"#,
            String::from(Digest::of("fut_ab_cd"))
        );
        write_private(&directory.path().join(FILE), &old).expect("a file");
        for scope in [Scope::Submit, Scope::Read, Scope::Manage, Scope::Admin] {
            let found = verdict(directory.path(), "fut_ab_cd", scope, i64::MAX);
            assert_eq!(found, Verdict::Key("ab".to_owned()));
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_opens_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let no_digest = |digits: &str| {
            format!(r#"{{"keys":[{{"id":"ab","name":"","created_at_ms":1,"sha256":"{digits}"}}]}}"#)
        };
        let broken =
            ["", "{", r#"{"keys":[{"id":"ab"}]}"#, r#"{"keys":[],"scopes":"#].map(str::to_owned);
        let digests =
            [String::new(), "0".repeat(63), "0".repeat(65), "x".repeat(64), "é".repeat(32)];
        for broken in broken.into_iter().chain(digests.map(|it| no_digest(&it))) {
            write_private(&directory.path().join(FILE), &broken).expect("a file");
            let keys = Keys::new(directory.path());
            assert!(keys.verdict(None, Scope::Read, NOW).is_err(), "{broken}");
            assert!(!keys.still_holds("ab", NOW));
        }
    }

    #[test]
    fn there_is_a_limit_of_keys() {
        let directory = tempfile::tempdir().expect("a directory");
        let keys = Keys::new(directory.path());
        let key = keys.create(new(&[Scope::Read], None), NOW).expect("a key").0;
        let full = Table { keys: vec![key; KEYS_MAX] };
        let text = serde_json::to_string(&full).expect("JSON");
        write_private(&directory.path().join(FILE), &text).expect("a file");
        let refused = keys.create(new(&[Scope::Read], None), NOW).expect_err("one too many");
        assert!(refused.to_string().contains("1000 keys"), "{refused}");
    }
}
