//! A callback is taken away, with its delivery.

use crate::domain::{CallbackId, Ordinal, Timestamp};
use crate::store::contract::Error;
use crate::store::sqlite::callbacks::find;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::jobs::remove;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::write::{Ran, Write};

const DELETE_ATTEMPTS_OF_DELIVERY: &str = "delete from delivery_attempts where callback = ?";

const DELETE_DELIVERY: &str = "delete from deliveries where callback = ?";

const DELETE_CALLBACK: &str = "delete from callbacks where ordinal = ?";

#[derive(Debug)]
struct RemoveCallback {
    id: CallbackId,
    now: Timestamp,
}

impl Write for RemoveCallback {
    type Output = bool;

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<bool> {
        txn.now = txn.now.max(self.now);
        let Some((callback, job)) = find::place_of(txn.sql, self.id)? else { return Ok(Ok(false)) };
        delete_callback(txn.sql, callback)?;
        // Its first attempt may be what a later one has waited for.
        txn.makes_due = true;
        if let Some(job) = job {
            remove::expire_if_over(txn, job)?;
        }
        Ok(Ok(true))
    }
}

impl Sqlite {
    pub async fn remove_callback(&self, id: CallbackId, now: Timestamp) -> Result<bool, Error> {
        self.write(RemoveCallback { id, now }).await
    }
}

/// Deletes a callback and what was, or was to be, delivered.
pub fn delete_callback(sql: Statements<'_>, callback: Ordinal) -> rusqlite::Result<()> {
    sql.run(DELETE_ATTEMPTS_OF_DELIVERY, [callback.0])?;
    sql.run(DELETE_DELIVERY, [callback.0])?;
    sql.run(DELETE_CALLBACK, [callback.0]).map(drop)
}
