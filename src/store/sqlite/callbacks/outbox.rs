//! The outbox: whose turn it is, and what is due.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, Transaction};

use crate::domain::{CallbackId, Ordinal, ReceiverHealth, Tier, Timestamp, When};
use crate::store::codec;
use crate::store::contract::{DeliverySubject, DueDelivery, DueReceiver, Failure};
use crate::store::sqlite::handle::Sqlite;

/// The longest waiting first. Each tier is asked for apart, so that no number of others hides it.
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

/// One look at the outbox: all that is read with it is of one moment.
#[derive(Debug)]
pub struct Outbox {
    snapshot: Transaction<'static, sqlx::Sqlite>,
    now: Timestamp,
}

impl Sqlite {
    pub async fn outbox(&self, now: Timestamp) -> Result<Outbox, Failure> {
        Ok(Outbox { snapshot: self.readers.begin().await?, now })
    }
}

impl Outbox {
    /// Receivers of a tier whose turn it is, the longest waiting first.
    pub async fn receivers(
        &mut self,
        tier: Tier,
        limit: usize,
    ) -> Result<Vec<DueReceiver>, Failure> {
        let query = sqlx::query(SELECT_TURNS).bind(tier.as_str()).bind(self.now.0);
        let query = query.bind(i64::try_from(limit).unwrap_or(i64::MAX));
        query.fetch_all(&mut *self.snapshot).await?.iter().map(receiver).collect()
    }

    /// Deliveries to `host` that are due, the longest due first. Callbacks to other receivers that have been
    /// due since `held_from` or longer hold no later one of their job back any more.
    pub async fn due(
        &mut self,
        host: &str,
        held_from: Timestamp,
        limit: usize,
    ) -> Result<Vec<DueDelivery>, Failure> {
        let query = sqlx::query(SELECT_DUE).bind(host).bind(self.now.0).bind(held_from.0);
        let query = query.bind(i64::try_from(limit).unwrap_or(i64::MAX));
        query.fetch_all(&mut *self.snapshot).await?.iter().map(due).collect()
    }

    /// The delivery at that place, if it is to be made at any time.
    pub async fn due_at(&mut self, callback: Ordinal) -> Result<Option<DueDelivery>, Failure> {
        let query = sqlx::query(SELECT_DUE_AT).bind(callback.0);
        query.fetch_optional(&mut *self.snapshot).await?.as_ref().map(due).transpose()
    }

    /// When the next receiver's turn is.
    pub async fn next_turn_at(&mut self) -> Result<Option<Timestamp>, Failure> {
        let query = sqlx::query_scalar(SELECT_NEXT_TURN).bind(self.now.0);
        let next: Option<i64> = query.fetch_one(&mut *self.snapshot).await?;
        Ok(next.map(Timestamp))
    }
}

fn receiver(row: &SqliteRow) -> Result<DueReceiver, Failure> {
    Ok(DueReceiver {
        host: row.try_get(0)?,
        health: codec::known(ReceiverHealth::parse, row.try_get(1)?)?,
    })
}

fn subject(row: &SqliteRow) -> Result<DeliverySubject, Failure> {
    let (job, batch): (Option<i64>, Option<i64>) = (row.try_get(2)?, row.try_get(9)?);
    match (job, batch) {
        (Some(job), _) => Ok(DeliverySubject::Job(Ordinal(job))),
        (None, Some(batch)) => {
            Ok(DeliverySubject::Batch(Ordinal(batch), codec::known(When::parse, row.try_get(10)?)?))
        }
        (None, None) => Err(Failure::Damaged("a delivery tells of nothing".to_owned())),
    }
}

fn due(row: &SqliteRow) -> Result<DueDelivery, Failure> {
    Ok(DueDelivery {
        callback: Ordinal(row.try_get(0)?),
        id: CallbackId(codec::uuid(row.try_get(1)?)?),
        of: subject(row)?,
        url: row.try_get(3)?,
        host: row.try_get(4)?,
        sealed: row.try_get(5)?,
        attempts: usize::try_from(row.try_get::<i64, _>(6)?).unwrap_or(usize::MAX),
        schedule_from: usize::try_from(row.try_get::<i64, _>(8)?).unwrap_or(0),
        body: row.try_get(7)?,
    })
}
