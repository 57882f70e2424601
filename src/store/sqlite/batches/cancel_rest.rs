//! No job of a batch starts any more.

use rusqlite::OptionalExtension as _;

use crate::domain::{Ordinal, Timestamp};
use crate::store::contract::{Event, Failure};
use crate::store::sqlite::batches::close;
use crate::store::sqlite::slots::CancelRule;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;

const CANCEL: &str = "update batches set cancel_requested_at = ?2
where ordinal = ?1 and finished_at is null and cancel_requested_at is null";

const SELECT_CANCELLING: &str =
    "select ordinal from batches where finished_at is null and cancel_requested_at is not null";

const SELECT_CANCELS_REST: &str =
    "select on_error = 'cancel' and cancel_requested_at is null from batches where ordinal = ?";

const SELECT_IS_OF: &str = "select exists (select 1 from calls where ordinal = ? and batch = ?)";

/// The batches of which an earlier server did not cancel the rest: no job of them starts.
pub fn keep_cancelling(txn: &mut Txn<'_>) -> Result<Vec<Ordinal>, Failure> {
    let found = cancelling(txn.sql)?;
    for batch in &found {
        txn.slots.add_cancel_rule(CancelRule::Batch(*batch), Ordinal(txn.counters.ordinal));
    }
    Ok(found)
}

/// No job of the batch starts from here on; false if that was so before, or it is done.
pub fn cancel_batch(txn: &mut Txn<'_>, batch: Ordinal) -> Result<bool, Failure> {
    if !note_cancel(txn.sql, batch, txn.now)? {
        return Ok(false);
    }
    txn.slots.add_cancel_rule(CancelRule::Batch(batch), Ordinal(txn.counters.ordinal));
    txn.events.push(Event::BatchCancelling(batch));
    // Whoever brings calls to it brings no more.
    close::write_closed(txn.sql, batch)?;
    txn.tallies.entry(batch).or_default();
    Ok(true)
}

/// Notes that the jobs of a batch are to be cancelled; false if it was noted before, or the batch is done.
pub fn note_cancel(sql: Statements<'_>, batch: Ordinal, now: Timestamp) -> rusqlite::Result<bool> {
    sql.run(CANCEL, [batch.0, now.0]).map(|rows| rows == 1)
}

/// Batches whose jobs are to be cancelled and are not all done.
pub fn cancelling(sql: Statements<'_>) -> rusqlite::Result<Vec<Ordinal>> {
    let mut statement = sql.prepared(SELECT_CANCELLING)?;
    statement.query_map((), |row| row.get(0).map(Ordinal))?.collect()
}

/// Whether the failure of a job cancels the rest of its batch, which nothing has done before.
pub fn cancels_rest(sql: Statements<'_>, batch: Ordinal) -> rusqlite::Result<bool> {
    flag(sql, SELECT_CANCELS_REST, batch)
}

/// Whether a job is of this batch.
pub fn is_of_batch(sql: Statements<'_>, job: Ordinal, batch: Ordinal) -> rusqlite::Result<bool> {
    sql.prepared(SELECT_IS_OF)?.query_row([job.0, batch.0], |row| row.get(0))
}

pub fn flag(sql: Statements<'_>, select: &'static str, batch: Ordinal) -> rusqlite::Result<bool> {
    let found = sql.prepared(select)?.query_row([batch.0], |row| row.get(0)).optional()?;
    Ok(found.unwrap_or(false))
}
