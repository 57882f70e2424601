//! The outbox: deliveries become due when a job is done.

use crate::domain::{Job, Ordinal, Timestamp};
use crate::store::contract::Failure;
use crate::store::sqlite::jobs::end;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;

/// The outbox: a row for each callback of a job that is done and has none yet.
const MAKE_DUE: &str = "insert into deliveries (callback, job, host, state, next_at)
select c.ordinal, c.job, c.host, 'pending', ?2
from callbacks as c join ends as e on e.job = c.job
where c.job = ?1
order by c.ordinal
on conflict (callback) do nothing";

/// Makes the deliveries of a job that is done due.
pub fn make_due(txn: &mut Txn<'_>, next: &mut Job) -> Result<(), Failure> {
    if let Some(finished_at) = next.finished_at {
        next.may_have_callbacks |= make_due_of(txn, next.ordinal, txn.now.max(finished_at))?;
    }
    Ok(())
}

/// Makes the deliveries of a job due, if it is done; whether there are any.
pub fn make_due_of(txn: &mut Txn<'_>, job: Ordinal, at: Timestamp) -> Result<bool, Failure> {
    end::insert_results(txn)?;
    let is_due = insert_deliveries(txn.sql, job, at)?;
    txn.makes_due |= is_due;
    Ok(is_due)
}

/// Makes the deliveries of a job due, if it is done; whether there are any.
pub fn insert_deliveries(
    sql: Statements<'_>,
    job: Ordinal,
    at: Timestamp,
) -> rusqlite::Result<bool> {
    sql.run(MAKE_DUE, [job.0, at.0]).map(|rows| rows > 0)
}
