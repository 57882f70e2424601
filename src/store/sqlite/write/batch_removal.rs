//! What is deleted of batches that are over.

use rusqlite::{OptionalExtension as _, Result};
use uuid::Uuid;

use crate::domain::{BatchId, Ordinal, Timestamp};

use super::Statements;
use super::removal::{DoneRow, done, done_columns, limit_of};

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
pub(in crate::store) struct OverRow {
    pub(in crate::store) ordinal: Ordinal,
    pub(in crate::store) id: BatchId,
    /// Whether its removal has begun.
    pub(in crate::store) is_going: bool,
}

impl Statements<'_> {
    /// The batch that expired the longest ago, and of which no delivery is open.
    pub(in crate::store) fn batch_over(self, now: Timestamp) -> Result<Option<OverRow>> {
        let mut statement = self.prepared(SELECT_OVER)?;
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
    pub(in crate::store) fn is_batch_held(self, now: Timestamp) -> Result<bool> {
        self.prepared(SELECT_HELD)?.query_row([now.0], |row| row.get(0))
    }

    /// Shows a batch to nobody any more.
    pub(in crate::store) fn let_batch_go(self, batch: Ordinal) -> Result<()> {
        self.run(LET_GO, [batch.0]).map(drop)
    }

    /// The jobs of a batch that are still there, in order.
    pub(in crate::store) fn jobs_of_batch(
        self,
        batch: Ordinal,
        limit: usize,
    ) -> Result<Vec<DoneRow>> {
        let mut statement = self.prepared(SELECT_JOBS)?;
        let mut rows: Vec<DoneRow> =
            statement.query_map([batch.0, limit_of(limit)], done)?.collect::<Result<_>>()?;
        // What was open was looked for before the first of them went.
        rows.iter_mut().for_each(|row| row.has_open_delivery = false);
        Ok(rows)
    }

    /// Deletes so many rows of the ends of a batch, the first ones.
    pub(in crate::store) fn delete_ends(self, batch: Ordinal, count: usize) -> Result<()> {
        self.run(DELETE_ENDS, [batch.0, limit_of(count)]).map(drop)
    }

    /// Deletes a batch of which no job is left, with what hangs on it.
    pub(in crate::store) fn delete_batch(self, batch: Ordinal) -> Result<()> {
        for sql in [DELETE_ATTEMPTS, DELETE_DELIVERIES, DELETE_CALLBACKS, DELETE_RUNS, DELETE_BATCH]
        {
            self.run(sql, [batch.0])?;
        }
        Ok(())
    }
}
