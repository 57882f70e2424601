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
mod upkeep;
mod values;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::{Counts, Job, JobId, Ordinal, Pool, State, Timestamp, settle};

use super::change::{CancelOrder, Cancellation, Change, Settlement, Submission};
use super::ledger::{Ledger, Running, Slot};
use super::payload;
use super::sqlite::write::Statements;
use super::sqlite::write::ends::EndOfVersion;
use super::sqlite::write::insert::Arrival;
use super::sqlite::write::jobs::Guard;
use super::sqlite::write::together::SIXTEEN;
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

    /// Inserts a job: as running, if it has a slot now. The inner error is a refusal of this member
    /// alone, for which nothing was written.
    fn submit(
        &mut self,
        it: &Submission,
        written_ahead: Option<i64>,
    ) -> Result<Result<Arc<Job>, Error>, Error> {
        if it.identity.is_some() {
            // It may be that of a job that came with this one.
            self.insert_arrivals()?;
        }
        let starts = match self.admit(it)? {
            Ok(starts) => starts,
            Err(refusal) => {
                written_ahead.map_or(Ok(()), |payload| self.sql.delete_payload(payload))?;
                return Ok(Err(refusal));
            }
        };
        self.counters.ordinal += 1;
        self.now = self.now.max(it.spec.created_at);
        let ordinal = Ordinal(self.counters.ordinal);
        let may_have_callbacks = !it.callbacks.is_empty();
        let new = Job::submitted(it.spec.clone(), ordinal);
        let mut job = Job { run_at: it.run_at, may_have_callbacks, ..new };
        // Whatever could start has started, so if anything can now, it is this job.
        let may_start = job.run_at.is_none() && !it.spec.options.manual;
        if starts || may_start && self.next_claim() == Some(ordinal) {
            job = Job { state: State::Running, attempt: 1, started_at: Some(self.now), ..job };
            self.ledger.set_running(ordinal, Some(Running::at_once(may_have_callbacks)));
        }
        let job = Arc::new(job);
        if may_start && job.state == State::Pending && it.pool != Pool::Absent {
            self.ledger.keep_fresh(&job, &it.bound);
        }
        let seq = self.change_of(ordinal);
        let deadline = job.deadline(self.now);
        let arrival = self.arrival(&job, deadline, (seq, written_ahead))?;
        self.arrivals.push(arrival);
        // What comes with it must find its row.
        let is_alone = it.identity.is_none() && it.callbacks.is_empty();
        if !is_alone || self.arrivals.len() == SIXTEEN {
            self.insert_arrivals()?;
        }
        self.waits_for(&job, deadline);
        if let Some(identity) = &it.identity {
            self.remember(&job, identity)?;
        }
        for callback in &it.callbacks {
            self.sql.add_callback(ordinal, callback)?;
        }
        if let Some(of) = it.spec.batch {
            self.tallies.entry(of.place).or_default().came(job.state);
        }
        if job.state == State::Running {
            self.events.push(Event::Started(Arc::clone(&job), it.bound.clone()));
        }
        Ok(Ok(job))
    }

    fn arrival(
        &mut self,
        job: &Arc<Job>,
        deadline: Option<Timestamp>,
        (seq, written_ahead): (i64, Option<i64>),
    ) -> Result<Arrival, Error> {
        let text = payload::arguments(&job.spec);
        let stored = self.store(&text, written_ahead)?;
        let (arguments_bytes, arguments_sum) = (stored.bytes(), stored.sum());
        let arguments = stored.payload().map_or(Ok(text), Err);
        let (job, epoch) = (Arc::clone(job), self.counters.epoch);
        Ok(Arrival { job, deadline, seq, epoch, arguments, arguments_bytes, arguments_sum })
    }

    /// Gives a job its slot, which is true, or its place in its queue, unless its request has made one before.
    fn admit(&mut self, it: &Submission) -> Result<Result<bool, Error>, Error> {
        let known = it.identity.as_ref().map(|identity| self.look_up(&it.spec, identity));
        if let Some(refusal) = known.transpose()?.flatten() {
            return Ok(Err(refusal));
        }
        if it.spec.options.manual {
            return Ok(Ok(false));
        }
        if it.run_at.is_some() {
            return Ok(self.ledger.admit_scheduled(&it.spec.queue).map(|()| false));
        }
        let slot = Slot { queue: it.spec.queue.clone(), pool: it.pool };
        if self.ledger.take_at_once(&slot) {
            return Ok(Ok(true));
        }
        let ordinal = Ordinal(self.counters.ordinal + 1);
        Ok(self.ledger.admit(slot, it.spec.priority, ordinal).map(|()| false))
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
        self.keep_attempt(&next, job.failures)?;
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
