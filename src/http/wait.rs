//! How long a request waits: `?wait=N`, or `Prefer: wait=N` (RFC 7240).

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};

use crate::engine::Clock;

use super::Desk;
use super::extract::Query;
use super::preferences::Preferences;
use super::problem::{Code, FieldError, Problem};

/// A wait, clamped to what the server allows.
#[derive(Clone, Debug)]
pub(super) struct Wait {
    /// How long.
    pub(super) duration: Duration,
    /// Tells the time of the answer.
    pub(super) clock: Clock,
    /// Whole seconds that were preferred by header, as they are applied.
    preferred_seconds: Option<u64>,
}

impl Wait {
    /// Reads the wait of a request. The parameter takes fractions, and wins; 0 and less do not wait,
    /// as in Python (F8).
    pub(super) fn read(
        query: &Query,
        preferences: Preferences,
        desk: &Desk,
    ) -> Result<Self, Problem> {
        let (clock, wait_max) = (desk.engine.clock().clone(), desk.wait_max());
        if let Some(text) = query.get("wait") {
            let duration = seconds(text).ok_or_else(|| {
                let detail = format!("'{text}' is not a number of seconds");
                Problem::from(FieldError { pointer: "/wait".to_owned(), detail })
            })?;
            return Ok(Self { duration: duration.min(wait_max), clock, preferred_seconds: None });
        }
        let applied = preferences.wait_seconds.map(|seconds| seconds.min(wait_max.as_secs()));
        let duration = applied.map(Duration::from_secs).unwrap_or_default();
        Ok(Self { duration, clock, preferred_seconds: applied })
    }

    /// None at all.
    pub(super) fn none(desk: &Desk) -> Self {
        Self::of(Duration::ZERO, desk)
    }

    /// One that is asked for in the body.
    pub(super) fn of(duration: Duration, desk: &Desk) -> Self {
        Self { duration, clock: desk.engine.clock().clone(), preferred_seconds: None }
    }

    /// Whether the request waits at all.
    pub(super) fn is_wanted(&self) -> bool {
        !self.duration.is_zero()
    }

    /// Says what was applied, and that the answer depends on it.
    pub(super) fn applied(&self, headers: &mut HeaderMap) {
        headers.insert(header::VARY, HeaderValue::from_static("Prefer"));
        if let Some(seconds) = self.preferred_seconds
            && let Ok(value) = HeaderValue::from_str(&format!("wait={seconds}"))
        {
            headers.insert("preference-applied", value);
        }
    }
}

/// A number of seconds given by a client; none if it is no number. Negative ones are 0.
fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok().filter(|seconds: &f64| seconds.is_finite())?;
    Some(wait_of(seconds))
}

/// The wait of so many seconds, which are finite. Negative ones are 0, as in Python (F8).
pub(super) fn wait_of(seconds: f64) -> Duration {
    // More than a duration can hold is more than any server allows.
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

/// A number of seconds from a body: from 0 to `most`.
pub(super) fn checked_seconds(value: f64, most: f64) -> Result<Duration, crate::domain::Invalid> {
    let duration = Duration::try_from_secs_f64(value).ok().filter(|_| value <= most);
    duration.ok_or_else(|| crate::domain::Invalid::new(format!("must be from 0 to {most}")))
}

/// A problem with a query parameter's name or use.
pub(super) fn bad_query(detail: String) -> Problem {
    Problem::new(Code::BadRequest, detail)
}
