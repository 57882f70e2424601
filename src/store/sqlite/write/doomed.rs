//! Waiting jobs that are cancelled many at a time.

use rusqlite::{Row, params};

use crate::domain::{JobId, Options, Ordinal, Priority, QueueName, Timestamp};
use crate::store::Error;
use crate::store::ledger::Cancelling;
use crate::store::sqlite::rows;

use super::Statements;

/// A job that is not done, and whether a shutdown has marked it: it waits, and has not changed since.
const SELECT_UNFINISHED: &str = "select c.ordinal, c.id, c.priority, c.options,
    c.queue = ?3 and c.state = 'pending' and c.seq <= ?4, c.run_at is not null, c.batch
from unfinished as u cross join calls as c on c.ordinal = u.job
where u.job > ?1 and u.job <= ?2 order by u.job limit ?5";
const CANCEL_WAITING: &str =
    "update calls set state = 'done', version = version + 1, seq = ?2,
    cancel_requested_at = coalesce(cancel_requested_at, ?3), run_at = null, run_at_is_wall = 0, deadline_at = null
where ordinal = ?1 and state = 'pending'";

/// What is to be known of a waiting job to cancel it.
#[derive(Debug)]
pub(in crate::store) struct WaitingRow {
    pub(in crate::store) ordinal: Ordinal,
    pub(in crate::store) id: JobId,
    pub(in crate::store) priority: Priority,
    pub(in crate::store) retention_ms: i64,
    pub(in crate::store) batch: Option<Ordinal>,
    pub(in crate::store) is_marked: bool,
    /// Whether its time to start has not come.
    pub(in crate::store) is_scheduled: bool,
}

impl Statements<'_> {
    /// The next jobs that are not done, of whatever queue; those of `queue` that wait since `cancel_to`
    /// are marked.
    pub(in crate::store) fn unfinished(
        self,
        within: Cancelling,
        queue: &QueueName,
        cancel_to: i64,
        limit: usize,
    ) -> Result<Vec<WaitingRow>, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let values = params![within.after.0, within.to.0, queue.as_str(), cancel_to, limit];
        let mut statement = self.prepared(SELECT_UNFINISHED)?;
        let mut found = statement.query(values)?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            rows.push(waiting(row)?);
        }
        Ok(rows)
    }

    /// Notes that a job that waits is cancelled, and its end is kept beside it; false if it does not wait.
    pub(in crate::store) fn cancel_waiting(
        self,
        ordinal: Ordinal,
        seq: i64,
        now: Timestamp,
    ) -> rusqlite::Result<bool> {
        self.run(CANCEL_WAITING, [ordinal.0, seq, now.0]).map(|rows| rows == 1)
    }
}

fn waiting(row: &Row<'_>) -> Result<WaitingRow, Error> {
    let id: Vec<u8> = row.get(1)?;
    let options: Option<String> = row.get(3)?;
    let options: Option<Options> = options.as_deref().map(rows::read_options).transpose()?;
    Ok(WaitingRow {
        ordinal: Ordinal(row.get(0)?),
        id: JobId(rows::uuid(&id)?),
        priority: Priority::new(row.get(2)?).map_err(rows::damaged)?,
        retention_ms: options.unwrap_or_default().retention_ms,
        is_marked: row.get(4)?,
        is_scheduled: row.get(5)?,
        batch: row.get::<_, Option<i64>>(6)?.map(Ordinal),
    })
}
