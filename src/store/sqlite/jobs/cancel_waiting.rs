//! A job that waits is cancelled, without being read first.

use rusqlite::Row;
use uuid::Uuid;

use crate::domain::{JobId, Options, Ordinal, Priority, QueueName, State, Timestamp};
use crate::store::codec;
use crate::store::contract::{Ended, Failure};
use crate::store::sqlite::batches::counts;
use crate::store::sqlite::callbacks::due;
use crate::store::sqlite::error::disagree;
use crate::store::sqlite::hot::result_row::ResultRow;
use crate::store::sqlite::jobs::end;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;

/// What [`crate::domain::cancel_pending`] makes of a job, without reading it first.
const CANCEL_UNSTARTED: &str =
    "update calls set state = 'done', version = version + 1, seq = ?2,
    cancel_requested_at = coalesce(cancel_requested_at, ?3), run_at = null, run_at_is_wall = 0, deadline_at = null
where ordinal = ?1 and state = 'pending'
returning id, queue, priority, batch, coalesce(options ->> '$.retention_ms', ?4), version,
    exists (select 1 from callbacks as k where k.job = ?1)";

/// A job that waited and is cancelled.
#[derive(Debug)]
pub struct UnstartedRow {
    pub id: JobId,
    pub queue: QueueName,
    pub priority: Priority,
    pub batch: Option<Ordinal>,
    pub retention_ms: i64,
    pub version: i64,
    pub has_callbacks: bool,
}

/// Cancels one job that waited. The slots has let go of it before.
pub fn cancel_withdrawn(txn: &mut Txn<'_>, job: Ordinal) -> Result<(), Failure> {
    match write_cancel(txn, job)? {
        Some(_) => Ok(()),
        None => Err(disagree(format!("job {} does not wait", job.0))),
    }
}

/// Cancels a job that waits, with its deliveries; false if it does not wait.
pub fn cancel_unstarted(
    txn: &mut Txn<'_>,
    job: Ordinal,
    is_claimed: bool,
) -> Result<bool, Failure> {
    let Some(row) = write_cancel(txn, job)? else { return Ok(false) };
    if row.queue.is_none() {
        txn.slots.withdraw_manual();
        return Ok(true);
    }
    // One that was about to be claimed has left its queue already, and one whose time has not come is in none.
    if !txn.slots.withdraw_anywhere(&row.queue, row.priority, job) && !is_claimed {
        txn.slots.unschedule(&row.queue);
    }
    Ok(true)
}

/// Writes that a job that waits is cancelled, and makes its deliveries due; none if it does not wait.
pub fn write_cancel(txn: &mut Txn<'_>, job: Ordinal) -> Result<Option<UnstartedRow>, Failure> {
    debug_assert!(State::Pending.may_become(State::Cancelled), "the table of transitions");
    let seq = txn.change_of(job);
    let Some(row) = write_cancelled(txn.sql, job, seq, txn.now)? else { return Ok(None) };
    let expires_at = row.batch.is_none().then(|| txn.now.plus_millis(row.retention_ms));
    let end = ResultRow::of_cancelled(job, seq, (txn.now, expires_at));
    end::end_waiting(txn, end, Some(row.version))?;
    if row.has_callbacks {
        due::make_due_of(txn, job, txn.now)?;
    }
    txn.cancelled.push(Ended { id: row.id, ordinal: job, state: State::Cancelled, seq });
    counts::move_between(txn, row.batch, (job, seq), (State::Pending, State::Cancelled))?;
    Ok(Some(row))
}

/// Notes that a job that waits is cancelled, and its end is kept beside it; none if it does not wait.
pub fn write_cancelled(
    sql: Statements<'_>,
    job: Ordinal,
    seq: i64,
    now: Timestamp,
) -> Result<Option<UnstartedRow>, Failure> {
    let mut statement = sql.prepared(CANCEL_UNSTARTED)?;
    let values = [job.0, seq, now.0, Options::RETENTION_MS];
    let mut found = statement.query(values)?;
    found.next()?.map(unstarted).transpose()
}

fn unstarted(row: &Row<'_>) -> Result<UnstartedRow, Failure> {
    let (id, queue): ([u8; 16], String) = (row.get(0)?, row.get(1)?);
    Ok(UnstartedRow {
        id: JobId(Uuid::from_bytes(id)),
        queue: codec::queue(&queue)?,
        priority: Priority::new(row.get(2)?).map_err(codec::damaged)?,
        batch: row.get::<_, Option<i64>>(3)?.map(Ordinal),
        retention_ms: row.get(4)?,
        version: row.get(5)?,
        has_callbacks: row.get(6)?,
    })
}
