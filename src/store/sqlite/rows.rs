//! Rows of SQLite to values of the domain, and back.

use serde_json::value::RawValue;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use std::sync::Arc;

use uuid::Uuid;

use crate::domain::{
    ErrorType, FunctionName, Job, JobError, JobId, Json, Metadata, NewCallback, OnInterrupt,
    Ordinal, Priority, QueueName, Spec, State, Tags, Timestamp,
};
use crate::store::Error;
use crate::store::change::DeliveryReport;
use crate::store::payload::Stored;

use super::script::Rows;

/// What a write assumes of the row.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Guard {
    pub(in crate::store) from: State,
    pub(in crate::store) attempt: Option<u32>,
}

/// A row for the insertion of `job`.
pub(in crate::store) fn inserted(
    rows: &mut Rows,
    job: &Job,
    seq: i64,
    epoch: i64,
    arguments: &Stored,
) {
    let spec = &job.spec;
    rows.row()
        .int(job.ordinal.0)
        .hex(spec.id.0.as_bytes())
        .text(spec.function.as_str())
        .text(spec.queue.as_str())
        .int(spec.priority.get().into())
        .text(spec.on_interrupt.as_str())
        .maybe_text(labels(spec).as_deref())
        .text(job.state.as_str())
        .int(seq)
        .int(job.attempt.into())
        .maybe_int((job.state == State::Running).then_some(epoch))
        .int(spec.created_at.0)
        .maybe_int(job.started_at.map(|at| at.0))
        .maybe_text(arguments.inline())
        .maybe_int(arguments.payload())
        .int(arguments.bytes())
        .end();
}

/// A row for the end of an attempt, or of the waiting: `next` is what the job becomes.
pub(in crate::store) fn ended(
    rows: &mut Rows,
    next: &Job,
    guard: Guard,
    seq: i64,
    result: Option<&Stored>,
) {
    rows.row()
        .int(next.ordinal.0)
        .text(guard.from.as_str())
        .maybe_int(guard.attempt.map(i64::from))
        .text(next.state.as_str())
        .int(seq)
        .maybe_int(next.finished_at.map(|at| at.0))
        .maybe_text(result.and_then(Stored::inline))
        .maybe_int(result.and_then(Stored::payload))
        .maybe_int(result.map(Stored::bytes))
        .maybe_text(next.error.as_ref().map(error_text).as_deref())
        .int(next.interruptions.into())
        .int(next.crashes.into())
        .maybe_int(next.cancel_requested_at.map(|at| at.0))
        // Of a job that waited only the database knows the version for sure.
        .maybe_int(guard.attempt.map(|_| next.version))
        .end();
}

/// A row for a new callback of `job`.
pub(in crate::store) fn callback(rows: &mut Rows, job: Ordinal, callback: &NewCallback) {
    let row = rows
        .row()
        .hex(callback.id.0.as_bytes())
        .int(job.0)
        .text(&callback.url)
        .text(&callback.host);
    let row = match &callback.sealed {
        Some(sealed) => row.hex(sealed),
        None => row.null(),
    };
    row.int(callback.created_at.0).end();
}

/// A row that makes the deliveries of `job` due at `at`, if the job is done.
pub(in crate::store) fn due(rows: &mut Rows, job: Ordinal, at: Timestamp) {
    rows.row().int(job.0).int(at.0).end();
}

/// A row for one POST and what becomes of its delivery.
pub(in crate::store) fn delivery_attempt(rows: &mut Rows, report: &DeliveryReport) {
    let attempt = &report.attempt;
    rows.row()
        .int(report.callback.0)
        .int(i64::try_from(report.number).unwrap_or(i64::MAX))
        .int(attempt.at.0)
        .maybe_int(attempt.status.map(i64::from))
        .maybe_text(attempt.error.as_deref())
        .maybe_text(attempt.body.as_deref())
        .int(attempt.duration_ms)
        .text(report.state.as_str())
        .maybe_int(report.next_at.map(|at| at.0))
        .end();
}

/// Reads a job from a row of the columns that every `select` of jobs names, in their order.
/// Arguments and result are those that stand in the row; the others are loaded after.
pub(in crate::store) fn job(row: &SqliteRow) -> Result<Job, Error> {
    let moment = |place: usize| -> Result<Option<Timestamp>, Error> {
        Ok(row.try_get::<Option<i64>, _>(place)?.map(Timestamp))
    };
    let labels: Option<&str> = row.try_get(6)?;
    let (tags, metadata) = labels.map_or_else(|| Ok(Default::default()), read_labels)?;
    let arguments: Option<&str> = row.try_get(16)?;
    let (args, kwargs) = arguments.map(read_arguments).transpose()?.unzip();
    let error: Option<&str> = row.try_get(18)?;
    let spec = Spec {
        id: JobId(uuid(row.try_get(1)?)?),
        function: FunctionName::new(row.try_get(2)?).map_err(damaged)?,
        queue: QueueName::new(row.try_get(3)?).map_err(damaged)?,
        priority: Priority::new(row.try_get(4)?).map_err(damaged)?,
        on_interrupt: known(OnInterrupt::parse, row.try_get(5)?)?,
        tags,
        metadata,
        created_at: Timestamp(row.try_get(12)?),
        args,
        kwargs,
    };
    Ok(Job {
        spec: Arc::new(spec),
        ordinal: Ordinal(row.try_get(0)?),
        state: known(State::parse, row.try_get(7)?)?,
        version: row.try_get(8)?,
        attempt: row.try_get(9)?,
        interruptions: row.try_get(10)?,
        crashes: row.try_get(11)?,
        started_at: moment(13)?,
        finished_at: moment(14)?,
        cancel_requested_at: moment(15)?,
        result: row.try_get::<Option<&str>, _>(17)?.map(Json::trusted),
        result_omitted: false,
        error: error.map(read_error).transpose()?,
        progress: None,
    })
}

/// Reads `[[…],{…}]`, as arguments are kept.
pub(in crate::store) fn read_arguments(text: &str) -> Result<(Json, Json), Error> {
    let (args, kwargs): (&RawValue, &RawValue) = serde_json::from_str(text).map_err(damaged)?;
    Ok((Json::trusted(args.get()), Json::trusted(kwargs.get())))
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

fn damaged(error: impl std::fmt::Display) -> Error {
    Error::Damaged(error.to_string())
}

/// Tags and metadata as one text; none for a job that has neither.
fn labels(spec: &Spec) -> Option<String> {
    let (tags, metadata) = (spec.tags.as_slice(), spec.metadata.as_slice());
    if tags.is_empty() && metadata.is_empty() {
        return None;
    }
    serde_json::to_string(&(tags, metadata)).ok()
}

fn read_labels(text: &str) -> Result<(Tags, Metadata), Error> {
    let (tags, metadata): (Vec<String>, Vec<(String, String)>) =
        serde_json::from_str(text).map_err(damaged)?;
    Ok((Tags::new(tags).map_err(damaged)?, Metadata::new(metadata).map_err(damaged)?))
}

#[derive(serde::Serialize, serde::Deserialize)]
struct ErrorText<'a> {
    r#type: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceback: Option<String>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    details: Option<&'a RawValue>,
    retryable: bool,
    attempt: u32,
}

fn error_text(error: &JobError) -> String {
    let details = error.details.as_ref();
    let text = serde_json::to_string(&ErrorText {
        r#type: error.kind.as_str().to_owned(),
        message: error.message.clone(),
        traceback: error.traceback.clone(),
        details: details.and_then(|details| serde_json::from_str(details.as_str()).ok()),
        retryable: error.retryable,
        attempt: error.attempt,
    });
    // Texts, a flag, a number and valid JSON: nothing in it can fail to be written.
    text.unwrap_or_default()
}

fn read_error(text: &str) -> Result<JobError, Error> {
    let error: ErrorText<'_> = serde_json::from_str(text).map_err(damaged)?;
    Ok(JobError {
        kind: ErrorType::parse(&error.r#type),
        message: error.message,
        traceback: error.traceback,
        details: error.details.map(|details| Json::trusted(details.get())),
        retryable: error.retryable,
        attempt: error.attempt,
    })
}
