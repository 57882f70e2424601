//! The one timer: it tells the writer the time when something is due, however many jobs wait for theirs.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::Notify;

use crate::domain::clocks::{run_timeout, total_timeout};
use crate::domain::{Job, JobError, Timestamp};
use crate::store::{self, Failure, NextTimer, Now};

use super::{Engine, again};

/// How long an attempt may take to end by itself once its time is over.
pub(super) const TIMEOUT_GRACE: Duration = Duration::from_secs(5);
/// Between two looks at the wall clock, which may be set, while a job waits for it.
const LOOK_AT_WALL: Duration = Duration::from_secs(1);
/// Longest sleep: one that is too long for the timer's own arithmetic would never end.
const SLEEP_MAX: Duration = Duration::from_secs(86_400);
/// Between two tries when the writer could not do what is due.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// What the timer waits for. An alarm that is set later never wakes it.
#[derive(Debug, Default)]
pub(super) struct Timer {
    armed: Mutex<NextTimer>,
    rings: Notify,
}

impl Timer {
    /// Something is to be done at one of these moments.
    pub(super) fn set(&self, alarm: NextTimer) {
        let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = NextTimer {
            deadline: earliest(armed.deadline, alarm.deadline),
            wall: earliest(armed.wall, alarm.wall),
        };
        if earlier != *armed {
            *armed = earlier;
            self.rings.notify_one();
        }
    }

    /// Looks again at what the clocks show.
    pub(super) fn look_again(&self) {
        self.rings.notify_one();
    }

    /// Takes what is set; what is set from now on is added to what the writer says.
    fn take(&self) -> NextTimer {
        std::mem::take(&mut self.armed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn armed(&self) -> NextTimer {
        *self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

/// Runs until the server stops. What came due while no server ran is done first.
pub(super) async fn run(engine: Engine) {
    let shared = &engine.shared;
    loop {
        let now = Now { now: engine.now(), wall: shared.clock.wall_now() };
        let armed = shared.timer.armed();
        let is_due = |at: Option<Timestamp>, now| at.is_some_and(|at| at <= now);
        let sleep = if is_due(armed.deadline, now.now) || is_due(armed.wall, now.wall) {
            shared.timer.take();
            match shared.store.run_timers(now).await {
                Ok(next) => {
                    shared.timer.set(next);
                    Duration::ZERO
                }
                Err(store::Error::Failed(Failure::Closed)) => return,
                Err(error) => {
                    again::failed(&error, "what is due could not be done");
                    shared.timer.set(armed);
                    TRY_AGAIN
                }
            }
        } else {
            let until = |at: Timestamp| at.0.saturating_sub(now.now.0).unsigned_abs();
            let deadline = armed.deadline.map(until).map(Duration::from_millis);
            let wall = armed.wall.map(|at| {
                let left = at.0.saturating_sub(now.wall.0).unsigned_abs();
                Duration::from_millis(left).min(LOOK_AT_WALL)
            });
            deadline.into_iter().chain(wall).min().unwrap_or(SLEEP_MAX).min(SLEEP_MAX)
        };
        tokio::select! {
            () = tokio::time::sleep(sleep) => {}
            () = shared.timer.rings.notified() => {}
            () = shared.shutdown.waits.cancelled() => return,
        }
    }
}

/// When an attempt's time is over, and the error that it is then.
#[derive(Debug)]
pub(super) struct TimeLimit(Option<(Duration, JobError)>);

impl TimeLimit {
    /// The limit of an attempt of `job` that begins at `now`. Most have none.
    pub(super) fn of(job: &Job, now: Timestamp) -> Self {
        let clocks = &job.spec.options.clocks;
        let left = |milliseconds: i64| Duration::from_millis(milliseconds.max(0).unsigned_abs());
        let total = clocks.total_deadline(job.spec.created_at).map(|at| left(at.millis_since(now)));
        let run = clocks.run_timeout_ms.map(left);
        Self(match (run, total) {
            (Some(run), total) if total.is_none_or(|total| run < total) => {
                Some((run, run_timeout(clocks)))
            }
            (_, Some(total)) => Some((total, total_timeout(clocks))),
            (_, None) => None,
        })
    }

    /// Ends when the time is over.
    pub(super) async fn over(self) -> JobError {
        match self.0 {
            Some((left, error)) => {
                tokio::time::sleep(left).await;
                error
            }
            None => std::future::pending().await,
        }
    }
}
