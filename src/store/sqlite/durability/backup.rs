//! A copy of the database while a server writes it, with the files that belong to it; and the way back.

use rusqlite::{Connection, OptionalExtension as _};
use std::fs::File;
use std::io;
use std::path::Path;

use crate::store::sqlite::connection;
use crate::store::sqlite::durability::files::{directory_of, new_private, part_of};
use crate::store::sqlite::durability::{ended, high_water};
use crate::store::sqlite::error::OpenError;

const COPY: &str = "vacuum into ?";
const MAKE_FILES: &str =
    "create table backup_files (name text primary key, content blob not null) strict";
const INSERT_FILE: &str = "insert into backup_files (name, content) values (?, ?)";
const IS_BACKUP: &str =
    "select 1 from sqlite_schema where type = 'table' and name = 'backup_files'";
const SELECT_FILES: &str = "select name, content from backup_files";
const DROP_FILES: &str = "drop table backup_files";

/// A file that belongs to a database: its name and what is in it.
pub type BackupFile = (String, Vec<u8>);

/// Copies the database as it stands at one moment to `target`, with `files`. Nobody but the owner may read it.
pub fn backup(database: &Path, target: &Path, files: &[BackupFile]) -> Result<(), OpenError> {
    let part = part_of(target);
    let copied = copy(database, &part, files).and_then(|()| Ok(in_place(&part, target)?));
    if copied.is_err() {
        drop(std::fs::remove_file(&part));
    }
    copied
}

fn copy(database: &Path, part: &Path, files: &[BackupFile]) -> Result<(), OpenError> {
    // SQLite takes an empty file, and does not make one that others may read.
    new_private(part)?;
    let source = connection::open_untouched(database)?;
    source.execute(COPY, [part.to_string_lossy()])?;
    let copy = Connection::open(part)?;
    copy.execute(MAKE_FILES, ())?;
    for (name, content) in files {
        copy.execute(INSERT_FILE, (name, content))?;
    }
    copy.close().map_err(|(_connection, error)| error)?;
    Ok(())
}

/// Puts the database of a backup to `database`, where none may be. `place` puts the files that belong to it before, so that
/// a database which is there has them. What comes after is given no number that the lost time may have given, and who
/// follows changes begins anew.
pub fn restore(
    backup: &Path,
    database: &Path,
    place: impl FnOnce(&[BackupFile]) -> io::Result<()>,
) -> Result<(), OpenError> {
    let part = part_of(database);
    let restored = unpack(backup, &part, database).and_then(|files| {
        place(&files)?;
        in_place(&part, database)?;
        ended::forget(database)?;
        Ok(high_water::forget(database)?)
    });
    if restored.is_err() {
        drop(std::fs::remove_file(&part));
    }
    restored
}

fn unpack(backup: &Path, part: &Path, database: &Path) -> Result<Vec<BackupFile>, OpenError> {
    io::copy(&mut File::open(backup)?, &mut new_private(part)?)?;
    let copy = Connection::open(part)?;
    if copy.query_row(IS_BACKUP, (), |_row| Ok(())).optional()?.is_none() {
        return Err(OpenError::Damaged(format!("{} is no backup", backup.display())));
    }
    connection::check_whole(&copy)?;
    let files = copy
        .prepare(SELECT_FILES)?
        .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    copy.execute(DROP_FILES, ())?;
    high_water::accept(&copy, database)?;
    copy.close().map_err(|(_connection, error)| error)?;
    Ok(files)
}

/// Gives a whole file its name, for good.
fn in_place(part: &Path, target: &Path) -> io::Result<()> {
    File::open(part)?.sync_all()?;
    // A link, unlike a new name, takes nobody's place.
    std::fs::hard_link(part, target)?;
    std::fs::remove_file(part)?;
    File::open(directory_of(target))?.sync_all()
}
