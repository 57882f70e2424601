//! The high-water mark: how far the commits reach that may have been acknowledged, in a file beside the database (G3).
//!
//! It is written after each commit and never synced: after a power cut it may lag behind the database, but it cannot lead.
//! So what the mark knows of and the database has not is lost, by whatever cut or altered the files.

use rusqlite::Connection;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use crate::store::sqlite::connection;
use crate::store::sqlite::counters::Counters;
use crate::store::sqlite::durability::files::{directory_of, remove_if_there, wal_path};
use crate::store::sqlite::durability::health::Health;
use crate::store::sqlite::durability::wal::Salts;
use crate::store::sqlite::durability::{checkpoint, wal};
use crate::store::sqlite::error::OpenError;

const FILE: &str = "high-water";
const BEGIN: &[u8; 8] = b"FUTMARK1";
const SUMMED: usize = 36;
const BYTES: usize = 40;

/// How far a database reaches, as its own rows say.
const SELECT_REACH: &str = "select coalesce((select last_seq from changes order by first_seq desc limit 1), 0), quiet from counters";
/// What comes after a loss that was accepted has numbers that nothing lost can have had.
const SKIP: &str =
    "update counters set ordinal = ordinal + ?3, payload = payload + ?3, quiet = max(quiet, ?2),
    seq = max(seq, ?1) + ?3, seq_floor = max(seq, ?1) + ?3";
const SKIPPED: i64 = 1_000_000;
/// Whoever follows begins anew, once: where the changes that are left end, others may have seen more.
const FORGET_CHANGES: &str = "delete from changes";

/// How far commits reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct HighWaterMark {
    /// The change of a job that came last.
    logged_to: i64,
    /// Commits that changed no job.
    unlogged_commits: i64,
    /// The log of SQLite, and how many of its frames are commits.
    salts: Salts,
    frames: u32,
}

impl HighWaterMark {
    fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let parts: [&[u8]; 5] = [
            BEGIN,
            &self.logged_to.to_le_bytes(),
            &self.unlogged_commits.to_le_bytes(),
            &self.salts,
            &self.frames.to_le_bytes(),
        ];
        let mut at = 0;
        for part in parts {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        let sum = crc32fast::hash(&bytes[..SUMMED]);
        bytes[SUMMED..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// None if these are not the bytes of a mark.
    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let sum = u32::from_le_bytes(bytes.get(SUMMED..BYTES)?.try_into().ok()?);
        if !bytes.starts_with(BEGIN) || crc32fast::hash(bytes.get(..SUMMED)?) != sum {
            return None;
        }
        let number = |at: usize| Some(i64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        Some(Self {
            logged_to: number(8)?,
            unlogged_commits: number(16)?,
            salts: bytes.get(24..32)?.try_into().ok()?,
            frames: u32::from_le_bytes(bytes.get(32..SUMMED)?.try_into().ok()?),
        })
    }
}

/// Whether these are the bytes of a mark.
#[cfg(any(test, fuzzing))]
pub fn is_mark(bytes: &[u8]) -> bool {
    HighWaterMark::of_bytes(bytes).is_some()
}

/// What the last server left of a mark.
enum Left {
    Nothing,
    /// A file that cannot be read as one: of a power cut, if it is empty or all zero.
    Illegible {
        is_blank: bool,
    },
    Mark(HighWaterMark),
}

fn left(directory: &Path) -> io::Result<Left> {
    let bytes = match std::fs::read(directory.join(FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Left::Nothing),
        Err(error) => return Err(error),
    };
    let is_blank = bytes.iter().all(|byte| *byte == 0);
    Ok(HighWaterMark::of_bytes(&bytes).map_or(Left::Illegible { is_blank }, Left::Mark))
}

/// What is known to be lost, in words.
pub fn loss(database: &Path) -> Result<Option<String>, OpenError> {
    let mark = match left(directory_of(database))? {
        Left::Nothing => return Ok(None),
        Left::Illegible { is_blank: true } => {
            tracing::warn!(
                "the high-water mark is blank, as after a power cut; losses before it cannot be told"
            );
            return Ok(None);
        }
        Left::Illegible { is_blank: false } => {
            return Ok(Some(
                "the file high-water is damaged, so it is not known what is".to_owned(),
            ));
        }
        Left::Mark(mark) => mark,
    };
    // First, without SQLite: its first look at a log that is cut goes on without what is behind the cut.
    let whole = wal::whole_frames(&wal_path(database), mark.salts, mark.frames)?;
    if let Some(whole) = whole.filter(|whole| *whole < mark.frames) {
        let frames = mark.frames;
        return Ok(Some(format!(
            "the log of commits is damaged: of its {frames} frames {whole} are whole"
        )));
    }
    if !database.exists() {
        return Ok(Some(format!("the database is gone; it reached change {}", mark.logged_to)));
    }
    let (logged_to, unlogged_commits): (i64, i64) = connection::open_untouched(database)?
        .query_row(SELECT_REACH, (), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let is_behind = logged_to < mark.logged_to || unlogged_commits < mark.unlogged_commits;
    Ok(is_behind.then(|| {
        format!(
            "the database reaches change {logged_to} and commit {unlogged_commits} of the other kind; acknowledged were \
             change {} and commit {}",
            mark.logged_to, mark.unlogged_commits
        )
    }))
}

/// Goes on without what is lost: nothing that comes is given a number that it may have had.
pub fn accept(connection: &Connection, database: &Path) -> Result<(), OpenError> {
    let mark = match left(directory_of(database))? {
        Left::Mark(mark) => mark,
        Left::Nothing | Left::Illegible { .. } => HighWaterMark::default(),
    };
    let both = connection.unchecked_transaction()?;
    both.execute(SKIP, (mark.logged_to, mark.unlogged_commits, SKIPPED))?;
    both.execute(FORGET_CHANGES, ())?;
    Ok(both.commit()?)
}

/// Forgets how far the commits reached: the database is another now.
pub fn forget(database: &Path) -> io::Result<()> {
    remove_if_there(&directory_of(database).join(FILE))
}

/// Writes the mark.
#[derive(Debug)]
pub struct HighWaterWriter {
    mark: File,
    log: File,
    health: Arc<Health>,
}

impl HighWaterWriter {
    /// Begins to keep it, for a database that is open and has a log.
    pub fn start(database: &Path, counters: Counters, health: Arc<Health>) -> io::Result<Self> {
        let directory = directory_of(database);
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let mark = options.open(directory.join(FILE))?;
        let keeper = Self { mark, log: File::open(wal_path(database))?, health };
        keeper.keep(counters);
        // The file itself must be there after a power cut; what it says may be older.
        keeper.mark.sync_all()?;
        File::open(directory)?.sync_all()?;
        Ok(keeper)
    }

    /// Notes a commit of the calling thread's connection. A mark that cannot be written lags behind, and that is said.
    pub fn keep(&self, counters: Counters) {
        let written = self.write(counters);
        // Said once.
        if self.health.mark(written.is_err())
            && let Err(error) = written
        {
            tracing::error!(%error, "the high-water mark cannot be written; a later loss may not be noticed");
        }
    }

    fn write(&self, counters: Counters) -> io::Result<()> {
        let frames = checkpoint::pages_in_log();
        let salts = wal::salts(&self.log)?.unwrap_or_default();
        let Counters { logged_to, unlogged_commits, .. } = counters;
        self.mark.write_all_at(
            &HighWaterMark { logged_to, unlogged_commits, salts, frames }.to_bytes(),
            0,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: HighWaterMark = HighWaterMark {
        logged_to: 7,
        unlogged_commits: 3,
        salts: [1, 2, 3, 4, 5, 6, 7, 8],
        frames: 9,
    };

    #[test]
    fn g3_a_mark_reads_back_and_no_flipped_bit_passes() {
        let bytes = MARK.to_bytes();
        assert_eq!(HighWaterMark::of_bytes(&bytes), Some(MARK));
        for bit in 0..BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(HighWaterMark::of_bytes(&flipped), None, "bit {bit}");
        }
        for bytes in [&[][..], &bytes[..BYTES - 1], &[0; BYTES]] {
            assert_eq!(HighWaterMark::of_bytes(bytes), None);
        }
    }
}
