//! A delivery that is over is made once more.

use crate::domain::{CallbackId, Timestamp};
use crate::store::{Error, Redelivery};

use super::Group;

impl Group<'_> {
    /// Makes the delivery of a callback due again, unless it is so already.
    pub(super) fn redeliver(
        &mut self,
        id: CallbackId,
        now: Timestamp,
    ) -> Result<Redelivery, Error> {
        self.now = self.now.max(now);
        let Some((callback, owner)) = self.sql.callback(id)? else {
            return Ok(Redelivery::Missing);
        };
        if self.sql.redeliver(callback, self.now)? {
            self.makes_due = true;
            return Ok(Redelivery::Due(owner));
        }
        let is_made = self.sql.is_delivery_made(callback)?;
        Ok(if is_made { Redelivery::Pending } else { Redelivery::NotDone })
    }
}
