//! The start: a new epoch, and what the last server left.

use sqlx::{Row as _, SqliteConnection, SqlitePool};

use crate::domain::{JobId, Ordinal, Priority, QueueName, Timestamp};

use super::group::{Counters, Group};
use super::ledger::Ledger;
use super::sqlite::{OpenError, script};
use super::{Config, Error, read, writer};

/// Jobs recovered in one transaction.
const PORTION: usize = 500;

const NEW_EPOCH: &str = "update counters set epoch = epoch + 1 where only_row = 1
returning epoch, ordinal, seq, payload";
const SELECT_RUNNING: &str =
    "select ordinal from jobs where finished_seq is null and state = 'running' order by ordinal";
const SELECT_WAITING: &str = "select ordinal, function, queue, priority from jobs
where finished_seq is null and state = 'pending' order by ordinal";
const SWEEP_CHUNKS: &str =
    "delete from chunks where payload in (select payload from unlinked_payloads)";
const SWEEP_UNLINKED: &str = "delete from unlinked_payloads";
const SELECT_AT: &str = "select count(*) from jobs where ordinal = ? and id = ?";

/// What a start found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) counters: Counters,
    pub(super) recovered: usize,
}

/// A job that waits, as the ledger needs it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) ordinal: i64,
    pub(super) function: String,
    pub(super) queue: QueueName,
    pub(super) priority: Priority,
}

/// Begins a new epoch and settles what ran in an older one: it runs again, or fails with a name.
/// Ownership is the epoch and never a time-out, so nothing that still lives can be taken for dead.
pub(super) async fn recover(
    connection: &mut SqliteConnection,
    readers: &SqlitePool,
    now: Timestamp,
) -> Result<Found, OpenError> {
    let row = sqlx::query(NEW_EPOCH).fetch_one(&mut *connection).await?;
    let mut counters = Counters {
        epoch: row.try_get(0)?,
        ordinal: row.try_get(1)?,
        seq: row.try_get(2)?,
        payload: row.try_get(3)?,
    };
    sqlx::query(SWEEP_CHUNKS).execute(&mut *connection).await?;
    sqlx::query(SWEEP_UNLINKED).execute(&mut *connection).await?;

    let running: Vec<i64> = sqlx::query_scalar(SELECT_RUNNING).fetch_all(&mut *connection).await?;
    for portion in running.chunks(PORTION) {
        let ordinals: Vec<Ordinal> = portion.iter().copied().map(Ordinal).collect();
        let mut group = Group::empty(counters, now);
        for job in read::at(readers, &ordinals).await? {
            group.recover(&job);
        }
        script::commit(connection, &group, &[]).await?;
        counters = group.counters;
    }
    Ok(Found { counters, recovered: running.len() })
}

/// Fills the ledger with the jobs that wait.
pub(super) async fn load_waiting(
    connection: &mut SqliteConnection,
    config: &Config,
    ledger: &mut Ledger,
) -> Result<(), OpenError> {
    use futures_util::TryStreamExt as _;
    let mut waiting = sqlx::query(SELECT_WAITING).fetch(connection);
    while let Some(row) = waiting.try_next().await? {
        let priority =
            Priority::new(row.try_get(3)?).map_err(|invalid| Error::Damaged(invalid.detail))?;
        let queue =
            QueueName::new(row.try_get(2)?).map_err(|invalid| Error::Damaged(invalid.detail))?;
        let row = Waiting { ordinal: row.try_get(0)?, function: row.try_get(1)?, queue, priority };
        writer::place(ledger, config, row);
        // There is nothing to take back yet, and a million steps would be kept for it.
        ledger.commit();
    }
    Ok(())
}

/// Whether the row at `ordinal` is the job `id`.
pub(super) async fn is_at(
    connection: &mut SqliteConnection,
    ordinal: Ordinal,
    id: JobId,
) -> Result<bool, sqlx::Error> {
    let query = sqlx::query_scalar(SELECT_AT).bind(ordinal.0).bind(id.0.as_bytes().to_vec());
    let count: i64 = query.fetch_one(connection).await?;
    Ok(count == 1)
}
