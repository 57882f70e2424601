//! The counts of batches move with their jobs, once in a group, and make due what callbacks waited for.

use rusqlite::{OptionalExtension as _, Row, params};
use uuid::Uuid;

use crate::domain::{BatchId, Counts, Ordinal, State, Timestamp, When};
use crate::store::contract::{Event, Failure};
use crate::store::sqlite::batches::{cancel_rest, ends};
use crate::store::sqlite::error::disagree;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;

const COUNT: &str =
    "update batches set total = total + ?2, running = running + ?3, succeeded = succeeded + ?4,
    failed = failed + ?5, cancelled = cancelled + ?6
where ordinal = ?1
returning id, total, running, succeeded, failed, cancelled, closed, retention_ms, finished_at is not null";

const FINISH: &str = "update batches set finished_at = ?2, expires_at = ?3
where ordinal = ?1 and finished_at is null and closed = 1";

const MAKE_DUE: &str = "insert into deliveries (callback, batch, host, state, next_at)
select c.ordinal, c.batch, c.host, 'pending', ?3
from callbacks as c
where c.batch = ?1 and c.at_event = ?2
order by c.ordinal
on conflict (callback) do nothing";

/// A batch after its counts have moved.
#[derive(Clone, Copy, Debug)]
pub struct CountedRow {
    pub id: BatchId,
    pub counts: Counts,
    pub is_closed: bool,
    pub retention_ms: i64,
    pub is_done: bool,
}

/// Notes that a job of `batch` stands elsewhere since the change at `seq`. A failure may cancel the rest (E8).
pub fn move_between(
    txn: &mut Txn<'_>,
    batch: Option<Ordinal>,
    (job, seq): (Ordinal, i64),
    (from, to): (State, State),
) -> Result<(), Failure> {
    let Some(batch) = batch else { return Ok(()) };
    txn.tallies.entry(batch).or_default().move_between(from, to);
    if to.is_done() {
        ends::has_ended_of(txn, batch, (job, seq))?;
    }
    if to == State::Failed && cancel_rest::cancels_rest(txn.sql, batch)? {
        cancel_rest::cancel_batch(txn, batch)?;
    }
    Ok(())
}

/// Moves the counts of each batch by what this group did, and makes due what its callbacks waited for.
pub fn count_batches(txn: &mut Txn<'_>) -> Result<(), Failure> {
    for (batch, change) in std::mem::take(&mut txn.tallies) {
        let Some(row) = count_batch(txn.sql, batch, change)? else {
            return Err(disagree(format!("there is no batch {}", batch.0)));
        };
        let ends = !row.is_done && row.is_closed && row.counts.done() == row.counts.total;
        if ends {
            finish_batch(txn, batch, row.retention_ms)?;
        }
        let (is_done, before) = (row.is_done || ends, row.counts.before(change));
        for when in When::ALL {
            if when.is_met(row.counts, is_done) && !when.is_met(before, row.is_done) {
                txn.makes_due |= make_batch_due(txn.sql, batch, when, txn.now)?;
            }
        }
        txn.events.push(Event::Batch(row.id));
    }
    Ok(())
}

pub fn finish_batch(txn: &mut Txn<'_>, batch: Ordinal, retention_ms: i64) -> Result<(), Failure> {
    let expires_at = txn.now.plus_millis(retention_ms);
    if !write_end(txn.sql, batch, txn.now, expires_at)? {
        return Err(disagree(format!("batch {} is done already", batch.0)));
    }
    txn.slots.drop_cancel_rule_of(batch);
    Ok(())
}

/// Moves the counts of a batch; none if there is no such batch.
pub fn count_batch(
    sql: Statements<'_>,
    batch: Ordinal,
    change: Counts,
) -> rusqlite::Result<Option<CountedRow>> {
    let Counts { total, running, succeeded, failed, cancelled } = change;
    let values = [batch.0, total, running, succeeded, failed, cancelled];
    sql.prepared(COUNT)?.query_row(values, counted).optional()
}

/// Ends a batch; false if it was done before, or is not closed.
pub fn write_end(
    sql: Statements<'_>,
    batch: Ordinal,
    now: Timestamp,
    expires_at: Timestamp,
) -> rusqlite::Result<bool> {
    sql.run(FINISH, [batch.0, now.0, expires_at.0]).map(|rows| rows == 1)
}

/// Makes the deliveries due of callbacks that waited for this; whether there are any.
pub fn make_batch_due(
    sql: Statements<'_>,
    batch: Ordinal,
    when: When,
    at: Timestamp,
) -> rusqlite::Result<bool> {
    sql.run(MAKE_DUE, params![batch.0, when.as_str(), at.0]).map(|rows| rows > 0)
}

fn counted(row: &Row<'_>) -> rusqlite::Result<CountedRow> {
    Ok(CountedRow {
        id: BatchId(Uuid::from_bytes(row.get(0)?)),
        counts: Counts {
            total: row.get(1)?,
            running: row.get(2)?,
            succeeded: row.get(3)?,
            failed: row.get(4)?,
            cancelled: row.get(5)?,
        },
        is_closed: row.get(6)?,
        retention_ms: row.get(7)?,
        is_done: row.get(8)?,
    })
}
