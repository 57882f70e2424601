//! What waits starts as soon as it has a slot, in the commit that gives it one.

use std::sync::Arc;

use rusqlite::OptionalExtension as _;

use crate::domain::{Job, Ordinal, State, Timestamp};
use crate::store::contract::{Claimed, Failure};
use crate::store::sqlite::batches::{cancel_rest, counts};
use crate::store::sqlite::error::disagree;
use crate::store::sqlite::jobs::{cancel_many, cancel_waiting};
use crate::store::sqlite::slots::{CancelRule, Running};
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;

/// Jobs that one group cancels where it would have claimed them. What is left is for the next one.
const AT_CLAIMS_MAX: usize = 500;

const CLAIM_JOB: &str =
    "update calls set state = 'running', attempt = attempt + 1, version = version + 1, seq = ?2, epoch = ?3,
    started_at = max(?4, created_at), deadline_at = null
where ordinal = ?1 and state = 'pending'
returning attempt, batch, version";

/// Starts what waits and has a slot now.
pub fn claim(txn: &mut Txn<'_>) -> Result<(), Failure> {
    while let Some(ordinal) = next_claim(txn) {
        if txn.slots.has_cancel_rules() && is_cancelled_at_claim(txn, ordinal)? {
            continue;
        }
        let seq = txn.change_of(ordinal);
        let fresh = txn.slots.take_cached(ordinal);
        let claim = claim_job(txn.sql, ordinal, seq, txn.counters.epoch, txn.now)?;
        let Some((attempt, batch, version)) = claim else {
            return Err(disagree(format!("job {} does not wait", ordinal.0)));
        };
        counts::move_between(txn, batch, (ordinal, seq), (State::Pending, State::Running))?;
        let running = Running { attempt, ..Running::default() };
        txn.slots.set_running(ordinal, Some(running));
        let known = fresh.filter(|it| it.job.version + 1 == version);
        let known = known.map(|it| (started(it.job, version, txn.now), it.bound));
        txn.claimed.push(Claimed { ordinal, known });
    }
    Ok(())
}

/// What waits, has a slot now, and may take it in this group.
pub fn next_claim(txn: &mut Txn<'_>) -> Option<Ordinal> {
    if has_cancelled_enough(txn) { None } else { txn.slots.claim() }
}

/// Whether a job that was just claimed is cancelled instead of being started.
pub fn is_cancelled_at_claim(txn: &mut Txn<'_>, job: Ordinal) -> Result<bool, Failure> {
    let rules = txn.slots.cancel_rules_for(job);
    for (number, rule) in rules {
        let is_meant = match &*rule {
            CancelRule::Jobs(jobs) => jobs.contains(&job),
            CancelRule::Matching(filter) => cancel_many::is_meant(txn.sql, job, filter)?,
            CancelRule::Batch(batch) => cancel_rest::is_of_batch(txn.sql, job, *batch)?,
        };
        if is_meant {
            txn.slots.drop_claim(job);
            txn.slots.count_cancelled(number);
            if !cancel_waiting::cancel_unstarted(txn, job, true)? {
                return Err(disagree(format!("job {} does not wait", job.0)));
            }
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether this group has cancelled so many where it would have claimed them that the next one goes on.
pub fn has_cancelled_enough(txn: &Txn<'_>) -> bool {
    txn.slots.has_cancel_rules() && txn.cancelled.len() >= AT_CLAIMS_MAX
}

/// The attempt that the claim begins, the job's batch and its version; none if the job does not wait.
pub fn claim_job(
    sql: Statements<'_>,
    ordinal: Ordinal,
    seq: i64,
    epoch: i64,
    now: Timestamp,
) -> rusqlite::Result<Option<(u32, Option<Ordinal>, i64)>> {
    let mut statement = sql.prepared(CLAIM_JOB)?;
    let claimed = |row: &rusqlite::Row<'_>| {
        Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?.map(Ordinal), row.get(2)?))
    };
    statement.query_row([ordinal.0, seq, epoch, now.0], claimed).optional()
}

/// A job that nobody has touched since it was submitted, as its claim leaves it.
fn started(job: Arc<Job>, version: i64, now: Timestamp) -> Arc<Job> {
    let started_at = Some(now.max(job.spec.created_at));
    let job = Arc::unwrap_or_clone(job);
    Arc::new(Job { state: State::Running, attempt: job.attempt + 1, version, started_at, ..job })
}
