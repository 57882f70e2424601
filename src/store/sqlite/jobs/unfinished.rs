//! Which jobs are not done, for a cancel of many.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::domain::{FunctionName, JobId, Ordinal, QueueName, State};
use crate::store::codec;
use crate::store::contract::{Failure, Filter};
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::jobs::filter::meant;

/// Unfinished jobs that one look at the database examines.
const EXAMINED_MAX: i64 = 10_000;

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

/// Some of the jobs that are not done, and where to look for more; none when there are no more.
pub type Unfinished = (Vec<(Ordinal, State)>, Option<Ordinal>);

impl Sqlite {
    /// At most `limit` of the jobs that are not done and pass `filter`, behind `after` and up to `to`, in the
    /// order of submission. It examines a bounded number of rows.
    pub async fn unfinished(
        &self,
        filter: &Filter,
        after: Ordinal,
        to: Ordinal,
        limit: usize,
    ) -> Result<Unfinished, Failure> {
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
        let jobs = found.iter().map(unfinished).collect::<Result<Vec<_>, Failure>>()?;
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
    pub async fn unfinished_of(&self, ids: &[JobId]) -> Result<Vec<(Ordinal, State)>, Failure> {
        let ids: Vec<String> = ids.iter().map(|id| id.0.simple().to_string()).collect();
        let ids = serde_json::to_string(&ids).map_err(codec::damaged)?;
        let query = sqlx::query(SELECT_UNFINISHED_OF).bind(ids);
        query.fetch_all(&self.readers).await?.iter().map(unfinished).collect()
    }
}

fn unfinished(row: &SqliteRow) -> Result<(Ordinal, State), Failure> {
    Ok((Ordinal(row.try_get(0)?), codec::known(State::parse, row.try_get(1)?)?))
}
