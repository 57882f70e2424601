//! A job that is over goes, with all that belongs to it, in one transaction.

use rusqlite::{OptionalExtension as _, Row, params};
use uuid::Uuid;

use crate::domain::{JobId, Ordinal, Timestamp};
use crate::store::contract::{DAY_MS, Deletion, Error, Event, Failure};
use crate::store::sqlite::error::disagree;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::values::chunks;
use crate::store::sqlite::write::{Ran, Write};

/// Bytes of values that one group removes, about: each page of a large value is touched when it goes.
const PORTION_BYTES_MAX: usize = 4 * 1024 * 1024;

macro_rules! done_columns {
    () => {
        "select j.ordinal, j.id, e.job is not null, coalesce(e.expires_at, 0), j.arguments_payload,
    e.result_payload, iif(j.arguments_payload is null, 0, j.arguments_bytes)
        + iif(e.result_payload is null, 0, e.result_bytes) + coalesce(octet_length(e.error), 0),
    exists (select 1 from deliveries as d where d.job = j.ordinal and d.state = 'pending'), j.batch is not null
from calls as j left join ends as e on e.job = j.ordinal "
    };
}
pub(in crate::store::sqlite) use done_columns;

const SELECT_EXPIRED_AT: &str =
    concat!(done_columns!(), "where j.ordinal = ?1 and e.expires_at <= ?2");

const SELECT_BY_ID: &str = concat!(done_columns!(), "where j.id = ?1");

const DELETE_DELIVERY_ATTEMPTS: &str = "delete from delivery_attempts
where callback in (select c.ordinal from callbacks as c where c.job = ?)";

const DELETE_DELIVERIES: &str = "delete from deliveries where job = ?";

const DELETE_CALLBACKS: &str = "delete from callbacks where job = ?";

const DELETE_ATTEMPTS: &str = "delete from attempts where job = ?";

const DELETE_LOG: &str = "delete from log_pieces where job = ?";

const DELETE_END: &str = "delete from ends where job = ?";

const DELETE_CALL: &str = "delete from calls where ordinal = ?";

const DELETE_KEYS: &str = "delete from idempotency_keys where job = ? and created_at <= ?";

const KEEP_TOMBSTONE: &str = "insert into tombstones (id, gone_at) values (?1, ?2)
on conflict (id) do update set gone_at = ?2";

/// What is to be known of a job to remove it.
#[derive(Clone, Copy, Debug)]
pub struct DoneRow {
    pub ordinal: Ordinal,
    pub id: JobId,
    pub is_done: bool,
    pub expires_at: Timestamp,
    pub payloads: [Option<i64>; 2],
    /// What it keeps outside its row, about.
    pub bytes: usize,
    pub has_open_delivery: bool,
    /// Whether it goes with its batch.
    pub is_of_batch: bool,
}

/// What one group removes.
#[derive(Debug, Default)]
pub struct RemovalPortion {
    /// Rows that it may still look at.
    pub rows_left: usize,
    /// Of what it removes, about.
    pub bytes: usize,
    pub gone: Vec<JobId>,
    /// Whether it met something that is held back.
    pub holds: bool,
}

impl RemovalPortion {
    /// Whether it has no room left.
    pub fn is_full(&self) -> bool {
        self.rows_left == 0 || self.bytes >= PORTION_BYTES_MAX
    }
}

/// Deletes a job because it is asked for: nothing is left to tell of it.
#[derive(Debug)]
struct Delete {
    id: JobId,
    now: Timestamp,
}

impl Write for Delete {
    type Output = Deletion;

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<Deletion> {
        txn.now = txn.now.max(self.now);
        let Some(row) = job_to_remove(txn.sql, self.id)? else {
            return Ok(Ok(Deletion::Missing));
        };
        if !row.is_done {
            return Ok(Ok(Deletion::NotDone));
        }
        if row.is_of_batch {
            return Ok(Ok(Deletion::OfBatch));
        }
        if row.has_open_delivery {
            return Ok(Ok(Deletion::DeliveryOpen));
        }
        remove(txn, &row)?;
        txn.events.push(Event::Gone(vec![self.id]));
        Ok(Ok(Deletion::Deleted))
    }
}

impl Sqlite {
    pub async fn delete(&self, id: JobId, now: Timestamp) -> Result<Deletion, Error> {
        self.write(Delete { id, now }).await
    }
}

/// Removes what the portion has room for, and tells how far it came; true if that was its end.
pub fn expire_some(
    txn: &mut Txn<'_>,
    rows: &[DoneRow],
    portion: &mut RemovalPortion,
    mut passed: impl FnMut(&DoneRow),
) -> Result<bool, Failure> {
    for row in rows {
        // One job may be larger than all that a group removes; it goes alone.
        if portion.bytes > 0 && portion.bytes.saturating_add(row.bytes) > PORTION_BYTES_MAX {
            return Ok(true);
        }
        passed(row);
        portion.rows_left -= 1;
        if row.has_open_delivery {
            portion.holds = true;
            continue;
        }
        portion.bytes = portion.bytes.saturating_add(row.bytes);
        expire(txn, row)?;
        portion.gone.push(row.id);
    }
    Ok(portion.rows_left == 0)
}

/// Removes a job that the cleaner had to hold back, once nothing is open any more.
pub fn expire_if_over(txn: &mut Txn<'_>, job: Ordinal) -> Result<(), Failure> {
    let row = expired_at(txn.sql, job, txn.now)?;
    if let Some(row) = row.filter(|row| !row.has_open_delivery) {
        expire(txn, &row)?;
        txn.events.push(Event::Gone(vec![row.id]));
    }
    Ok(())
}

pub fn expire(txn: &mut Txn<'_>, row: &DoneRow) -> Result<(), Failure> {
    remove(txn, row)?;
    Ok(keep_tombstone(txn.sql, row.id.0, txn.now)?)
}

/// Removes a done job and all that belongs to it. A key that is not a day old stays.
pub fn remove(txn: &mut Txn<'_>, row: &DoneRow) -> Result<(), Failure> {
    txn.is_gone(row.id);
    delete_belongings(txn.sql, row.ordinal)?;
    for payload in row.payloads.into_iter().flatten() {
        chunks::delete_payload(txn.sql, payload)?;
    }
    delete_keys_of(txn.sql, row.id.0, txn.now.plus_millis(-DAY_MS))?;
    if !delete_job(txn.sql, row.ordinal)? {
        return Err(disagree(format!("job {} is not done", row.ordinal.0)));
    }
    Ok(())
}

/// The job at that place, if it has expired.
pub fn expired_at(
    sql: Statements<'_>,
    job: Ordinal,
    now: Timestamp,
) -> rusqlite::Result<Option<DoneRow>> {
    sql.prepared(SELECT_EXPIRED_AT)?.query_row([job.0, now.0], done).optional()
}

/// The job of that id.
pub fn job_to_remove(sql: Statements<'_>, id: JobId) -> rusqlite::Result<Option<DoneRow>> {
    sql.prepared(SELECT_BY_ID)?.query_row([id.0.as_bytes()], done).optional()
}

/// Deletes what hangs on a job: attempts, callbacks, deliveries and their attempts.
pub fn delete_belongings(sql: Statements<'_>, job: Ordinal) -> rusqlite::Result<()> {
    // From the leaves to the root, as the references between them are checked at once.
    sql.run(DELETE_DELIVERY_ATTEMPTS, [job.0])?;
    sql.run(DELETE_DELIVERIES, [job.0])?;
    sql.run(DELETE_CALLBACKS, [job.0])?;
    sql.run(DELETE_LOG, [job.0])?;
    sql.run(DELETE_ATTEMPTS, [job.0]).map(drop)
}

/// Deletes a job that is done; false if there is none.
pub fn delete_job(sql: Statements<'_>, job: Ordinal) -> rusqlite::Result<bool> {
    Ok(sql.run(DELETE_END, [job.0])? == 1 && sql.run(DELETE_CALL, [job.0])? == 1)
}

/// Deletes the idempotency keys of a job or batch that were made until then.
pub fn delete_keys_of(
    sql: Statements<'_>,
    id: Uuid,
    made_until: Timestamp,
) -> rusqlite::Result<()> {
    sql.run(DELETE_KEYS, params![id.as_bytes(), made_until.0]).map(drop)
}

pub fn keep_tombstone(sql: Statements<'_>, id: Uuid, gone_at: Timestamp) -> rusqlite::Result<()> {
    sql.run(KEEP_TOMBSTONE, params![id.as_bytes(), gone_at.0]).map(drop)
}

pub fn done(row: &Row<'_>) -> rusqlite::Result<DoneRow> {
    let id: [u8; 16] = row.get(1)?;
    Ok(DoneRow {
        ordinal: Ordinal(row.get(0)?),
        id: JobId(Uuid::from_bytes(id)),
        is_done: row.get(2)?,
        expires_at: Timestamp(row.get(3)?),
        payloads: [row.get(4)?, row.get(5)?],
        bytes: usize::try_from(row.get::<_, i64>(6)?).unwrap_or(0),
        has_open_delivery: row.get(7)?,
        is_of_batch: row.get(8)?,
    })
}
