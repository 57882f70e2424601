//! Cancelling many jobs: a mark that claims honour at once, then portions between the other writes.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use std::collections::HashSet;

use crate::domain::{FunctionName, JobId, Ordinal, QueueName, State, Timestamp};

use super::change::Change;
use super::sqlite::rows;
use super::{Error, Filter, Store};

/// Unfinished jobs that one look at the database examines.
const EXAMINED_MAX: i64 = 10_000;

/// Whether a row is one that a filter means; the parameters from `?2` on are the filter's, in its order.
macro_rules! meant {
    () => {
        "(?2 is null or state = ?2) and (?3 is null or function = ?3) and (?4 is null or queue = ?4)
    and (?5 is null or exists (select 1 from json_each(labels, '$[0]') as t where t.value = ?5))
    and (?6 is null or created_at + coalesce(options ->> '$.wall_ahead_ms', 0) > ?6)
    and (?7 is null or created_at + coalesce(options ->> '$.wall_ahead_ms', 0) < ?7)
    and (?8 is null or batch = (select b.ordinal from batches as b where b.id = ?8))"
    };
}
pub(super) use meant;

const SELECT_INDEXED_TO: &str = "select indexed_to from counters";
/// It ends behind those that it may examine, or as soon as it has found enough.
const SELECT_UNFINISHED: &str = concat!(
    "select c.ordinal, c.state from unfinished as u cross join calls as c on c.ordinal = u.job
where u.job > ?1
    and u.job <= min(?9, coalesce((select x.job from unfinished as x where x.job > ?1 order by x.job limit 1 offset ?10 - 1), ?9))
    and ",
    meant!(),
    " order by u.job limit ?11"
);
const SELECT_EXAMINED: &str = "select max(job), count(*) from (select job from unfinished
    where job > ? and job <= ? order by job limit ?)";
/// The same behind the end of the index.
const SELECT_UNFINISHED_LATER: &str = concat!(
    "select ordinal, state from (select * from jobs
    where finished_seq is null and ordinal > ?1 and ordinal <= ?9 order by ordinal limit ?10)
where ",
    meant!(),
    " order by ordinal limit ?11"
);
const SELECT_EXAMINED_LATER: &str = "select max(ordinal), count(*) from (select ordinal from jobs
    where finished_seq is null and ordinal > ? and ordinal <= ? order by ordinal limit ?)";
const SELECT_UNFINISHED_OF: &str = "select ordinal, state from jobs
where id in (select unhex(e.value) from json_each(?) as e) and finished_seq is null order by ordinal";

/// Jobs that must not start any more, because they are being cancelled.
#[derive(Clone, Debug)]
pub enum Mark {
    /// These.
    Jobs(HashSet<Ordinal>),
    /// Those that pass a filter and were there when it was marked.
    Meant(Filter),
    /// Those of the batch at that place. It stands until the batch is done.
    Batch(Ordinal),
}

/// Some of the jobs that are being cancelled.
#[derive(Clone, Debug)]
pub struct CancelPortion {
    /// Where they are.
    pub jobs: Vec<Ordinal>,
    /// Whether those are meant that have not started.
    pub pending: bool,
    /// Whether those are meant that run.
    pub running: bool,
    /// Whether running ones are asked to stop, or left alone.
    pub terminate: bool,
    /// How long those may take.
    pub grace_seconds: f64,
    /// When.
    pub now: Timestamp,
}

/// What became of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CancelCounts {
    /// Jobs that were meant and not done.
    pub matched: usize,
    /// Of these, jobs that had not started, and are cancelled.
    pub cancelled: usize,
    /// Of these, jobs that run and are asked to stop.
    pub terminating: usize,
}

impl CancelCounts {
    /// Counts those of another portion too.
    pub fn add(&mut self, other: Self) {
        self.matched += other.matched;
        self.cancelled += other.cancelled;
        self.terminating += other.terminating;
    }
}

/// Some of the jobs that are not done, and where to look for more; none when there are no more.
pub type Unfinished = (Vec<(Ordinal, State)>, Option<Ordinal>);

impl Store {
    /// From now on no job starts that `mark` means; one that would is cancelled instead. Gives the number of
    /// the mark, and the place of the newest job that it can mean.
    ///
    /// # Errors
    /// A failure of the disk.
    pub async fn mark_cancelled(&self, mark: Mark) -> Result<(u64, Ordinal), Error> {
        self.write(|reply| Change::MarkCancelled { mark, reply }).await
    }

    /// Cancels some jobs, in one commit.
    ///
    /// # Errors
    /// A failure of the disk.
    pub async fn cancel_portion(&self, portion: CancelPortion) -> Result<CancelCounts, Error> {
        self.write(|reply| Change::CancelPortion { portion, reply }).await
    }

    /// Takes a mark back; gives how many jobs were cancelled for it instead of being started.
    ///
    /// # Errors
    /// A failure of the disk.
    pub async fn unmark_cancelled(&self, number: u64) -> Result<usize, Error> {
        self.write(|reply| Change::UnmarkCancelled { number, reply }).await
    }

    /// At most `limit` of the jobs that are not done and pass `filter`, behind `after` and up to `to`, in the
    /// order of submission. It examines a bounded number of rows.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn unfinished(
        &self,
        filter: &Filter,
        after: Ordinal,
        to: Ordinal,
        limit: usize,
    ) -> Result<Unfinished, Error> {
        let limit_kept = i64::try_from(limit).unwrap_or(i64::MAX);
        // One snapshot of all: what is done meanwhile would move the rows that were examined.
        let mut snapshot = self.readers.begin().await?;
        let indexed_to = sqlx::query_scalar(SELECT_INDEXED_TO).fetch_one(&mut *snapshot).await?;
        let indexed_to = Ordinal(indexed_to);
        let (select, select_examined, end) = if after < indexed_to {
            (SELECT_UNFINISHED, SELECT_EXAMINED, to.min(indexed_to))
        } else {
            (SELECT_UNFINISHED_LATER, SELECT_EXAMINED_LATER, to)
        };
        let found = sqlx::query(select)
            .bind(after.0)
            .bind(filter.state.map(State::as_str))
            .bind(filter.function.as_ref().map(FunctionName::as_str))
            .bind(filter.queue.as_ref().map(QueueName::as_str))
            .bind(filter.tag.as_deref())
            .bind(filter.created_after.map(|at| at.0))
            .bind(filter.created_before.map(|at| at.0))
            .bind(filter.batch.map(|it| it.0.as_bytes().to_vec()))
            .bind(end.0)
            .bind(EXAMINED_MAX)
            .bind(limit_kept)
            .fetch_all(&mut *snapshot)
            .await?;
        let jobs = found.iter().map(unfinished).collect::<Result<Vec<_>, Error>>()?;
        if jobs.len() == limit {
            let last = jobs.last().map(|(ordinal, _)| *ordinal);
            return Ok((jobs, last));
        }
        let examined = sqlx::query_as(select_examined).bind(after.0).bind(end.0).bind(EXAMINED_MAX);
        let (last, count): (Option<i64>, i64) = examined.fetch_one(&mut *snapshot).await?;
        let last = last.filter(|_| count == EXAMINED_MAX).map(Ordinal);
        Ok((jobs, last.or_else(|| (end < to).then_some(end))))
    }

    /// Those of the jobs of these ids that are not done.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn unfinished_of(&self, ids: &[JobId]) -> Result<Vec<(Ordinal, State)>, Error> {
        let ids: Vec<String> = ids.iter().map(|id| id.0.simple().to_string()).collect();
        let ids = serde_json::to_string(&ids).map_err(rows::damaged)?;
        let query = sqlx::query(SELECT_UNFINISHED_OF).bind(ids);
        query.fetch_all(&self.readers).await?.iter().map(unfinished).collect()
    }
}

fn unfinished(row: &SqliteRow) -> Result<(Ordinal, State), Error> {
    Ok((Ordinal(row.try_get(0)?), rows::known(State::parse, row.try_get(1)?)?))
}
