//! The outbox: whose turn it is, and what is due.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, Sqlite, Transaction};

use crate::domain::{CallbackId, Ordinal, Pace, Share, Timestamp, When};
use crate::store::sqlite::rows;
use crate::store::{Error, Store};

/// The longest waiting first. Each share is asked for apart, so that no number of others hides it.
const SELECT_TURNS: &str = "select host, pace from receivers
where share = ?1 and turn_at <= ?2 order by turn_at limit ?3";
const SELECT_NEXT_TURN: &str = "select min(it.turn_at) from (
    select min(turn_at) as turn_at from receivers where share = 'quick' and turn_at > ?1
    union all select min(turn_at) from receivers where share = 'new' and turn_at > ?1
    union all select min(turn_at) from receivers where share = 'tried' and turn_at > ?1) as it";
/// A body of an older schema may be larger than any is today; then it is rendered anew. A first attempt waits until those of the job's earlier callbacks were made (F13): always if they go to
/// the same receiver, and to another one only if they have become due after `?3`.
const SELECT_DUE: &str = "select d.callback, c.id, d.job, c.url, d.host, c.sealed, d.attempts,
    case when octet_length(d.body) <= 262144 then d.body end, d.schedule_from, d.batch, c.at_event
from deliveries as d join callbacks as c on c.ordinal = d.callback
where d.host = ?1 and d.state = 'pending' and d.next_at <= ?2
    and (d.attempts > 0 or not exists (select 1 from deliveries as earlier
        where earlier.job = d.job and earlier.callback < d.callback
            and earlier.state = 'pending' and earlier.attempts = 0
            and (earlier.host = d.host or earlier.next_at > ?3)))
    and (d.attempts > 0 or not exists (select 1 from deliveries as earlier
        where earlier.batch = d.batch and earlier.callback < d.callback
            and earlier.state = 'pending' and earlier.attempts = 0
            and (earlier.host = d.host or earlier.next_at > ?3)))
order by d.next_at limit ?4";

const SELECT_DUE_AT: &str =
    "select d.callback, c.id, d.job, c.url, d.host, c.sealed, d.attempts,
    case when octet_length(d.body) <= 262144 then d.body end, d.schedule_from, d.batch, c.at_event
from deliveries as d join callbacks as c on c.ordinal = d.callback where d.callback = ? and d.state = 'pending'";

/// A receiver whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its host and port.
    pub host: String,
    /// How it answered last.
    pub pace: Pace,
}

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

/// One look at the outbox: all that is read with it is of one moment.
#[derive(Debug)]
pub struct Outbox {
    snapshot: Transaction<'static, Sqlite>,
    now: Timestamp,
}

impl Store {
    /// A look at the outbox as it is at `now`.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn outbox(&self, now: Timestamp) -> Result<Outbox, Error> {
        Ok(Outbox { snapshot: self.readers.begin().await?, now })
    }

    /// The delivery at that place, if it is to be made.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn due_at(&self, callback: Ordinal) -> Result<Option<DueDelivery>, Error> {
        let query = sqlx::query(SELECT_DUE_AT).bind(callback.0);
        query.fetch_optional(&self.readers).await?.as_ref().map(due).transpose()
    }
}

impl Outbox {
    /// Receivers of a share whose turn it is, the longest waiting first.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn turns(&mut self, share: Share, limit: usize) -> Result<Vec<Turn>, Error> {
        let query = sqlx::query(SELECT_TURNS).bind(share.as_str()).bind(self.now.0);
        let query = query.bind(i64::try_from(limit).unwrap_or(i64::MAX));
        query.fetch_all(&mut *self.snapshot).await?.iter().map(turn).collect()
    }

    /// Deliveries to `host` that are due, the longest due first. Callbacks to other receivers that have been
    /// due since `held_from` or longer hold no later one of their job back any more.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn due(
        &mut self,
        host: &str,
        held_from: Timestamp,
        limit: usize,
    ) -> Result<Vec<DueDelivery>, Error> {
        let query = sqlx::query(SELECT_DUE).bind(host).bind(self.now.0).bind(held_from.0);
        let query = query.bind(i64::try_from(limit).unwrap_or(i64::MAX));
        query.fetch_all(&mut *self.snapshot).await?.iter().map(due).collect()
    }

    /// When the next receiver's turn is.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn next_turn_at(&mut self) -> Result<Option<Timestamp>, Error> {
        let query = sqlx::query_scalar(SELECT_NEXT_TURN).bind(self.now.0);
        let next: Option<i64> = query.fetch_one(&mut *self.snapshot).await?;
        Ok(next.map(Timestamp))
    }
}

fn turn(row: &SqliteRow) -> Result<Turn, Error> {
    Ok(Turn { host: row.try_get(0)?, pace: rows::known(Pace::parse, row.try_get(1)?)? })
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
