//! A delivery that is over is made once more.

use crate::domain::{CallbackId, Ordinal, Timestamp};
use crate::store::contract::{Error, Failure, Redelivery};
use crate::store::sqlite::callbacks::find;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::write::{ROW_BYTES, Ran, Write};

const REDELIVER: &str =
    "update deliveries set state = 'pending', next_at = ?2, schedule_from = attempts, deaths = 0
where callback = ?1 and state != 'pending'";

const SELECT_MADE: &str = "select exists (select 1 from deliveries as d where d.callback = ?)";

#[derive(Debug)]
struct Redeliver {
    id: CallbackId,
    now: Timestamp,
}

impl Write for Redeliver {
    type Output = Redelivery;

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<Redelivery> {
        let Some((callback, _)) = find::place_of(txn.sql, self.id)? else {
            return Ok(Ok(Redelivery::Missing));
        };
        if redeliver_many(txn, &[callback], self.now)? == 1 {
            return Ok(Ok(Redelivery::Due));
        }
        let is_made = is_delivery_made(txn.sql, callback)?;
        Ok(Ok(if is_made { Redelivery::Pending } else { Redelivery::NotDone }))
    }
}

#[derive(Debug)]
struct RedeliverMany {
    callbacks: Vec<Ordinal>,
    now: Timestamp,
}

impl Write for RedeliverMany {
    type Output = usize;

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<usize> {
        Ok(Ok(redeliver_many(txn, &self.callbacks, self.now)?))
    }

    fn bytes(&self) -> usize {
        ROW_BYTES * self.callbacks.len()
    }
}

impl Sqlite {
    pub async fn redeliver(&self, id: CallbackId, now: Timestamp) -> Result<Redelivery, Error> {
        self.write(Redeliver { id, now }).await
    }

    pub async fn redeliver_many(
        &self,
        callbacks: Vec<Ordinal>,
        now: Timestamp,
    ) -> Result<usize, Error> {
        self.write(RedeliverMany { callbacks, now }).await
    }
}

/// Makes the deliveries of callbacks due again, if they are over; how many that were.
pub fn redeliver_many(
    txn: &mut Txn<'_>,
    callbacks: &[Ordinal],
    now: Timestamp,
) -> Result<usize, Failure> {
    txn.now = txn.now.max(now);
    let mut due = 0;
    for callback in callbacks {
        due += usize::from(make_due_again(txn.sql, *callback, txn.now)?);
    }
    txn.makes_due |= due > 0;
    Ok(due)
}

/// Makes a delivery that is over due again; false if there is none that is over.
pub fn make_due_again(
    sql: Statements<'_>,
    callback: Ordinal,
    at: Timestamp,
) -> rusqlite::Result<bool> {
    sql.run(REDELIVER, [callback.0, at.0]).map(|rows| rows == 1)
}

/// Whether the job of a callback is done, so that there is a delivery.
pub fn is_delivery_made(sql: Statements<'_>, callback: Ordinal) -> rusqlite::Result<bool> {
    sql.prepared(SELECT_MADE)?.query_row([callback.0], |row| row.get(0))
}
