//! A job: one submitted call and its future.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use super::{FailedAttempts, Invalid, JobError, Json, RunAt, Spec, State, Timestamp, text};

/// A job's name for the rest of its life: a UUID, of version 7 where we make it, so that new rows
/// stand together on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub Uuid);

impl fmt::Display for JobId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(formatter)
    }
}

/// A job's place in the order of submission, given by the writer; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ordinal(pub i64);

/// Where a function runs. A running job takes a slot here and one in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pool {
    /// The fixed pool of OS threads, for what computes or blocks.
    Threads,
    /// The async threads, for what waits. It holds a slot, no thread.
    Tasks,
    /// Programs that are started for one call each.
    Commands,
    /// The processes of the worker with this number.
    Worker(u16),
    /// Nowhere: the function is not registered in this process. Such jobs wait until it is again.
    Absent,
}

/// The name of a function: `[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*`, at most 128 characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionName(Arc<str>);

impl FunctionName {
    /// Longest name, in characters.
    pub const LENGTH_MAX: usize = 128;

    /// Checks `name`.
    ///
    /// # Errors
    /// [`Invalid`] with the rule, if the name does not follow it.
    pub fn new(name: &str) -> Result<Self, Invalid> {
        let part_is_legal = |part: &str| {
            part.starts_with(|first: char| first.is_ascii_lowercase())
                && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        if name.len() <= Self::LENGTH_MAX && name.split('.').all(part_is_legal) {
            return Ok(Self(name.into()));
        }
        Err(Invalid::new(format!(
            "a function's name is words of a-z, 0-9 and _ that begin with a letter, joined by dots, \
             at most {} characters",
            Self::LENGTH_MAX
        )))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The name of a queue: letters, digits, `.`, `_` and `-`, 1 to 64 characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueName(Arc<str>);

impl QueueName {
    /// Longest name, in characters.
    pub const LENGTH_MAX: usize = 64;

    /// Checks `name`. `.` and `..` are none: clients and proxies fold such paths (RFC 3986, section 5.2.4).
    ///
    /// # Errors
    /// [`Invalid`] with the rule, if the name does not follow it.
    pub fn new(name: &str) -> Result<Self, Invalid> {
        match Self::kept(name)?.as_str() {
            "." | ".." => Err(Invalid::new("a queue's name is not '.' or '..', which paths fold")),
            _ => Ok(Self(name.into())),
        }
    }

    /// Takes a name that was legal when it was kept.
    ///
    /// # Errors
    /// [`Invalid`], if it never was.
    pub fn kept(name: &str) -> Result<Self, Invalid> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if (1..=Self::LENGTH_MAX).contains(&name.len()) && name.chars().all(legal) {
            return Ok(Self(name.into()));
        }
        Err(Invalid::new(format!(
            "a queue's name is letters, digits, '.', '_' and '-', 1 to {} characters",
            Self::LENGTH_MAX
        )))
    }

    /// The queue that always exists.
    #[must_use]
    pub fn default_queue() -> Self {
        Self("default".into())
    }

    /// What stands in the place of a queue for a manual job, which waits in none. It equals no name that
    /// can be given, so whatever is done to a queue passes such jobs by.
    #[must_use]
    pub fn none() -> Self {
        Self("".into())
    }

    /// Whether it is the place of a job that is in no queue.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// How urgent a job is in its queue: −100 to 100, high first; 0 by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(i8);

impl Priority {
    /// Checks `value`.
    pub fn new(value: i64) -> Result<Self, Invalid> {
        match i8::try_from(value) {
            Ok(value) if (-100..=100).contains(&value) => Ok(Self(value)),
            _ => Err(Invalid::new("a priority is a whole number from -100 to 100")),
        }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> i8 {
        self.0
    }
}

/// What becomes of a job whose attempt the server did not survive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnInterrupt {
    /// It runs again: at least once.
    #[default]
    Rerun,
    /// It fails as `interrupted`: at most once.
    Fail,
}

impl OnInterrupt {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rerun => "rerun",
            Self::Fail => "fail",
        }
    }

    /// The choice of that name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Rerun, Self::Fail].into_iter().find(|choice| choice.as_str() == word)
    }
}

/// How far a running attempt says it is. Kept in memory only.
#[derive(Clone, PartialEq)]
pub struct Progress {
    fraction: Option<f64>,
    message: Option<String>,
}

impl Progress {
    /// Longest message, in bytes; what is longer is cut, and says so.
    pub const MESSAGE_BYTES_MAX: usize = 1_024;

    /// So far: a share of the whole, which is taken as 0 below that and as 1 above, and what it is doing.
    #[must_use]
    pub fn new(fraction: Option<f64>, message: Option<&str>) -> Self {
        let fraction = fraction.filter(|fraction| fraction.is_finite());
        let cut =
            |message| text::head(&text::without_nul(message), Self::MESSAGE_BYTES_MAX).into_owned();
        Self { fraction: fraction.map(|it| it.clamp(0.0, 1.0)), message: message.map(cut) }
    }

    /// From 0 to 1, if known.
    #[must_use]
    pub fn fraction(&self) -> Option<f64> {
        self.fraction
    }

    /// What it is doing.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }
}

/// What of a job does not read back from the disk as it was written (G3). It is left out, and never taken for what it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Its arguments.
    pub arguments: bool,
    /// Its result, or its error.
    pub outcome: bool,
}

/// One submitted call and its future, as it stands at one moment (S6). Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// What was asked for.
    pub spec: Arc<Spec>,
    /// Its place in the order of submission.
    pub ordinal: Ordinal,
    /// Where it stands.
    pub state: State,
    /// Counts the visible changes, from 1.
    pub version: i64,
    /// The attempt that runs or ran last, from 1; 0 before the first. It only rises.
    pub attempt: u32,
    /// Attempts that failed: they raised, timed out, or lost what ran them.
    pub failures: u32,
    /// Each of them, in order; none where a view leaves them out.
    pub attempts: FailedAttempts,
    /// Whether this view leaves them out.
    pub attempts_omitted: bool,
    /// Attempts that the server did not survive. They are no failures.
    pub interruptions: u32,
    /// Those of them in which the server died rather than stopped.
    pub crashes: u32,
    /// Not to be started before; none: at once.
    pub run_at: Option<RunAt>,
    /// When the current or last attempt started.
    pub started_at: Option<Timestamp>,
    /// When it was done.
    pub finished_at: Option<Timestamp>,
    /// Its place in the order of all changes when it was done.
    pub finished_seq: Option<i64>,
    /// When it is forgotten; a job of a batch goes with its batch.
    pub expires_at: Option<Timestamp>,
    /// When it was first asked to stop.
    pub cancel_requested_at: Option<Timestamp>,
    /// What the function returned; none also where a view leaves a large result out.
    pub result: Option<Json>,
    /// Whether this view leaves the result out.
    pub result_omitted: bool,
    /// Why it failed.
    pub error: Option<JobError>,
    /// Whether this view has no more of it than [`JobError::brief`].
    pub error_omitted: bool,
    /// What the running attempt last said of itself.
    pub progress: Option<Progress>,
    /// What of it does not read back.
    pub damage: Damage,
    /// Whether it is worth while to look for callbacks of it. Added and removed, they change nothing of a job.
    pub may_have_callbacks: bool,
}

impl Job {
    /// A job as it is right after its submission: pending, attempt 0, version 1.
    #[must_use]
    pub fn submitted(spec: Arc<Spec>, ordinal: Ordinal) -> Self {
        Self {
            spec,
            ordinal,
            state: State::Pending,
            version: 1,
            attempt: 0,
            failures: 0,
            attempts: FailedAttempts::default(),
            attempts_omitted: false,
            interruptions: 0,
            crashes: 0,
            run_at: None,
            started_at: None,
            finished_at: None,
            finished_seq: None,
            expires_at: None,
            cancel_requested_at: None,
            result: None,
            result_omitted: false,
            error: None,
            error_omitted: false,
            progress: None,
            damage: Damage::default(),
            may_have_callbacks: false,
        }
    }

    /// Whether it is done (S2).
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state.is_done()
    }
}

#[cfg(test)]
mod tests;
