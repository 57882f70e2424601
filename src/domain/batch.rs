//! Batches: jobs submitted together, with counts, results and callbacks of their own.

use std::fmt;

use uuid::Uuid;

use super::{FunctionName, Ordinal, State, Timestamp};

/// A batch's name: a UUID, of version 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(pub Uuid);

impl fmt::Display for BatchId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(formatter)
    }
}

/// What a job of a batch knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSlot {
    /// The batch's name.
    pub batch: BatchId,
    /// The batch's place.
    pub place: Ordinal,
    /// The job's place among the calls of the batch, from 0.
    pub index: i64,
}

/// What becomes of the rest of a batch when one of its jobs fails (E8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// It goes on.
    #[default]
    Continue,
    /// It is cancelled.
    Cancel,
}

impl OnError {
    const ALL: [Self; 2] = [Self::Continue, Self::Cancel];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Cancel => "cancel",
        }
    }

    /// The choice of that name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.as_str() == word)
    }
}

/// What a callback of a batch waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// Every job is done.
    #[default]
    AllCompleted,
    /// A job is done, however it ended; of a batch without jobs, that it is done.
    FirstCompleted,
    /// A job has failed, or all are done without one: Python's `FIRST_EXCEPTION` (W6).
    FirstException,
}

impl When {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::AllCompleted, Self::FirstCompleted, Self::FirstException];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllCompleted => "all_completed",
            Self::FirstCompleted => "first_completed",
            Self::FirstException => "first_exception",
        }
    }

    /// The choice of that name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.as_str() == word)
    }

    /// Whether it has come about in a batch that stands so.
    #[must_use]
    pub fn is_met(self, counts: Counts, is_done: bool) -> bool {
        is_done
            || match self {
                Self::AllCompleted => false,
                Self::FirstCompleted => counts.done() > 0,
                Self::FirstException => counts.failed > 0,
            }
    }
}

/// How many jobs of a batch stand where. Also how many more, or fewer, a change makes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub total: i64,
    /// Those that run.
    pub running: i64,
    /// Those that have succeeded.
    pub succeeded: i64,
    /// Those that have failed.
    pub failed: i64,
    /// Those that were cancelled.
    pub cancelled: i64,
}

impl Counts {
    /// Those that are done.
    #[must_use]
    pub fn done(self) -> i64 {
        self.succeeded + self.failed + self.cancelled
    }

    /// Those that wait.
    #[must_use]
    pub fn pending(self) -> i64 {
        self.total - self.running - self.done()
    }

    /// Counts a job that has just come.
    pub fn add(&mut self, state: State) {
        self.total += 1;
        self.count(state, 1);
    }

    /// Counts a job that stands elsewhere now.
    pub fn move_between(&mut self, from: State, to: State) {
        self.count(from, -1);
        self.count(to, 1);
    }

    /// These before a change that has made them `self`.
    #[must_use]
    pub fn before(self, change: Self) -> Self {
        Self {
            total: self.total - change.total,
            running: self.running - change.running,
            succeeded: self.succeeded - change.succeeded,
            failed: self.failed - change.failed,
            cancelled: self.cancelled - change.cancelled,
        }
    }

    fn count(&mut self, state: State, jobs: i64) {
        match state {
            State::Pending => {}
            State::Running => self.running += jobs,
            State::Succeeded => self.succeeded += jobs,
            State::Failed => self.failed += jobs,
            State::Cancelled => self.cancelled += jobs,
        }
    }
}

/// A batch as it stands at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub id: BatchId,
    /// Its place in the order of submission, among the jobs.
    pub ordinal: Ordinal,
    /// The function that all its jobs call.
    pub function: FunctionName,
    /// What becomes of the rest when one of them fails.
    pub on_error: OnError,
    /// How its jobs stand.
    pub counts: Counts,
    /// Whether all of its calls are there; a streaming map brings them one after the other.
    pub is_closed: bool,
    /// How long it is kept once it is done, in milliseconds.
    pub retention_ms: i64,
    /// When it was submitted, by the server's own clock.
    pub created_at: Timestamp,
    /// By how much the wall clock was ahead of that one then, in milliseconds.
    pub wall_ahead_ms: i64,
    /// When it was done: closed, and each of its jobs done.
    pub finished_at: Option<Timestamp>,
    /// When it is forgotten, with its jobs.
    pub expires_at: Option<Timestamp>,
    /// When it was first asked to be cancelled, by a request or by the failure of a job.
    pub cancel_requested_at: Option<Timestamp>,
}

impl Batch {
    /// A moment of this batch as it is shown, as those of jobs are.
    #[must_use]
    pub fn shown(&self, at: Timestamp) -> Timestamp {
        at.plus_millis(self.wall_ahead_ms)
    }

    /// Whether it is closed and each of its jobs done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.finished_at.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_follow_their_jobs_and_tell_what_was_before() {
        let mut counts = Counts::default();
        for state in [State::Running, State::Pending, State::Pending] {
            counts.add(state);
        }
        let before = counts;
        let mut change = Counts::default();
        for (from, to) in [
            (State::Running, State::Failed),
            (State::Pending, State::Running),
            (State::Running, State::Succeeded),
            (State::Pending, State::Cancelled),
        ] {
            counts.move_between(from, to);
            change.move_between(from, to);
        }
        let ended = Counts { total: 3, running: 0, succeeded: 1, failed: 1, cancelled: 1 };
        assert_eq!((counts, counts.done(), counts.pending()), (ended, 3, 0));
        assert_eq!((counts.before(change), before.pending()), (before, 2));
    }

    #[test]
    fn w6_a_first_exception_is_a_failure_or_the_end_and_no_cancel() {
        let none = Counts { total: 2, ..Counts::default() };
        let cancelled = Counts { cancelled: 1, ..none };
        let failed = Counts { failed: 1, ..none };
        let met = |counts, is_done| When::ALL.map(|when| when.is_met(counts, is_done));
        assert_eq!(met(none, false), [false, false, false]);
        assert_eq!(met(cancelled, false), [false, true, false]);
        assert_eq!(met(failed, false), [false, true, true]);
        assert_eq!(met(Counts::default(), true), [true, true, true], "a batch without jobs");
        for when in When::ALL {
            assert_eq!(When::parse(when.as_str()), Some(when));
        }
    }
}
