//! What is over goes in portions: jobs and batches that have expired, and what was kept of those that went before.

use rusqlite::params;

use crate::domain::{Ordinal, Timestamp};
use crate::store::contract::{DAY_MS, Error, Event, Failure, Removed, SweepCursor};
use crate::store::sqlite::batches::retention;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::jobs::indexing::Range;
use crate::store::sqlite::jobs::remove::{DoneRow, RemovalPortion, done_columns};
use crate::store::sqlite::jobs::{indexing, remove};
use crate::store::sqlite::queues::order;
use crate::store::sqlite::statements::{Statements, limit_of, moment};
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::write::{Phase, Ran, Write};

/// Rows of each kind that one group looks at.
const PORTION: usize = 500;

/// The same in a group that others wait for.
const PORTION_AMONG_OTHERS: usize = 100;

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

const FORGET_RECEIVERS: &str = "delete from receivers where host in
    (select host from receivers where turn_at is null and used_at < ?1 order by used_at limit ?2)";

/// Removes a portion of what is over; a small one, unless nobody else is in this group.
#[derive(Debug)]
struct Sweep {
    now: Timestamp,
    from: SweepCursor,
}

impl Write for Sweep {
    type Output = Removed;

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<Removed> {
        let Self { now, from } = *self;
        txn.now = txn.now.max(now);
        let limit = if txn.is_alone { PORTION } else { PORTION_AMONG_OTHERS };
        let mut next = from;
        if from.jobs == SweepCursor::NOTHING.jobs {
            indexing::index_what_is_over(txn, now)?;
        }
        let mut portion = RemovalPortion { rows_left: limit, ..RemovalPortion::default() };
        let more_jobs = clean_jobs(txn, now, &mut next, &mut portion)?;
        let more_batches = !portion.is_full() && retention::clean_batches(txn, now, &mut portion)?;
        let RemovalPortion { gone, holds, .. } = portion;
        let removed = gone.len();
        if removed > 0 {
            txn.events.push(Event::Gone(gone));
        }
        let a_day_ago = now.plus_millis(-DAY_MS);
        let more_tombstones = purge_tombstones(txn.sql, a_day_ago, limit)? == limit;
        let more_keys = portion_of_keys(txn.sql, from.keys, a_day_ago, limit)?;
        if let Some(to) = more_keys {
            purge_keys(txn.sql, from.keys, to)?;
            next.keys = to;
        }
        let more_receivers = forget_receivers(txn.sql, a_day_ago, limit)? == limit;
        let queue_expiry = order::drop_expired(txn, now)?;
        let goes_on =
            more_jobs || more_batches || more_tombstones || more_keys.is_some() || more_receivers;
        // Those that are held back do not make the cleaner come again and again.
        let after = if holds { now } else { Timestamp(i64::MIN) };
        let batch_expiry = retention::next_batch_expiry(txn.sql, after)?;
        let expiry = [next_expiry(txn.sql, after)?, batch_expiry, queue_expiry];
        let expiry = expiry.into_iter().flatten().min();
        let later = [oldest_tombstone(txn.sql)?, oldest_key(txn.sql, next.keys)?];
        let later = later.into_iter().flatten().map(|at| at.plus_millis(DAY_MS));
        Ok(Ok(Removed {
            removed,
            holds,
            next: goes_on.then_some(next),
            keys: next.keys,
            due_at: expiry.into_iter().chain(later).min(),
        }))
    }

    fn phase(&self) -> Phase {
        Phase::Upkeep
    }
}

impl Sqlite {
    pub async fn sweep(&self, now: Timestamp, from: SweepCursor) -> Result<Removed, Error> {
        self.write(Sweep { now, from }).await
    }
}

/// Removes jobs that have expired; whether there may be more.
pub fn clean_jobs(
    txn: &mut Txn<'_>,
    now: Timestamp,
    at: &mut SweepCursor,
    portion: &mut RemovalPortion,
) -> Result<bool, Failure> {
    let rows = expired(txn.sql, at.jobs, now, portion.rows_left)?;
    let is_full =
        remove::expire_some(txn, &rows, portion, |row| at.jobs = (row.expires_at, row.ordinal))?;
    if is_full {
        return Ok(true);
    }
    let Some(range) = indexing::due_range(txn.sql, now)? else { return Ok(false) };
    let rest = Range { after: range.after.max(at.in_range), ..range };
    let rows = expired_in(txn.sql, rest, now, portion.rows_left)?;
    let is_full = remove::expire_some(txn, &rows, portion, |row| at.in_range = row.ordinal)?;
    if !is_full {
        indexing::looked_through(txn, range, now)?;
        at.in_range = SweepCursor::NOTHING.in_range;
    }
    Ok(true)
}

/// Jobs that have expired, the longest ago first, from behind `after` on.
pub fn expired(
    sql: Statements<'_>,
    after: (Timestamp, Ordinal),
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<DoneRow>> {
    let values = params![now.0, after.0.0, after.1.0, limit_of(limit)];
    let mut statement = sql.prepared(SELECT_EXPIRED)?;
    statement.query_map(values, remove::done)?.collect()
}

/// Jobs of a range that have expired and that no index knows, in order.
pub fn expired_in(
    sql: Statements<'_>,
    range: Range,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<DoneRow>> {
    let values = params![range.after.0, range.to.0, now.0, limit_of(limit)];
    let mut statement = sql.prepared(SELECT_EXPIRED_IN)?;
    statement.query_map(values, remove::done)?.collect()
}

/// Deletes the tombstones of what went until then; how many.
pub fn purge_tombstones(
    sql: Statements<'_>,
    until: Timestamp,
    limit: usize,
) -> rusqlite::Result<usize> {
    sql.run(PURGE_TOMBSTONES, [until.0, limit_of(limit)])
}

/// Until when the next idempotency keys were made that are old enough; none if there are none.
pub fn portion_of_keys(
    sql: Statements<'_>,
    after: Timestamp,
    until: Timestamp,
    limit: usize,
) -> rusqlite::Result<Option<Timestamp>> {
    let mut statement = sql.prepared(SELECT_PORTION_OF_KEYS)?;
    statement.query_row([after.0, until.0, limit_of(limit)], moment)
}

/// Deletes the idempotency keys made then whose job is gone.
pub fn purge_keys(sql: Statements<'_>, after: Timestamp, until: Timestamp) -> rusqlite::Result<()> {
    sql.run(PURGE_KEYS, [after.0, until.0]).map(drop)
}

/// When the next job expires after that moment.
pub fn next_expiry(sql: Statements<'_>, after: Timestamp) -> rusqlite::Result<Option<Timestamp>> {
    sql.prepared(SELECT_NEXT_EXPIRY)?.query_row([after.0], moment)
}

pub fn oldest_tombstone(sql: Statements<'_>) -> rusqlite::Result<Option<Timestamp>> {
    sql.prepared(SELECT_OLDEST_TOMBSTONE)?.query_row((), moment)
}

/// When the oldest idempotency key was made of those made after that moment.
pub fn oldest_key(sql: Statements<'_>, after: Timestamp) -> rusqlite::Result<Option<Timestamp>> {
    sql.prepared(SELECT_OLDEST_KEY)?.query_row([after.0], moment)
}

/// Forgets receivers that have had nothing to do since `before`; how many.
pub fn forget_receivers(
    sql: Statements<'_>,
    before: Timestamp,
    limit: usize,
) -> rusqlite::Result<usize> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    sql.run(FORGET_RECEIVERS, [before.0, limit])
}
