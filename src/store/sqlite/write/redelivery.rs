//! A delivery that is over, and is to be made once more.

use rusqlite::Result;

use crate::domain::{Ordinal, Timestamp};

use super::Statements;

const REDELIVER: &str =
    "update deliveries set state = 'pending', next_at = ?2, schedule_from = attempts, deaths = 0
where callback = ?1 and state != 'pending'";
const SELECT_MADE: &str = "select exists (select 1 from deliveries as d where d.callback = ?)";

impl Statements<'_> {
    /// Makes a delivery that is over due again; false if there is none that is over.
    pub(in crate::store) fn redeliver(self, callback: Ordinal, at: Timestamp) -> Result<bool> {
        self.run(REDELIVER, [callback.0, at.0]).map(|rows| rows == 1)
    }

    /// Whether the job of a callback is done, so that there is a delivery.
    pub(in crate::store) fn is_delivery_made(self, callback: Ordinal) -> Result<bool> {
        self.prepared(SELECT_MADE)?.query_row([callback.0], |row| row.get(0))
    }
}
