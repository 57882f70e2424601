//! A batch comes, with its calls: all of them, or none.

use std::sync::Arc;

use rusqlite::params;

use crate::domain::{Batch, BatchSlot, Counts, Ordinal, Spec, Timestamp, When};
use crate::store::contract::{Error, Failure, NewBatch, Refusal, Submission};
use crate::store::sqlite::batches::{add_callback, counts};
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::jobs::{idempotency, submit};
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::write::{Phase, ROW_BYTES, Ran, Write};

const INSERT_BATCH: &str =
    "insert into batches (ordinal, id, function, on_error, closed, epoch, retention_ms, created_at, wall_ahead_ms)
values (?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// The jobs that came go on where the last ones ended, if nobody else's came between them.
const EXTEND_RUN: &str = "update batch_runs set count = count + ?4
where batch = ?1 and index_from = (select max(r.index_from) from batch_runs as r where r.batch = ?1)
    and index_from + count = ?2 and ordinal_from + count = ?3";

const INSERT_RUN: &str =
    "insert into batch_runs (batch, index_from, ordinal_from, count) values (?, ?, ?, ?)";

/// Jobs at consecutive places, for consecutive calls of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub index_from: i64,
    pub ordinal_from: Ordinal,
    pub count: i64,
}

/// All its jobs come, or none. A refusal has written nothing.
impl Write for NewBatch {
    type Output = Batch;

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<Batch> {
        if let Some(known) = look_up_batch(txn, self)? {
            return Ok(Err(known));
        }
        let first = Ordinal(txn.counters.ordinal + 2);
        let places = match submit::take_places(txn, &self.calls, first) {
            Ok(places) => places,
            Err(refusal) => return Ok(Err(refusal)),
        };
        txn.now = txn.now.max(self.created_at);
        txn.counters.ordinal += 1;
        let place = Ordinal(txn.counters.ordinal);
        insert_batch(txn.sql, self, place, txn.counters.epoch)?;
        for (callback, when) in &self.callbacks {
            add_callback::insert_batch_callback(txn.sql, place, callback, *when)?;
        }
        if let Some(identity) = &self.identity
            && let Some(key) = &identity.key
        {
            idempotency::keep_key(txn.sql, key, identity.fingerprint, self.id.0, self.created_at)?;
        }
        let mut counts = Counts::default();
        for (index, (call, starts)) in (0..).zip(self.calls.iter_mut().zip(places)) {
            stand(call, BatchSlot { batch: self.id, place, index });
            counts.add(submit::bring(txn, call, starts)?.state);
        }
        if counts.total > 0 {
            let run = Run { index_from: 0, ordinal_from: first, count: counts.total };
            keep_run(txn.sql, place, run)?;
        }
        txn.tallies.entry(place).or_default();
        let finished_at = (counts.total == 0 && !self.is_open).then_some(txn.now);
        if finished_at.is_some() {
            counts::finish_batch(txn, place, self.retention_ms)?;
            for when in When::ALL {
                txn.makes_due |= counts::make_batch_due(txn.sql, place, when, txn.now)?;
            }
        }
        Ok(Ok(batch(self, place, counts, finished_at)))
    }

    fn bytes(&self) -> usize {
        ROW_BYTES + submit::bytes_of(&self.calls)
    }

    fn phase(&self) -> Phase {
        Phase::Submission
    }
}

impl Sqlite {
    pub async fn submit_batch(&self, batch: NewBatch) -> Result<Batch, Error> {
        self.write(batch).await
    }
}

/// What its request is to be answered with, if it has made a batch before.
pub fn look_up_batch(txn: &mut Txn<'_>, it: &NewBatch) -> Result<Option<Refusal>, Failure> {
    match it.identity.as_ref().and_then(|identity| Some((identity, identity.key.as_ref()?))) {
        Some((identity, key)) => idempotency::look_up_key(txn, key, identity),
        None => Ok(None),
    }
}

/// Tells a job where its batch stands, and where it stands in it.
fn stand(call: &mut Submission, slot: BatchSlot) {
    let spec: &mut Spec = Arc::make_mut(&mut call.spec);
    spec.batch = Some(slot);
}

fn batch(it: &NewBatch, ordinal: Ordinal, counts: Counts, finished_at: Option<Timestamp>) -> Batch {
    let expires_at = |at: Timestamp| at.plus_millis(it.retention_ms);
    Batch {
        id: it.id,
        ordinal,
        function: it.function.clone(),
        on_error: it.on_error,
        counts,
        is_closed: !it.is_open,
        retention_ms: it.retention_ms,
        created_at: it.created_at,
        wall_ahead_ms: it.wall_ahead_ms,
        finished_at,
        expires_at: finished_at.map(expires_at),
        cancel_requested_at: None,
    }
}

pub fn insert_batch(
    sql: Statements<'_>,
    it: &NewBatch,
    place: Ordinal,
    epoch: i64,
) -> rusqlite::Result<()> {
    let values = params![
        place.0,
        it.id.0.as_bytes(),
        it.function.as_str(),
        it.on_error.as_str(),
        !it.is_open,
        epoch,
        it.retention_ms,
        it.created_at.0,
        it.wall_ahead_ms,
    ];
    sql.run(INSERT_BATCH, values).map(drop)
}

/// Notes where jobs of a batch stand.
pub fn keep_run(sql: Statements<'_>, batch: Ordinal, it: Run) -> rusqlite::Result<()> {
    let Run { index_from, ordinal_from, count } = it;
    let values = [batch.0, index_from, ordinal_from.0, count];
    if sql.run(EXTEND_RUN, values)? == 0 {
        sql.run(INSERT_RUN, values)?;
    }
    Ok(())
}
