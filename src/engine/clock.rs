//! Two clocks. The server's own counts from its start and is never set: limits of time follow it. The wall
//! clock may be set at any moment: what others compare with theirs follows it (docs/decisions/0057).

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio_util::sync::CancellationToken;

use crate::domain::Timestamp;

use super::Engine;

/// Further apart than this, and the wall clock was set. Below it the two are the same to whoever reads a time.
const APART_MS: i64 = 1_000;
/// Between two looks at both clocks while nobody asks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So long it is told that the wall clock was set, though both agree again.
const TOLD_FOR_MS: i64 = 3_600_000;

/// Tells the time. A clone shows the same.
#[derive(Clone, Debug)]
pub struct Clock {
    dial: Arc<Dial>,
}

#[derive(Debug)]
struct Dial {
    anchor: Timestamp,
    since: Duration,
    wall: Wall,
    ahead_ms: AtomicI64,
    set: Mutex<Option<Set>>,
}

/// The last time that the wall clock was seen to have been set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Set {
    by_ms: i64,
    /// By the server's own clock.
    at: Timestamp,
}

impl Clock {
    /// A clock that stands where `wall` stands now.
    #[must_use]
    pub fn anchored(wall: Wall) -> Self {
        let (anchor, since) = (wall.now(), counted());
        let dial = Dial { anchor, since, wall, ahead_ms: AtomicI64::new(0), set: Mutex::default() };
        Self { dial: Arc::new(dial) }
    }

    /// The time by the server's own clock: for limits of time, durations and order. What is stored is of it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let passed = counted().saturating_sub(self.dial.since);
        self.dial.anchor.plus_millis(i64::try_from(passed.as_millis()).unwrap_or(i64::MAX))
    }

    /// The time by the wall clock: for whatever somebody else compares with a clock of theirs.
    #[must_use]
    pub fn wall_now(&self) -> Timestamp {
        self.dial.wall.now()
    }

    /// By how much the wall clock is ahead of the server's own, in milliseconds; 0 until it is set.
    #[must_use]
    pub fn wall_ahead_ms(&self) -> i64 {
        let seen = self.wall_now().0.saturating_sub(self.now().0);
        let known = self.dial.ahead_ms.load(Ordering::Relaxed);
        if seen.abs_diff(known) <= APART_MS.unsigned_abs() {
            return known;
        }
        let mut set = self.set();
        // Another may have seen it too.
        let known = self.dial.ahead_ms.swap(seen, Ordering::Relaxed);
        let by_ms = seen.saturating_sub(known);
        if by_ms.abs() > APART_MS {
            *set = Some(Set { by_ms, at: self.now() });
        }
        seen
    }

    /// That the wall clock was set, for as long as it differs, and for an hour.
    #[must_use]
    pub(super) fn trouble(&self) -> Option<String> {
        let ahead = Duration::from_millis(self.wall_ahead_ms().unsigned_abs());
        let Set { by_ms, at } = (*self.set())?;
        if ahead.is_zero() && self.now().millis_since(at) > TOLD_FOR_MS {
            return None;
        }
        let since = at.plus_millis(self.dial.ahead_ms.load(Ordering::Relaxed));
        let since = jiff::Timestamp::from_millisecond(since.0).unwrap_or(jiff::Timestamp::MAX);
        let (seconds, direction) = moved(by_ms);
        Some(format!(
            "the wall clock was set {direction} by {seconds} s at {since:.0}: limits of time do not follow it"
        ))
    }

    fn set(&self) -> MutexGuard<'_, Option<Set>> {
        self.dial.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn moved(by_ms: i64) -> (u64, &'static str) {
    ((by_ms.unsigned_abs() + 500) / 1_000, if by_ms < 0 { "back" } else { "forward" })
}

/// What has been counted since the machine started. It goes on while the machine sleeps, as everybody's time does.
fn counted() -> Duration {
    let passed = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(passed.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(passed.tv_nsec).unwrap_or_default())
}

/// Looks at the clocks now and then: says when the wall clock was set, and wakes those who sleep until a moment that
/// came while the machine slept, of which their timers know nothing.
pub(super) async fn watch(engine: Engine) {
    let (clock, ends): (Clock, CancellationToken) =
        (engine.clock().clone(), engine.shared.shutdown.waits.clone());
    let (mut told, mut looked) = (None, (clock.now(), Instant::now()));
    loop {
        tokio::select! {
            () = ends.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let (now, awake) = (clock.now(), looked.1.elapsed());
        let passed = Duration::from_millis(now.millis_since(looked.0).unsigned_abs());
        looked = (now, Instant::now());
        if passed.saturating_sub(awake) > LOOK_EVERY {
            tracing::info!(seconds = (passed - awake).as_secs(), "the machine has slept");
            engine.wake_all();
        }
        let ahead_ms = clock.wall_ahead_ms();
        let set = *clock.set();
        if set != told {
            told = set;
            let (seconds, direction) = moved(set.map_or(0, |set| set.by_ms));
            tracing::warn!(seconds, direction, ahead_ms, "the wall clock was set");
        }
    }
}

/// The wall clock, which may be set while the server runs.
#[derive(Clone)]
pub struct Wall(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Wall {
    /// A wall clock that `look` reads.
    pub fn new(look: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }

    /// What it shows now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Wall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Wall").field(&self.now()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> (Arc<AtomicI64>, Clock) {
        let wall = Arc::new(AtomicI64::new(1_000_000));
        let shown = Arc::clone(&wall);
        (wall, Clock::anchored(Wall::new(move || Timestamp(shown.load(Ordering::Relaxed)))))
    }

    #[test]
    fn the_servers_own_clock_does_not_follow_a_wall_clock_that_is_set() {
        let (wall, clock) = clock();
        for shown in [9_000_000, 1_000] {
            wall.store(shown, Ordering::Relaxed);
            assert_eq!(clock.wall_now(), Timestamp(shown));
            assert!((1_000_000..1_900_000).contains(&clock.now().0));
        }
    }

    #[test]
    fn the_wall_clock_is_ahead_by_what_it_was_set_and_not_by_less_than_a_second() {
        let (wall, clock) = clock();
        assert_eq!((clock.wall_ahead_ms(), clock.trouble()), (0, None));
        wall.fetch_add(900, Ordering::Relaxed);
        assert_eq!((clock.wall_ahead_ms(), clock.trouble()), (0, None));
        wall.fetch_add(600_000, Ordering::Relaxed);
        let ahead = clock.wall_ahead_ms();
        // The test's wall clock stands still, and the other goes on.
        assert!((590_000..=600_900).contains(&ahead), "{ahead}");
        let told = clock.trouble().expect("it was set");
        assert!(told.contains("was set forward by"), "{told}");
        wall.store(1_000_000, Ordering::Relaxed);
        assert!(clock.wall_ahead_ms() <= 0);
        let told = clock.trouble().expect("it was set back");
        assert!(told.contains("was set back by"), "{told}");
    }
}
