//! One job of the reference.

use crate::domain::State;

use super::steps::Asked;

/// From the first, second and third failure to the next attempt: 10 doubled, and no more than 25.
const WAITS: [i64; 3] = [10, 20, 25];

/// What can be seen of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub state: State,
    pub version: i64,
    pub attempt: u32,
    pub failures: u32,
    pub interruptions: u32,
    pub crashes: u32,
    /// It waits for its time rather than for a slot.
    pub scheduled: bool,
    pub asked_to_stop: bool,
    pub error: Option<&'static str>,
}

/// A moment for which a job waits.
#[derive(Clone, Copy, Debug)]
pub enum StartAt {
    Counted(i64),
    Wall(i64),
}

#[derive(Debug)]
pub struct Entry {
    pub asked: Asked,
    pub created_at: i64,
    pub run_at: Option<StartAt>,
    /// From when on it could have started.
    pub waits_since: i64,
    /// Of the attempt that runs or ran last, unless another is to follow.
    pub started_at: Option<i64>,
    pub expires_at: Option<i64>,
    pub gone: bool,
    pub view: View,
}

impl Entry {
    pub fn total_deadline(&self) -> Option<i64> {
        self.asked.limits.total.map(|limit| self.created_at + limit)
    }

    /// When the server's clock next changes something about it. What has started once may start again at any time.
    pub fn deadline(&self) -> Option<i64> {
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

    pub fn on_the_wall(&self) -> Option<i64> {
        match self.run_at {
            Some(StartAt::Wall(at)) => Some(at),
            Some(StartAt::Counted(_)) | None => None,
        }
    }

    pub fn raise(&mut self, now: i64, for_good: bool) {
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
    pub fn interrupt(&mut self, now: i64) {
        self.view.interruptions += 1;
        if self.asked.once {
            self.fail("interrupted", now);
        } else {
            self.wait_again();
        }
    }

    pub fn wait_again(&mut self) {
        self.view.state = State::Pending;
        self.started_at = None;
    }

    pub fn time_is_over(&mut self, error: &'static str, now: i64) {
        self.view.version += 1;
        self.fail(error, now);
    }

    pub fn fail(&mut self, error: &'static str, now: i64) {
        self.view.error = Some(error);
        self.done(State::Failed, now);
    }

    /// A job never ends before it began, whatever was done to the clock.
    pub fn done(&mut self, state: State, now: i64) {
        self.view.state = state;
        self.view.scheduled = false;
        self.run_at = None;
        let retention = self.asked.limits.retention.unwrap_or(7 * 86_400_000);
        self.expires_at = Some(now.max(self.started_at.unwrap_or(now)) + retention);
    }
}
