//! Values as the texts in which they are kept, and their sums. Every backend keeps the same ones.

pub mod feed_entry;

use std::borrow::Cow;

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::domain::{
    Clocks, ErrorType, JobError, JobId, Json, LogLine, LogPlace, LogStream, Metadata, Options,
    Ordinal, QueueName, Retry, RunAt, Spec, Tags, Timestamp,
};
use crate::store::contract::Failure;

/// CRC-32 of a value as it is kept: a row or a piece that was altered on the disk does not pass for what was written (G3).
pub fn sum(text: &str) -> i64 {
    i64::from(crc32fast::hash(text.as_bytes()))
}

/// Of whichever sum an end has: that it is this job's.
const OF_JOB: i64 = 1 << 32;

/// The sum of a value as the end of a job keeps it: CRC-32 of the value, and of the job's ordinal behind it. An end that stands
/// elsewhere than it was written does not pass for that job's.
pub fn sum_of(job: Ordinal, value: i64) -> i64 {
    let mut hasher = crc32fast::Hasher::new_with_initial(u32::try_from(value).unwrap_or(0));
    hasher.update(&job.0.to_be_bytes());
    OF_JOB | i64::from(hasher.finalize())
}

/// Whether the end of a job has that value. Those of before the ends were rows of their own have the sum of the value alone.
pub fn is_sum_of(written: i64, job: Ordinal, text: &str) -> bool {
    let value = sum(text);
    if written & OF_JOB == 0 { written == value } else { written == sum_of(job, value) }
}

/// Positional and keyword arguments as one text, `[[…],{…}]`.
pub fn arguments(spec: &Spec) -> String {
    let args = spec.args.as_ref().map_or("[]", Json::as_str);
    let kwargs = spec.kwargs.as_ref().map_or("{}", Json::as_str);
    ["[", args, ",", kwargs, "]"].concat()
}

/// Reads the name of a queue; a manual job is in none.
pub fn queue(name: &str) -> Result<QueueName, Failure> {
    if name.is_empty() { Ok(QueueName::none()) } else { QueueName::kept(name).map_err(damaged) }
}

/// Reads `[[…],{…}]`, as arguments are kept.
pub fn read_arguments(text: &str) -> Result<(Json, Json), Failure> {
    let (args, kwargs): (&RawValue, &RawValue) = serde_json::from_str(text).map_err(damaged)?;
    Ok((Json::of(args), Json::of(kwargs)))
}

/// Reads 16 bytes as an id.
pub fn uuid(bytes: &[u8]) -> Result<Uuid, Failure> {
    Uuid::from_slice(bytes).map_err(damaged)
}

/// Reads a word of one of our closed sets.
pub fn known<T>(parse: impl Fn(&str) -> Option<T>, word: &str) -> Result<T, Failure> {
    parse(word).ok_or_else(|| Failure::Damaged(format!("'{word}' stands where it cannot")))
}

/// What does not read back as what was written.
pub fn damaged(error: impl std::fmt::Display) -> Failure {
    Failure::Damaged(error.to_string())
}

/// Tags and metadata as one text; none for a job that has neither.
pub fn labels(spec: &Spec) -> Option<String> {
    let (tags, metadata) = (spec.tags.as_slice(), spec.metadata.as_slice());
    if tags.is_empty() && metadata.is_empty() {
        return None;
    }
    serde_json::to_string(&(tags, metadata)).ok()
}

pub fn read_labels(text: &str) -> Result<(Tags, Metadata), Failure> {
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
pub fn options(options: &Options) -> Option<String> {
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

pub fn read_options(text: &str) -> Result<Options, Failure> {
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
            false => RunAt::Monotonic(Timestamp(at)),
        }),
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
pub fn error_text(error: &JobError) -> String {
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
pub fn read_error(text: &str) -> Result<JobError, Failure> {
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

/// Reads the lines of a piece of a log, those behind `after`.
pub fn read_lines(
    (attempt, text): (u32, &str),
    after: LogPlace,
    lines: &mut Vec<LogLine>,
) -> Result<(), Failure> {
    for line in text.lines() {
        let (number, stream, text): (i64, &str, String) =
            serde_json::from_str(line).map_err(damaged)?;
        let place = LogPlace { attempt, number };
        if place > after {
            lines.push(LogLine { place, stream: known(LogStream::parse, stream)?, text });
        }
    }
    Ok(())
}

/// A line of a log as it is kept.
pub fn printed(line: &LogLine) -> String {
    let parts = (line.place.number, line.stream.as_str(), &line.text);
    // Numbers and texts: nothing in it can fail to be written.
    let mut text = serde_json::to_string(&parts).unwrap_or_default();
    text.push('\n');
    text
}
