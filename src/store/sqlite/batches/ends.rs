//! The ends of a batch's jobs, in their order: many in a row of their table, because a row for each costs a job of a
//! batch as much as half of its own end.

use rusqlite::params;

use crate::domain::Ordinal;
use crate::store::contract::Failure;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::unwritten::{BatchEnds, ENDS_PER_ROW};

const KEEP_ENDS: &str = "insert into batch_ends (batch, seq, jobs) values (?, ?, ?)";

/// Notes that a job of a batch has ended by the change at `seq`.
pub fn has_ended_of(
    txn: &mut Txn<'_>,
    batch: Ordinal,
    (job, seq): (Ordinal, i64),
) -> Result<(), Failure> {
    let ends = txn.batch_ends.entry(batch).or_default();
    ends.add(job, seq);
    if ends.count < ENDS_PER_ROW {
        return Ok(());
    }
    txn.batch_ends.remove(&batch).map_or(Ok(()), |full| keep(txn, batch, full))
}

/// Writes what is not written yet.
pub fn keep_batch_ends(txn: &mut Txn<'_>) -> Result<(), Failure> {
    let ends = std::mem::take(&mut txn.batch_ends);
    ends.into_iter().try_for_each(|(batch, ends)| keep(txn, batch, ends))
}

fn keep(
    txn: &mut Txn<'_>,
    batch: Ordinal,
    BatchEnds { first_seq, mut jobs, .. }: BatchEnds,
) -> Result<(), Failure> {
    jobs.push(']');
    Ok(keep_ends(txn.sql, batch, first_seq, &jobs)?)
}

/// Notes which jobs of a batch have ended, a JSON array in the order of all changes, from `seq` on.
pub fn keep_ends(
    sql: Statements<'_>,
    batch: Ordinal,
    seq: i64,
    jobs: &str,
) -> rusqlite::Result<()> {
    sql.run(KEEP_ENDS, params![batch.0, seq, jobs]).map(drop)
}
