//! One group: what its members ask for, in the order that they need, as one transaction.

use crate::domain::Timestamp;
use crate::store::contract::Failure;
use crate::store::sqlite::batches::{counts, ends};
use crate::store::sqlite::change_feed::append;
use crate::store::sqlite::counters::Counters;
use crate::store::sqlite::jobs::{claim, end, indexing, submit};
use crate::store::sqlite::queues::drain;
use crate::store::sqlite::slots::Slots;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::{Done, Txn};
use crate::store::sqlite::values::chunks;
use crate::store::sqlite::write::{Pending, Phase};

/// A transaction for a group.
pub fn begin<'a>(
    sql: Statements<'a>,
    slots: &'a mut Slots,
    counters: Counters,
    now: Timestamp,
) -> Result<Txn<'a>, Failure> {
    let mut txn = Txn::begin(sql, slots, counters, now)?;
    txn.portion_left = drain::PORTION;
    Ok(txn)
}

/// Does what the members ask for, and starts what has a slot then. Submissions come last: slots that become free in this
/// group are theirs if nobody waited before, and then they are inserted as running.
pub fn run(txn: &mut Txn<'_>, members: &mut [Box<dyn Pending>]) -> Result<(), Failure> {
    txn.is_alone = members.len() == 1;
    // The first group of a server has no members: it starts what waited when the last one ended.
    claim::claim(txn)?;
    for member in members.iter_mut() {
        match member.phase() {
            Phase::End => {}
            Phase::Change => end::insert_results(txn)?,
            Phase::Submission | Phase::Upkeep => continue,
        }
        run_one(txn, &mut **member)?;
        claim::claim(txn)?;
    }
    end::insert_results(txn)?;
    for member in members {
        match member.phase() {
            Phase::End | Phase::Change => continue,
            Phase::Submission => {}
            Phase::Upkeep => submit::insert_new_rows(txn)?,
        }
        run_one(txn, &mut **member)?;
    }
    submit::insert_new_rows(txn)
}

fn run_one(txn: &mut Txn<'_>, member: &mut dyn Pending) -> Result<(), Failure> {
    member.run(txn)?;
    // A write that was refused owns no value.
    match txn.written_ahead.take() {
        Some(payload) => Ok(chunks::delete_payload(txn.sql, payload)?),
        None => Ok(()),
    }
}

/// Writes what is not written yet, and makes all of it durable.
pub fn commit(mut txn: Txn<'_>, kept: &mut Counters) -> Result<Done, Failure> {
    end::insert_results(&mut txn)?;
    ends::keep_batch_ends(&mut txn)?;
    counts::count_batches(&mut txn)?;
    indexing::index_some(&mut txn)?;
    append::keep_feed(&mut txn)?;
    txn.commit(kept)
}
