//! Callbacks after they were added: told once more, or taken away.

use crate::domain::{CallbackId, Ordinal, Timestamp};

use super::change::Change;
use super::{Error, Store};

/// Whose a callback is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// That of the job at this place.
    Job(Ordinal),
    /// That of the batch at this place.
    Batch(Ordinal),
}

/// What came of the wish to tell a callback once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redelivery {
    /// It is due at once, and is theirs.
    Due(Owner),
    /// There is no such callback.
    Missing,
    /// What it waits for has not come about, so there is nothing to tell yet.
    NotDone,
    /// A delivery is due already, or on its way.
    Pending,
}

impl Store {
    /// Makes a delivery that is over due again: its schedule begins anew, its attempts are numbered on.
    ///
    /// # Errors
    /// A failure of the disk.
    pub async fn redeliver(&self, id: CallbackId, now: Timestamp) -> Result<Redelivery, Error> {
        self.write(|reply| Change::Redeliver { id, now, reply }).await
    }

    /// Removes a callback and its delivery; false if there is none. A POST that is on its way may still
    /// arrive.
    ///
    /// # Errors
    /// A failure of the disk.
    pub async fn drop_callback(&self, id: CallbackId, now: Timestamp) -> Result<bool, Error> {
        self.write(|reply| Change::DropCallback { id, now, reply }).await
    }
}
