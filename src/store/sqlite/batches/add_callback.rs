//! A callback is added to a batch.

use rusqlite::params;

use crate::domain::{Counts, NewCallback, Ordinal, When};
use crate::store::contract::Refusal;
use crate::store::sqlite::batches::counts;
use crate::store::sqlite::callbacks::find::CALLBACKS_MAX;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::write::Ran;

const INSERT_CALLBACK: &str =
    "insert into callbacks (id, batch, at_event, url, host, sealed, created_at)
select ?2, b.ordinal, ?3, ?4, ?5, ?6, ?7 from batches as b where b.ordinal = ?1";

const HAS_ALL_CALLBACKS: &str =
    "select count(*) >= ?2 from (select 1 from callbacks where batch = ?1 limit ?2)";

/// Adds a callback to a batch. If what it waits for has come about, its delivery is due.
pub fn add_to_batch(
    txn: &mut Txn<'_>,
    (batch, when): (Ordinal, When),
    callback: &NewCallback,
) -> Ran<()> {
    if has_all(txn.sql, batch)? {
        return Ok(Err(Refusal::TooManyCallbacks(NewCallback::COUNT_MAX)));
    }
    insert_batch_callback(txn.sql, batch, callback, when)?;
    let nothing = Counts::default();
    let Some(row) = counts::count_batch(txn.sql, batch, nothing)? else { return Ok(Ok(())) };
    // What this group has changed so far is counted at its end, and makes it due then.
    if when.is_met(row.counts, row.is_done) {
        txn.makes_due |= counts::make_batch_due(txn.sql, batch, when, callback.due_at)?;
    }
    Ok(Ok(()))
}

pub fn insert_batch_callback(
    sql: Statements<'_>,
    batch: Ordinal,
    it: &NewCallback,
    when: When,
) -> rusqlite::Result<()> {
    let (id, when) = (it.id.0.as_bytes(), when.as_str());
    let values = params![batch.0, id, when, it.url, it.host, it.sealed, it.created_at.0];
    sql.run(INSERT_CALLBACK, values).map(drop)
}

/// Whether a batch has as many callbacks as it may have.
pub fn has_all(sql: Statements<'_>, batch: Ordinal) -> rusqlite::Result<bool> {
    let values = [batch.0, CALLBACKS_MAX];
    sql.prepared(HAS_ALL_CALLBACKS)?.query_row(values, |row| row.get(0))
}
