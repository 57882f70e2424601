//! How jobs end: what was written of a job stays, and its end is added. Those that one group brings are inserted together.

use rusqlite::params;

use crate::domain::{Job, Ordinal, RunAt, State, Timestamp};
use crate::store::contract::{Event, Failure, NextTimer};
use crate::store::sqlite::batches::counts;
use crate::store::sqlite::error::disagree;
use crate::store::sqlite::hot::multi_row_insert::ROWS_PER_INSERT;
use crate::store::sqlite::hot::result_row::{ResultColumns, ResultRow};
use crate::store::sqlite::jobs::indexing;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::values::stored::Stored;

/// Of a job that waited only the database knows the version for sure, since whoever ends it may have read it long before.
const INSERT_OF: &str = "insert into ends (job, seq, version, finished_at, expires_at, result, result_bytes, sum,
    state, indexed, result_payload, error)
select ordinal, seq, version, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 from calls where ordinal = ?1 and state = 'done'";

/// The state of a call whose job has an end.
const DONE: &str = "done";

/// What the end of an attempt, or of the waiting, assumes of the row.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    pub from: State,
    pub attempt: Option<u32>,
}

/// Writes the end of an attempt, or of the waiting.
pub fn end(
    txn: &mut Txn<'_>,
    next: &mut Job,
    guard: Guard,
    result: Option<&Stored<'_>>,
) -> Result<(), Failure> {
    let (from, to) = (guard.from, next.state);
    debug_assert!(from.may_become(to), "{from} may not become {to}");
    let seq = txn.change_of(next.ordinal);
    next.finished_seq = next.is_done().then_some(seq);
    let deadline = next.deadline(txn.now);
    // A value changes nothing of what was written before.
    let is_as_it_ran = from == State::Running && to == State::Succeeded;
    if !is_as_it_ran && !write_leave(txn.sql, next, deadline, (guard, seq))? {
        let attempt = guard.attempt;
        return Err(disagree(format!("job {} is not {from} in {attempt:?}", next.ordinal.0)));
    }
    let is_unfinished = txn.slots.running(next.ordinal).is_none_or(|it| it.indexed);
    match end_of(txn, next, result) {
        Some(end) => {
            keep_end(txn, end, guard.attempt.map(|_| next.version))?;
            if is_unfinished {
                is_finished(txn, next.ordinal)?;
            }
        }
        None if is_unfinished => {}
        None => txn.sql.hot.insert_unfinished(&[next.ordinal])?,
    }
    waits_for(txn, next, deadline);
    let batch = next.spec.batch.map(|of| of.place);
    counts::move_between(txn, batch, (next.ordinal, seq), (from, to))
}

/// A job that was kept among those that are not done has an end.
pub fn is_finished(txn: &Txn<'_>, job: Ordinal) -> Result<(), Failure> {
    match indexing::delete_unfinished(txn.sql, job)? {
        true => Ok(()),
        false => Err(disagree(format!("job {} is not among the unfinished", job.0))),
    }
}

/// Keeps the end of a job that waited, whose row says that it is done, and of which version it is now, if that is known.
pub fn end_waiting(txn: &mut Txn<'_>, end: ResultRow, version: Option<i64>) -> Result<(), Failure> {
    is_finished(txn, end.job)?;
    keep_end(txn, end, version)
}

pub fn end_of(txn: &Txn<'_>, next: &Job, result: Option<&Stored<'_>>) -> Option<ResultRow> {
    let (finished_at, seq) = (next.finished_at?, next.finished_seq?);
    let outcome = match (&next.result, result, &next.error) {
        (Some(value), Some(stored), _) => ResultColumns::returned(next.ordinal, value, stored),
        (_, _, Some(error)) => ResultColumns::failed(next.ordinal, error),
        _ => ResultColumns::default(),
    };
    let (job, state, expires_at) = (next.ordinal, next.state, next.expires_at);
    let indexed = indexing::expires_by_index(txn, next);
    Some(ResultRow { job, state, seq, finished_at, expires_at, indexed, outcome, version: None })
}

/// Keeps the end of a job that is of that version now; none: only its row says of which.
pub fn keep_end(txn: &mut Txn<'_>, end: ResultRow, version: Option<i64>) -> Result<(), Failure> {
    if let Some(at) = end.expires_at.filter(|_| !end.indexed) {
        txn.counters.expires(end.job, at);
    }
    let Some(version) = version else {
        let job = end.job;
        return match insert_end_of(txn.sql, &end)? {
            true => Ok(()),
            false => Err(disagree(format!("job {} is not done", job.0))),
        };
    };
    txn.results.push(ResultRow { version: Some(version), ..end });
    if txn.results.len() == ROWS_PER_INSERT { insert_results(txn) } else { Ok(()) }
}

/// Inserts the ends that are not inserted yet.
pub fn insert_results(txn: &mut Txn<'_>) -> Result<(), Failure> {
    txn.sql.hot.insert_results(&txn.results)?;
    txn.results.clear();
    Ok(())
}

/// Tells what a job waits for. Most wait for nothing but a slot.
pub fn waits_for(txn: &mut Txn<'_>, job: &Job, deadline: Option<Timestamp>) {
    let wall = match job.run_at {
        Some(RunAt::Wall(at)) => Some(at),
        Some(RunAt::Monotonic(_)) | None => None,
    };
    if deadline.is_some() || wall.is_some() {
        txn.events.push(Event::Waits(NextTimer { deadline, wall }));
    }
}

/// Notes that a job neither runs nor waits as it did: it waits once more, or is done, and its end is kept beside it. False
/// if the guard does not hold.
fn write_leave(
    sql: Statements<'_>,
    next: &Job,
    deadline: Option<Timestamp>,
    (guard, seq): (Guard, i64),
) -> rusqlite::Result<bool> {
    let state = if next.is_done() { DONE } else { next.state.as_str() };
    let values = params![
        next.ordinal.0,
        guard.from.as_str(),
        guard.attempt,
        state,
        guard.attempt.map(|_| next.version),
        seq,
        guard.attempt.map(|_| next.interruptions),
        guard.attempt.map(|_| next.crashes),
        next.cancel_requested_at.map(|at| at.0),
        guard.attempt.map(|_| next.failures),
        next.run_at.map(|it| it.at().0),
        deadline.map(|at| at.0),
    ];
    sql.hot.leave(values).map(|rows| rows == 1)
}

/// Keeps the end of a job of which only its row says the version; false if its row does not say that it is done.
pub fn insert_end_of(sql: Statements<'_>, it: &ResultRow) -> rusqlite::Result<bool> {
    let ResultRow { job, state, finished_at, expires_at, indexed, outcome, .. } = it;
    let values = params![
        job.0,
        finished_at.0,
        expires_at.map(|at| at.0),
        outcome.result(),
        outcome.bytes,
        outcome.sum,
        state.as_str(),
        indexed,
        outcome.payload,
        outcome.error,
    ];
    sql.run(INSERT_OF, values).map(|rows| rows == 1)
}
