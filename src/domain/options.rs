//! What a submission may ask for beside the call: retries, limits of time, retention.

use super::{Invalid, JobId, OnInterrupt, QueueName, Timestamp};

/// When an attempt that failed is followed by another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    /// Attempts that may fail, the last one included; 1 is no retry. Interruptions do not count.
    pub max_attempts: u32,
    /// From the first failure to the next attempt, in milliseconds.
    pub initial_ms: i64,
    /// By how much each wait is longer than the one before.
    pub factor: f64,
    /// No wait is longer, in milliseconds.
    pub max_ms: i64,
    /// How far chance spreads a wait to both sides, as a share of it: 0 to 1.
    pub jitter: f64,
}

impl Default for Retry {
    /// None; and where only `max_attempts` is given, 1 s, doubled up to an hour, ±20 %.
    fn default() -> Self {
        Self { max_attempts: 1, initial_ms: 1_000, factor: 2.0, max_ms: 3_600_000, jitter: 0.2 }
    }
}

impl Retry {
    /// Most attempts that may fail.
    pub const ATTEMPTS_MAX: u32 = 100;
    /// Longest wait between two attempts: a week.
    pub const WAIT_MS_MAX: i64 = 7 * 86_400_000;

    /// Checks the numbers.
    ///
    /// # Errors
    /// [`Invalid`] with the first rule that does not hold.
    pub fn check(self) -> Result<Self, Invalid> {
        let waits = 0..=Self::WAIT_MS_MAX;
        let rules = [
            (
                (1..=Self::ATTEMPTS_MAX).contains(&self.max_attempts),
                "max_attempts is a whole number from 1 to 100",
            ),
            (waits.contains(&self.initial_ms), "initial_seconds is from 0 to 604800"),
            (waits.contains(&self.max_ms), "max_seconds is from 0 to 604800"),
            ((1.0..=100.0).contains(&self.factor), "factor is from 1 to 100"),
            ((0.0..=1.0).contains(&self.jitter), "jitter is from 0 to 1"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(Invalid::new(rule)),
            None => Ok(self),
        }
    }
}

/// Limits of time, each counted by the server's own clock and named by the error that it makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// From the moment that it may start until its first attempt starts, in milliseconds.
    pub start_timeout_ms: Option<i64>,
    /// Of each attempt, in milliseconds.
    pub run_timeout_ms: Option<i64>,
    /// From its submission until it is done, in milliseconds.
    pub total_timeout_ms: Option<i64>,
}

impl Clocks {
    /// These, and where one is missing that of `others`.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            start_timeout_ms: self.start_timeout_ms.or(others.start_timeout_ms),
            run_timeout_ms: self.run_timeout_ms.or(others.run_timeout_ms),
            total_timeout_ms: self.total_timeout_ms.or(others.total_timeout_ms),
        }
    }
}

/// When a job may start first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunAt {
    /// At a moment that a client named: it follows the wall clock.
    Wall(Timestamp),
    /// At a moment that was counted from another one, by the server's own clock.
    Monotonic(Timestamp),
}

impl RunAt {
    /// The moment.
    #[must_use]
    pub fn at(self) -> Timestamp {
        match self {
            Self::Wall(at) | Self::Monotonic(at) => at,
        }
    }
}

/// When a submission asks to start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// As soon as there is a slot.
    #[default]
    AtOnce,
    /// Not before a moment on the wall clock.
    At(Timestamp),
    /// Not before so many milliseconds have passed.
    After(i64),
}

/// What a function asks for where a submission says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Defaults {
    /// The queue; `default` if none is named.
    pub queue: Option<QueueName>,
    /// When a failed attempt is followed by another.
    pub retry: Option<Retry>,
    /// Limits of time.
    pub clocks: Clocks,
    /// What becomes of a job when the server does not survive an attempt.
    pub on_interrupt: Option<OnInterrupt>,
}

/// What most submissions leave out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// When a failed attempt is followed by another.
    pub retry: Retry,
    /// Limits of time.
    pub clocks: Clocks,
    /// How long the job is kept once it is done, in milliseconds.
    pub retention_ms: i64,
    /// Whether no function is called, and someone completes the job over HTTP (F21).
    pub manual: bool,
    /// The job that this one is another try of.
    pub retry_of: Option<JobId>,
    /// By how much the wall clock was ahead of the server's own at the submission, in milliseconds. The times of the
    /// job are shown by it: by the wall clock as it stood then, and counted from there.
    pub wall_ahead_ms: i64,
    /// When the job was to start, if it was not at once. It stays, whatever the job waits for later.
    pub start_at: Option<RunAt>,
}

impl Options {
    /// A job is kept for 7 days after its end unless it asks for something else (G20).
    pub const RETENTION_MS: i64 = 7 * 86_400_000;
    /// And for 10 years at most.
    pub const RETENTION_MS_MAX: i64 = 3_653 * 86_400_000;
}

impl Default for Options {
    fn default() -> Self {
        Self {
            retry: Retry::default(),
            clocks: Clocks::default(),
            retention_ms: Self::RETENTION_MS,
            manual: false,
            retry_of: None,
            wall_ahead_ms: 0,
            start_at: None,
        }
    }
}
