//! The data directory: made for one server, and for nobody else's eyes.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::process::geteuid;

use super::Failure;

const LOCK_FILE: &str = "lock";
/// What others than the owner may do.
const OTHERS: u32 = 0o077;
/// Of a directory that is everybody's, as `/tmp` is.
const STICKY: u32 = 0o1000;

/// Makes the data directory and takes it for this process, before the database is touched (G15).
pub(super) fn lock(data_dir: &Path) -> Result<File, Failure> {
    let shown = data_dir.display().to_string();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .map_err(Failure::io(format!("cannot make the data directory {shown}")))?;
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(data_dir.join(LOCK_FILE))
        .map_err(Failure::io(format!("cannot open the lock in {shown}")))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(Failure::InUse(shown)),
        Err(error) => return Err(Failure::io(format!("cannot lock {shown}"))(error.into())),
    }
    close_to_others(data_dir)
        .map_err(Failure::io(format!("cannot see who may read the data directory {shown}")))?;
    Ok(file)
}

/// A directory that was made by somebody else is often open to others, who could then put other files in the places of
/// its own.
fn close_to_others(data_dir: &Path) -> std::io::Result<()> {
    let found = data_dir.metadata()?;
    let mode = found.mode() & 0o7777;
    if mode & OTHERS == 0 {
        return Ok(());
    }
    let shown = data_dir.display();
    // One that is others' as well is for its owner to close.
    let is_shared =
        found.uid() != geteuid().as_raw() || mode & STICKY != 0 || is_worked_in(data_dir);
    if !is_shared && fs::set_permissions(data_dir, Permissions::from_mode(mode & !OTHERS)).is_ok() {
        tracing::warn!(
            "the data directory {shown} was open to other users (mode {mode:o}); it is closed now"
        );
    } else {
        tracing::warn!(
            "the data directory {shown} is open to other users (mode {mode:o}): chmod 700 it, or choose one that holds \
             nothing else"
        );
    }
    Ok(())
}

/// Whether somebody works in it, or in one below it.
fn is_worked_in(data_dir: &Path) -> bool {
    match (std::env::current_dir(), data_dir.canonicalize()) {
        (Ok(current), Ok(data_dir)) => current.starts_with(data_dir),
        _ => true,
    }
}

/// Its own name, without links and from the root on.
pub(super) fn whole(data_dir: &Path) -> Result<PathBuf, Failure> {
    let failed = Failure::io(format!("cannot find the data directory {}", data_dir.display()));
    data_dir.canonicalize().map_err(failed)
}
