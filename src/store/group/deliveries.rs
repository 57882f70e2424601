//! Callbacks are added, and deliveries that are over are made once more.

use crate::domain::{CallbackId, NewCallback, Ordinal, Timestamp};
use crate::store::ledger::Running;
use crate::store::{Error, Redelivery};

use super::Group;

impl Group<'_> {
    /// Adds a callback to a job, if that may have another; due at once if it is done.
    pub(super) fn add_callback(
        &mut self,
        job: Ordinal,
        callback: &NewCallback,
    ) -> Result<Result<(), Error>, Error> {
        if self.sql.has_all_callbacks(job)? {
            return Ok(Err(Error::TooManyCallbacks(NewCallback::COUNT_MAX)));
        }
        self.sql.add_callback(job, callback)?;
        self.make_due_of(job, callback.due_at)?;
        if let Some(running) = self.ledger.running(job) {
            let running = Running { may_have_callbacks: true, ..running };
            self.ledger.set_running(job, Some(running));
        }
        Ok(Ok(()))
    }

    /// Makes the delivery of a callback due again, unless it is so already.
    pub(super) fn redeliver(
        &mut self,
        id: CallbackId,
        now: Timestamp,
    ) -> Result<Redelivery, Error> {
        let Some((callback, _)) = self.sql.callback(id)? else {
            return Ok(Redelivery::Missing);
        };
        if self.redeliver_many(&[callback], now)? == 1 {
            return Ok(Redelivery::Due);
        }
        let is_made = self.sql.is_delivery_made(callback)?;
        Ok(if is_made { Redelivery::Pending } else { Redelivery::NotDone })
    }

    /// No delivery is due later than `latest`.
    pub(in crate::store) fn bring_forward(&mut self, latest: Timestamp) -> Result<usize, Error> {
        Ok(self.sql.bring_forward(latest)?)
    }

    /// Makes the deliveries of callbacks due again, if they are over; how many that were.
    pub(super) fn redeliver_many(
        &mut self,
        callbacks: &[Ordinal],
        now: Timestamp,
    ) -> Result<usize, Error> {
        self.now = self.now.max(now);
        let mut due = 0;
        for callback in callbacks {
            due += usize::from(self.sql.redeliver(*callback, self.now)?);
        }
        self.makes_due |= due > 0;
        Ok(due)
    }
}
