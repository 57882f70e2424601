//! Rows of SQLite to values of the domain, and back.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::value::RawValue;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::domain::{
    BatchId, Clocks, Damage, ErrorType, FailedAttempt, FailedAttempts, FunctionName, Job, JobError,
    JobId, Json, Membership, Metadata, OnInterrupt, Options, Ordinal, Priority, QueueName, Retry,
    RunAt, Spec, State, Tags, Timestamp,
};
use crate::store::{Error, payload};

/// Reads a job from a row of the columns that every `select` of jobs names, in their order.
/// Arguments and result are those that stand in the row; the others are loaded after.
pub(in crate::store) fn job(row: &SqliteRow) -> Result<Job, Error> {
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
        job.error = is_outcome_of(&job, row, text)?.then(|| read_error(text).ok()).flatten();
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
pub(in crate::store) fn add_arguments(
    job: &mut Job,
    row: &SqliteRow,
    text: &str,
) -> Result<(), Error> {
    let read = are_arguments(row, text)?.then(|| read_arguments(text).ok()).flatten();
    note(job, |damage| &mut damage.arguments, read.is_none());
    let (args, kwargs) = read.unzip();
    // Nobody else has it yet.
    if let Some(spec) = Arc::get_mut(&mut job.spec) {
        (spec.args, spec.kwargs) = (args, kwargs);
    }
    Ok(())
}

/// Gives the job its result, if it is what was written.
pub(in crate::store) fn add_result(
    job: &mut Job,
    row: &SqliteRow,
    text: String,
) -> Result<(), Error> {
    let read = is_outcome_of(job, row, &text)?.then(|| Json::kept(text).ok()).flatten();
    note(job, |damage| &mut damage.outcome, read.is_none());
    job.result = read;
    Ok(())
}

/// A value of an older schema has no sum.
fn are_arguments(row: &SqliteRow, text: &str) -> Result<bool, Error> {
    let written: Option<i64> = row.try_get(ARGUMENTS_SUM)?;
    Ok(written.is_none_or(|written| written == payload::sum(text)))
}

/// The same of a result or an error.
fn is_outcome_of(job: &Job, row: &SqliteRow, text: &str) -> Result<bool, Error> {
    let written: Option<i64> = row.try_get(OUTCOME_SUM)?;
    Ok(written.is_none_or(|written| payload::is_sum_of(written, job.ordinal, text)))
}

fn note(job: &mut Job, part: impl Fn(&mut Damage) -> &mut bool, is_damaged: bool) {
    if is_damaged {
        *part(&mut job.damage) = true;
        tracing::error!(job.id = %job.spec.id, damage = ?job.damage, "what is kept of a job is not what was written");
    }
}

/// Reads a job without arguments, result and error, which are not even looked at.
pub(in crate::store) fn bare_job(row: &SqliteRow) -> Result<Job, Error> {
    let moment = |place: usize| -> Result<Option<Timestamp>, Error> {
        Ok(row.try_get::<Option<i64>, _>(place)?.map(Timestamp))
    };
    let run_at_is_wall: bool = row.try_get(26)?;
    let labels: Option<&str> = row.try_get(6)?;
    let (tags, metadata) = labels.map_or_else(|| Ok(Default::default()), read_labels)?;
    let batch: Option<i64> = row.try_get(29)?;
    let batch = batch.map(|place| membership(row, Ordinal(place))).transpose()?;
    let spec = Spec {
        id: JobId(uuid(row.try_get(1)?)?),
        function: FunctionName::new(row.try_get(2)?).map_err(damaged)?,
        queue: queue(row.try_get(3)?)?,
        priority: Priority::new(row.try_get(4)?).map_err(damaged)?,
        on_interrupt: known(OnInterrupt::parse, row.try_get(5)?)?,
        tags,
        metadata,
        options: row
            .try_get::<Option<&str>, _>(23)?
            .map_or_else(|| Ok(Options::default()), read_options)?,
        batch,
        created_at: Timestamp(row.try_get(12)?),
        args: None,
        kwargs: None,
    };
    Ok(Job {
        spec: Arc::new(spec),
        ordinal: Ordinal(row.try_get(0)?),
        state: known(State::parse, row.try_get(7)?)?,
        version: row.try_get(8)?,
        attempt: row.try_get(9)?,
        failures: row.try_get(24)?,
        attempts: FailedAttempts::default(),
        attempts_omitted: false,
        interruptions: row.try_get(10)?,
        crashes: row.try_get(11)?,
        run_at: moment(25)?
            .map(|at| if run_at_is_wall { RunAt::Wall(at) } else { RunAt::Counted(at) }),
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

fn membership(row: &SqliteRow, place: Ordinal) -> Result<Membership, Error> {
    Ok(Membership { batch: BatchId(uuid(row.try_get(31)?)?), place, index: row.try_get(30)? })
}

/// Reads the name of a queue; a manual job is in none.
pub(in crate::store) fn queue(name: &str) -> Result<QueueName, Error> {
    if name.is_empty() { Ok(QueueName::none()) } else { QueueName::kept(name).map_err(damaged) }
}

/// Reads `[[…],{…}]`, as arguments are kept.
pub(in crate::store) fn read_arguments(text: &str) -> Result<(Json, Json), Error> {
    let (args, kwargs): (&RawValue, &RawValue) = serde_json::from_str(text).map_err(damaged)?;
    Ok((Json::of(args), Json::of(kwargs)))
}

/// Reads 16 bytes as an id.
pub(in crate::store) fn uuid(bytes: &[u8]) -> Result<Uuid, Error> {
    Uuid::from_slice(bytes).map_err(damaged)
}

/// Reads a word of one of our closed sets.
pub(in crate::store) fn known<T>(
    parse: impl Fn(&str) -> Option<T>,
    word: &str,
) -> Result<T, Error> {
    parse(word).ok_or_else(|| Error::Damaged(format!("'{word}' stands where it cannot")))
}

/// What does not read back as what was written.
pub(in crate::store) fn damaged(error: impl std::fmt::Display) -> Error {
    Error::Damaged(error.to_string())
}

/// Tags and metadata as one text; none for a job that has neither.
pub(in crate::store) fn labels(spec: &Spec) -> Option<String> {
    let (tags, metadata) = (spec.tags.as_slice(), spec.metadata.as_slice());
    if tags.is_empty() && metadata.is_empty() {
        return None;
    }
    serde_json::to_string(&(tags, metadata)).ok()
}

fn read_labels(text: &str) -> Result<(Tags, Metadata), Error> {
    let (tags, metadata): (Vec<String>, Vec<(String, String)>) =
        serde_json::from_str(text).map_err(damaged)?;
    Ok((Tags::new(tags).map_err(damaged)?, Metadata::kept(metadata)))
}

/// What differs from the default, and so is kept.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct OptionsText {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry: Option<(u32, i64, f64, i64, f64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_timeout_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run_timeout_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    total_timeout_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retention_ms: Option<i64>,
    #[serde(default)]
    manual: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_of: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wall_ahead_ms: Option<i64>,
    /// The moment, and whether it is one of the wall clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_at: Option<(i64, bool)>,
}

/// Options as one text; none for a job that has only defaults.
pub(in crate::store) fn options(options: &Options) -> Option<String> {
    if *options == Options::default() {
        return None;
    }
    let Options { retry, clocks, retention_ms, manual, retry_of, wall_ahead_ms, start_at } =
        *options;
    let Retry { max_attempts, initial_ms, factor, max_ms, jitter } = retry;
    let text = OptionsText {
        retry: (retry != Retry::default()).then_some((
            max_attempts,
            initial_ms,
            factor,
            max_ms,
            jitter,
        )),
        start_timeout_ms: clocks.start_timeout_ms,
        run_timeout_ms: clocks.run_timeout_ms,
        total_timeout_ms: clocks.total_timeout_ms,
        retention_ms: (retention_ms != Options::RETENTION_MS).then_some(retention_ms),
        manual,
        retry_of: retry_of.map(|id| id.0),
        wall_ahead_ms: (wall_ahead_ms != 0).then_some(wall_ahead_ms),
        start_at: start_at.map(|it| (it.at().0, matches!(it, RunAt::Wall(_)))),
    };
    serde_json::to_string(&text).ok()
}

pub(in crate::store) fn read_options(text: &str) -> Result<Options, Error> {
    let text: OptionsText = serde_json::from_str(text).map_err(damaged)?;
    let retry = |(max_attempts, initial_ms, factor, max_ms, jitter)| Retry {
        max_attempts,
        initial_ms,
        factor,
        max_ms,
        jitter,
    };
    Ok(Options {
        retry: text.retry.map(retry).unwrap_or_default(),
        clocks: Clocks {
            start_timeout_ms: text.start_timeout_ms,
            run_timeout_ms: text.run_timeout_ms,
            total_timeout_ms: text.total_timeout_ms,
        },
        retention_ms: text.retention_ms.unwrap_or(Options::RETENTION_MS),
        manual: text.manual,
        retry_of: text.retry_of.map(JobId),
        wall_ahead_ms: text.wall_ahead_ms.unwrap_or_default(),
        start_at: text.start_at.map(|(at, is_wall)| match is_wall {
            true => RunAt::Wall(Timestamp(at)),
            false => RunAt::Counted(Timestamp(at)),
        }),
    })
}

/// The attempt of a job that had one and failed: its own row tells all of it.
pub(in crate::store) fn only_attempt(job: &Job) -> Option<FailedAttempt> {
    Some(FailedAttempt {
        started_at: job.started_at?,
        finished_at: job.finished_at?,
        error: job.error.clone()?,
    })
}

/// Reads an attempt that failed: when it started and ended, and its error.
pub(in crate::store) fn failed_attempt(row: &SqliteRow) -> Result<FailedAttempt, Error> {
    Ok(FailedAttempt {
        started_at: Timestamp(row.try_get(0)?),
        finished_at: Timestamp(row.try_get(1)?),
        error: read_error(row.try_get(2)?)?,
    })
}

#[derive(serde::Serialize, serde::Deserialize)]
struct ErrorText<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    traceback: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    details: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    details_omitted: bool,
    retryable: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    permanent: bool,
    attempt: u32,
}

/// An error as it is kept.
pub(in crate::store) fn error_text(error: &JobError) -> String {
    let text = serde_json::to_string(&ErrorText {
        r#type: error.kind().as_str().into(),
        message: error.message().into(),
        traceback: error.traceback().map(Cow::Borrowed),
        details: error.details().map(Json::raw),
        details_omitted: error.details_omitted(),
        retryable: error.is_retryable(),
        permanent: error.is_permanent(),
        attempt: error.attempt(),
    });
    // Texts, a flag, a number and valid JSON: nothing in it can fail to be written.
    text.unwrap_or_default()
}

/// Reads an error. One that was kept before errors had a limit is cut now.
fn read_error(text: &str) -> Result<JobError, Error> {
    let read: ErrorText<'_> = serde_json::from_str(text).map_err(damaged)?;
    let mut error = JobError::of(ErrorType::parse(&read.r#type), read.message)
        .marked(read.retryable, read.permanent)
        .of_attempt(read.attempt);
    if let Some(traceback) = read.traceback {
        error = error.with_traceback(&traceback);
    }
    Ok(match read.details {
        Some(details) => error.with_details(Json::of(details)),
        None if read.details_omitted => error.without_details(),
        None => error,
    })
}
