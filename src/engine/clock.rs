//! The one clock: the wall's time at the start, plus what a monotonic clock has counted since.

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
