//! The cleaner: done jobs go when their time is over (F22, G20), in portions, so that nobody waits for it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::domain::{Job, Timestamp};
use crate::store::{self, Failure, SweepCursor, Vacuumed};

use super::{Engine, again};

/// The longest sleep; the cleaner looks again even if nobody says that something is due.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// Between two passes: what expires meanwhile goes together.
const SLEEP_MIN: Duration = Duration::from_millis(100);
/// The same while there are jobs that have expired and are held back by their deliveries: each pass looks
/// at all of them again.
const SLEEP_MIN_HELD: Duration = Duration::from_secs(10);
/// Between two tries to give pages back while others write.
const SHRINK_AGAIN: Duration = Duration::from_millis(50);
/// So often the cleaner makes way for others; then it takes a turn like everybody.
const MAKES_WAY_MAX: u32 = 20;
/// Portions of pages that are given back before the cleaner looks for what is over again.
const SHRINKS_MAX: u32 = 256;

/// When the cleaner has something to do next, as far as anybody knows.
#[derive(Debug)]
pub(super) struct Due {
    at: AtomicI64,
    sooner: Notify,
}

impl Default for Due {
    fn default() -> Self {
        Self { at: AtomicI64::new(i64::MAX), sooner: Notify::new() }
    }
}

impl Due {
    /// Something is over then.
    pub(super) fn at(&self, at: Timestamp) {
        if at.0 < self.at.load(Ordering::Relaxed)
            && at.0 < self.at.fetch_min(at.0, Ordering::Relaxed)
        {
            self.sooner.notify_one();
        }
    }

    /// More time has passed than sleepers know.
    pub(super) fn look_again(&self) {
        self.sooner.notify_one();
    }

    /// Something may be over soon, nobody knows when.
    pub(super) fn soon(&self, now: Timestamp) {
        self.at(now.plus_millis(1_000));
    }

    /// This job expires when it has to.
    pub(super) fn of(&self, job: &Job) {
        if let Some(expires_at) = job.expires_at {
            self.at(expires_at);
        }
    }
}

/// Runs until the server ends.
pub(super) async fn run(engine: Engine) {
    let mut keys = SweepCursor::NOTHING.keys;
    loop {
        let pause = match engine.pass(&mut keys).await {
            Ok(pause) => pause,
            Err(store::Error::Failed(Failure::Closed)) => return,
            Err(error) => {
                again::failed(&error, "what is over cannot be removed");
                SLEEP_MIN_HELD
            }
        };
        if engine.sleeps(pause).await || engine.until_due(Instant::now()).await {
            return;
        }
    }
}

impl Engine {
    /// Removes everything that is over now, then gives free pages back. Says how long to rest at least.
    async fn pass(&self, keys: &mut Timestamp) -> Result<Duration, store::Error> {
        let due = &self.shared.due;
        // What is heard of from here on counts anew.
        due.at.store(i64::MAX, Ordering::Relaxed);
        let mut from = Some(SweepCursor { keys: *keys, ..SweepCursor::NOTHING });
        let (mut holds, mut due_at) = (false, None);
        while let Some(next) = from {
            let started = Instant::now();
            let removed = self.shared.store.sweep(self.now(), next).await?;
            (from, due_at, *keys) = (removed.next, removed.due_at, removed.keys);
            holds |= removed.holds;
            // The others have at least as much of the writer as the cleaner has.
            if from.is_some() && self.sleeps(started.elapsed()).await {
                return Ok(Duration::ZERO);
            }
        }
        if let Some(at) = due_at {
            due.at(at);
        }
        self.give_back_pages().await?;
        Ok(if holds { SLEEP_MIN_HELD } else { SLEEP_MIN })
    }

    /// Makes the file smaller, preferably while nobody else writes.
    async fn give_back_pages(&self) -> Result<(), store::Error> {
        let (mut made_way, mut portions) = (0, 0);
        while portions < SHRINKS_MAX {
            let started = Instant::now();
            let pause = match self.shared.store.vacuum(made_way >= MAKES_WAY_MAX).await? {
                Vacuumed::Wholly => return Ok(()),
                Vacuumed::Busy => {
                    made_way += 1;
                    SHRINK_AGAIN
                }
                Vacuumed::Partly => {
                    (made_way, portions) = (0, portions + 1);
                    started.elapsed()
                }
            };
            if self.sleeps(pause).await {
                return Ok(());
            }
        }
        // There is more to give back, and perhaps more to remove before.
        self.shared.due.at(self.now());
        Ok(())
    }

    /// Sleeps; true if the server ends meanwhile.
    async fn sleeps(&self, pause: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.shared.shutdown.waits.cancelled() => true,
            () = tokio::time::sleep(pause) => false,
        }
    }

    /// Sleeps until something is due, but not for ever; true if the server ends meanwhile.
    async fn until_due(&self, asleep_since: Instant) -> bool {
        let due = &self.shared.due;
        loop {
            let at = Timestamp(due.at.load(Ordering::Relaxed));
            let wait = u64::try_from(at.millis_since(self.now())).unwrap_or(u64::MAX);
            let rest = SLEEP_MAX.saturating_sub(asleep_since.elapsed());
            tokio::select! {
                () = self.shared.shutdown.waits.cancelled() => return true,
                () = tokio::time::sleep(rest.min(Duration::from_millis(wait))) => return false,
                () = due.sooner.notified() => {}
            }
        }
    }
}
