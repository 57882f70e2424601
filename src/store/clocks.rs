//! What happens because its time has come.

use crate::domain::Timestamp;

use super::change::Change;
use super::{Error, Store};

/// What the clocks show, so that what is due by them happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// By the server's own clock.
    pub now: Timestamp,
    /// On the wall.
    pub wall: Timestamp,
}

/// When there is something to do next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alarm {
    /// By the server's own clock.
    pub deadline: Option<Timestamp>,
    /// On the wall.
    pub wall: Option<Timestamp>,
}

impl Store {
    /// Does what is due at that moment, as much as one group may; says when there is something to do next,
    /// which may be at once.
    ///
    /// # Errors
    /// A failure of the disk.
    pub async fn come_due(&self, moment: Moment) -> Result<Alarm, Error> {
        self.write(|reply| Change::ComeDue { moment, reply }).await
    }
}
