//! What is left of the logs of jobs.

use crate::domain::{LogLine, LogPlace, Ordinal};
use sqlx::Row as _;

use crate::store::codec;
use crate::store::contract::Failure;
use crate::store::sqlite::handle::Sqlite;

/// From the piece on that the place is in.
const SELECT_PIECES: &str = "select attempt, lines from log_pieces
where job = ?1 and (attempt > ?2 or (attempt = ?2 and last_number > ?3))
order by attempt, first_number";

impl Sqlite {
    pub async fn log(&self, job: Ordinal, after: LogPlace) -> Result<Vec<LogLine>, Failure> {
        let query = sqlx::query(SELECT_PIECES).bind(job.0).bind(after.attempt).bind(after.number);
        let mut lines = Vec::new();
        for row in query.fetch_all(&self.readers).await? {
            codec::read_lines((row.try_get(0)?, row.try_get(1)?), after, &mut lines)?;
        }
        Ok(lines)
    }
}
