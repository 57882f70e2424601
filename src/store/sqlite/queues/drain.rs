//! Waiting jobs that a shutdown cancels, in portions: no group is held up by a million of them.

use rusqlite::{Row, params};

use crate::domain::{Ordinal, Priority, QueueName};
use crate::store::codec;
use crate::store::contract::Failure;
use crate::store::sqlite::error::disagree;
use crate::store::sqlite::jobs::cancel_waiting;
use crate::store::sqlite::slots::CancelCursor;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;

/// Rows that one group looks at, and so the most that it cancels.
pub const PORTION: usize = 1_000;

/// The same in a group that others wait for.
pub const PORTION_AMONG_OTHERS: usize = 250;

/// A job that is not done, and whether a shutdown has marked it: it waits, and has not changed since.
const SELECT_UNFINISHED: &str = "select c.ordinal, c.priority,
    c.queue = ?3 and c.state = 'pending' and c.seq <= ?4, c.run_at is not null
from unfinished as u cross join calls as c on c.ordinal = u.job
where u.job > ?1 and u.job <= ?2 order by u.job limit ?5";

/// What is to be known of a waiting job to take it from its queue.
#[derive(Debug)]
pub struct WaitingRow {
    pub ordinal: Ordinal,
    pub priority: Priority,
    pub is_marked: bool,
    /// Whether its time to start has not come.
    pub is_scheduled: bool,
}

/// Goes on with cancelling what shutdowns have marked, as far as this group's portion reaches.
pub fn cancel_marked(txn: &mut Txn<'_>) -> Result<(), Failure> {
    while txn.portion_left > 0 {
        let next = txn.slots.next_cancelling();
        let Some((queue, cancelling)) = next.map(|(name, it)| (name.clone(), it)) else {
            return Ok(());
        };
        cancel_portion(txn, &queue, cancelling)?;
    }
    Ok(())
}

/// Leaves at most so many rows for what this group cancels.
pub fn limit_portion(txn: &mut Txn<'_>, most: usize) {
    txn.portion_left = txn.portion_left.min(most);
}

pub fn cancel_portion(
    txn: &mut Txn<'_>,
    queue: &QueueName,
    at: CancelCursor,
) -> Result<(), Failure> {
    let cancel_to = txn.slots.kept(queue).and_then(|kept| kept.cancel_to).unwrap_or(0);
    let rows = unfinished(txn.sql, at, queue, cancel_to, txn.portion_left)?;
    let last = rows.last().map(|row| row.ordinal).filter(|_| rows.len() == txn.portion_left);
    for row in rows.iter().filter(|row| row.is_marked) {
        if row.is_scheduled {
            txn.slots.unschedule(queue);
        } else if !txn.slots.withdraw_anywhere(queue, row.priority, row.ordinal) {
            return Err(disagree(format!("job {} waits nowhere", row.ordinal.0)));
        }
        cancel_waiting::cancel_withdrawn(txn, row.ordinal)?;
    }
    txn.portion_left -= rows.len();
    let next = last.map(|after| CancelCursor { after, ..at });
    txn.slots.set_cancel_cursor(queue, next);
    Ok(())
}

/// The next jobs that are not done, of whatever queue; those of `queue` that wait since `cancel_to`
/// are marked.
pub fn unfinished(
    sql: Statements<'_>,
    within: CancelCursor,
    queue: &QueueName,
    cancel_to: i64,
    limit: usize,
) -> Result<Vec<WaitingRow>, Failure> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = params![within.after.0, within.to.0, queue.as_str(), cancel_to, limit];
    let mut statement = sql.prepared(SELECT_UNFINISHED)?;
    let mut found = statement.query(values)?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        rows.push(waiting(row)?);
    }
    Ok(rows)
}

fn waiting(row: &Row<'_>) -> Result<WaitingRow, Failure> {
    Ok(WaitingRow {
        ordinal: Ordinal(row.get(0)?),
        priority: Priority::new(row.get(1)?).map_err(codec::damaged)?,
        is_marked: row.get(2)?,
        is_scheduled: row.get(3)?,
    })
}
