//! The logs of jobs.

use rusqlite::{OptionalExtension as _, Result, params};

use crate::domain::{LogPlace, Ordinal};

use super::Statements;

/// Lines that follow the last piece are added to it, while it has room.
const EXTEND: &str = "update log_pieces set lines = lines || ?5, last_number = ?4, bytes = bytes + ?6
where job = ?1 and attempt = ?2
    and first_number = (select max(p.first_number) from log_pieces as p where p.job = ?1 and p.attempt = ?2)
    and last_number < ?3 and bytes + ?6 <= ?7";
const INSERT: &str =
    "insert into log_pieces (job, attempt, first_number, last_number, lines, bytes) values (?, ?, ?, ?, ?, ?)
on conflict do nothing";
const SELECT_LAST: &str =
    "select coalesce(max(last_number), 0) from log_pieces where job = ? and attempt = ?";
const SELECT_BYTES: &str = "select coalesce(sum(bytes), 0) from log_pieces where job = ?";
const DELETE_FIRST: &str = "delete from log_pieces where (job, attempt, first_number) =
    (select p.job, p.attempt, p.first_number from log_pieces as p where p.job = ?
    order by p.attempt, p.first_number limit 1)
returning bytes";

/// Consecutive lines of one attempt, as they are kept.
#[derive(Debug)]
pub(in crate::store) struct Piece {
    pub(in crate::store) first: LogPlace,
    pub(in crate::store) last: LogPlace,
    pub(in crate::store) lines: String,
}

/// Largest piece.
pub(in crate::store) const PIECE_BYTES_MAX: usize = 64 * 1024;

impl Statements<'_> {
    /// Adds lines to the log of a job.
    pub(in crate::store) fn keep_lines(self, job: Ordinal, it: &Piece) -> Result<()> {
        let (attempt, first, last) = (it.first.attempt, it.first.number, it.last.number);
        let bytes = i64::try_from(it.lines.len()).unwrap_or(i64::MAX);
        let most = i64::try_from(PIECE_BYTES_MAX).unwrap_or(i64::MAX);
        let extended =
            self.run(EXTEND, params![job.0, attempt, first, last, it.lines, bytes, most])?;
        if extended == 0 {
            self.run(INSERT, params![job.0, attempt, first, last, it.lines, bytes])?;
        }
        Ok(())
    }

    /// The number of the last line that is kept of an attempt; 0 if none is.
    pub(in crate::store) fn last_line(self, job: Ordinal, attempt: u32) -> Result<i64> {
        let mut statement = self.prepared(SELECT_LAST)?;
        statement.query_row(params![job.0, attempt], |row| row.get(0))
    }

    /// Bytes that are kept of the log of a job.
    pub(in crate::store) fn log_bytes(self, job: Ordinal) -> Result<i64> {
        self.prepared(SELECT_BYTES)?.query_row([job.0], |row| row.get(0))
    }

    /// Lets go of the oldest piece of a log; how many bytes it had.
    pub(in crate::store) fn cut_log(self, job: Ordinal) -> Result<i64> {
        let bytes = self.prepared(DELETE_FIRST)?.query_row([job.0], |row| row.get(0)).optional()?;
        Ok(bytes.unwrap_or(i64::MAX))
    }
}
