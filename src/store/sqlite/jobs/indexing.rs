//! Jobs enter the indexes late: most are done before, and never have to.
//!
//! A job that starts at once is in no index but that of ids, and nothing is written there when it is done.
//! Once enough others were submitted after it, the indexes reach it: if it still runs, it is entered among
//! the unfinished; if it is done, its range of ordinals is noted, to be looked through when the first of
//! them expires. So a start finds what is not done through the index once it has looked at the few jobs that
//! the index does not reach yet (docs/decisions/0028).

use rusqlite::{OptionalExtension as _, params};

use crate::domain::{Job, Ordinal, Timestamp};
use crate::store::contract::Failure;
use crate::store::sqlite::counters::INDEX_STEP;
use crate::store::sqlite::statements::{Statements, moment};
use crate::store::sqlite::txn::Txn;

/// What is kept for less than an hour is indexed by its expiry: it goes when it is over. The rest may take
/// [`LOOK_AGAIN_MS`] longer.
const SHORT_RETENTION_MS: i64 = 3_600_000;

/// A range of ordinals is looked through no more often than that.
const LOOK_AGAIN_MS: i64 = 60_000;

const KEEP_INDEXED_TO: &str = "update counters set indexed_to = ? where only_row = 1";

const DELETE: &str = "delete from unfinished where job = ?";

/// Of jobs that another server has left.
const INSERT_LEFT: &str = "insert into unfinished (job)
select c.ordinal from calls as c where c.ordinal > ?1 and c.ordinal <= ?2
    and not exists (select 1 from ends as e where e.job = c.ordinal)
on conflict (job) do nothing";

const SELECT_NEXT_EXPIRY_BETWEEN: &str =
    "select min(expires_at) from ends where job > ? and job <= ? and indexed = 0";

const KEEP_RANGE: &str =
    "insert into expiry_ranges (after_ordinal, to_ordinal, look_at) values (?, ?, ?)";

const SELECT_DUE_RANGE: &str = "select after_ordinal, to_ordinal from expiry_ranges
where look_at <= ? order by look_at limit 1";

const LOOK_AGAIN: &str = "update expiry_ranges set look_at = ?2 where after_ordinal = ?1";

const DELETE_RANGE: &str = "delete from expiry_ranges where after_ordinal = ?";

/// Ordinals behind the first, up to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub after: Ordinal,
    pub to: Ordinal,
}

/// Lets the indexes follow, if they are far enough behind.
pub fn index_some(txn: &mut Txn<'_>) -> Result<(), Failure> {
    if txn.counters.ordinal - txn.counters.indexed_to < 2 * INDEX_STEP {
        return Ok(());
    }
    index_up_to(txn, Ordinal(txn.counters.ordinal - INDEX_STEP))
}

/// Lets the indexes reach every job that another server has left.
pub fn index_what_is_left(txn: &mut Txn<'_>) -> Result<(), Failure> {
    let range = range_up_to(txn, Ordinal(txn.counters.ordinal));
    insert_left(txn.sql, range)?;
    let first = next_expiry_in(txn.sql, range)?;
    txn.counters.indexes_reach(range.to);
    reach(txn, range, first)
}

/// What is not done and in no index runs: what waits is entered when it comes.
pub fn index_up_to(txn: &mut Txn<'_>, to: Ordinal) -> Result<(), Failure> {
    let range = range_up_to(txn, to);
    txn.sql.hot.insert_unfinished(&txn.slots.index_running(range.to))?;
    // What ends of them from here on is indexed when it does.
    let first = txn.counters.indexes_reach(range.to);
    reach(txn, range, first)
}

pub fn range_up_to(txn: &Txn<'_>, to: Ordinal) -> Range {
    Range { after: Ordinal(txn.counters.indexed_to), to }
}

/// Notes how far they reach, and when the range is to be looked through for what is over.
pub fn reach(txn: &Txn<'_>, range: Range, first: Option<Timestamp>) -> Result<(), Failure> {
    first.map_or(Ok(()), |first| keep_range(txn.sql, range, first))?;
    Ok(keep_indexed_to(txn.sql, range.to)?)
}

/// Whether a job that is done is in the index of what expires.
pub fn expires_by_index(txn: &Txn<'_>, job: &Job) -> bool {
    let is_reached = job.ordinal.0 <= txn.counters.indexed_to;
    is_reached || job.spec.options.retention_ms < SHORT_RETENTION_MS
}

/// Lets the indexes reach every job, if one that they do not reach is over.
pub fn index_what_is_over(txn: &mut Txn<'_>, now: Timestamp) -> Result<(), Failure> {
    let newest = Ordinal(txn.counters.ordinal);
    let first = next_expiry_in(txn.sql, range_up_to(txn, newest))?;
    if first.is_some_and(|first| first <= now) { index_up_to(txn, newest) } else { Ok(()) }
}

/// A range was looked through to its end.
pub fn looked_through(txn: &mut Txn<'_>, range: Range, now: Timestamp) -> Result<(), Failure> {
    let next = next_expiry_in(txn.sql, range)?;
    let again = next.map(|next| next.max(now.plus_millis(LOOK_AGAIN_MS)));
    Ok(look_again(txn.sql, range, again)?)
}

/// Notes how far the indexes reach.
pub fn keep_indexed_to(sql: Statements<'_>, to: Ordinal) -> rusqlite::Result<()> {
    sql.run(KEEP_INDEXED_TO, [to.0]).map(drop)
}

/// Takes a job out of those that are not done; false if it is not among them.
pub fn delete_unfinished(sql: Statements<'_>, job: Ordinal) -> rusqlite::Result<bool> {
    sql.run(DELETE, [job.0]).map(|rows| rows == 1)
}

/// Enters those jobs of a range that are not done.
pub fn insert_left(sql: Statements<'_>, range: Range) -> rusqlite::Result<()> {
    sql.run(INSERT_LEFT, [range.after.0, range.to.0]).map(drop)
}

/// When the first job of a range expires that no index knows.
pub fn next_expiry_in(sql: Statements<'_>, range: Range) -> rusqlite::Result<Option<Timestamp>> {
    let mut statement = sql.prepared(SELECT_NEXT_EXPIRY_BETWEEN)?;
    statement.query_row([range.after.0, range.to.0], moment)
}

/// Has a range looked through for what is over, then.
pub fn keep_range(sql: Statements<'_>, range: Range, look_at: Timestamp) -> rusqlite::Result<()> {
    sql.run(KEEP_RANGE, params![range.after.0, range.to.0, look_at.0]).map(drop)
}

/// A range that is to be looked through now.
pub fn due_range(sql: Statements<'_>, now: Timestamp) -> rusqlite::Result<Option<Range>> {
    let mut statement = sql.prepared(SELECT_DUE_RANGE)?;
    let range = |row: &rusqlite::Row<'_>| {
        Ok(Range { after: Ordinal(row.get(0)?), to: Ordinal(row.get(1)?) })
    };
    statement.query_row([now.0], range).optional()
}

/// Has a range looked through again, or never again.
pub fn look_again(
    sql: Statements<'_>,
    range: Range,
    look_again_at: Option<Timestamp>,
) -> rusqlite::Result<()> {
    match look_again_at {
        Some(at) => sql.run(LOOK_AGAIN, [range.after.0, at.0]).map(drop),
        None => sql.run(DELETE_RANGE, [range.after.0]).map(drop),
    }
}
