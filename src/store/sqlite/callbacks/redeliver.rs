//! A delivery that is over is made once more.

use crate::domain::{Ordinal, Timestamp};
use crate::store::contract::Error;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::write::{ROW_BYTES, Ran, Write};

const REDELIVER: &str =
    "update deliveries set state = 'pending', next_at = ?2, schedule_from = attempts, deaths = 0
where callback = ?1 and state != 'pending'";

/// Makes the deliveries of these callbacks due again, if they are over.
#[derive(Debug)]
struct Redeliver {
    callbacks: Vec<Ordinal>,
    now: Timestamp,
}

impl Write for Redeliver {
    type Output = usize;

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<usize> {
        txn.now = txn.now.max(self.now);
        let mut due = 0;
        for callback in &self.callbacks {
            due += usize::from(make_due_again(txn.sql, *callback, txn.now)?);
        }
        txn.makes_due |= due > 0;
        Ok(Ok(due))
    }

    fn bytes(&self) -> usize {
        ROW_BYTES * self.callbacks.len()
    }
}

impl Sqlite {
    pub async fn redeliver(&self, callbacks: Vec<Ordinal>, now: Timestamp) -> Result<usize, Error> {
        self.write(Redeliver { callbacks, now }).await
    }
}

/// Makes a delivery that is over due again; false if there is none that is over.
pub fn make_due_again(
    sql: Statements<'_>,
    callback: Ordinal,
    at: Timestamp,
) -> rusqlite::Result<bool> {
    sql.run(REDELIVER, [callback.0, at.0]).map(|rows| rows == 1)
}
