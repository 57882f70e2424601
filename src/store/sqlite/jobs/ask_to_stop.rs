//! A job that runs is asked to stop.

use rusqlite::OptionalExtension as _;
use uuid::Uuid;

use crate::domain::{JobId, Ordinal, Timestamp};
use crate::store::contract::Failure;
use crate::store::sqlite::error::disagree;
use crate::store::sqlite::slots::Running;
use crate::store::sqlite::txn::Txn;

const ASK_TO_STOP: &str =
    "update calls set version = version + 1, seq = ?2, cancel_requested_at = ?3
where ordinal = ?1 and state = 'running' and cancel_requested_at is null
    and not exists (select 1 from ends as e where e.job = ?1)
returning id";

/// Notes that a job that runs was asked to stop then; it had not been asked before.
pub fn ask_to_stop(
    txn: &mut Txn<'_>,
    job: Ordinal,
    (running, at): (Running, Timestamp),
) -> Result<JobId, Failure> {
    let seq = txn.change_of(job);
    let mut statement = txn.sql.prepared(ASK_TO_STOP)?;
    let id = statement.query_row([job.0, seq, at.0], |row| row.get(0)).optional()?;
    let Some(id) = id else {
        return Err(disagree(format!("job {} does not run", job.0)));
    };
    let running = Running { cancel_requested_at: Some(at), ..running };
    txn.slots.set_running(job, Some(running));
    Ok(JobId(Uuid::from_bytes(id)))
}
