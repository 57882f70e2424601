//! Batches that are over go with their jobs, in portions: the jobs first, then what is left.

use rusqlite::OptionalExtension as _;
use uuid::Uuid;

use crate::domain::{BatchId, Ordinal, Timestamp};
use crate::store::contract::{DAY_MS, Event, Failure};
use crate::store::sqlite::jobs::remove;
use crate::store::sqlite::jobs::remove::{DoneRow, RemovalPortion, done_columns};
use crate::store::sqlite::statements::{Statements, limit_of, moment};
use crate::store::sqlite::txn::Txn;

macro_rules! has_open_delivery {
    () => {
        "(exists (select 1 from deliveries as d where d.batch = b.ordinal and d.state = 'pending')
    or exists (select 1 from batch_runs as r join deliveries as d
            on d.job >= r.ordinal_from and d.job < r.ordinal_from + r.count
        where r.batch = b.ordinal and d.state = 'pending'))"
    };
}

/// One whose removal has begun goes on, also if a job of it is told once more meanwhile.
const SELECT_OVER: &str = concat!(
    "select b.ordinal, b.id, b.going from batches as b
where b.expires_at <= ? and (b.going = 1 or not ",
    has_open_delivery!(),
    ") order by b.expires_at limit 1"
);

const SELECT_HELD: &str = "select exists (select 1 from batches as b where b.expires_at <= ?)";

const LET_GO: &str = "update batches set going = 1 where ordinal = ?";

const SELECT_JOBS: &str = concat!(
    done_columns!(),
    "join batch_runs as r on j.ordinal >= r.ordinal_from and j.ordinal < r.ordinal_from + r.count
where r.batch = ? order by r.index_from, j.ordinal limit ?"
);

const DELETE_ATTEMPTS: &str = "delete from delivery_attempts
where callback in (select c.ordinal from callbacks as c where c.batch = ?)";

const DELETE_DELIVERIES: &str = "delete from deliveries where batch = ?";

const DELETE_CALLBACKS: &str = "delete from callbacks where batch = ?";

const DELETE_RUNS: &str = "delete from batch_runs where batch = ?";

const DELETE_ENDS: &str = "delete from batch_ends where batch = ?1
    and seq in (select e.seq from batch_ends as e where e.batch = ?1 order by e.seq limit ?2)";

const DELETE_BATCH: &str = "delete from batches where ordinal = ?";

/// A batch that is over.
#[derive(Clone, Copy, Debug)]
pub struct OverRow {
    pub ordinal: Ordinal,
    pub id: BatchId,
    /// Whether its removal has begun.
    pub is_going: bool,
}

/// Removes what the portion has room for of the batches that have expired; whether there may be more.
pub fn clean_batches(
    txn: &mut Txn<'_>,
    now: Timestamp,
    portion: &mut RemovalPortion,
) -> Result<bool, Failure> {
    while !portion.is_full() {
        let Some(batch) = batch_over(txn.sql, now)? else {
            portion.holds |= is_batch_held(txn.sql, now)?;
            return Ok(false);
        };
        if remove_some_of(txn, &batch, portion)? {
            break;
        }
    }
    Ok(true)
}

/// True if the portion has no room for the next job.
pub fn remove_some_of(
    txn: &mut Txn<'_>,
    batch: &OverRow,
    portion: &mut RemovalPortion,
) -> Result<bool, Failure> {
    if !batch.is_going {
        // Whoever asks for it now is told that it is gone, rather than shown the half of it.
        let_batch_go(txn.sql, batch.ordinal)?;
    }
    let rows = jobs_of_batch(txn.sql, batch.ordinal, portion.rows_left)?;
    let wanted = portion.rows_left;
    // As many rows of ends as jobs, so that none is left with the last of them.
    delete_ends(txn.sql, batch.ordinal, rows.len())?;
    if remove::expire_some(txn, &rows, portion, |_passed| {})? || rows.len() == wanted {
        return Ok(true);
    }
    delete_batch(txn.sql, batch.ordinal)?;
    // It may have come with this group: one without calls is done at once.
    txn.tallies.remove(&batch.ordinal);
    remove::delete_keys_of(txn.sql, batch.id.0, txn.now.plus_millis(-DAY_MS))?;
    remove::keep_tombstone(txn.sql, batch.id.0, txn.now)?;
    portion.rows_left = portion.rows_left.saturating_sub(1);
    txn.events.push(Event::Batch(batch.id));
    Ok(false)
}

/// The batch that expired the longest ago, and of which no delivery is open.
pub fn batch_over(sql: Statements<'_>, now: Timestamp) -> rusqlite::Result<Option<OverRow>> {
    let mut statement = sql.prepared(SELECT_OVER)?;
    let over = |row: &rusqlite::Row<'_>| {
        Ok(OverRow {
            ordinal: Ordinal(row.get(0)?),
            id: BatchId(Uuid::from_bytes(row.get(1)?)),
            is_going: row.get(2)?,
        })
    };
    statement.query_row([now.0], over).optional()
}

/// Whether a batch that has expired is still there.
pub fn is_batch_held(sql: Statements<'_>, now: Timestamp) -> rusqlite::Result<bool> {
    sql.prepared(SELECT_HELD)?.query_row([now.0], |row| row.get(0))
}

/// Shows a batch to nobody any more.
pub fn let_batch_go(sql: Statements<'_>, batch: Ordinal) -> rusqlite::Result<()> {
    sql.run(LET_GO, [batch.0]).map(drop)
}

/// The jobs of a batch that are still there, in order.
pub fn jobs_of_batch(
    sql: Statements<'_>,
    batch: Ordinal,
    limit: usize,
) -> rusqlite::Result<Vec<DoneRow>> {
    let mut statement = sql.prepared(SELECT_JOBS)?;
    let mut rows: Vec<DoneRow> = statement
        .query_map([batch.0, limit_of(limit)], remove::done)?
        .collect::<rusqlite::Result<_>>()?;
    // What was open was looked for before the first of them went.
    rows.iter_mut().for_each(|row| row.has_open_delivery = false);
    Ok(rows)
}

/// Deletes so many rows of the ends of a batch, the first ones.
pub fn delete_ends(sql: Statements<'_>, batch: Ordinal, count: usize) -> rusqlite::Result<()> {
    sql.run(DELETE_ENDS, [batch.0, limit_of(count)]).map(drop)
}

/// Deletes a batch of which no job is left, with what hangs on it.
pub fn delete_batch(sql: Statements<'_>, batch: Ordinal) -> rusqlite::Result<()> {
    for delete in [DELETE_ATTEMPTS, DELETE_DELIVERIES, DELETE_CALLBACKS, DELETE_RUNS, DELETE_BATCH]
    {
        sql.run(delete, [batch.0])?;
    }
    Ok(())
}

const SELECT_NEXT_BATCH_EXPIRY: &str = "select min(expires_at) from batches where expires_at > ?";

/// When the next batch expires after that moment.
pub fn next_batch_expiry(
    sql: Statements<'_>,
    after: Timestamp,
) -> rusqlite::Result<Option<Timestamp>> {
    sql.prepared(SELECT_NEXT_BATCH_EXPIRY)?.query_row([after.0], moment)
}
