//! A batch takes no more calls.

use crate::domain::{Ordinal, Timestamp};
use crate::store::contract::{Error, Failure};
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::write::{IfRefused, Ran, Write};

/// Batches that a start closes in one transaction.
const LEFT_OPEN_MAX: usize = 500;

const CLOSE: &str = "update batches set closed = 1 where ordinal = ? and closed = 0";

const SELECT_LEFT_OPEN: &str =
    "select ordinal from batches where finished_at is null and closed = 0 and epoch < ? limit ?";

#[derive(Debug)]
struct CloseBatch {
    batch: Ordinal,
    now: Timestamp,
}

impl Write for CloseBatch {
    type Output = ();

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<()> {
        txn.now = txn.now.max(self.now);
        close_batch(txn, self.batch)?;
        Ok(Ok(()))
    }

    fn if_refused(&self) -> IfRefused {
        IfRefused::RetryIfItPasses
    }
}

impl Sqlite {
    pub async fn close_batch(&self, batch: Ordinal, now: Timestamp) -> Result<(), Error> {
        self.write(CloseBatch { batch, now }).await
    }
}

/// Closes what an earlier server left open: whoever brought the calls is gone with it.
pub fn close_left_open(txn: &mut Txn<'_>) -> Result<usize, Failure> {
    let open = batches_left_open(txn.sql, txn.counters.epoch, LEFT_OPEN_MAX)?;
    for batch in &open {
        close_batch(txn, *batch)?;
    }
    Ok(open.len())
}

pub fn close_batch(txn: &mut Txn<'_>, batch: Ordinal) -> Result<(), Failure> {
    if write_closed(txn.sql, batch)? {
        txn.tallies.entry(batch).or_default();
    }
    Ok(())
}

/// No more calls come; false if none could before.
pub fn write_closed(sql: Statements<'_>, batch: Ordinal) -> rusqlite::Result<bool> {
    sql.run(CLOSE, [batch.0]).map(|rows| rows == 1)
}

/// Batches that a server of an earlier epoch left open.
pub fn batches_left_open(
    sql: Statements<'_>,
    epoch: i64,
    limit: usize,
) -> rusqlite::Result<Vec<Ordinal>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = sql.prepared(SELECT_LEFT_OPEN)?;
    statement.query_map([epoch, limit], |row| row.get(0).map(Ordinal))?.collect()
}
