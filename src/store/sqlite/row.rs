//! Rows of SQLite to jobs.

use std::sync::Arc;

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::domain::{
    BatchId, BatchSlot, Damage, FailedAttempt, FailedAttempts, FunctionName, Job, JobId, Json,
    OnInterrupt, Options, Ordinal, Priority, RunAt, Spec, State, Timestamp,
};
use crate::store::codec;
use crate::store::contract::Failure;

/// Reads a job from a row of the columns that every `select` of jobs names, in their order.
/// Arguments and result are those that stand in the row; the others are loaded after.
pub fn job(row: &SqliteRow) -> Result<Job, Failure> {
    let mut job = bare_job(row)?;
    let (arguments, result, error): (Option<&str>, Option<&str>, Option<&str>) =
        (row.try_get(16)?, row.try_get(17)?, row.try_get(18)?);
    if let Some(text) = arguments {
        add_arguments(&mut job, row, text)?;
    }
    if let Some(text) = result {
        add_result(&mut job, row, text.to_owned())?;
    }
    if let Some(text) = error {
        job.error = is_outcome_of(&job, row, text)?.then(|| codec::read_error(text).ok()).flatten();
        let is_damaged = job.error.is_none();
        note(&mut job, |damage| &mut damage.outcome, is_damaged);
    }
    let is_of_nobody: bool = row.try_get(OF_NOBODY)?;
    note(&mut job, |damage| &mut damage.outcome, is_of_nobody);
    Ok(job)
}

/// The columns of the sums of what a job was given, and what came of it.
const ARGUMENTS_SUM: usize = 33;

const OUTCOME_SUM: usize = 34;

/// Whether it ran for a server that is gone: a start ends all of those, so what came of it is lost.
const OF_NOBODY: usize = 35;

/// Gives the job its arguments, if they are what was written.
pub fn add_arguments(job: &mut Job, row: &SqliteRow, text: &str) -> Result<(), Failure> {
    let read = are_arguments(row, text)?.then(|| codec::read_arguments(text).ok()).flatten();
    note(job, |damage| &mut damage.arguments, read.is_none());
    let (args, kwargs) = read.unzip();
    // Nobody else has it yet.
    if let Some(spec) = Arc::get_mut(&mut job.spec) {
        (spec.args, spec.kwargs) = (args, kwargs);
    }
    Ok(())
}

/// Gives the job its result, if it is what was written.
pub fn add_result(job: &mut Job, row: &SqliteRow, text: String) -> Result<(), Failure> {
    let read = is_outcome_of(job, row, &text)?.then(|| Json::kept(text).ok()).flatten();
    note(job, |damage| &mut damage.outcome, read.is_none());
    job.result = read;
    Ok(())
}

/// A value of an older schema has no sum.
fn are_arguments(row: &SqliteRow, text: &str) -> Result<bool, Failure> {
    let written: Option<i64> = row.try_get(ARGUMENTS_SUM)?;
    Ok(written.is_none_or(|written| written == codec::sum(text)))
}

/// The same of a result or an error.
fn is_outcome_of(job: &Job, row: &SqliteRow, text: &str) -> Result<bool, Failure> {
    let written: Option<i64> = row.try_get(OUTCOME_SUM)?;
    Ok(written.is_none_or(|written| codec::is_sum_of(written, job.ordinal, text)))
}

fn note(job: &mut Job, part: impl Fn(&mut Damage) -> &mut bool, is_damaged: bool) {
    if is_damaged {
        *part(&mut job.damage) = true;
        tracing::error!(job.id = %job.spec.id, damage = ?job.damage, "what is kept of a job is not what was written");
    }
}

/// Reads a job without arguments, result and error, which are not even looked at.
pub fn bare_job(row: &SqliteRow) -> Result<Job, Failure> {
    let moment = |place: usize| -> Result<Option<Timestamp>, Failure> {
        Ok(row.try_get::<Option<i64>, _>(place)?.map(Timestamp))
    };
    let run_at_is_wall: bool = row.try_get(26)?;
    let labels: Option<&str> = row.try_get(6)?;
    let (tags, metadata) = labels.map_or_else(|| Ok(Default::default()), codec::read_labels)?;
    let batch: Option<i64> = row.try_get(29)?;
    let batch = batch.map(|place| batch_slot(row, Ordinal(place))).transpose()?;
    let spec = Spec {
        id: JobId(codec::uuid(row.try_get(1)?)?),
        function: FunctionName::new(row.try_get(2)?).map_err(codec::damaged)?,
        queue: codec::queue(row.try_get(3)?)?,
        priority: Priority::new(row.try_get(4)?).map_err(codec::damaged)?,
        on_interrupt: codec::known(OnInterrupt::parse, row.try_get(5)?)?,
        tags,
        metadata,
        options: row
            .try_get::<Option<&str>, _>(23)?
            .map_or_else(|| Ok(Options::default()), codec::read_options)?,
        batch,
        created_at: Timestamp(row.try_get(12)?),
        args: None,
        kwargs: None,
    };
    Ok(Job {
        spec: Arc::new(spec),
        ordinal: Ordinal(row.try_get(0)?),
        state: codec::known(State::parse, row.try_get(7)?)?,
        version: row.try_get(8)?,
        attempt: row.try_get(9)?,
        failures: row.try_get(24)?,
        attempts: FailedAttempts::default(),
        attempts_omitted: false,
        interruptions: row.try_get(10)?,
        crashes: row.try_get(11)?,
        run_at: moment(25)?
            .map(|at| if run_at_is_wall { RunAt::Wall(at) } else { RunAt::Monotonic(at) }),
        started_at: moment(13)?,
        finished_at: moment(14)?,
        finished_seq: row.try_get(28)?,
        expires_at: moment(27)?,
        cancel_requested_at: moment(15)?,
        result: None,
        result_omitted: false,
        error: None,
        error_omitted: false,
        progress: None,
        damage: Damage::default(),
        may_have_callbacks: row.try_get(32)?,
    })
}

fn batch_slot(row: &SqliteRow, place: Ordinal) -> Result<BatchSlot, Failure> {
    Ok(BatchSlot { batch: BatchId(codec::uuid(row.try_get(31)?)?), place, index: row.try_get(30)? })
}

/// The attempt of a job that had one and failed: its own row tells all of it.
pub fn only_attempt(job: &Job) -> Option<FailedAttempt> {
    Some(FailedAttempt {
        started_at: job.started_at?,
        finished_at: job.finished_at?,
        error: job.error.clone()?,
    })
}

/// Reads an attempt that failed: when it started and ended, and its error.
pub fn failed_attempt(row: &SqliteRow) -> Result<FailedAttempt, Failure> {
    Ok(FailedAttempt {
        started_at: Timestamp(row.try_get(0)?),
        finished_at: Timestamp(row.try_get(1)?),
        error: codec::read_error(row.try_get(2)?)?,
    })
}
