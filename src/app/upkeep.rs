//! What an operator does with a data directory: look through it, copy it, bring a copy back.

use std::io;
use std::path::Path;

use crate::config::Config;
use crate::engine::keys::{self, Keys};
use crate::engine::secret::{self, SEAL_KEY_FILE, WEBHOOK_SECRET_FILE, WebhookSecrets};
use crate::store;

use super::data_dir::lock;
use super::{DATABASE_FILE, Failure};

/// Files that belong to a database: without them its callbacks cannot be delivered, and nobody is let in.
const FILES: [&str; 3] = [keys::FILE, SEAL_KEY_FILE, WEBHOOK_SECRET_FILE];

/// Looks through the data directory, which no server may use meanwhile, and changes nothing. Gives how many jobs, batches,
/// callbacks and deliveries there are, if all of it holds.
pub(crate) async fn fsck(config: &Config) -> Result<[i64; 4], Failure> {
    let directory = &config.data_dir;
    let database = directory.join(DATABASE_FILE);
    if !database.exists() {
        return Err(missing(&database));
    }
    let _lock = lock(directory)?;
    let mut findings = Vec::new();
    let note = |found: io::Result<()>, findings: &mut Vec<String>| {
        findings.extend(found.err().map(|error| error.to_string()));
    };
    note(Keys::new(directory).list().map(drop), &mut findings);
    if directory.join(WEBHOOK_SECRET_FILE).exists() {
        note(WebhookSecrets::open(directory).map(drop), &mut findings);
    }
    let key = directory.join(SEAL_KEY_FILE).exists().then(|| secret::seal_key(directory));
    let opener = match key.transpose() {
        Ok(key) => key.map(|key| secret::opener(&key)),
        Err(error) => {
            findings.push(error.to_string());
            None
        }
    };
    let opens = |id, sealed: &[u8]| opener.as_ref().is_some_and(|opens| opens(id, sealed));
    let report = store::fsck(&database, opens).await?;
    findings.extend(report.findings);
    if findings.is_empty() { Ok(report.counts) } else { Err(Failure::Damaged(findings)) }
}

/// Copies database and secrets into one file, also while a server runs.
pub(crate) fn backup(config: &Config, target: &Path) -> Result<(), Failure> {
    let database = config.data_dir.join(DATABASE_FILE);
    if !database.exists() {
        return Err(missing(&database));
    }
    if target.exists() {
        let source = io::ErrorKind::AlreadyExists.into();
        return Err(Failure::Io {
            context: format!("{} is kept as it is", target.display()),
            source,
        });
    }
    let read = |name: &str| match std::fs::read(config.data_dir.join(name)) {
        Ok(content) => Ok(Some((name.to_owned(), content))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::io(format!("{name} cannot be read"))(error)),
    };
    let files = FILES.into_iter().filter_map(|name| read(name).transpose());
    let files = files.collect::<Result<Vec<_>, _>>()?;
    let failed = |error| of_file(target, "written", error);
    store::backup(&database, target, &files).map_err(failed)
}

/// A failure of a file that an operator has named: no database is served here.
fn of_file(file: &Path, done: &str, error: store::OpenError) -> Failure {
    match error {
        store::OpenError::Thread(source) => {
            Failure::Io { context: format!("{} cannot be {done}", file.display()), source }
        }
        other => Failure::Store(other),
    }
}

/// Brings a backup into a data directory that has no database, and looks through what is there then.
pub(crate) async fn restore(config: &Config, source: &Path) -> Result<[i64; 4], Failure> {
    let directory = &config.data_dir;
    let ours = lock(directory)?;
    let database = directory.join(DATABASE_FILE);
    for name in [DATABASE_FILE].into_iter().chain(FILES) {
        if directory.join(name).exists() {
            let context = format!(
                "{} has a {name} already; restore into another --data-dir, or move it away first",
                directory.display()
            );
            return Err(Failure::Io { context, source: io::ErrorKind::AlreadyExists.into() });
        }
    }
    // Before anything is made of it.
    std::fs::File::open(source)
        .map_err(Failure::io(format!("{} cannot be read", source.display())))?;
    store::restore(source, &database, |files| place(directory, files))?;
    drop(ours);
    fsck(config).await
}

/// Puts all of the files into the directory, or none of them.
fn place(directory: &Path, files: &[store::BackupFile]) -> io::Result<()> {
    let write = |(name, content): &store::BackupFile| {
        secret::write_private(&directory.join(name), &String::from_utf8_lossy(content))
    };
    let mut known = files.iter().filter(|(name, _)| FILES.contains(&name.as_str()));
    known.try_for_each(write).inspect_err(|_| {
        for name in FILES {
            drop(std::fs::remove_file(directory.join(name)));
        }
    })
}

fn missing(database: &Path) -> Failure {
    let context =
        format!("{} is not there; name its directory with --data-dir", database.display());
    Failure::Io { context, source: io::ErrorKind::NotFound.into() }
}
