//! What is deleted: jobs that are over, what belongs to them, and what was kept of those that went before.

use rusqlite::{OptionalExtension as _, Result, Row, params};
use uuid::Uuid;

use crate::domain::{CallbackId, JobId, Ordinal, Timestamp};

use super::Statements;
use super::indexing::Range;

macro_rules! done_columns {
    () => {
        "select j.ordinal, j.id, e.job is not null, coalesce(e.expires_at, 0), j.arguments_payload,
    e.result_payload, iif(j.arguments_payload is null, 0, j.arguments_bytes)
        + iif(e.result_payload is null, 0, e.result_bytes) + coalesce(octet_length(e.error), 0),
    exists (select 1 from deliveries as d where d.job = j.ordinal and d.state = 'pending'), j.batch is not null
from calls as j left join ends as e on e.job = j.ordinal "
    };
}
pub(super) use done_columns;

/// From where the last portion ended, in the order of the index.
const SELECT_EXPIRED: &str = concat!(
    done_columns!(),
    "where e.indexed = 1 and e.expires_at <= ?1 and (e.expires_at, e.job) > (?2, ?3)
order by e.expires_at, e.job limit ?4"
);
/// Those of a range of ordinals that no index knows.
const SELECT_EXPIRED_IN: &str = concat!(
    done_columns!(),
    "where e.job > ?1 and e.job <= ?2 and e.indexed = 0 and e.expires_at <= ?3
order by e.job limit ?4"
);
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
const PURGE_TOMBSTONES: &str = "delete from tombstones
where id in (select t.id from tombstones as t where t.gone_at <= ? order by t.gone_at limit ?)";
/// Until when the next keys were made; those of one moment are never divided.
const SELECT_PORTION_OF_KEYS: &str =
    "select max(k.created_at) from (select created_at from idempotency_keys
    where created_at > ? and created_at <= ? order by created_at limit ?) as k";
const PURGE_KEYS: &str = "delete from idempotency_keys where created_at > ? and created_at <= ?
and not exists (select 1 from calls as j where j.id = idempotency_keys.job)";

const SELECT_NEXT_EXPIRY: &str =
    "select min(expires_at) from ends where indexed = 1 and expires_at > ?";
const SELECT_OLDEST_TOMBSTONE: &str = "select min(gone_at) from tombstones";
const SELECT_OLDEST_KEY: &str = "select min(created_at) from idempotency_keys where created_at > ?";

const SELECT_CALLBACK: &str = "select ordinal, job from callbacks where id = ?";
const SELECT_JOB_OF_CALLBACK: &str = "select job from callbacks where ordinal = ?";
const DELETE_ATTEMPTS_OF_DELIVERY: &str = "delete from delivery_attempts where callback = ?";
const DELETE_DELIVERY: &str = "delete from deliveries where callback = ?";
const DELETE_CALLBACK: &str = "delete from callbacks where ordinal = ?";

const SELECT_NEXT_BATCH_EXPIRY: &str = "select min(expires_at) from batches where expires_at > ?";

const SELECT_FREE_PAGES: &str = "select freelist_count from pragma_freelist_count";
/// A portion of 256 KiB: pages at the end of the file go to where there is room before, and the file ends earlier.
const GIVE_BACK_PAGES: &str = "pragma incremental_vacuum(64)";

/// What is to be known of a job to remove it.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct DoneRow {
    pub(in crate::store) ordinal: Ordinal,
    pub(in crate::store) id: JobId,
    pub(in crate::store) is_done: bool,
    pub(in crate::store) expires_at: Timestamp,
    pub(in crate::store) payloads: [Option<i64>; 2],
    /// What it keeps outside its row, about.
    pub(in crate::store) bytes: usize,
    pub(in crate::store) has_open_delivery: bool,
    /// Whether it goes with its batch.
    pub(in crate::store) is_of_batch: bool,
}

impl Statements<'_> {
    /// Jobs that have expired, the longest ago first, from behind `after` on.
    pub(in crate::store) fn expired(
        self,
        after: (Timestamp, Ordinal),
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<DoneRow>> {
        let values = params![now.0, after.0.0, after.1.0, limit_of(limit)];
        let mut statement = self.prepared(SELECT_EXPIRED)?;
        statement.query_map(values, done)?.collect()
    }

    /// Jobs of a range that have expired and that no index knows, in order.
    pub(in crate::store) fn expired_in(
        self,
        range: Range,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<DoneRow>> {
        let values = params![range.after.0, range.to.0, now.0, limit_of(limit)];
        let mut statement = self.prepared(SELECT_EXPIRED_IN)?;
        statement.query_map(values, done)?.collect()
    }

    /// The job at that place, if it has expired.
    pub(in crate::store) fn expired_at(
        self,
        job: Ordinal,
        now: Timestamp,
    ) -> Result<Option<DoneRow>> {
        self.prepared(SELECT_EXPIRED_AT)?.query_row([job.0, now.0], done).optional()
    }

    /// The job of that id.
    pub(in crate::store) fn job_to_remove(self, id: JobId) -> Result<Option<DoneRow>> {
        self.prepared(SELECT_BY_ID)?.query_row([id.0.as_bytes()], done).optional()
    }

    /// Deletes what hangs on a job: attempts, callbacks, deliveries and their attempts.
    pub(in crate::store) fn delete_belongings(self, job: Ordinal) -> Result<()> {
        // From the leaves to the root, as the references between them are checked at once.
        self.run(DELETE_DELIVERY_ATTEMPTS, [job.0])?;
        self.run(DELETE_DELIVERIES, [job.0])?;
        self.run(DELETE_CALLBACKS, [job.0])?;
        self.run(DELETE_LOG, [job.0])?;
        self.run(DELETE_ATTEMPTS, [job.0]).map(drop)
    }

    /// Deletes a job that is done; false if there is none.
    pub(in crate::store) fn delete_job(self, job: Ordinal) -> Result<bool> {
        Ok(self.run(DELETE_END, [job.0])? == 1 && self.run(DELETE_CALL, [job.0])? == 1)
    }

    /// Deletes the idempotency keys of a job or batch that were made until then.
    pub(in crate::store) fn delete_keys_of(self, id: Uuid, made_until: Timestamp) -> Result<()> {
        self.run(DELETE_KEYS, params![id.as_bytes(), made_until.0]).map(drop)
    }

    pub(in crate::store) fn keep_tombstone(self, id: Uuid, gone_at: Timestamp) -> Result<()> {
        self.run(KEEP_TOMBSTONE, params![id.as_bytes(), gone_at.0]).map(drop)
    }

    /// Deletes the tombstones of what went until then; how many.
    pub(in crate::store) fn purge_tombstones(
        self,
        until: Timestamp,
        limit: usize,
    ) -> Result<usize> {
        self.run(PURGE_TOMBSTONES, [until.0, limit_of(limit)])
    }

    /// Until when the next idempotency keys were made that are old enough; none if there are none.
    pub(in crate::store) fn portion_of_keys(
        self,
        after: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Option<Timestamp>> {
        let mut statement = self.prepared(SELECT_PORTION_OF_KEYS)?;
        statement.query_row([after.0, until.0, limit_of(limit)], moment)
    }

    /// Deletes the idempotency keys made then whose job is gone.
    pub(in crate::store) fn purge_keys(self, after: Timestamp, until: Timestamp) -> Result<()> {
        self.run(PURGE_KEYS, [after.0, until.0]).map(drop)
    }

    /// When the next job expires after that moment.
    pub(in crate::store) fn next_expiry(self, after: Timestamp) -> Result<Option<Timestamp>> {
        self.prepared(SELECT_NEXT_EXPIRY)?.query_row([after.0], moment)
    }

    /// When the next batch expires after that moment.
    pub(in crate::store) fn next_batch_expiry(self, after: Timestamp) -> Result<Option<Timestamp>> {
        self.prepared(SELECT_NEXT_BATCH_EXPIRY)?.query_row([after.0], moment)
    }

    pub(in crate::store) fn oldest_tombstone(self) -> Result<Option<Timestamp>> {
        self.prepared(SELECT_OLDEST_TOMBSTONE)?.query_row((), moment)
    }

    /// When the oldest idempotency key was made of those made after that moment.
    pub(in crate::store) fn oldest_key(self, after: Timestamp) -> Result<Option<Timestamp>> {
        self.prepared(SELECT_OLDEST_KEY)?.query_row([after.0], moment)
    }

    /// The place of the callback of that id, and that of its job; a batch's has none.
    pub(in crate::store) fn callback(
        self,
        id: CallbackId,
    ) -> Result<Option<(Ordinal, Option<Ordinal>)>> {
        let places =
            |row: &Row<'_>| Ok((Ordinal(row.get(0)?), row.get::<_, Option<i64>>(1)?.map(Ordinal)));
        self.prepared(SELECT_CALLBACK)?.query_row([id.0.as_bytes()], places).optional()
    }

    pub(in crate::store) fn job_of_callback(self, callback: Ordinal) -> Result<Option<Ordinal>> {
        let mut statement = self.prepared(SELECT_JOB_OF_CALLBACK)?;
        let job = |row: &Row<'_>| row.get::<_, Option<i64>>(0);
        Ok(statement.query_row([callback.0], job).optional()?.flatten().map(Ordinal))
    }

    /// Deletes a callback and what was, or was to be, delivered.
    pub(in crate::store) fn delete_callback(self, callback: Ordinal) -> Result<()> {
        self.run(DELETE_ATTEMPTS_OF_DELIVERY, [callback.0])?;
        self.run(DELETE_DELIVERY, [callback.0])?;
        self.run(DELETE_CALLBACK, [callback.0]).map(drop)
    }

    /// Pages of the file that nothing stands on.
    pub(in crate::store) fn free_pages(self) -> Result<usize> {
        let pages: i64 = self.prepared(SELECT_FREE_PAGES)?.query_row((), |row| row.get(0))?;
        Ok(usize::try_from(pages).unwrap_or(0))
    }

    /// Gives a portion of the free pages back.
    pub(in crate::store) fn give_back_pages(self) -> Result<()> {
        let mut statement = self.prepared(GIVE_BACK_PAGES)?;
        let mut pages = statement.query(())?;
        // Each step gives one page back.
        while pages.next()?.is_some() {}
        Ok(())
    }
}

pub(super) fn done(row: &Row<'_>) -> Result<DoneRow> {
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

pub(super) fn moment(row: &Row<'_>) -> Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(0)?.map(Timestamp))
}

pub(super) fn limit_of(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
