//! One job of the reference.

use crate::domain::State;

use super::steps::Asked;

/// From the first, second and third failure to the next attempt: 10 doubled, and no more than 25.
const WAITS: [i64; 3] = [10, 20, 25];

/// What can be seen of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) state: State,
    pub(super) version: i64,
    pub(super) attempt: u32,
    pub(super) failures: u32,
    pub(super) interruptions: u32,
    pub(super) crashes: u32,
    /// It waits for its time rather than for a slot.
    pub(super) scheduled: bool,
    pub(super) asked_to_stop: bool,
    pub(super) error: Option<&'static str>,
}

/// A moment for which a job waits.
#[derive(Clone, Copy, Debug)]
pub(super) enum StartAt {
    Counted(i64),
    Wall(i64),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) asked: Asked,
    pub(super) created_at: i64,
    pub(super) run_at: Option<StartAt>,
    /// From when on it could have started.
    pub(super) waits_since: i64,
    /// Of the attempt that runs or ran last, unless another is to follow.
    pub(super) started_at: Option<i64>,
    pub(super) expires_at: Option<i64>,
    pub(super) gone: bool,
    pub(super) view: View,
}

impl Entry {
    pub(super) fn total_deadline(&self) -> Option<i64> {
        self.asked.limits.total.map(|limit| self.created_at + limit)
    }

    /// When the server's clock next changes something about it. What has started once may start again at any time.
    pub(super) fn deadline(&self) -> Option<i64> {
        let start = match self.run_at {
            Some(StartAt::Counted(at)) => Some(at),
            Some(StartAt::Wall(_)) => None,
            None => self
                .asked
                .limits
                .start
                .filter(|_| self.view.attempt == 0)
                .map(|limit| self.waits_since + limit),
        };
        start.into_iter().chain(self.total_deadline()).min()
    }

    pub(super) fn on_the_wall(&self) -> Option<i64> {
        match self.run_at {
            Some(StartAt::Wall(at)) => Some(at),
            Some(StartAt::Counted(_)) | None => None,
        }
    }

    pub(super) fn raise(&mut self, now: i64, for_good: bool) {
        self.view.failures += 1;
        if for_good || self.view.failures >= self.asked.limits.max_attempts {
            return self.fail("ValueError", now);
        }
        let failures = usize::try_from(self.view.failures).expect("few");
        self.run_at = Some(StartAt::Counted(now + WAITS[failures - 1]));
        self.view.scheduled = true;
        self.wait_again();
    }

    /// The attempt is over and counts for nothing: it runs again, unless it asked not to.
    pub(super) fn interrupt(&mut self, now: i64) {
        self.view.interruptions += 1;
        if self.asked.once {
            self.fail("interrupted", now);
        } else {
            self.wait_again();
        }
    }

    pub(super) fn wait_again(&mut self) {
        self.view.state = State::Pending;
        self.started_at = None;
    }

    pub(super) fn time_is_over(&mut self, error: &'static str, now: i64) {
        self.view.version += 1;
        self.fail(error, now);
    }

    pub(super) fn fail(&mut self, error: &'static str, now: i64) {
        self.view.error = Some(error);
        self.done(State::Failed, now);
    }

    /// A job never ends before it began, whatever was done to the clock.
    pub(super) fn done(&mut self, state: State, now: i64) {
        self.view.state = state;
        self.view.scheduled = false;
        self.run_at = None;
        let retention = self.asked.limits.retention.unwrap_or(7 * 86_400_000);
        self.expires_at = Some(now.max(self.started_at.unwrap_or(now)) + retention);
    }
}
