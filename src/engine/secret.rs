//! Secrets of the server in its data directory, each made at the first start.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::iter;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::domain::{CallbackId, Timestamp};
use crate::outbound::Secret;

use super::seal::Seal;
use super::watched::{Content, Look, Reading, Watched};

/// The secrets that sign webhooks, in the form that receivers take: `whsec_…`.
pub const WEBHOOK_SECRET_FILE: &str = "webhook-secret";
/// The key that seals what callbacks give in confidence, in base64.
pub const SEAL_KEY_FILE: &str = "seal-key";

/// Signs what a rotation has replaced this long, so that receivers can change over.
const OVERLAP_MS: i64 = 24 * 3_600_000;
/// Secrets that sign at once: each makes the header longer.
const ACTIVE_MAX: usize = 4;

/// A secret that a rotation has replaced.
#[derive(Clone, Debug)]
struct Replaced {
    secret: Secret,
    until: Timestamp,
}

/// What the file of secrets says: the current one, and those before it, the latest first. A line each:
/// `whsec_…`, then `whsec_… until 2026-01-31T12:00:00Z`.
#[derive(Debug)]
struct Secrets {
    current: Secret,
    replaced: Vec<Replaced>,
}

impl Secrets {
    const READING: Reading<Self> =
        Reading { parse: Self::read, at: |_secrets, _now| None, note: |_secrets, _before| () };

    /// A file that is not there says nothing: what would not be signed by it is signed by what it said before.
    fn read(text: Option<&str>) -> io::Result<Self> {
        text.map_or_else(|| Err(io::ErrorKind::NotFound.into()), Self::parse)
    }

    fn parse(text: &str) -> io::Result<Self> {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let current = lines.next().ok_or_else(|| invalid("there is no secret in it"))?;
        let current = Secret::parse(current.trim()).map_err(|error| invalid(error.to_string()))?;
        let replaced = lines.map(Replaced::parse).collect::<io::Result<_>>()?;
        Ok(Self { current, replaced })
    }

    fn to_text(&self) -> String {
        let replaced = self.replaced.iter().map(Replaced::to_text);
        let lines: Vec<String> = iter::once(self.current.to_text()).chain(replaced).collect();
        lines.join("\n") + "\n"
    }

    fn active(&self, now: Timestamp) -> Vec<Secret> {
        let replaced = self.replaced.iter().filter(|it| it.until > now).map(|it| &it.secret);
        iter::once(&self.current).chain(replaced).take(ACTIVE_MAX).cloned().collect()
    }
}

impl Replaced {
    fn parse(line: &str) -> io::Result<Self> {
        let form = || invalid("a replaced secret is written: whsec_… until 2026-01-31T12:00:00Z");
        let (secret, until) = line.trim().split_once(" until ").ok_or_else(form)?;
        let secret = Secret::parse(secret).map_err(|error| invalid(error.to_string()))?;
        let until: jiff::Timestamp = until.parse().map_err(|_no_moment| form())?;
        Ok(Self { secret, until: Timestamp(until.as_millisecond()) })
    }

    fn to_text(&self) -> String {
        let until = jiff::Timestamp::from_millisecond(self.until.0).unwrap_or_default();
        format!("{} until {until}", self.secret.to_text())
    }
}

/// The secrets of the server that sign webhooks, read anew when a rotation changes them. A clone shares them.
#[derive(Clone, Debug)]
pub struct WebhookSecrets {
    file: Watched<Secrets>,
}

impl WebhookSecrets {
    /// Those in `data_dir`; the first is made if there is none.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let file = Watched::new(data_dir.join(WEBHOOK_SECRET_FILE), Secrets::READING);
        let it = Self { file };
        if it.if_there()?.is_none() {
            let _alone = it.file.alone()?;
            if it.if_there()?.is_some() {
                return Ok(it);
            }
            let first = Secrets { current: new_secret()?, replaced: Vec::new() };
            write_private(it.file.file(), &first.to_text())?;
        }
        Ok(it)
    }

    /// What a [`Watcher`](super::Watcher) does for them.
    #[must_use]
    pub fn looks(&self) -> Look {
        self.file.looks()
    }

    /// The current one.
    pub fn newest(&self) -> io::Result<Secret> {
        Ok(self.load()?.current)
    }

    /// Those that sign at `now`, the current one first, as a [`Watcher`](super::Watcher) sees them. A file that cannot be read
    /// is no reason not to sign: then it is those that were read last.
    pub async fn active(&self, now: Timestamp) -> Vec<Secret> {
        let current: Content<Secrets> = self.file.current().await;
        let secrets = current.ok().or_else(|| self.file.last());
        secrets.map_or_else(Vec::new, |secrets| secrets.active(now))
    }

    /// The same, as they stand in the file.
    pub fn active_in_file(&self, now: Timestamp) -> io::Result<Vec<Secret>> {
        Ok(self.load()?.active(now))
    }

    /// Replaces the current one. The one before signs too for a day from `now`, unless `at_once`.
    pub fn rotate(&self, now: Timestamp, at_once: bool) -> io::Result<Secret> {
        let _alone = self.file.alone()?;
        let old = self.if_there()?;
        let secret = new_secret()?;
        let mut replaced = Vec::new();
        if let (Some(old), false) = (old, at_once) {
            let until = now.plus_millis(OVERLAP_MS);
            replaced.push(Replaced { secret: old.current, until });
            replaced.extend(old.replaced.into_iter().filter(|it| it.until > now));
            replaced.truncate(ACTIVE_MAX - 1);
        }
        let new = Secrets { current: secret.clone(), replaced };
        write_private(self.file.file(), &new.to_text())?;
        Ok(secret)
    }

    /// What the file says, if there is one.
    fn if_there(&self) -> io::Result<Option<Secrets>> {
        match self.load() {
            Ok(secrets) => Ok(Some(secrets)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn load(&self) -> io::Result<Secrets> {
        self.file.load().map_err(|error| self.named(&error))
    }

    fn named(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.file.file().display()))
    }
}

/// Whether this is what the file of webhook secrets may say.
#[cfg(any(test, fuzzing))]
pub(super) fn is_file(text: &str) -> bool {
    Secrets::parse(text).is_ok()
}

fn new_secret() -> io::Result<Secret> {
    Secret::from_bytes(rand::random::<[u8; 32]>().to_vec())
        .map_err(|error| invalid(error.to_string()))
}

fn invalid(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}

/// The key that seals what callbacks give in confidence; made if there is none.
pub fn seal_key(data_dir: &Path) -> io::Result<[u8; 32]> {
    let file = data_dir.join(SEAL_KEY_FILE);
    let text = match std::fs::read_to_string(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = STANDARD.encode(rand::random::<[u8; 32]>());
            write_private(&file, &text)?;
            text
        }
        read => read?,
    };
    let bytes = STANDARD.decode(text.trim()).unwrap_or_default();
    bytes.try_into().map_err(|_wrong_length| {
        let detail =
            format!("{}: not 32 bytes in base64; restore it from a backup", file.display());
        io::Error::new(io::ErrorKind::InvalidData, detail)
    })
}

/// Tells whether this key opens what a callback has sealed.
pub fn opener(key: &[u8; 32]) -> impl Fn(CallbackId, &[u8]) -> bool + use<> {
    let seal = Seal::new(key);
    move |id, sealed| seal.open(id, sealed).is_some()
}

/// Writes `text` to a new file that only its owner can read, and makes it durable under that name.
pub fn write_private(file: &Path, text: &str) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut handle =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    handle.write_all(text.as_bytes())?;
    handle.sync_all()?;
    std::fs::rename(&new, file)?;
    let directory = file.parent().unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Timestamp = Timestamp(OVERLAP_MS);

    fn texts(secrets: &[Secret]) -> Vec<String> {
        secrets.iter().map(Secret::to_text).collect()
    }

    #[test]
    fn a_replaced_secret_signs_for_a_day_and_no_longer() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let secrets = WebhookSecrets::open(dir.path()).expect("a secret");
        let first = secrets.newest().expect("a secret");
        let second = secrets.rotate(Timestamp(0), false).expect("a new secret");
        let kept = || Secrets::parse(&std::fs::read_to_string(secrets.file.file()).expect("text"));
        let active = |now| texts(&kept().expect("secrets").active(now));
        let both = texts(&[second.clone(), first]);
        assert_eq!(active(Timestamp(0)), both);
        assert_eq!(active(Timestamp(DAY.0 - 1)), both, "the newest first");
        assert_eq!(active(DAY), both[..1]);
        let third = secrets.rotate(DAY, false).expect("a new secret");
        let text = std::fs::read_to_string(secrets.file.file()).expect("text");
        assert_eq!(text.lines().count(), 2, "what has had its day is gone from the file");
        assert_eq!(active(DAY), texts(&[third, second]));
        let last = secrets.rotate(DAY, true).expect("a new secret");
        assert_eq!(active(DAY), texts(&[last]));
    }

    #[test]
    fn however_often_it_is_rotated_a_few_sign() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let secrets = WebhookSecrets::open(dir.path()).expect("a secret");
        for _ in 0..2 * ACTIVE_MAX {
            secrets.rotate(Timestamp(0), false).expect("a new secret");
        }
        let text = std::fs::read_to_string(secrets.file.file()).expect("text");
        assert_eq!(text.lines().count(), ACTIVE_MAX);
        let again = Secrets::parse(&text).expect("secrets");
        assert_eq!(again.to_text(), text, "it reads back as it was written");
    }
}
