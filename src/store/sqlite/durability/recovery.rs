//! The start: a new epoch, and what the last server left.

use crate::domain::{
    CRASHES_SUSPECT, ErrorType, Invalid, Job, JobError, Ordinal, Outcome, Priority, QueueName,
    Timestamp,
};
use rusqlite::Connection;
use sqlx::SqlitePool;

use crate::domain::{State, settle};
use crate::store::contract::{Config, Failure, QueueSettings, View};
use crate::store::sqlite::batches::{cancel_rest, close};
use crate::store::sqlite::callbacks::{deaths, due};
use crate::store::sqlite::counters::Counters;
use crate::store::sqlite::error::OpenError;
use crate::store::sqlite::group;
use crate::store::sqlite::hot::statements::HotStatements;
use crate::store::sqlite::jobs::end::Guard;
use crate::store::sqlite::jobs::{end, indexing, standings};
use crate::store::sqlite::slots::{QueueRow, Slot, Slots};
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;

/// Jobs recovered in one transaction.
const PORTION: usize = 500;

const NEW_EPOCH: &str = "update counters set epoch = epoch + 1 where only_row = 1
returning epoch, ordinal, seq, payload, indexed_to, quiet,
    coalesce((select last_seq from changes order by first_seq desc limit 1), 0)";
const SELECT_RUNNING: &str =
    "select u.job, c.epoch from unfinished as u cross join calls as c on c.ordinal = u.job
where c.state = 'running' order by u.job";
/// All that wait, also manual jobs, which are in no queue: one look for both.
const SELECT_WAITING: &str =
    "select c.ordinal, c.function, c.queue, c.priority, c.seq, c.run_at is not null, c.crashes
from unfinished as u cross join calls as c on c.ordinal = u.job
where c.state = 'pending' order by u.job";
const SELECT_QUEUES: &str =
    "select name, max_workers, max_pending, paused, shutdown, cancel_to, expires_ms from queues";
const SWEEP_CHUNKS: &str =
    "delete from chunks where payload in (select payload from unlinked_payloads)";
const SWEEP_UNLINKED: &str = "delete from unlinked_payloads";

/// What a start found.
#[derive(Debug)]
pub struct Found {
    pub counters: Counters,
    pub kept: Counters,
    pub recovered: usize,
    pub failed: Vec<Job>,
    /// Whether one of them, or a delivery, is known to have been the cause.
    pub has_culprit: bool,
    /// Deliveries that are suspected, as long as the cause is not known.
    pub suspect_deliveries: Vec<Ordinal>,
    /// Batches whose jobs are still to be cancelled.
    pub cancelling: Vec<Ordinal>,
}

/// Begins a new epoch and settles what ran in an older one: it runs again, or fails with a name.
/// Ownership is the epoch and never a time-out, so nothing that still lives can be taken for dead.
///
/// A server of the epoch `ended` ended by itself: what ran in it was interrupted, and is not blamed.
pub async fn recover(
    connection: &mut Connection,
    slots: &mut Slots,
    readers: &SqlitePool,
    (now, ended): (Timestamp, Option<i64>),
) -> Result<Found, OpenError> {
    let counters = new_epoch(connection)?;
    let mut found = Found {
        counters,
        kept: counters,
        recovered: 0,
        failed: Vec::new(),
        has_culprit: false,
        suspect_deliveries: Vec::new(),
        cancelling: Vec::new(),
    };
    found.commit(connection, (slots, now), indexing::index_what_is_left)?;
    while found.commit(connection, (slots, now), close::close_left_open)? > 0 {}
    let (blamed, interrupted): (Vec<_>, Vec<_>) =
        running(connection)?.into_iter().partition(|(_, epoch)| Some(*epoch) != ended);
    let begun =
        found.commit(connection, (slots, now), |txn| deaths::recover_deliveries(txn, ended))?;
    found.has_culprit = begun.has_culprit;
    // If a delivery is known to have been the cause, no job was.
    let blame = if begun.has_culprit { Outcome::Stopped } else { Outcome::Crashed };
    for (ran, outcome) in [(blamed, blame), (interrupted, Outcome::Stopped)] {
        let ran: Vec<Ordinal> = ran.into_iter().map(|(job, _)| job).collect();
        for portion in ran.chunks(PORTION) {
            let ran = standings::jobs_at(readers, portion, View::Bare, usize::MAX).await?;
            let settle = |txn: &mut Txn<'_>| {
                ran.jobs
                    .iter()
                    .map(|job| settle_lost(txn, job, &outcome))
                    .collect::<Result<Vec<_>, _>>()
            };
            let failed = found.commit(connection, (slots, now), settle)?;
            found.failed.extend(failed.into_iter().flatten());
            found.recovered += portion.len();
        }
    }
    let is_culprit = |error: &JobError| *error.kind() == ErrorType::CrashLoop;
    found.has_culprit |= found.failed.iter().any(|job| job.error.as_ref().is_some_and(is_culprit));
    if !found.has_culprit {
        found.suspect_deliveries = begun.suspects;
    }
    found.cancelling = found.commit(connection, (slots, now), cancel_rest::keep_cancelling)?;
    Ok(found)
}

impl Found {
    /// Commits what `change` does.
    pub fn commit<T>(
        &mut self,
        connection: &Connection,
        (slots, now): (&mut Slots, Timestamp),
        change: impl FnOnce(&mut Txn<'_>) -> Result<T, Failure>,
    ) -> Result<T, OpenError> {
        let held = HotStatements::prepare(connection)?;
        let sql = Statements::new(connection, &held);
        let mut txn = group::begin(sql, slots, self.counters, now)?;
        let changed = change(&mut txn)?;
        self.counters = group::commit(txn, &mut self.kept)?.counters;
        Ok(changed)
    }
}

fn new_epoch(connection: &Connection) -> rusqlite::Result<Counters> {
    connection.execute(SWEEP_CHUNKS, ())?;
    connection.execute(SWEEP_UNLINKED, ())?;
    connection.query_row(NEW_EPOCH, (), |row| {
        Ok(Counters {
            epoch: row.get(0)?,
            ordinal: row.get(1)?,
            seq: row.get(2)?,
            payload: row.get(3)?,
            indexed_to: row.get(4)?,
            unlogged_commits: row.get(5)?,
            logged_to: row.get(6)?,
            ..Counters::default()
        })
    })
}

/// Jobs that ran, each with the epoch of its server.
fn running(connection: &Connection) -> rusqlite::Result<Vec<(Ordinal, i64)>> {
    let mut statement = connection.prepare(SELECT_RUNNING)?;
    let jobs = statement.query_map((), |row| Ok((row.get(0).map(Ordinal)?, row.get(1)?)))?;
    jobs.collect()
}

/// Gives the slots the queues that were made or changed over HTTP: what the file says of those is past.
pub fn load_queues(connection: &Connection, slots: &mut Slots) -> Result<(), OpenError> {
    let mut statement = connection.prepare(SELECT_QUEUES)?;
    let mut found = statement.query(())?;
    while let Some(row) = found.next()? {
        let name: String = row.get(0)?;
        let name = QueueName::kept(&name).map_err(|invalid| Failure::Damaged(invalid.detail))?;
        let number = |value: i64| usize::try_from(value).unwrap_or(0);
        let settings =
            QueueSettings { max_workers: number(row.get(1)?), max_pending: number(row.get(2)?) };
        let (paused, shutdown, cancel_to) = (row.get(3)?, row.get(4)?, row.get(5)?);
        let expires_ms = row.get(6)?;
        slots.keep_queue(&name, QueueRow { settings, paused, shutdown, cancel_to, expires_ms });
    }
    slots.commit();
    Ok(())
}

/// Fills the slots with the jobs that wait. Those during which the last servers have died are suspected, unless one of them
/// is known to have been the cause.
pub fn load_waiting(
    connection: &Connection,
    config: &Config,
    slots: &mut Slots,
    has_culprit: bool,
) -> Result<(), OpenError> {
    let damaged = |invalid: Invalid| Failure::Damaged(invalid.detail);
    let mut statement = connection.prepare(SELECT_WAITING)?;
    let mut waiting = statement.query(())?;
    while let Some(row) = waiting.next()? {
        let function: String = row.get(1)?;
        let queue: String = row.get(2)?;
        if queue.is_empty() {
            slots.readmit_manual();
            slots.commit();
            continue;
        }
        let queue = QueueName::kept(&queue).map_err(damaged)?;
        let priority = Priority::new(row.get(3)?).map_err(damaged)?;
        if row.get(5)? {
            // Its time has not come, or had not when the last server ended: it is only counted.
            if slots.is_marked(&queue, row.get(4)?) {
                slots.cancel_scheduled(&queue, Ordinal(row.get(0)?));
            }
            slots.schedule(&queue);
            slots.commit();
            continue;
        }
        let slot = Slot { queue, pool: config.pool_of(&function) };
        if slots.is_marked(&slot.queue, row.get(4)?) {
            slots.readmit_marked(&slot, priority, Ordinal(row.get(0)?));
            continue;
        }
        let ordinal = Ordinal(row.get(0)?);
        if !has_culprit && row.get::<_, u32>(6)? >= CRASHES_SUSPECT {
            slots.suspect(slot.clone(), priority, ordinal);
        }
        slots.readmit(slot, priority, ordinal);
        // There is nothing to take back yet, and a million steps would be kept for it.
        slots.commit();
    }
    Ok(())
}

/// Settles a job whose server ended while it ran, with what is made of that; gives it back if it fails by that.
fn settle_lost(txn: &mut Txn<'_>, job: &Job, outcome: &Outcome) -> Result<Option<Job>, Failure> {
    let guard = Guard { from: State::Running, attempt: Some(job.attempt) };
    let mut next = settle(job, outcome.clone(), txn.now, 0.5);
    end::end(txn, &mut next, guard, None)?;
    due::make_due(txn, &mut next)?;
    Ok(Some(next).filter(|job| job.state == State::Failed))
}
