//! Batches: their rows, their counts, and where their jobs stand.

use rusqlite::{OptionalExtension as _, Result, Row, params};
use uuid::Uuid;

use crate::domain::{BatchId, Counts, NewCallback, Ordinal, Timestamp, When};
use crate::store::NewBatch;

use super::Statements;

const INSERT_BATCH: &str =
    "insert into batches (ordinal, id, function, on_error, closed, epoch, retention_ms, created_at, wall_ahead_ms)
values (?, ?, ?, ?, ?, ?, ?, ?, ?)";
/// The jobs that came go on where the last ones ended, if nobody else's came between them.
const EXTEND_RUN: &str = "update batch_runs set count = count + ?4
where batch = ?1 and index_from = (select max(r.index_from) from batch_runs as r where r.batch = ?1)
    and index_from + count = ?2 and ordinal_from + count = ?3";
const INSERT_RUN: &str =
    "insert into batch_runs (batch, index_from, ordinal_from, count) values (?, ?, ?, ?)";
const COUNT: &str =
    "update batches set total = total + ?2, running = running + ?3, succeeded = succeeded + ?4,
    failed = failed + ?5, cancelled = cancelled + ?6
where ordinal = ?1
returning id, total, running, succeeded, failed, cancelled, closed, retention_ms, finished_at is not null";
const FINISH: &str = "update batches set finished_at = ?2, expires_at = ?3
where ordinal = ?1 and finished_at is null and closed = 1";
const CLOSE: &str = "update batches set closed = 1 where ordinal = ? and closed = 0";
const SELECT_LEFT_OPEN: &str =
    "select ordinal from batches where finished_at is null and closed = 0 and epoch < ? limit ?";
const SELECT_CANCELLING: &str =
    "select ordinal from batches where finished_at is null and cancel_requested_at is not null";
const CANCEL: &str = "update batches set cancel_requested_at = ?2
where ordinal = ?1 and finished_at is null and cancel_requested_at is null";
const SELECT_CANCELS_REST: &str =
    "select on_error = 'cancel' and cancel_requested_at is null from batches where ordinal = ?";
const SELECT_TAKES: &str =
    "select closed = 0 and cancel_requested_at is null from batches where ordinal = ?";
const SELECT_IS_OF: &str = "select exists (select 1 from calls where ordinal = ? and batch = ?)";
const KEEP_ENDS: &str = "insert into batch_ends (batch, seq, jobs) values (?, ?, ?)";
const INSERT_CALLBACK: &str =
    "insert into callbacks (id, batch, at_event, url, host, sealed, created_at)
select ?2, b.ordinal, ?3, ?4, ?5, ?6, ?7 from batches as b where b.ordinal = ?1";
const HAS_ALL_CALLBACKS: &str =
    "select count(*) >= ?2 from (select 1 from callbacks where batch = ?1 limit ?2)";
const MAKE_DUE: &str = "insert into deliveries (callback, batch, host, state, next_at)
select c.ordinal, c.batch, c.host, 'pending', ?3
from callbacks as c
where c.batch = ?1 and c.at_event = ?2
order by c.ordinal
on conflict (callback) do nothing";

/// A batch after its counts have moved.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct CountedRow {
    pub(in crate::store) id: BatchId,
    pub(in crate::store) counts: Counts,
    pub(in crate::store) is_closed: bool,
    pub(in crate::store) retention_ms: i64,
    pub(in crate::store) is_done: bool,
}

/// Jobs at consecutive places, for consecutive calls of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Run {
    pub(in crate::store) index_from: i64,
    pub(in crate::store) ordinal_from: Ordinal,
    pub(in crate::store) count: i64,
}

impl Statements<'_> {
    pub(in crate::store) fn insert_batch(
        self,
        it: &NewBatch,
        place: Ordinal,
        epoch: i64,
    ) -> Result<()> {
        let values = params![
            place.0,
            it.id.0.as_bytes(),
            it.function.as_str(),
            it.on_error.as_str(),
            !it.is_open,
            epoch,
            it.retention_ms,
            it.created_at.0,
            it.wall_ahead_ms,
        ];
        self.run(INSERT_BATCH, values).map(drop)
    }

    /// Notes where jobs of a batch stand.
    pub(in crate::store) fn keep_run(self, batch: Ordinal, it: Run) -> Result<()> {
        let Run { index_from, ordinal_from, count } = it;
        let values = [batch.0, index_from, ordinal_from.0, count];
        if self.run(EXTEND_RUN, values)? == 0 {
            self.run(INSERT_RUN, values)?;
        }
        Ok(())
    }

    /// Notes which jobs of a batch have ended, a JSON array in the order of all changes, from `seq` on.
    pub(in crate::store) fn keep_ends(self, batch: Ordinal, seq: i64, jobs: &str) -> Result<()> {
        self.run(KEEP_ENDS, params![batch.0, seq, jobs]).map(drop)
    }

    /// Moves the counts of a batch; none if there is no such batch.
    pub(in crate::store) fn count_batch(
        self,
        batch: Ordinal,
        change: Counts,
    ) -> Result<Option<CountedRow>> {
        let Counts { total, running, succeeded, failed, cancelled } = change;
        let values = [batch.0, total, running, succeeded, failed, cancelled];
        self.prepared(COUNT)?.query_row(values, counted).optional()
    }

    /// Ends a batch; false if it was done before, or is not closed.
    pub(in crate::store) fn finish_batch(
        self,
        batch: Ordinal,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<bool> {
        self.run(FINISH, [batch.0, now.0, expires_at.0]).map(|rows| rows == 1)
    }

    /// No more calls come; false if none could before.
    pub(in crate::store) fn close_batch(self, batch: Ordinal) -> Result<bool> {
        self.run(CLOSE, [batch.0]).map(|rows| rows == 1)
    }

    /// Batches that a server of an earlier epoch left open.
    pub(in crate::store) fn batches_left_open(
        self,
        epoch: i64,
        limit: usize,
    ) -> Result<Vec<Ordinal>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut statement = self.prepared(SELECT_LEFT_OPEN)?;
        statement.query_map([epoch, limit], |row| row.get(0).map(Ordinal))?.collect()
    }

    /// Batches whose jobs are to be cancelled and are not all done.
    pub(in crate::store) fn batches_cancelling(self) -> Result<Vec<Ordinal>> {
        let mut statement = self.prepared(SELECT_CANCELLING)?;
        statement.query_map((), |row| row.get(0).map(Ordinal))?.collect()
    }

    /// Notes that the jobs of a batch are to be cancelled; false if it was noted before, or the batch is done.
    pub(in crate::store) fn cancel_batch(self, batch: Ordinal, now: Timestamp) -> Result<bool> {
        self.run(CANCEL, [batch.0, now.0]).map(|rows| rows == 1)
    }

    /// Whether the failure of a job cancels the rest of its batch, which nothing has done before.
    pub(in crate::store) fn cancels_rest(self, batch: Ordinal) -> Result<bool> {
        self.flag(SELECT_CANCELS_REST, batch)
    }

    /// Whether more calls may come to a batch.
    pub(in crate::store) fn takes_calls(self, batch: Ordinal) -> Result<bool> {
        self.flag(SELECT_TAKES, batch)
    }

    /// Whether a job is of this batch.
    pub(in crate::store) fn is_of_batch(self, job: Ordinal, batch: Ordinal) -> Result<bool> {
        self.prepared(SELECT_IS_OF)?.query_row([job.0, batch.0], |row| row.get(0))
    }

    pub(in crate::store) fn add_batch_callback(
        self,
        batch: Ordinal,
        it: &NewCallback,
        when: When,
    ) -> Result<()> {
        let (id, when) = (it.id.0.as_bytes(), when.as_str());
        let values = params![batch.0, id, when, it.url, it.host, it.sealed, it.created_at.0];
        self.run(INSERT_CALLBACK, values).map(drop)
    }

    /// Whether a batch has as many callbacks as it may have.
    pub(in crate::store) fn batch_has_all_callbacks(self, batch: Ordinal) -> Result<bool> {
        let values = [batch.0, super::CALLBACKS_MAX];
        self.prepared(HAS_ALL_CALLBACKS)?.query_row(values, |row| row.get(0))
    }

    /// Makes the deliveries due of callbacks that waited for this; whether there are any.
    pub(in crate::store) fn make_batch_due(
        self,
        batch: Ordinal,
        when: When,
        at: Timestamp,
    ) -> Result<bool> {
        self.run(MAKE_DUE, params![batch.0, when.as_str(), at.0]).map(|rows| rows > 0)
    }

    fn flag(self, sql: &'static str, batch: Ordinal) -> Result<bool> {
        let found = self.prepared(sql)?.query_row([batch.0], |row| row.get(0)).optional()?;
        Ok(found.unwrap_or(false))
    }
}

fn counted(row: &Row<'_>) -> Result<CountedRow> {
    Ok(CountedRow {
        id: BatchId(Uuid::from_bytes(row.get(0)?)),
        counts: Counts {
            total: row.get(1)?,
            running: row.get(2)?,
            succeeded: row.get(3)?,
            failed: row.get(4)?,
            cancelled: row.get(5)?,
        },
        is_closed: row.get(6)?,
        retention_ms: row.get(7)?,
        is_done: row.get(8)?,
    })
}
