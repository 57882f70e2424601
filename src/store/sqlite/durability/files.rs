//! Files beside the database.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The directory that a file is in.
pub fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The log of commits of a database.
pub fn wal_path(database: &Path) -> PathBuf {
    beside(database, "-wal")
}

/// What a file is called until it is whole.
pub fn part_of(file: &Path) -> PathBuf {
    beside(file, ".part")
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// A new, empty file that only its owner can read, also in the place of an older one.
pub fn new_private(file: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(file)
}

/// Gives a whole file its name, for good, in the place of whatever has it.
pub fn rename_for_good(part: &Path, target: &Path) -> io::Result<()> {
    File::open(part)?.sync_all()?;
    std::fs::rename(part, target)?;
    File::open(directory_of(target))?.sync_all()
}

/// Removes a file; it is no error if there is none.
pub fn remove_if_there(file: &Path) -> io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
