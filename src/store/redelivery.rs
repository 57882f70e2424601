//! Callbacks after they were added: told once more, or taken away.

use crate::domain::{CallbackId, Ordinal, Timestamp};

use super::change::Change;
use super::{Error, Store};

/// What came of the wish to tell a callback once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redelivery {
    /// It is due at once.
    Due,
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

    /// The same for those of `callbacks` whose delivery is over; how many that were. At most 1,000 at a time,
    /// so that others get their turn in between.
    ///
    /// # Errors
    /// A failure of the disk.
    pub async fn redeliver_many(
        &self,
        callbacks: Vec<Ordinal>,
        now: Timestamp,
    ) -> Result<usize, Error> {
        self.write(|reply| Change::RedeliverMany { callbacks, now, reply }).await
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
