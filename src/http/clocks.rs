//! When a submission asks to start, to give up, to try again and to be forgotten.

use serde_json::value::RawValue;

use crate::domain::{Clocks, Invalid, Options, Retry, Start};

use super::fields::Fields;
use super::moment;
use super::problem::FieldError;

/// Longest delay and longest limit of time: ten years.
const SECONDS_MAX: f64 = 315_619_200.0;

/// Reads what a submission says of time.
pub(super) fn options(fields: &mut Fields<'_>) -> (Options, Option<Retry>, Start) {
    let retry = retry(fields);
    let clocks = Clocks {
        start_timeout_ms: timeout(fields, "start_timeout_seconds"),
        run_timeout_ms: timeout(fields, "run_timeout_seconds"),
        total_timeout_ms: timeout(fields, "total_timeout_seconds"),
    };
    let retention_ms = fields.checked("retention_seconds", "a number", retention);
    let retention_ms = retention_ms.unwrap_or(Options::RETENTION_MS);
    let options = Options { clocks, retention_ms, ..Options::default() };
    (options, retry, start(fields))
}

fn start(fields: &mut Fields<'_>) -> Start {
    let run_at = fields.checked("run_at", "a string", |text: String| moment::not_before(&text));
    let delay =
        fields.checked("delay_seconds", "a number", |seconds: f64| millis(seconds, SECONDS_MAX));
    match (run_at, delay) {
        (None, None) => Start::AtOnce,
        (Some(at), None) => Start::At(at),
        (None, Some(milliseconds)) => Start::After(milliseconds),
        (Some(_), Some(_)) => {
            fields.refuse("delay_seconds", "run_at is given as well; give one of them".to_owned());
            Start::AtOnce
        }
    }
}

fn timeout(fields: &mut Fields<'_>, name: &'static str) -> Option<i64> {
    fields.checked(name, "a number", limit)
}

/// A limit of time as a parameter has it.
pub(super) fn timeout_ms(text: &str) -> Result<i64, Invalid> {
    limit(number(text)?)
}

/// How long something is kept, as a parameter has it.
pub(super) fn retention_ms(text: &str) -> Result<i64, Invalid> {
    retention(number(text)?)
}

fn number(text: &str) -> Result<f64, Invalid> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| Invalid::new(format!("'{text}' is not a number of seconds")))
}

fn limit(seconds: f64) -> Result<i64, Invalid> {
    match millis(seconds, SECONDS_MAX)? {
        0 => Err(Invalid::new("must be more than 0; leave it out for no limit")),
        milliseconds => Ok(milliseconds),
    }
}

fn retention(seconds: f64) -> Result<i64, Invalid> {
    #[expect(clippy::cast_precision_loss, reason = "ten years of milliseconds are exact")]
    let most = Options::RETENTION_MS_MAX as f64 / 1_000.0;
    millis(seconds, most)
}

fn retry(fields: &mut Fields<'_>) -> Option<Retry> {
    let value = fields.raw("retry")?;
    match retry_at(&fields.at("retry"), value) {
        Ok((retry, inner)) => {
            fields.adopt(inner.faults());
            Some(retry)
        }
        Err(error) => {
            fields.adopt(error.into());
            None
        }
    }
}

fn retry_at<'a>(pointer: &str, value: &'a RawValue) -> Result<(Retry, Fields<'a>), FieldError> {
    let mut fields = Fields::of(pointer, value)?;
    let usual = Retry::default();
    let longest = 604_800.0;
    let max_attempts = fields.checked("max_attempts", "a whole number", |count: u32| {
        let retry = Retry { max_attempts: count, ..Retry::default() };
        retry.check().map(|retry| retry.max_attempts)
    });
    let max_attempts = fields.required("max_attempts", max_attempts);
    let initial =
        fields.checked("initial_seconds", "a number", |seconds: f64| millis(seconds, longest));
    let max = fields.checked("max_seconds", "a number", |seconds: f64| millis(seconds, longest));
    let factor = fields.checked("factor", "a number", |factor: f64| {
        Retry { factor, ..Retry::default() }.check().map(|retry| retry.factor)
    });
    let jitter = fields.checked("jitter", "a number", |jitter: f64| {
        Retry { jitter, ..Retry::default() }.check().map(|retry| retry.jitter)
    });
    let retry = Retry {
        max_attempts: max_attempts.unwrap_or(usual.max_attempts),
        initial_ms: initial.unwrap_or(usual.initial_ms),
        factor: factor.unwrap_or(usual.factor),
        max_ms: max.unwrap_or(usual.max_ms),
        jitter: jitter.unwrap_or(usual.jitter),
    };
    Ok((retry, fields))
}

/// Seconds from 0 to `most` as milliseconds, rounded up: what is more than nothing stays so.
fn millis(seconds: f64, most: f64) -> Result<i64, Invalid> {
    if !(0.0..=most).contains(&seconds) {
        return Err(Invalid::new(format!("must be from 0 to {most}")));
    }
    #[expect(clippy::cast_possible_truncation, reason = "it was compared with the largest")]
    let milliseconds = (seconds * 1_000.0).ceil() as i64;
    Ok(milliseconds)
}
