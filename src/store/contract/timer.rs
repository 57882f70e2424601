//! What happens because its time has come.

use crate::domain::Timestamp;

/// What the clocks show, so that what is due by them happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// By the server's own clock.
    pub now: Timestamp,
    /// On the wall.
    pub wall: Timestamp,
}

/// When there is something to do next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextTimer {
    /// By the server's own clock.
    pub deadline: Option<Timestamp>,
    /// On the wall.
    pub wall: Option<Timestamp>,
}
