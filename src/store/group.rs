//! One group: what its members change, as one transaction.

mod batch_ends;
mod batch_removal;
mod batches;
mod cancel_many;
mod cancels;
mod changes;
mod claims;
mod clocks;
mod counters;
mod deliveries;
mod doomed;
mod ends;
mod indexing;
mod logs;
mod manual;
mod queues;
mod recovery;
mod removal;
mod repeats;
mod submit;
mod upkeep;
mod values;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::{Counts, Job, JobId, Ordinal, State, Timestamp, settle};

use super::change::{CancelOrder, Cancellation, Change, Settlement};
use super::ledger::{Ledger, Running, Slot};
use super::sqlite::write::Statements;
use super::sqlite::write::ends::EndOfVersion;
use super::sqlite::write::insert::Arrival;
use super::sqlite::write::jobs::Guard;
use super::{Cause, Claimed, Ended, Error, Event};

pub(super) use counters::Counters;
pub(super) use doomed::PORTION_AMONG_OTHERS;

/// A transaction that is being written, and what it will have done once it is committed.
#[derive(Debug)]
pub(super) struct Group<'a> {
    sql: Statements<'a>,
    ledger: &'a mut Ledger,
    pub(super) counters: Counters,
    /// The latest moment that a change has brought.
    pub(super) now: Timestamp,
    events: Vec<Event>,
    claimed: Vec<Claimed>,
    /// Jobs that waited and were cancelled many at a time.
    cancelled: Vec<Ended>,
    /// Jobs whose time has come.
    startable: Vec<JobId>,
    /// By how much the counts of batches have moved.
    tallies: BTreeMap<Ordinal, Counts>,
    /// Jobs of batches that have ended and are not noted yet.
    batch_ends: BTreeMap<Ordinal, batch_ends::Ends>,
    log: changes::Log,
    /// Rows that the connection had changed before.
    rows_before: u64,
    /// Jobs that have come and are not inserted yet: many go together.
    arrivals: Vec<Arrival>,
    /// Ends of jobs that are not inserted yet, likewise.
    ends: Vec<EndOfVersion>,
    /// Rows that may still be looked at to cancel them.
    portion_left: usize,
    makes_due: bool,
}

/// What a committed group leaves.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) counters: Counters,
    pub(super) now: Timestamp,
    pub(super) events: Vec<Event>,
}

/// What the guard of a write found is not what the ledger had: nothing may go on.
fn disagree(text: String) -> Error {
    Error::OutcomeUnknown(Cause::Disagreement(text))
}

impl<'a> Group<'a> {
    /// Begins a transaction. Dropped without [`Group::commit`], it must be rolled back.
    pub(super) fn begin(
        sql: Statements<'a>,
        ledger: &'a mut Ledger,
        counters: Counters,
        now: Timestamp,
    ) -> Result<Self, Error> {
        sql.begin()?;
        Ok(Self {
            sql,
            ledger,
            counters,
            now,
            events: Vec::new(),
            claimed: Vec::new(),
            cancelled: Vec::new(),
            startable: Vec::new(),
            tallies: BTreeMap::new(),
            batch_ends: BTreeMap::new(),
            log: changes::Log::default(),
            rows_before: sql.connection().total_changes(),
            arrivals: Vec::new(),
            ends: Vec::new(),
            portion_left: doomed::PORTION,
            makes_due: false,
        })
    }

    /// Does what the members ask for, and starts what has a slot then. Submissions come last: slots that
    /// become free in this group are theirs if nobody waited before, and then they are inserted as running.
    pub(super) fn apply(&mut self, members: &mut [Change]) -> Result<(), Error> {
        // The first group of a server has no members: it starts what waited when the last one ended.
        self.claim()?;
        for change in members.iter_mut() {
            if !change.is_of_one_run() {
                self.insert_ends()?;
            }
            self.change(change)?;
            self.claim()?;
        }
        self.insert_ends()?;
        let alone = members.len() == 1;
        for change in members {
            match change {
                Change::Submit { submission, written_ahead, reply } => {
                    reply.set(self.submit(submission, *written_ahead)?);
                }
                Change::SubmitMany { many, reply } => reply.set(self.submit_many(many)?),
                Change::SubmitBatch { it, reply } => reply.set(self.submit_batch(it)?),
                Change::Clean { now, from, reply } => {
                    self.insert_arrivals()?;
                    reply.set(Ok(self.clean(*now, *from, alone)?));
                }
                Change::Shrink { forced, reply } => reply.set(Ok(self.shrink(alone || *forced)?)),
                _ => {}
            }
        }
        self.insert_arrivals()
    }

    /// Makes it durable; gives what it did. `kept` is how far the counters are reserved.
    pub(super) fn commit(mut self, kept: &mut Counters) -> Result<Done, Error> {
        self.insert_ends()?;
        self.keep_batch_ends()?;
        self.count_batches()?;
        self.index_some()?;
        self.keep_log()?;
        let reserved = self.counters.beyond(*kept);
        if let Some(reserved) = reserved {
            self.sql.keep(reserved)?;
        }
        self.sql.commit()?;
        *kept = reserved.unwrap_or(*kept);
        self.ledger.commit();
        if !self.claimed.is_empty() {
            self.events.push(Event::Claimed(self.claimed));
        }
        if !self.startable.is_empty() {
            self.events.push(Event::MayStart(self.startable));
        }
        if !self.cancelled.is_empty() {
            self.events.push(Event::CancelledMany(self.cancelled));
        }
        self.events.extend(self.ledger.take_drained().into_iter().map(Event::Drained));
        if self.makes_due {
            self.events.push(Event::DeliveriesDue);
        }
        Ok(Done { counters: self.counters, now: self.now, events: self.events })
    }

    fn change(&mut self, change: &mut Change) -> Result<(), Error> {
        match change {
            Change::Settle { settlement, written_ahead, reply } => {
                reply.set(self.settle(settlement, *written_ahead)?);
            }
            Change::KeepLog { job, lines, reply } => {
                self.keep_log_lines(*job, lines)?;
                reply.set(Ok(()));
            }
            Change::Release { queue, pool, now } => {
                self.now = self.now.max(*now);
                self.ledger.give_up(queue, false);
                self.ledger.release(Slot { queue: queue.clone(), pool: *pool });
            }
            Change::Resize { pool, slots, now, reply } => {
                self.now = self.now.max(*now);
                self.ledger.resize(*pool, *slots);
                reply.set(Ok(()));
            }
            Change::ClearSuspects { now, reply } => {
                self.now = self.now.max(*now);
                self.ledger.clear_suspects();
                reply.set(Ok(()));
            }
            Change::Complete { it, written_ahead, reply } => {
                reply.set(Ok(self.complete(it, *written_ahead)?));
            }
            Change::Cancel { order, reply } => reply.set(Ok(self.cancel(order)?)),
            Change::ComeDue { moment, reply } => reply.set(Ok(self.come_due(*moment)?)),
            Change::StopClaiming { reply } => {
                self.ledger.stop_claiming();
                reply.set(Ok(()));
            }
            Change::Queue { order, reply } => reply.set(self.order_queue(order)?),
            Change::Queues { name, reply } => reply.set(self.queues(name.as_ref())),
            other => self.keep_up(other)?,
        }
        Ok(())
    }

    fn settle(
        &mut self,
        it: &Settlement,
        written_ahead: Option<i64>,
    ) -> Result<Result<(), Error>, Error> {
        let ordinal = it.job.ordinal;
        let running = self.ledger.running(ordinal);
        let Some(running) = running.filter(|running| running.attempt == it.job.attempt) else {
            if let Some(payload) = written_ahead {
                self.sql.delete_payload(payload)?;
            }
            return Ok(Err(Error::Superseded));
        };
        self.now = self.now.max(it.now);
        let job = with_cancel(&it.job, running);
        let mut next = settle(&job, it.outcome.clone(), it.now, it.chance);
        next.may_have_callbacks = running.may_have_callbacks && !next.is_done();
        let value = next.result.clone();
        let result = value.as_ref().map(|it| self.store(it.as_str(), written_ahead));
        let result = result.transpose()?;
        let guard = Guard { from: State::Running, attempt: Some(job.attempt) };
        self.end(&mut next, guard, result.as_ref())?;
        self.keep_log_lines(ordinal, &it.log)?;
        self.keep_attempts(&job, &next)?;
        if running.may_have_callbacks {
            self.make_due(&mut next)?;
        }
        let slot = Slot { queue: job.spec.queue.clone(), pool: it.pool };
        self.ledger.set_running(ordinal, None);
        if it.frees_slot {
            self.ledger.release(slot.clone());
        } else {
            self.ledger.give_up(&slot.queue, true);
        }
        if next.run_at.is_some() {
            self.ledger.schedule(&slot.queue);
        } else if !next.is_done() {
            self.ledger.readmit(slot, job.spec.priority, ordinal);
        }
        self.events.push(Event::Changed(Arc::new(next)));
        Ok(Ok(()))
    }
}

/// The job as its attempt knows it, with the cancel that the attempt may not have heard of yet.
fn with_cancel(job: &Job, running: Running) -> Cow<'_, Job> {
    match (job.cancel_requested_at, running.cancel_requested_at) {
        (None, Some(at)) => Cow::Owned(Job {
            cancel_requested_at: Some(at),
            version: job.version + 1,
            ..job.clone()
        }),
        (Some(_), _) | (None, None) => Cow::Borrowed(job),
    }
}
