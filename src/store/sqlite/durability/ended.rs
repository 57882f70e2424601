//! Whether a server ended by itself: a file beside the database says of which epoch it was. What ran then was interrupted, but
//! did not kill it, so no job and no delivery is blamed (G9).
//!
//! The file is there from the start on, and is written over in its place: that needs no room on a disk that is full. It is not
//! synced. What is not there after a power cut counts as a death, as the cut itself does.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::store::sqlite::durability::files::{directory_of, remove_if_there};

const FILE: &str = "ended";
const BEGIN: &[u8; 8] = b"FUTENDE1";
const BYTES: usize = 20;

/// The epoch of the server that ended by itself; none if the last one did not, or nothing can be read of it.
pub fn epoch(database: &Path) -> Option<i64> {
    match std::fs::read(directory_of(database).join(FILE)) {
        Ok(bytes) => of_bytes(&bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(%error, "it is not known whether the last server ended by itself");
            None
        }
    }
}

/// Forgets it: the database is another now.
pub fn forget(database: &Path) -> io::Result<()> {
    remove_if_there(&directory_of(database).join(FILE))
}

/// Where the end will be noted.
#[derive(Debug)]
pub struct Note {
    file: File,
}

impl Note {
    /// Makes room for it. Until [`Note::ended`] it says that no server has ended by itself.
    pub fn start(database: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let file = options.open(directory_of(database).join(FILE))?;
        file.write_all_at(&[0; BYTES], 0)?;
        Ok(Self { file })
    }

    /// The server of that epoch ends by itself.
    pub fn ended(&self, epoch: i64) {
        if let Err(error) = self.file.write_all_at(&to_bytes(epoch), 0) {
            tracing::warn!(%error, "the end cannot be noted; the next start takes it for a death");
        }
    }
}

fn to_bytes(epoch: i64) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(BEGIN);
    bytes[8..16].copy_from_slice(&epoch.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..16]);
    bytes[16..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn of_bytes(bytes: &[u8]) -> Option<i64> {
    let epoch = i64::from_le_bytes(bytes.get(8..16)?.try_into().ok()?);
    (bytes == to_bytes(epoch)).then_some(epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g9_only_a_whole_note_says_that_a_server_ended_by_itself() {
        let dir = tempfile::tempdir().expect("a directory");
        let database = dir.path().join("futurity.db");
        assert_eq!(epoch(&database), None);
        let note = Note::start(&database).expect("a note");
        assert_eq!(epoch(&database), None, "it runs");
        note.ended(7);
        assert_eq!(epoch(&database), Some(7));
        Note::start(&database).expect("a note");
        assert_eq!(epoch(&database), None, "the next one runs");
        let bytes = to_bytes(7);
        assert_eq!(of_bytes(&bytes[..BYTES - 1]), None);
        for bit in 0..BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(of_bytes(&flipped), None, "bit {bit}");
        }
    }
}
