//! Callbacks and their deliveries, as a reader sees them.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use crate::domain::callback::DeliveryAttempt;
use crate::domain::{
    BatchId, Callback, CallbackId, CallbackState, Delivery, DeliveryState, JobId, NewCallback,
    Ordinal, Owner, StateCounts, Timestamp, When, text,
};
use crate::store::codec;
use crate::store::contract::{CallbackFilter, CallbackPlaces, CallbackQuery, Failure};
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::jobs::read::EXAMINED_MAX;

const SELECT_OF_JOB: &str =
    "select ordinal from callbacks where job = ?1 and ordinal > ?2 order by ordinal limit ?3";

const SELECT_OF_BATCH: &str =
    "select ordinal from callbacks where batch = ?1 and ordinal > ?2 order by ordinal limit ?3";

const SELECT_BY_ID: &str = "select ordinal from callbacks where id = ?1 and ordinal > ?2 limit ?3";

const SELECT_CALLBACKS: &str =
    "select c.ordinal, c.id, c.url, c.created_at, d.state, d.next_at, c.at_event,
    (select j.id from calls as j where j.ordinal = c.job), (select b.id from batches as b where b.ordinal = c.batch),
    d.attempts, d.deaths
from json_each(?) as e cross join callbacks as c on c.ordinal = e.value
    left join deliveries as d on d.callback = c.ordinal
order by e.key";

const SELECT_ATTEMPTS: &str = "select a.callback, a.at, a.status, a.error, a.body, a.duration_ms
from json_each(?1) as e cross join deliveries as d on d.callback = e.value
    cross join delivery_attempts as a on a.callback = d.callback and a.number > d.attempts - ?2
order by a.callback, a.number";

/// The index of failed deliveries leads to them, however many others there are.
const SELECT_FAILED_PAGE: &str = "select c.ordinal
from (select callback from deliveries where state = 'failed' and callback < ?1 order by callback desc limit ?2) as f
    cross join callbacks as c on c.ordinal = f.callback
where (?3 is null or c.host = ?3) and (?4 is null or c.created_at > ?4) and (?5 is null or c.created_at < ?5)
order by c.ordinal desc limit ?6";

const SELECT_FAILED_EXAMINED: &str = "select count(*), min(callback)
from (select callback from deliveries where state = 'failed' and callback < ?1 order by callback desc limit ?2)";

const SELECT_PAGE: &str = "select c.ordinal
from (select * from callbacks where ordinal < ?1 order by ordinal desc limit ?2) as c
    left join deliveries as d on d.callback = c.ordinal
where (?3 is null or c.host = ?3) and (?4 is null or c.created_at > ?4) and (?5 is null or c.created_at < ?5)
    and (?7 is null or coalesce(d.state, 'waiting') = ?7)
order by c.ordinal desc limit ?6";

const SELECT_EXAMINED: &str = "select count(*), min(ordinal)
from (select ordinal from callbacks where ordinal < ?1 order by ordinal desc limit ?2)";

const SELECT_STATES: &str = "select coalesce(d.state, 'waiting'), count(*)
from callbacks as c left join deliveries as d on d.callback = c.ordinal
where c.job = ? group by 1";

const SELECT_COUNTS: &str = "select state, count from delivery_counts";

/// Looks through all of them if there is none: it is asked for only where the key that sealed them is lost.
const SELECT_SEALED: &str = "select ordinal from callbacks where sealed is not null and ordinal > max(?1, ?2) order by ordinal limit ?3";

impl Sqlite {
    pub async fn callbacks_at(&self, places: &[Ordinal]) -> Result<Vec<Callback>, Failure> {
        let places: Vec<i64> = places.iter().map(|place| place.0).collect();
        shown(&mut *self.readers.begin().await?, &places).await
    }

    pub async fn callback_places(
        &self,
        query: &CallbackQuery,
        from: Option<Ordinal>,
        limit: usize,
    ) -> Result<CallbackPlaces, Failure> {
        let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let after = from.map_or(0, |it| it.0);
        let query = match query {
            CallbackQuery::Id(id) => {
                sqlx::query_scalar(SELECT_BY_ID).bind(id.0.as_bytes().to_vec())
            }
            CallbackQuery::OfJob(job) => sqlx::query_scalar(SELECT_OF_JOB).bind(job.0),
            CallbackQuery::OfBatch(batch) => sqlx::query_scalar(SELECT_OF_BATCH).bind(batch.0),
            CallbackQuery::Sealed => sqlx::query_scalar(SELECT_SEALED).bind(0),
            CallbackQuery::Matching(filter) => return self.matching(filter, from, limit).await,
        };
        let mut places: Vec<i64> =
            query.bind(after).bind(one_more).fetch_all(&self.readers).await?;
        let is_last = places.len() <= limit;
        places.truncate(limit);
        let places: Vec<Ordinal> = places.into_iter().map(Ordinal).collect();
        Ok(CallbackPlaces { next: places.last().filter(|_| !is_last).copied(), places })
    }

    /// The newest first. It looks through 10,000 at most, so it may give fewer.
    async fn matching(
        &self,
        filter: &CallbackFilter,
        below: Option<Ordinal>,
        limit: usize,
    ) -> Result<CallbackPlaces, Failure> {
        let (page, examined) = match filter.state {
            Some(CallbackState::Failed) => (SELECT_FAILED_PAGE, SELECT_FAILED_EXAMINED),
            _ => (SELECT_PAGE, SELECT_EXAMINED),
        };
        let below = below.map_or(i64::MAX, |below| below.0);
        let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let mut snapshot = self.readers.begin().await?;
        let query = sqlx::query_scalar(page)
            .bind(below)
            .bind(EXAMINED_MAX)
            .bind(&filter.host)
            .bind(filter.created_after.map(|at| at.0))
            .bind(filter.created_before.map(|at| at.0))
            .bind(one_more)
            .bind(filter.state.map(CallbackState::as_str));
        let found: Vec<i64> = query.fetch_all(&mut *snapshot).await?;
        let places: Vec<Ordinal> = found.iter().take(limit).copied().map(Ordinal).collect();
        if found.len() > limit {
            return Ok(CallbackPlaces { next: places.last().copied(), places });
        }
        let query = sqlx::query_as(examined).bind(below).bind(EXAMINED_MAX);
        let (count, lowest): (i64, Option<i64>) = query.fetch_one(&mut *snapshot).await?;
        let next = lowest.filter(|_| count == EXAMINED_MAX).map(Ordinal);
        Ok(CallbackPlaces { places, next })
    }

    pub async fn callback_states(&self, job: Option<Ordinal>) -> Result<StateCounts, Failure> {
        let query = match job {
            Some(job) => sqlx::query(SELECT_STATES).bind(job.0),
            None => sqlx::query(SELECT_COUNTS),
        };
        counted(&query.fetch_all(&self.readers).await?)
    }
}

fn counted(found: &[SqliteRow]) -> Result<StateCounts, Failure> {
    let mut counts = StateCounts::default();
    for row in found {
        let count: i64 = row.try_get(1)?;
        let state = codec::known(CallbackState::parse, row.try_get(0)?)?;
        counts.add(state, usize::try_from(count).unwrap_or(0));
    }
    Ok(counts)
}

async fn shown(
    connection: &mut SqliteConnection,
    places: &[i64],
) -> Result<Vec<Callback>, Failure> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let places =
        serde_json::to_string(places).map_err(|error| Failure::Damaged(error.to_string()))?;
    let mut attempts: Vec<(i64, DeliveryAttempt)> = Vec::new();
    let most = i64::try_from(Delivery::SHOWN_MAX).unwrap_or(i64::MAX);
    let made = sqlx::query(SELECT_ATTEMPTS).bind(&places).bind(most);
    for row in made.fetch_all(&mut *connection).await? {
        attempts.push((row.try_get(0)?, attempt(&row)?));
    }
    let found = sqlx::query(SELECT_CALLBACKS).bind(&places).fetch_all(connection).await?;
    found.iter().map(|row| callback(row, &attempts)).collect()
}

fn owner(row: &SqliteRow) -> Result<Owner, Failure> {
    match (row.try_get::<Option<&[u8]>, _>(7)?, row.try_get::<Option<&[u8]>, _>(8)?) {
        (Some(job), _) => Ok(Owner::Job(JobId(codec::uuid(job)?))),
        (None, Some(batch)) => Ok(Owner::Batch(BatchId(codec::uuid(batch)?))),
        (None, None) => Err(Failure::Damaged("a callback is nobody's".to_owned())),
    }
}

fn attempt(row: &SqliteRow) -> Result<DeliveryAttempt, Failure> {
    Ok(DeliveryAttempt {
        at: Timestamp(row.try_get(1)?),
        status: row.try_get(2)?,
        error: row
            .try_get::<Option<&str>, _>(3)?
            .map(|error| cut(error, DeliveryAttempt::TEXT_BYTES_MAX)),
        body: row.try_get(4)?,
        duration_ms: row.try_get(5)?,
    })
}

/// Rows of an older schema may be larger than what is kept today.
fn cut(kept: &str, bytes_max: usize) -> String {
    text::head(kept, bytes_max).into_owned()
}

/// `attempts` are those of all callbacks, in the order of their places and numbers.
fn callback(row: &SqliteRow, attempts: &[(i64, DeliveryAttempt)]) -> Result<Callback, Failure> {
    let ordinal: i64 = row.try_get(0)?;
    let from = attempts.partition_point(|(of, _)| *of < ordinal);
    let made = || attempts[from..].iter().take_while(|(of, _)| *of == ordinal);
    let delivery = match row.try_get::<Option<&str>, _>(4)? {
        Some(state) => {
            let attempts: Vec<_> = made().map(|(_, attempt)| attempt.clone()).collect();
            let all = usize::try_from(row.try_get::<i64, _>(9)?).unwrap_or(0);
            Some(Delivery {
                state: codec::known(DeliveryState::parse, state)?,
                next_at: row.try_get::<Option<i64>, _>(5)?.map(Timestamp),
                deaths: row.try_get(10)?,
                earlier_attempts: all.saturating_sub(attempts.len()),
                attempts,
            })
        }
        None => None,
    };
    let url: &str = row.try_get(2)?;
    Ok(Callback {
        id: CallbackId(codec::uuid(row.try_get(1)?)?),
        owner: owner(row)?,
        url: cut(url, NewCallback::URL_BYTES_MAX),
        url_omitted: url.len() > NewCallback::URL_BYTES_MAX,
        created_at: Timestamp(row.try_get(3)?),
        when: row
            .try_get::<Option<&str>, _>(6)?
            .map(|word| codec::known(When::parse, word))
            .transpose()?,
        delivery,
    })
}
