//! A batch takes no more calls.

use crate::domain::Ordinal;
use crate::store::contract::Failure;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;

/// Batches that a start closes in one transaction.
const LEFT_OPEN_MAX: usize = 500;

const CLOSE: &str = "update batches set closed = 1 where ordinal = ? and closed = 0";

const SELECT_LEFT_OPEN: &str =
    "select ordinal from batches where finished_at is null and closed = 0 and epoch < ? limit ?";

/// Closes what an earlier server left open: whoever brought the calls is gone with it.
pub fn close_left_open(txn: &mut Txn<'_>) -> Result<usize, Failure> {
    let open = batches_left_open(txn.sql, txn.counters.epoch, LEFT_OPEN_MAX)?;
    for batch in &open {
        close_batch(txn, *batch)?;
    }
    Ok(open.len())
}

/// No more calls come; false if none could before.
pub fn close_batch(txn: &mut Txn<'_>, batch: Ordinal) -> Result<bool, Failure> {
    let closes = write_closed(txn.sql, batch)?;
    if closes {
        txn.tallies.entry(batch).or_default();
    }
    Ok(closes)
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
