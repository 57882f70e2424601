//! What jobs write while they run, and what is left of it.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::domain::{LogLine, LogPlace, LogStream, Ordinal};

use super::change::Change;
use super::sqlite::rows;
use super::{Error, Store};

/// From the piece on that the place is in.
const SELECT_PIECES: &str = "select attempt, lines from log_pieces
where job = ?1 and (attempt > ?2 or (attempt = ?2 and last_number > ?3))
order by attempt, first_number";

impl Store {
    /// Adds lines to the log of a job.
    ///
    /// # Errors
    /// A failure of the disk.
    pub async fn keep_log(&self, job: Ordinal, lines: Vec<LogLine>) -> Result<(), Error> {
        self.write(|reply| Change::KeepLog { job, lines, reply }).await
    }

    /// The lines of a job's log that are kept, behind `after`: at most 1 MiB of them.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn log(&self, job: Ordinal, after: LogPlace) -> Result<Vec<LogLine>, Error> {
        let query = sqlx::query(SELECT_PIECES).bind(job.0).bind(after.attempt).bind(after.number);
        let mut lines = Vec::new();
        for row in query.fetch_all(&self.readers).await? {
            read_piece(&row, after, &mut lines)?;
        }
        Ok(lines)
    }
}

fn read_piece(row: &SqliteRow, after: LogPlace, lines: &mut Vec<LogLine>) -> Result<(), Error> {
    let (attempt, text): (u32, &str) = (row.try_get(0)?, row.try_get(1)?);
    for line in text.lines() {
        let (number, stream, text): (i64, &str, String) =
            serde_json::from_str(line).map_err(rows::damaged)?;
        let place = LogPlace { attempt, number };
        if place > after {
            lines.push(LogLine { place, stream: rows::known(LogStream::parse, stream)?, text });
        }
    }
    Ok(())
}
