//! When something about a waiting job changes by itself: waits between attempts, and limits of time.

use super::{Clocks, ErrorType, Job, JobError, Retry, RunAt, Timestamp};

/// The wait after failure number `failures`, in milliseconds: `initial · factor^(failures − 1)`, spread to both
/// sides by `chance` from 0 to 1, and never more than the longest wait.
#[must_use]
pub fn backoff_ms(retry: &Retry, failures: u32, chance: f64) -> i64 {
    let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
    #[expect(clippy::cast_precision_loss, reason = "waits are a week at most")]
    let (initial, longest) = (retry.initial_ms as f64, retry.max_ms as f64);
    let grown = initial * retry.factor.powi(exponent);
    // Nothing times infinity is no number.
    let wait = if initial == 0.0 { 0.0 } else { grown.min(longest) };
    // Cut before it is spread: waits that were cut afterwards would all end at the same moment.
    let (least, most) = (wait * (1.0 - retry.jitter), (wait * (1.0 + retry.jitter)).min(longest));
    let spread = least + (most - least) * chance.clamp(0.0, 1.0);
    #[expect(clippy::cast_possible_truncation, reason = "a week at most, and a cast saturates")]
    let spread = spread.round() as i64;
    spread.max(0)
}

/// When whoever was asked wants to be asked again: `Retry-After` (RFC 9110, section 10.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// After so many seconds.
    Seconds(u64),
    /// At this moment.
    At(Timestamp),
}

impl RetryAfter {
    /// How long that is from `now`, in milliseconds; at least 0.
    #[must_use]
    pub fn millis_from(self, now: Timestamp) -> i64 {
        match self {
            Self::Seconds(seconds) => {
                i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000)
            }
            Self::At(at) => at.millis_since(now),
        }
    }
}

/// What its time brings to a job that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// It may start.
    Start,
    /// It fails.
    Fail(JobError),
    /// Nothing yet.
    Nothing,
}

impl Clocks {
    /// When the server's own clock next changes something about a job that waits and may start from
    /// `run_at`, or could since `waits_since`; none if it never does.
    #[must_use]
    pub fn deadline(
        &self,
        created_at: Timestamp,
        run_at: Option<RunAt>,
        waits_since: Timestamp,
        has_started: bool,
    ) -> Option<Timestamp> {
        let next = match run_at {
            Some(RunAt::Monotonic(at)) => Some(at),
            Some(RunAt::Wall(_)) => None,
            None if has_started => None,
            None => self.start_timeout_ms.map(|timeout| waits_since.plus_millis(timeout)),
        };
        next.into_iter().chain(self.total_deadline(created_at)).min()
    }

    /// When the job must be done.
    #[must_use]
    pub fn total_deadline(&self, created_at: Timestamp) -> Option<Timestamp> {
        self.total_timeout_ms.map(|timeout| created_at.plus_millis(timeout))
    }

    /// What becomes of a job that waits, when its `deadline` or its moment on the `wall` may have come.
    #[must_use]
    pub fn due(
        &self,
        created_at: Timestamp,
        run_at: Option<RunAt>,
        deadline: Option<Timestamp>,
        (now, wall): (Timestamp, Timestamp),
    ) -> Due {
        if self.total_deadline(created_at).is_some_and(|at| at <= now) {
            return Due::Fail(total_timeout(self));
        }
        match run_at {
            Some(RunAt::Monotonic(at)) if at <= now => Due::Start,
            Some(RunAt::Wall(at)) if at <= wall => Due::Start,
            Some(_) => Due::Nothing,
            None if deadline.is_some_and(|at| at <= now) => {
                let seconds = seconds(self.start_timeout_ms);
                let message = format!("no attempt started within {seconds} s");
                Due::Fail(JobError::of(ErrorType::StartTimeout, message))
            }
            None => Due::Nothing,
        }
    }
}

/// The error of a job that was not done in time.
#[must_use]
pub fn total_timeout(clocks: &Clocks) -> JobError {
    let seconds = seconds(clocks.total_timeout_ms);
    JobError::of(ErrorType::TotalTimeout, format!("the job was not done within {seconds} s"))
}

/// The error of an attempt that did not end in time.
#[must_use]
pub fn run_timeout(clocks: &Clocks) -> JobError {
    let seconds = seconds(clocks.run_timeout_ms);
    JobError::of(ErrorType::RunTimeout, format!("the attempt did not end within {seconds} s"))
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn seconds(milliseconds: Option<i64>) -> f64 {
    milliseconds.unwrap_or_default() as f64 / 1_000.0
}

impl Job {
    /// When the server's own clock next changes something about it, if it waits.
    #[must_use]
    pub fn deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let spec = &self.spec;
        let clocks = &spec.options.clocks;
        let waits = self.state == super::State::Pending;
        waits
            .then(|| clocks.deadline(spec.created_at, self.run_at, now, self.attempt > 0))
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_retry() -> impl Strategy<Value = Retry> {
        let waits = 0..=Retry::WAIT_MS_MAX;
        (waits.clone(), 1.0..=100.0, waits, 0.0..=1.0).prop_map(
            |(initial_ms, factor, max_ms, jitter)| Retry {
                max_attempts: 100,
                initial_ms,
                factor,
                max_ms,
                jitter,
            },
        )
    }

    #[test]
    fn a_wait_doubles_up_to_its_cap() {
        let retry = Retry { initial_ms: 1_000, max_ms: 5_000, ..Retry::default() };
        let waits = [1, 2, 3, 4, 100].map(|failures| backoff_ms(&retry, failures, 0.5));
        assert_eq!(waits, [1_000, 2_000, 4_000, 4_500, 4_500]);
        assert_eq!([0.0, 1.0].map(|chance| backoff_ms(&retry, 1, chance)), [800, 1_200]);
        // At the cap it is spread below it.
        let capped = [0.0, 0.5, 1.0].map(|chance| backoff_ms(&retry, 9, chance));
        assert_eq!(capped, [4_000, 4_500, 5_000]);
    }

    proptest! {
        #[test]
        fn no_wait_is_spread_beyond_its_share(
            retry in any_retry(), failures in 1_u32..=100, chance in 0.0..=1.0
        ) {
            let wait = backoff_ms(&retry, failures, chance);
            let middle = backoff_ms(&Retry { jitter: 0.0, ..retry }, failures, chance);
            prop_assert!((0..=retry.max_ms).contains(&middle));
            prop_assert!((0..=retry.max_ms).contains(&wait));
            prop_assert!((wait - middle).abs() as f64 <= middle as f64 * retry.jitter + 1.0);
        }

        #[test]
        fn without_jitter_no_wait_is_shorter_than_the_one_before(
            retry in any_retry(), failures in 1_u32..100
        ) {
            let retry = Retry { jitter: 0.0, ..retry };
            prop_assert!(backoff_ms(&retry, failures, 0.0) <= backoff_ms(&retry, failures + 1, 0.0));
        }
    }
}
