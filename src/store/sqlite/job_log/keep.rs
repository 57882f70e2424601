//! What jobs write while they run: the tail of it is kept.

use rusqlite::{OptionalExtension as _, params};

use crate::domain::log::LOG_BYTES_MAX;
use crate::domain::{LogLine, LogPlace, Ordinal};
use crate::store::codec;
use crate::store::contract::{Error, Failure};
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::write::{ROW_BYTES, Ran, Write};

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

/// Largest piece.
pub const PIECE_BYTES_MAX: usize = 64 * 1024;

/// Consecutive lines of one attempt, as they are kept.
#[derive(Debug)]
pub struct Piece {
    pub first: LogPlace,
    pub last: LogPlace,
    pub lines: String,
}

#[derive(Debug)]
struct AppendLog {
    job: Ordinal,
    lines: Vec<LogLine>,
}

impl Write for AppendLog {
    type Output = ();

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<()> {
        keep_log_lines(txn, self.job, &self.lines)?;
        Ok(Ok(()))
    }

    fn bytes(&self) -> usize {
        ROW_BYTES + log_bytes_of(&self.lines)
    }
}

impl Sqlite {
    pub async fn append_log(&self, job: Ordinal, lines: Vec<LogLine>) -> Result<(), Error> {
        self.write(AppendLog { job, lines }).await
    }
}

/// About how many bytes these lines take.
pub fn log_bytes_of(lines: &[LogLine]) -> usize {
    lines.iter().map(LogLine::bytes).sum()
}

/// Adds lines of one attempt to the log of its job, and cuts what is too old. Lines that are there already, because
/// nobody heard that they were kept, are passed by.
pub fn keep_log_lines(txn: &mut Txn<'_>, job: Ordinal, lines: &[LogLine]) -> Result<(), Failure> {
    let Some(first) = lines.first() else { return Ok(()) };
    let kept_to = last_line(txn.sql, job, first.place.attempt)?;
    let is_known = lines.partition_point(|line| line.place.number <= kept_to);
    for piece in pieces(&lines[is_known..]) {
        keep_lines(txn.sql, job, &piece)?;
    }
    let mut bytes = log_bytes(txn.sql, job)?;
    let most = i64::try_from(LOG_BYTES_MAX).unwrap_or(i64::MAX);
    while bytes > most {
        bytes -= cut_log(txn.sql, job)?;
    }
    Ok(())
}

/// The lines as pieces, none of which is too large.
fn pieces(lines: &[LogLine]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for line in lines {
        let text = codec::printed(line);
        match pieces.last_mut() {
            Some(piece) if piece.lines.len() + text.len() <= PIECE_BYTES_MAX => {
                piece.lines.push_str(&text);
                piece.last = line.place;
            }
            _ => pieces.push(Piece { first: line.place, last: line.place, lines: text }),
        }
    }
    pieces
}

/// Adds lines to the log of a job.
pub fn keep_lines(sql: Statements<'_>, job: Ordinal, it: &Piece) -> rusqlite::Result<()> {
    let (attempt, first, last) = (it.first.attempt, it.first.number, it.last.number);
    let bytes = i64::try_from(it.lines.len()).unwrap_or(i64::MAX);
    let most = i64::try_from(PIECE_BYTES_MAX).unwrap_or(i64::MAX);
    let extended = sql.run(EXTEND, params![job.0, attempt, first, last, it.lines, bytes, most])?;
    if extended == 0 {
        sql.run(INSERT, params![job.0, attempt, first, last, it.lines, bytes])?;
    }
    Ok(())
}

/// The number of the last line that is kept of an attempt; 0 if none is.
pub fn last_line(sql: Statements<'_>, job: Ordinal, attempt: u32) -> rusqlite::Result<i64> {
    let mut statement = sql.prepared(SELECT_LAST)?;
    statement.query_row(params![job.0, attempt], |row| row.get(0))
}

/// Bytes that are kept of the log of a job.
pub fn log_bytes(sql: Statements<'_>, job: Ordinal) -> rusqlite::Result<i64> {
    sql.prepared(SELECT_BYTES)?.query_row([job.0], |row| row.get(0))
}

/// Lets go of the oldest piece of a log; how many bytes it had.
pub fn cut_log(sql: Statements<'_>, job: Ordinal) -> rusqlite::Result<i64> {
    let bytes = sql.prepared(DELETE_FIRST)?.query_row([job.0], |row| row.get(0)).optional()?;
    Ok(bytes.unwrap_or(i64::MAX))
}
