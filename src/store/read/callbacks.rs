//! Callbacks and their deliveries, as a reader sees them.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqlitePool};

use crate::domain::callback::DeliveryAttempt;
use crate::domain::{Callback, CallbackId, Delivery, DeliveryState, Ordinal, Timestamp, When};
use crate::store::sqlite::rows;
use crate::store::{Error, Store};

const SELECT_CALLBACKS: &str =
    "select c.ordinal, c.id, c.url, c.created_at, d.state, d.next_at, c.at_event
from callbacks as c left join deliveries as d on d.callback = c.ordinal
where c.job = ?1 or c.batch = ?2 order by c.ordinal";
const SELECT_ATTEMPTS: &str = "select a.callback, a.at, a.status, a.error, a.body, a.duration_ms
from callbacks as c join delivery_attempts as a on a.callback = c.ordinal
where c.job = ?1 or c.batch = ?2 order by a.callback, a.number";
/// A first attempt waits until those of the job's earlier callbacks were made (F13).
const SELECT_DUE: &str =
    "select d.callback, c.id, d.job, c.url, d.host, c.sealed, d.attempts, d.body, d.schedule_from, d.batch, c.at_event
from deliveries as d join callbacks as c on c.ordinal = d.callback
where d.state = 'pending' and d.next_at <= ?1
    and d.host not in (select e.value from json_each(?2) as e)
    and (d.attempts > 0 or not exists (select 1 from deliveries as earlier
        where earlier.job = d.job and earlier.callback < d.callback
            and earlier.state = 'pending' and earlier.attempts = 0))
    and (d.attempts > 0 or not exists (select 1 from deliveries as earlier
        where earlier.batch = d.batch and earlier.callback < d.callback
            and earlier.state = 'pending' and earlier.attempts = 0))
order by d.next_at limit ?3";
const SELECT_NEXT_DUE: &str =
    "select min(next_at) from deliveries where state = 'pending' and next_at > ?";

/// What a delivery tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The job at that place, which is done.
    Job(Ordinal),
    /// The batch at that place, of which this has come about.
    Batch(Ordinal, When),
}

/// A delivery whose time has come.
#[derive(Clone, Debug)]
pub struct DueDelivery {
    /// Its place, and its callback's.
    pub callback: Ordinal,
    /// Its name, the `webhook-id`.
    pub id: CallbackId,
    /// What it tells of.
    pub of: Told,
    /// Where to POST.
    pub url: String,
    /// The URL's host and port.
    pub host: String,
    /// Secret and headers given with the callback, sealed.
    pub sealed: Option<Vec<u8>>,
    /// POSTs made before.
    pub attempts: usize,
    /// Of these, those made before its schedule began anew.
    pub schedule_from: usize,
    /// Its body, if it was rendered before.
    pub body: Option<String>,
}

impl Store {
    /// A job's callbacks with their deliveries, in the order they were added.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn callbacks(&self, job: Ordinal) -> Result<Vec<Callback>, Error> {
        callbacks_of(&self.readers, Some(job), None).await
    }

    /// Deliveries due at `now`, the longest due first, but none to the `busy` hosts.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn due_deliveries(
        &self,
        now: Timestamp,
        busy: &[&str],
        limit: usize,
    ) -> Result<Vec<DueDelivery>, Error> {
        let busy =
            serde_json::to_string(busy).map_err(|error| Error::Damaged(error.to_string()))?;
        let query = sqlx::query(SELECT_DUE).bind(now.0).bind(busy);
        let query = query.bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let mut connection = self.readers.acquire().await?;
        query.fetch_all(&mut *connection).await?.iter().map(due).collect()
    }

    /// When the next delivery after `now` is due.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn next_delivery_at(&self, now: Timestamp) -> Result<Option<Timestamp>, Error> {
        let query = sqlx::query_scalar(SELECT_NEXT_DUE).bind(now.0);
        let next: Option<i64> = query.fetch_one(&self.readers).await?;
        Ok(next.map(Timestamp))
    }
}

/// The callbacks of a job or of a batch.
pub(super) async fn callbacks_of(
    readers: &SqlitePool,
    job: Option<Ordinal>,
    batch: Option<Ordinal>,
) -> Result<Vec<Callback>, Error> {
    let (job, batch) = (job.map(|it| it.0), batch.map(|it| it.0));
    // One snapshot of both: a delivery that has ended shows the attempt that ended it.
    let mut snapshot = readers.begin().await?;
    let mut attempts: Vec<(i64, DeliveryAttempt)> = Vec::new();
    let made = sqlx::query(SELECT_ATTEMPTS).bind(job).bind(batch);
    for row in made.fetch_all(&mut *snapshot).await? {
        attempts.push((row.try_get(0)?, attempt(&row)?));
    }
    let found = sqlx::query(SELECT_CALLBACKS).bind(job).bind(batch);
    let found = found.fetch_all(&mut *snapshot).await?;
    snapshot.commit().await?;
    found.iter().map(|row| callback(row, &attempts)).collect()
}

fn callback(row: &SqliteRow, attempts: &[(i64, DeliveryAttempt)]) -> Result<Callback, Error> {
    let ordinal: i64 = row.try_get(0)?;
    let made = || attempts.iter().filter(|(of, _)| *of == ordinal).map(|(_, it)| it.clone());
    let delivery = match row.try_get::<Option<&str>, _>(4)? {
        Some(state) => Some(Delivery {
            state: rows::known(DeliveryState::parse, state)?,
            next_at: row.try_get::<Option<i64>, _>(5)?.map(Timestamp),
            attempts: made().collect(),
        }),
        None => None,
    };
    Ok(Callback {
        id: CallbackId(rows::uuid(row.try_get(1)?)?),
        url: row.try_get(2)?,
        created_at: Timestamp(row.try_get(3)?),
        when: row
            .try_get::<Option<&str>, _>(6)?
            .map(|word| rows::known(When::parse, word))
            .transpose()?,
        delivery,
    })
}

fn attempt(row: &SqliteRow) -> Result<DeliveryAttempt, Error> {
    Ok(DeliveryAttempt {
        at: Timestamp(row.try_get(1)?),
        status: row.try_get(2)?,
        error: row.try_get(3)?,
        body: row.try_get(4)?,
        duration_ms: row.try_get(5)?,
    })
}

fn due(row: &SqliteRow) -> Result<DueDelivery, Error> {
    Ok(DueDelivery {
        callback: Ordinal(row.try_get(0)?),
        id: CallbackId(rows::uuid(row.try_get(1)?)?),
        of: told(row)?,
        url: row.try_get(3)?,
        host: row.try_get(4)?,
        sealed: row.try_get(5)?,
        attempts: usize::try_from(row.try_get::<i64, _>(6)?).unwrap_or(usize::MAX),
        schedule_from: usize::try_from(row.try_get::<i64, _>(8)?).unwrap_or(0),
        body: row.try_get(7)?,
    })
}

fn told(row: &SqliteRow) -> Result<Told, Error> {
    let (job, batch): (Option<i64>, Option<i64>) = (row.try_get(2)?, row.try_get(9)?);
    match (job, batch) {
        (Some(job), _) => Ok(Told::Job(Ordinal(job))),
        (None, Some(batch)) => {
            Ok(Told::Batch(Ordinal(batch), rows::known(When::parse, row.try_get(10)?)?))
        }
        (None, None) => Err(Error::Damaged("a delivery tells of nothing".to_owned())),
    }
}
