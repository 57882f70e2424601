//! What the database refuses for the moment, because another process has locked it, or disk or memory are short. Of the changes
//! that nobody would ask for again none is forgotten: they are kept here, and tried again until they are written.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::store::contract::Failure;
use crate::store::sqlite::durability::health::Health;
use crate::store::sqlite::error::is_locked;
use crate::store::sqlite::write::Pending;

/// Between two tries: at first, and at most.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Jobs that are named if what came of them is lost.
const NAMED_MAX: usize = 20;

/// Changes that are tried again. There are no more than jobs and deliveries that may be under way.
#[derive(Debug)]
pub struct Later {
    writes: VecDeque<Box<dyn Pending>>,
    again_at: Instant,
    pause: Duration,
    /// Whether anything was kept since all was written last.
    is_keeping: bool,
    health: Arc<Health>,
}

impl Later {
    pub fn new(health: Arc<Health>) -> Self {
        let (writes, pause) = (VecDeque::new(), PAUSE_MIN);
        Self { writes, again_at: Instant::now(), pause, is_keeping: false, health }
    }

    /// Keeps a change that `error` refused. While the database is locked each try waits for it, and no pause is needed.
    pub fn keep(&mut self, write: Box<dyn Pending>, error: &Failure) {
        if !self.is_keeping {
            tracing::error!(%error, "the database refuses what must be written; it is kept, and tried again");
        }
        self.is_keeping = true;
        let pause = if is_locked(error) { Duration::ZERO } else { self.pause };
        self.again_at = Instant::now() + pause;
        self.writes.push_back(write);
    }

    /// The next one whose time has come.
    pub fn next(&mut self) -> Option<Box<dyn Pending>> {
        if self.writes.is_empty() || Instant::now() < self.again_at {
            return None;
        }
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        self.writes.pop_front()
    }

    /// How long until the next one is tried; none if there is none.
    pub fn rest(&self) -> Option<Duration> {
        let rest = self.again_at.saturating_duration_since(Instant::now());
        (!self.writes.is_empty()).then_some(rest)
    }

    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Tells how many outcomes wait, after a group was tried. `staged` are still being written.
    pub fn tell<'a>(&mut self, staged: impl Iterator<Item = &'a dyn Pending>) {
        if !self.is_keeping {
            return;
        }
        let kept = self.writes.iter().filter(|it| it.job_of_outcome().is_some()).count();
        let waiting = kept + staged.filter(|it| it.job_of_outcome().is_some()).count();
        self.health.keeps_outcomes(waiting);
        if self.writes.is_empty() && waiting == 0 {
            (self.is_keeping, self.pause) = (false, PAUSE_MIN);
            tracing::warn!("what the database refused is written");
        }
    }

    /// Gives everything up: the server ends. Says of which jobs the outcome is lost.
    pub fn give_up(&mut self, staged: impl Iterator<Item = Box<dyn Pending>>) {
        let writes: Vec<Box<dyn Pending>> = self.writes.drain(..).chain(staged).collect();
        let jobs = || writes.iter().filter_map(|it| it.job_of_outcome());
        let (count, named) = (jobs().count(), jobs().take(NAMED_MAX).collect::<Vec<_>>());
        if count > 0 {
            tracing::error!(
                outcomes = count,
                jobs = ?named,
                "outcomes could not be recorded before the end; these jobs run again at the next start"
            );
        }
        writes.into_iter().for_each(|write| write.answer(Some(&Failure::Closed)));
    }
}
