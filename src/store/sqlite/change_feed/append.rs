//! The log of changes: what each commit did, in the order of all changes.

use rusqlite::params;

use crate::store::contract::Failure;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;

/// Changes that are kept for those who follow; a million single ones take some 30 MB.
const KEPT: i64 = 1_000_000;

/// What is older goes once so many more have come.
const TRIMMED_EVERY: i64 = 4_096;

const INSERT: &str = "insert into changes (first_seq, last_seq, entries) values (?, ?, ?)";

/// The newest row stays, so that the log always says how far it reaches back.
const DELETE: &str = "delete from changes
where first_seq <= ?1 and first_seq < (select max(c.first_seq) from changes as c)";

const KEEP_UNLOGGED_COMMITS: &str = "update counters set quiet = ? where only_row = 1";

/// Keeps what this group has changed, and lets go of what is too old.
pub fn keep_feed(txn: &mut Txn<'_>) -> Result<(), Failure> {
    if txn.feed.entries.is_empty() {
        return count_unlogged(txn);
    }
    txn.counters.logged_to = txn.counters.seq;
    let (first, last) = (txn.feed.first_seq, txn.counters.seq);
    keep_changes(txn.sql, first, last, &txn.feed.entries)?;
    if first / TRIMMED_EVERY != (last + 1) / TRIMMED_EVERY {
        forget_changes(txn.sql, last - KEPT)?;
    }
    Ok(())
}

/// Counts a group that changed no job, but something: the high-water mark knows each commit (G3).
pub fn count_unlogged(txn: &mut Txn<'_>) -> Result<(), Failure> {
    if !txn.has_changed_rows() {
        return Ok(());
    }
    txn.counters.unlogged_commits += 1;
    Ok(keep_unlogged_commits(txn.sql, txn.counters.unlogged_commits)?)
}

/// Keeps the changes of one group.
pub fn keep_changes(
    sql: Statements<'_>,
    first_seq: i64,
    last_seq: i64,
    entries: &[u8],
) -> rusqlite::Result<()> {
    sql.run(INSERT, params![first_seq, last_seq, entries]).map(drop)
}

/// Forgets the changes of groups that began before.
pub fn forget_changes(sql: Statements<'_>, until: i64) -> rusqlite::Result<()> {
    sql.run(DELETE, [until]).map(drop)
}

/// Keeps how many commits have changed no job.
pub fn keep_unlogged_commits(sql: Statements<'_>, quiet: i64) -> rusqlite::Result<()> {
    sql.run(KEEP_UNLOGGED_COMMITS, [quiet]).map(drop)
}
