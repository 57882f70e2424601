//! The one clock: the wall's time at the start, plus what a monotonic clock has counted since.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::domain::Timestamp;

/// Tells the time. A correction of the wall clock while the server runs does not move it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    anchor: Timestamp,
    since: Instant,
}

impl Clock {
    /// A clock that stands at `wall` now.
    #[must_use]
    pub fn anchored(wall: Timestamp) -> Self {
        Self { anchor: wall, since: Instant::now() }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.anchor.plus_millis(passed)
    }
}

/// The wall clock, which may be set while the server runs. Only what a client asked for by its moment
/// follows it.
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
