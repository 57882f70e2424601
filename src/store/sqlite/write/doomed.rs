//! Waiting jobs that are cancelled many at a time.

use rusqlite::{Row, params};

use crate::domain::{Ordinal, Priority, QueueName};
use crate::store::Error;
use crate::store::ledger::Cancelling;
use crate::store::sqlite::rows;

use super::Statements;

/// A job that is not done, and whether a shutdown has marked it: it waits, and has not changed since.
const SELECT_UNFINISHED: &str = "select c.ordinal, c.priority,
    c.queue = ?3 and c.state = 'pending' and c.seq <= ?4, c.run_at is not null
from unfinished as u cross join calls as c on c.ordinal = u.job
where u.job > ?1 and u.job <= ?2 order by u.job limit ?5";

/// What is to be known of a waiting job to take it from its queue.
#[derive(Debug)]
pub(in crate::store) struct WaitingRow {
    pub(in crate::store) ordinal: Ordinal,
    pub(in crate::store) priority: Priority,
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
}

fn waiting(row: &Row<'_>) -> Result<WaitingRow, Error> {
    Ok(WaitingRow {
        ordinal: Ordinal(row.get(0)?),
        priority: Priority::new(row.get(1)?).map_err(rows::damaged)?,
        is_marked: row.get(2)?,
        is_scheduled: row.get(3)?,
    })
}
