//! What the database refuses for the moment, because another process has locked it, or disk or memory are short. Of the changes
//! that nobody would ask for again none is forgotten: they are kept here, and tried again until they are written.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Error;
use super::change::Change;
use super::health::Health;

/// Between two tries: at first, and at most.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Jobs that are named if what came of them is lost.
const NAMED_MAX: usize = 20;

impl Error {
    /// Whether it passes by itself, so that the same may be asked again.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self, Self::NotNow(_) | Self::Full)
    }

    /// Whether another process has locked the database.
    pub(crate) fn is_locked(&self) -> bool {
        matches!(self, Self::NotNow(cause) if cause.is_lock())
    }
}

/// Changes that are tried again. There are no more than jobs and deliveries that may be under way.
#[derive(Debug)]
pub(super) struct Later {
    changes: VecDeque<Change>,
    again_at: Instant,
    pause: Duration,
    /// Whether anything was kept since all was written last.
    is_keeping: bool,
    health: Arc<Health>,
}

impl Later {
    pub(super) fn new(health: Arc<Health>) -> Self {
        let (changes, pause) = (VecDeque::new(), PAUSE_MIN);
        Self { changes, again_at: Instant::now(), pause, is_keeping: false, health }
    }

    /// Keeps a change that `error` refused. While the database is locked each try waits for it, and no pause is needed.
    pub(super) fn keep(&mut self, change: Change, error: &Error) {
        if !self.is_keeping {
            tracing::error!(%error, "the database refuses what must be written; it is kept, and tried again");
        }
        self.is_keeping = true;
        let pause = if error.is_locked() { Duration::ZERO } else { self.pause };
        self.again_at = Instant::now() + pause;
        self.changes.push_back(change);
    }

    /// The next one whose time has come.
    pub(super) fn next(&mut self) -> Option<Change> {
        if self.changes.is_empty() || Instant::now() < self.again_at {
            return None;
        }
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        self.changes.pop_front()
    }

    /// How long until the next one is tried; none if there is none.
    pub(super) fn rest(&self) -> Option<Duration> {
        let rest = self.again_at.saturating_duration_since(Instant::now());
        (!self.changes.is_empty()).then_some(rest)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Tells how many outcomes wait, after a group was tried. `staged` are still being written.
    pub(super) fn tell<'a>(&mut self, staged: impl Iterator<Item = &'a Change>) {
        if !self.is_keeping {
            return;
        }
        let kept = self.changes.iter().filter(|it| it.is_outcome()).count();
        let waiting = kept + staged.filter(|it| it.is_outcome()).count();
        self.health.keeps_outcomes(waiting);
        if self.changes.is_empty() && waiting == 0 {
            (self.is_keeping, self.pause) = (false, PAUSE_MIN);
            tracing::warn!("what the database refused is written");
        }
    }

    /// Gives everything up: the server ends. Says of which jobs the outcome is lost.
    pub(super) fn give_up(&mut self, staged: impl Iterator<Item = Change>) {
        let changes: Vec<Change> = self.changes.drain(..).chain(staged).collect();
        let jobs = || changes.iter().filter_map(Change::job_of_outcome);
        let (count, named) = (jobs().count(), jobs().take(NAMED_MAX).collect::<Vec<_>>());
        if count > 0 {
            tracing::error!(
                outcomes = count,
                jobs = ?named,
                "outcomes could not be recorded before the end; these jobs run again at the next start"
            );
        }
        changes.into_iter().for_each(|change| change.answer(Some(&Error::Closed)));
    }
}
