//! The one decision about an attempt that ended: what its job becomes.

use super::{
    ErrorType, FailedAttempt, Job, JobError, Json, OnInterrupt, Outcome, RunAt, State, Timestamp,
    backoff_ms,
};

/// Deaths of the server during one job after which the job is taken to be their cause (G9).
pub const CRASHES_MAX: u32 = 3;
/// Deaths after which a job runs with no other beside it, so that the innocent are not blamed.
pub const CRASHES_SUSPECT: u32 = CRASHES_MAX - 1;

/// What `job` becomes when its running attempt ends with `outcome` at `now`.
///
/// A cancel that was requested before the end wins over everything but a returned value: a function
/// that returns has succeeded, whatever was asked of it (F4). An attempt that failed is followed by
/// another while the job has some left, after a wait that `chance`, from 0 to 1, spreads.
#[must_use]
pub fn settle(job: &Job, outcome: Outcome, now: Timestamp, chance: f64) -> Job {
    let cancel_requested = job.cancel_requested_at.is_some();
    match outcome {
        Outcome::Returned(result) => {
            Job { result: Some(result), ..done(job, State::Succeeded, now) }
        }
        Outcome::Raised(_) | Outcome::Stopped | Outcome::Crashed | Outcome::NotStarted { .. }
            if cancel_requested =>
        {
            done(job, State::Cancelled, now)
        }
        Outcome::Raised(error) => raised(job, error, now, chance),
        Outcome::Cancelled => done(job, State::Cancelled, now),
        Outcome::Stopped => interrupted(job, now),
        Outcome::Crashed => crashed(job, now),
        Outcome::NotStarted { wait_ms, .. } => not_started(job, wait_ms, now),
    }
}

/// What a job that has not started becomes when it is cancelled at `now`.
#[must_use]
pub fn cancel_pending(job: &Job, now: Timestamp) -> Job {
    Job {
        cancel_requested_at: job.cancel_requested_at.or(Some(now)),
        ..done(job, State::Cancelled, now)
    }
}

/// What a manual job becomes when someone completes it at `now`, with a value or with an error (F21). No
/// attempt was made, so there is none to name.
#[must_use]
pub fn complete(job: &Job, end: Result<Json, JobError>, now: Timestamp) -> Job {
    match end {
        Ok(result) => Job { result: Some(result), ..done(job, State::Succeeded, now) },
        Err(error) => failed(job, error, now),
    }
}

/// Whether `job`, seen whole, was completed with this very value or error: to complete it so again changes
/// nothing (F20). Texts are compared, so `1.0` is not `1`.
#[must_use]
pub fn is_completed_so(job: &Job, end: &Result<Json, JobError>) -> bool {
    match end {
        Ok(result) => job.state == State::Succeeded && job.result.as_ref() == Some(result),
        Err(error) => {
            job.error.as_ref().is_some_and(|kept| *kept == error.clone().of_attempt(kept.attempt()))
        }
    }
}

/// A failure counts, and is remembered. The future does not show it while another attempt follows.
fn raised(job: &Job, error: JobError, now: Timestamp, chance: f64) -> Job {
    let asked_ms = error.retry_after().map_or(0, |asked| asked.millis_from(now));
    let error = error.of_attempt(job.attempt);
    let started_at = job.started_at.unwrap_or(now);
    let finished_at = now.max(started_at);
    let mut counted = Job { failures: job.failures.saturating_add(1), ..job.clone() };
    counted.attempts.push(FailedAttempt { started_at, finished_at, error: error.clone() });
    let retry = &job.spec.options.retry;
    if !error.may_be_retried() || counted.failures >= retry.max_attempts {
        return failed(&counted, error, now);
    }
    // Not before whoever was asked wants it, as far as the job allows so long a wait.
    let wait = backoff_ms(retry, counted.failures, chance).max(asked_ms.min(retry.max_ms));
    Job {
        state: State::Pending,
        started_at: None,
        run_at: Some(RunAt::Monotonic(now.plus_millis(wait))),
        version: job.version + 1,
        ..counted
    }
}

/// Nothing ran, so nothing is counted: the job waits as before, a moment longer.
fn not_started(job: &Job, wait_ms: i64, now: Timestamp) -> Job {
    let run_at = (wait_ms > 0).then(|| RunAt::Monotonic(now.plus_millis(wait_ms)));
    Job { state: State::Pending, started_at: None, run_at, version: job.version + 1, ..job.clone() }
}

fn crashed(job: &Job, now: Timestamp) -> Job {
    let counted = Job { crashes: job.crashes.saturating_add(1), ..job.clone() };
    if counted.crashes < CRASHES_MAX {
        return interrupted(&counted, now);
    }
    let message = format!("the server died {} times while this job ran", counted.crashes);
    failed(&counted, JobError::of(ErrorType::CrashLoop, message), now)
}

/// An interruption is no failure: it does not count against the attempts, and by default the job
/// runs again, once more from the beginning.
fn interrupted(job: &Job, now: Timestamp) -> Job {
    let counted = Job { interruptions: job.interruptions.saturating_add(1), ..job.clone() };
    match job.spec.on_interrupt {
        OnInterrupt::Rerun => {
            Job { state: State::Pending, started_at: None, version: job.version + 1, ..counted }
        }
        OnInterrupt::Fail => {
            let message =
                "the server stopped during the attempt, and the job asked not to run again";
            failed(&counted, JobError::of(ErrorType::Interrupted, message), now)
        }
    }
}

fn failed(job: &Job, error: JobError, now: Timestamp) -> Job {
    let error = error.of_attempt(job.attempt);
    Job { error: Some(error), ..done(job, State::Failed, now) }
}

fn done(job: &Job, state: State, now: Timestamp) -> Job {
    // The clock may have been set back since the start; a job never ends before it began.
    let finished_at = now.max(job.started_at.unwrap_or(now));
    // The jobs of a batch go with it.
    let expires_at = finished_at.plus_millis(job.spec.options.retention_ms);
    Job {
        state,
        version: job.version + 1,
        run_at: None,
        finished_at: Some(finished_at),
        expires_at: job.spec.batch.is_none().then_some(expires_at),
        ..job.clone()
    }
}

#[cfg(test)]
mod tests;
