//! What can be read of jobs, without the writer.

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, Row as _, SqliteConnection};

use crate::domain::{
    BRIEF_BYTES_MAX, FailedAttempts, FunctionName, Job, JobId, Ordinal, QueueName, State,
};
use crate::store::contract::{Failure, Filter, Places, View};
use crate::store::sqlite::batches::pages;
use crate::store::sqlite::batches::pages::Extent;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::row;

macro_rules! job_columns {
    () => {
        "ordinal, id, function, queue, priority, on_interrupt, labels, state, version, attempt,
    interruptions, crashes, created_at, started_at, finished_at, cancel_requested_at, arguments, result, error,
    arguments_payload, arguments_bytes, result_payload, result_bytes, options, failures, run_at, run_at_is_wall,
    expires_at, finished_seq, batch, batch_index, (select b.id from batches as b where b.ordinal = batch),
    exists (select 1 from callbacks as c where c.job = jobs.ordinal), arguments_sum, outcome_sum,
    case state when 'running' then epoch < (select k.epoch from counters as k) else 0 end"
    };
}
pub(in crate::store::sqlite) use job_columns;

/// Rows that one page of a filtered list examines.
pub const EXAMINED_MAX: i64 = 10_000;

const SELECT_JOB: &str = concat!("select ", job_columns!(), " from jobs where id = ?");

pub const SELECT_AT: &str = concat!(
    "select ",
    job_columns!(),
    " from jobs where ordinal in (select e.value from json_each(?) as e) order by ordinal"
);

const SELECT_PAGE: &str = "select jobs.ordinal
from (select * from jobs where ordinal < ?1 and ordinal >= ?11 order by ordinal desc limit ?2) as jobs
where (?3 is null or state = ?3) and (?4 is null or function = ?4) and (?5 is null or queue = ?5)
    and (?6 is null or exists (select 1 from json_each(labels, '$[0]') as t where t.value = ?6))
    and (?7 is null or created_at + coalesce(options ->> '$.wall_ahead_ms', 0) > ?7)
    and (?8 is null or created_at + coalesce(options ->> '$.wall_ahead_ms', 0) < ?8)
    and (?10 is null or batch = ?10)
order by ordinal desc limit ?9";

const SELECT_EXAMINED: &str = "select count(*), min(ordinal)
from (select ordinal from calls where ordinal < ? and ordinal >= ? order by ordinal desc limit ?)";

const SELECT_CHUNKS: &str = "select bytes from chunks where payload = ? order by number";

const SELECT_FAILED: &str =
    "select started_at, finished_at, error from attempts where job = ? order by attempt";

/// So many bytes may the result of a job have that is read so.
fn result_bytes_max(view: View) -> usize {
    match view {
        View::Whole | View::Bare => usize::MAX,
        View::Brief => BRIEF_BYTES_MAX,
        View::Results(most) => most,
    }
}

impl Sqlite {
    pub async fn job(&self, id: JobId) -> Result<Option<Job>, Failure> {
        // What reads is large. Thousands may ask at once, and no more of them read than there are connections.
        let _turn = self.turns.acquire().await.map_err(|_closed| Failure::Closed)?;
        Box::pin(self.read_job(id)).await
    }

    async fn read_job(&self, id: JobId) -> Result<Option<Job>, Failure> {
        let query = || sqlx::query(SELECT_JOB).bind(id.0.as_bytes().to_vec());
        let mut connection = self.readers.acquire().await?;
        let found = query().fetch_optional(&mut *connection).await?;
        let Some(row) = found else { return Ok(None) };
        if !is_spread(&row)? {
            return Ok(Some(filled(&mut connection, &row, View::Whole).await?));
        }
        let mut snapshot = connection.begin().await?;
        match query().fetch_optional(&mut *snapshot).await? {
            Some(row) => Ok(Some(filled(&mut snapshot, &row, View::Whole).await?)),
            None => Ok(None),
        }
    }

    pub async fn list(
        &self,
        filter: &Filter,
        below: Option<Ordinal>,
        page_size: usize,
    ) -> Result<Places, Failure> {
        let mut snapshot = self.readers.begin().await?;
        page(&mut snapshot, filter, below, page_size).await
    }
}

/// Where the jobs of a page stand.
async fn page(
    snapshot: &mut SqliteConnection,
    filter: &Filter,
    below: Option<Ordinal>,
    page_size: usize,
) -> Result<Places, Failure> {
    let within = match filter.batch {
        Some(batch) => pages::extent(snapshot, batch).await?,
        None => Extent::ALL,
    };
    let below = below.map_or(i64::MAX, |ordinal| ordinal.0).min(within.below.0);
    // One more than asked for tells whether another page follows.
    let limit = i64::try_from(page_size + 1).unwrap_or(i64::MAX);
    let found: Vec<i64> = sqlx::query_scalar(SELECT_PAGE)
        .bind(below)
        .bind(EXAMINED_MAX)
        .bind(filter.state.map(State::as_str))
        .bind(filter.function.as_ref().map(FunctionName::as_str))
        .bind(filter.queue.as_ref().map(QueueName::as_str))
        .bind(filter.tag.as_deref())
        .bind(filter.created_after.map(|at| at.0))
        .bind(filter.created_before.map(|at| at.0))
        .bind(limit)
        .bind(within.batch.map(|it| it.0))
        .bind(within.from.0)
        .fetch_all(&mut *snapshot)
        .await?;
    let places: Vec<Ordinal> = found.iter().take(page_size).copied().map(Ordinal).collect();
    let next = match found.len() > page_size {
        true => places.last().copied(),
        false => examined_to(snapshot, (within.from.0, below)).await?,
    };
    Ok(Places { places, next })
}

/// Whether something of a job is kept beside its row. Then both are read in one snapshot: between two
/// reads the job may fail once more, or go.
fn is_spread(row: &SqliteRow) -> Result<bool, Failure> {
    let (arguments, result): (Option<i64>, Option<i64>) = (row.try_get(19)?, row.try_get(21)?);
    let failures: i64 = row.try_get(24)?;
    Ok(arguments.is_some() || result.is_some() || failures > 0)
}

/// The job of `row`, with what is kept beside it.
pub async fn filled(
    connection: &mut SqliteConnection,
    row: &SqliteRow,
    view: View,
) -> Result<Job, Failure> {
    if view == View::Bare {
        return row::bare_job(row);
    }
    let mut job = row::job(row)?;
    // What is beside the row is not even read if it is left out.
    let is_more = |bytes: i64, most: usize| usize::try_from(bytes).is_ok_and(|bytes| bytes > most);
    let (payload, bytes): (Option<i64>, i64) = (row.try_get(19)?, row.try_get(20)?);
    let fits = view == View::Whole || !is_more(bytes, BRIEF_BYTES_MAX);
    if let Some(payload) = payload.filter(|_| fits) {
        row::add_arguments(&mut job, row, &whole(connection, payload).await?)?;
    }
    if job.failures > 0 && job.spec.options.retry.max_attempts == 1 {
        job.attempts = row::only_attempt(&job).into_iter().collect();
    } else if job.failures > 0 {
        job.attempts = failed_attempts(connection, job.ordinal).await?;
    }
    let (payload, bytes): (Option<i64>, Option<i64>) = (row.try_get(21)?, row.try_get(22)?);
    if let Some(payload) = payload {
        job.result_omitted = bytes.is_some_and(|bytes| is_more(bytes, result_bytes_max(view)));
        if !job.result_omitted {
            row::add_result(&mut job, row, whole(connection, payload).await?)?;
        }
    }
    Ok(match view {
        View::Whole | View::Bare => job,
        View::Brief | View::Results(_) => job.brief(result_bytes_max(view)).unwrap_or(job),
    })
}

/// One after the other: those of an older schema may be large.
async fn failed_attempts(
    connection: &mut SqliteConnection,
    job: Ordinal,
) -> Result<FailedAttempts, Failure> {
    let mut found = sqlx::query(SELECT_FAILED).bind(job.0).fetch(connection);
    let mut attempts = FailedAttempts::default();
    while let Some(row) = found.try_next().await? {
        attempts.push(row::failed_attempt(&row)?);
    }
    Ok(attempts)
}

async fn whole(connection: &mut SqliteConnection, payload: i64) -> Result<String, Failure> {
    let pieces: Vec<Vec<u8>> =
        sqlx::query_scalar(SELECT_CHUNKS).bind(payload).fetch_all(connection).await?;
    // What is no text does not have the sum of one.
    Ok(String::from_utf8(pieces.concat()).unwrap_or_default())
}

/// Where a short page stopped looking; none if it saw the end of the table.
async fn examined_to(
    connection: &mut SqliteConnection,
    (from, below): (i64, i64),
) -> Result<Option<Ordinal>, Failure> {
    let query = sqlx::query_as(SELECT_EXAMINED).bind(below).bind(from).bind(EXAMINED_MAX);
    let (examined, lowest): (i64, Option<i64>) = query.fetch_one(connection).await?;
    Ok(lowest.filter(|_| examined == EXAMINED_MAX).map(Ordinal))
}
