//! The bodies that leave the server: the only serde of the API.

use std::fmt;

use jiff::SignedDuration;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::domain::{FailedAttempt, Job, JobError, Json, Metadata, Progress, Spec, Timestamp};
use crate::engine::event_type;

use super::answer::to_json;
use super::job_body::{JobBody, View};

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// A moment as RFC 3339 has it, in UTC with milliseconds.
pub(super) struct At(pub(super) Timestamp);

impl At {
    /// The text. Three of them stand in every job, so its digits are set without a formatter.
    pub(super) fn text(&self) -> MomentText {
        let at = match jiff::Timestamp::from_millisecond(self.0.0) {
            Ok(moment) => Offset::UTC.to_datetime(moment),
            // The last day of the year 9999 is a day here and none of theirs.
            Err(_beyond) => EPOCH.saturating_add(SignedDuration::from_millis(self.0.0)),
        };
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let places = [
            (0..4, i32::from(at.year())),
            (5..7, i32::from(at.month())),
            (8..10, i32::from(at.day())),
            (11..13, i32::from(at.hour())),
            (14..16, i32::from(at.minute())),
            (17..19, i32::from(at.second())),
            (20..23, i32::from(at.millisecond())),
        ];
        for (place, number) in places {
            let mut rest = number.unsigned_abs();
            for digit in text[place].iter_mut().rev() {
                *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
                rest /= 10;
            }
        }
        MomentText(text)
    }
}

/// The text of a moment.
pub(super) struct MomentText([u8; 24]);

impl MomentText {
    pub(super) fn as_str(&self) -> &str {
        // Digits and signs only.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for At {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text().as_str())
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text().as_str())
    }
}

/// A job's error.
#[derive(Serialize)]
pub(super) struct JobErrorBody<'a> {
    r#type: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceback: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    details_omitted: bool,
    retryable: Option<bool>,
    attempt: u32,
}

impl<'a> JobErrorBody<'a> {
    /// `error` as it is shown.
    pub(super) fn of(error: &'a JobError) -> Self {
        Self {
            r#type: error.kind().as_str(),
            message: error.message(),
            traceback: error.traceback(),
            details: error.details().map(Json::raw),
            details_omitted: error.details_omitted(),
            retryable: error.said_retryable(),
            attempt: error.attempt(),
        }
    }
}

/// An attempt that failed.
#[derive(Serialize)]
pub(super) struct FailedAttemptBody<'a> {
    attempt: u32,
    started_at: At,
    finished_at: At,
    error: JobErrorBody<'a>,
}

impl<'a> FailedAttemptBody<'a> {
    /// `failed` attempts of the job of `spec` as they are shown.
    pub(super) fn all(spec: &Spec, failed: &'a [FailedAttempt]) -> Vec<Self> {
        let shown = failed.iter().map(|it| Self {
            attempt: it.error.attempt(),
            started_at: At(spec.shown(it.started_at)),
            finished_at: At(spec.shown(it.finished_at)),
            error: JobErrorBody::of(&it.error),
        });
        shown.collect()
    }
}

/// How far a running job says it is.
#[derive(Serialize)]
pub(super) struct ProgressBody<'a> {
    fraction: Option<f64>,
    message: Option<&'a str>,
}

impl<'a> ProgressBody<'a> {
    /// `progress` as it is shown.
    pub(super) fn of(progress: &'a Progress) -> Self {
        Self { fraction: progress.fraction(), message: progress.message() }
    }
}

/// A client's notes.
pub(super) struct MetadataBody<'a>(pub(super) &'a Metadata);

impl Serialize for MetadataBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.as_slice().iter().map(|(key, value)| (key, value)))
    }
}

/// A page of jobs.
#[derive(Serialize)]
pub(super) struct JobsBody<'a> {
    pub(super) jobs: Vec<JobBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_page_token: Option<String>,
}

/// What a cancel did.
#[derive(Serialize)]
pub(super) struct CancelBody<'a> {
    pub(super) cancelled: bool,
    pub(super) state: &'a str,
    pub(super) job: JobBody<'a>,
}

#[derive(Serialize)]
struct EventBody<'a> {
    r#type: &'a str,
    timestamp: Option<At>,
    data: JobBody<'a>,
}

/// The body of the webhook that tells of `job`, which is done (Standard Webhooks 1.0).
#[must_use]
pub fn webhook_event(job: &Job) -> String {
    to_json(&EventBody {
        r#type: event_type(job.state).unwrap_or_default(),
        timestamp: job.finished_at.map(|at| At(job.spec.shown(at))),
        data: JobBody::of(job, View::Brief),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_day_that_four_digits_can_say_is_shown() {
        for (milliseconds, text) in [
            (253_402_207_200_000, "9999-12-30T22:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(At(Timestamp(milliseconds)).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn a_moment_is_shown_as_jiff_shows_it(milliseconds in 0_i64..253_402_207_200_000) {
            let moment = jiff::Timestamp::from_millisecond(milliseconds).expect("a moment");
            prop_assert_eq!(At(Timestamp(milliseconds)).to_string(), format!("{moment:.3}"));
        }
    }
}
