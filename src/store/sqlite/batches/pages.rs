//! Batches as a reader sees them, and where their jobs stand.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};
use uuid::Uuid;

use crate::domain::{
    Batch, BatchId, Counts, FunctionName, JobId, OnError, Ordinal, State, Timestamp,
};
use crate::store::codec;
use crate::store::contract::{BatchJob, BatchKey, BatchPage, Ended, Failure, Order};
use crate::store::sqlite::handle::Sqlite;

macro_rules! batch_columns {
    () => {
        "select ordinal, id, function, on_error, total, running, succeeded, failed, cancelled, closed, retention_ms,
    created_at, finished_at, expires_at, cancel_requested_at, wall_ahead_ms from batches "
    };
}

const SELECT_BATCH: &str = concat!(batch_columns!(), "where id = ? and going = 0");

const SELECT_BATCH_AT: &str = concat!(batch_columns!(), "where ordinal = ?");

const SELECT_PAGE: &str =
    concat!(batch_columns!(), "where ordinal < ? and going = 0 order by ordinal desc limit ?");

/// From the first job to behind the last.
const SELECT_EXTENT: &str = "select b.ordinal, min(r.ordinal_from), max(r.ordinal_from + r.count)
from batches as b left join batch_runs as r on r.batch = b.ordinal
where b.id = ?";

/// In the order of the calls; a run is a range of the table. The runs before the one in which it begins are passed by.
const SELECT_IN_ORDER: &str = "select j.id, j.ordinal, j.state, j.finished_seq, j.batch_index
from batch_runs as r cross join jobs as j
where j.ordinal >= r.ordinal_from + max(0, ?2 + 1 - r.index_from) and j.ordinal < r.ordinal_from + r.count
    and r.batch = ?1 and r.index_from >= coalesce((select max(e.index_from) from batch_runs as e
        where e.batch = ?1 and e.index_from <= ?2 + 1), 0)
order by r.index_from, j.ordinal limit ?3";

/// In the order of their ends; those that ended together stand in one row. The rows before the one in which it begins are
/// passed by. An array is gone through from its front, and to ask for that order too would sort all that is left.
const SELECT_AS_COMPLETED: &str = "select j.id, j.ordinal, j.state, j.finished_seq, j.batch_index
from batch_ends as e cross join json_each(e.jobs) as o cross join jobs as j
where j.ordinal = o.value and e.batch = ?1 and e.seq >= coalesce((select max(f.seq) from batch_ends as f
        where f.batch = ?1 and f.seq <= ?2 + 1), 0)
    and j.finished_seq > ?2 and j.batch = ?1
order by e.seq limit ?3";

/// The part of the table of jobs in which those of a batch stand.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    pub batch: Option<Ordinal>,
    pub from: Ordinal,
    pub below: Ordinal,
}

impl Extent {
    pub const ALL: Self = Self { batch: None, from: Ordinal(0), below: Ordinal(i64::MAX) };
}

impl Sqlite {
    pub async fn batch(&self, key: BatchKey) -> Result<Option<Batch>, Failure> {
        let query = match key {
            BatchKey::Id(id) => sqlx::query(SELECT_BATCH).bind(id.0.as_bytes().to_vec()),
            BatchKey::At(place) => sqlx::query(SELECT_BATCH_AT).bind(place.0),
        };
        query.fetch_optional(&self.readers).await?.as_ref().map(batch).transpose()
    }

    pub async fn batches(
        &self,
        below: Option<Ordinal>,
        page_size: usize,
    ) -> Result<BatchPage, Failure> {
        let below = below.map_or(i64::MAX, |ordinal| ordinal.0);
        let limit = i64::try_from(page_size + 1).unwrap_or(i64::MAX);
        let query = sqlx::query(SELECT_PAGE).bind(below).bind(limit);
        let found = query.fetch_all(&self.readers).await?;
        let shown = found.iter().take(page_size).map(batch);
        let batches = shown.collect::<Result<Vec<Batch>, Failure>>()?;
        let next = (found.len() > page_size).then(|| batches.last().map(|it| it.ordinal));
        Ok(BatchPage { batches, next: next.flatten() })
    }

    pub async fn batch_jobs(
        &self,
        batch: Ordinal,
        order: Order,
        after: i64,
        limit: usize,
    ) -> Result<Vec<BatchJob>, Failure> {
        let select = match order {
            Order::Input => SELECT_IN_ORDER,
            Order::Completed => SELECT_AS_COMPLETED,
        };
        let query = sqlx::query(select).bind(batch.0).bind(after);
        let query = query.bind(i64::try_from(limit).unwrap_or(i64::MAX));
        query.fetch_all(&self.readers).await?.iter().map(batch_job).collect()
    }
}

/// Where the jobs of a batch stand; nowhere if there is none.
pub async fn extent(connection: &mut SqliteConnection, id: BatchId) -> Result<Extent, Failure> {
    let query = sqlx::query_as(SELECT_EXTENT).bind(id.0.as_bytes().to_vec());
    let found: (Option<i64>, Option<i64>, Option<i64>) = query.fetch_one(connection).await?;
    let (batch, from, below) = found;
    // A batch without jobs, and none at all, have no row to show.
    let (from, below) = (from.unwrap_or(0), below.unwrap_or(0));
    Ok(Extent {
        batch: Some(Ordinal(batch.unwrap_or(0))),
        from: Ordinal(from),
        below: Ordinal(below),
    })
}

fn batch_job(row: &SqliteRow) -> Result<BatchJob, Failure> {
    let (id, ordinal) = (JobId(id(row, 0)?), Ordinal(row.try_get(1)?));
    let state = codec::known(State::parse, row.try_get(2)?)?;
    let seq: Option<i64> = row.try_get(3)?;
    let ended = seq.map(|seq| Ended { id, ordinal, state, seq });
    Ok(BatchJob { index: row.try_get(4)?, id, ordinal, ended })
}

fn id(row: &SqliteRow, place: usize) -> Result<Uuid, Failure> {
    codec::uuid(row.try_get(place)?)
}

fn batch(row: &SqliteRow) -> Result<Batch, Failure> {
    let moment = |place: usize| -> Result<Option<Timestamp>, Failure> {
        Ok(row.try_get::<Option<i64>, _>(place)?.map(Timestamp))
    };
    Ok(Batch {
        ordinal: Ordinal(row.try_get(0)?),
        id: BatchId(id(row, 1)?),
        function: FunctionName::new(row.try_get(2)?).map_err(codec::damaged)?,
        on_error: codec::known(OnError::parse, row.try_get(3)?)?,
        counts: Counts {
            total: row.try_get(4)?,
            running: row.try_get(5)?,
            succeeded: row.try_get(6)?,
            failed: row.try_get(7)?,
            cancelled: row.try_get(8)?,
        },
        is_closed: row.try_get(9)?,
        retention_ms: row.try_get(10)?,
        created_at: Timestamp(row.try_get(11)?),
        finished_at: moment(12)?,
        expires_at: moment(13)?,
        cancel_requested_at: moment(14)?,
        wall_ahead_ms: row.try_get(15)?,
    })
}
