//! API keys: who may do what. Kept in the data directory, where commands change them while a server runs.

mod asker;
mod door;
mod grant;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::domain::{ScopeName, Timestamp};

use super::secret::write_private;
use super::watched::{Reading, Watched};

pub use asker::Asker;
pub use door::{Door, Leave, Verdict};
pub use grant::{Grant, Need, Scope};

/// The file of keys in the data directory.
pub const FILE: &str = "keys.json";
/// Taken by the commands that change it, and left there: who finds it knows that there once was such a command.
pub const LOCK_FILE: &str = "keys.lock";
const PREFIX: &str = "fut_";

/// Every request is held against each of them.
const KEYS_MAX: usize = 1_000;

/// What is asked for with a new key.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What it is for, in its owner's words.
    pub name: String,
    /// What it allows.
    pub scopes: BTreeSet<Grant>,
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
    /// What it allows. One that does not say allows nothing.
    #[serde(default)]
    pub scopes: BTreeSet<Grant>,
    /// When it was made, in Unix milliseconds.
    pub created_at_ms: i64,
    /// From when on it is refused, in Unix milliseconds; none: never.
    #[serde(default)]
    pub expires_at_ms: Option<i64>,
    /// Of the whole key.
    sha256: Digest,
    /// Whether its end is over.
    #[serde(skip)]
    has_expired: bool,
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
    /// Whether it is enough for whoever needs this.
    #[must_use]
    pub fn allows(&self, needed: Need) -> bool {
        match needed {
            Need::AnyKey => true,
            Need::Scope(scope) => self.grants(&scope.into()),
        }
    }

    /// Whether anybody is let in by it: its time is not over, and it allows something.
    fn works(&self) -> bool {
        !self.has_expired && !self.scopes.is_empty()
    }

    /// Whether it allows to call functions that ask for this.
    #[must_use]
    pub fn allows_calls(&self, scope: &ScopeName) -> bool {
        self.grants(&Grant::Calls(scope.clone()))
    }

    fn grants(&self, grant: &Grant) -> bool {
        self.scopes.contains(grant) || self.scopes.contains(&Scope::Admin.into())
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at_ms.is_some_and(|at| at <= now.0)
    }
}

/// What the file says.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Table {
    keys: Vec<Key>,
    /// Whether nobody needs a key: a word of its own, which is never concluded from what is not there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    open: bool,
}

impl Table {
    const READING: Reading<Self> = Reading { parse: Self::parse, at: Self::at, note: Self::note };

    /// Where there is no file there is no key, and nobody is let in.
    fn parse(text: Option<&str>) -> io::Result<Self> {
        text.map_or_else(|| Ok(Self::default()), |text| Ok(serde_json::from_str(text)?))
    }

    /// The same with the keys marked that are over by now, if any has changed.
    fn at(&self, now: Timestamp) -> Option<Self> {
        let is_other = |key: &Key| key.has_expired != key.is_over(now);
        self.keys.iter().any(is_other).then(|| {
            let mut table = self.clone();
            table.keys.iter_mut().for_each(|key| key.has_expired = key.is_over(now));
            table
        })
    }

    fn note(&self, before: Option<&Self>) {
        match (self.standing(), before.map(Self::standing)) {
            (now, Some(before)) if now == before => {}
            (Standing::Locked, _) => tracing::warn!(
                "there is no API key, so nobody is let in: make one with `futurity keys create`"
            ),
            (Standing::NoneWorks, _) => tracing::warn!(
                "no API key works: each has expired or allows nothing, so nobody is let in; make one with \
                 `futurity keys create`"
            ),
            (Standing::Open, Some(_)) => tracing::warn!("nobody on this machine needs an API key"),
            (Standing::Keyed, Some(_)) => tracing::info!("an API key is needed"),
            (Standing::Open | Standing::Keyed, None) => {}
        }
        if let Some(until) = self.until()
            && before.and_then(Self::until) != Some(until)
        {
            let until = jiff::Timestamp::from_millisecond(until).unwrap_or(jiff::Timestamp::MAX);
            tracing::info!(%until, "every API key has an end: from then on nobody is let in, unless another is made");
        }
    }

    /// When the last of the keys that work ends; none if one of them never does, or none works.
    fn until(&self) -> Option<i64> {
        let mut ends = self.keys.iter().filter(|key| key.works()).map(|key| key.expires_at_ms);
        ends.try_fold(None, |last, end| Some(last.max(Some(end?)))).flatten()
    }

    /// The one rule of who is let in, for starts, commands and requests.
    fn standing(&self) -> Standing {
        match (self.keys.is_empty(), self.open) {
            (false, _) if self.keys.iter().any(Key::works) => Standing::Keyed,
            (false, _) => Standing::NoneWorks,
            (true, true) => Standing::Open,
            (true, false) => Standing::Locked,
        }
    }
}

/// Who is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Who brings a key that works.
    Keyed,
    /// Nobody: of the keys that there are each has expired, or allows nothing.
    NoneWorks,
    /// Everybody who may reach a server that listens on loopback.
    Open,
    /// Nobody: there is no key, and nobody said that none is needed.
    Locked,
}

/// The keys of one data directory, as commands read and change them. They wait for the disk.
#[derive(Clone, Debug)]
pub struct Keys {
    table: Watched<Table>,
}

impl Keys {
    /// The keys in `data_dir`.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self { table: Watched::new(data_dir.join(FILE), Table::READING) }
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
        let (sha256, has_expired) = (Digest::of(&text), false);
        let key = Key { id, name, scopes, created_at_ms, expires_at_ms, sha256, has_expired };
        self.change(|table| {
            if table.keys.len() >= KEYS_MAX {
                let full =
                    format!("there are {KEYS_MAX} keys already; revoke those that nobody uses");
                return Err(io::Error::other(full));
            }
            table.keys.push(key.clone());
            table.open = false;
            Ok(())
        })?;
        Ok((key, text))
    }

    /// Takes a key back and gives how many are left; none if there is none with this id. It is refused within
    /// [`SEEN_WITHIN`](super::SEEN_WITHIN). Without the last one nobody is let in.
    ///
    /// # Errors
    /// An I/O error.
    pub fn revoke(&self, id: &str) -> io::Result<Option<usize>> {
        self.change(|table| {
            let before = table.keys.len();
            table.keys.retain(|key| key.id != id);
            Ok((table.keys.len() < before).then_some(table.keys.len()))
        })
    }

    /// Says that nobody needs a key, unless there is a file of keys.
    ///
    /// # Errors
    /// An I/O error.
    pub fn begin_open(&self) -> io::Result<()> {
        let file = self.table.file();
        let part = file.with_extension("first");
        let table = Table { keys: Vec::new(), open: true };
        write_private(&part, &serde_json::to_string_pretty(&table)?)?;
        // In no other's place: a command may make the first key at this very moment.
        let linked = match std::fs::hard_link(&part, file) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        };
        std::fs::remove_file(&part)?;
        linked
    }

    /// From now on nobody needs a key. Those that do not work any more are taken away: gives how many.
    ///
    /// # Errors
    /// An I/O error; also that there are keys that work.
    pub fn open(&self, now: Timestamp) -> io::Result<usize> {
        self.change(|table| {
            *table = table.at(now).unwrap_or_else(|| table.clone());
            if table.standing() == Standing::Keyed {
                let keys = table.keys.iter().filter(|key| key.works()).count();
                let keyed = format!(
                    "there are {keys} keys that work, and would no longer be needed; revoke them first"
                );
                return Err(io::Error::other(keyed));
            }
            table.open = true;
            Ok(std::mem::take(&mut table.keys).len())
        })
    }

    /// Who is let in at this moment.
    ///
    /// # Errors
    /// An I/O error.
    pub fn standing(&self, now: Timestamp) -> io::Result<Standing> {
        let table = self.table.load()?;
        Ok(table.at(now).as_ref().unwrap_or(&table).standing())
    }

    /// The same keys, for a server that asks at each request.
    #[must_use]
    pub fn door(&self) -> Door {
        Door::new(self.table.clone())
    }

    /// All keys, oldest first.
    ///
    /// # Errors
    /// An I/O error.
    pub fn list(&self) -> io::Result<Vec<Key>> {
        Ok(self.table.load()?.keys)
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
mod tests;
