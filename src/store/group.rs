//! One group: what its members change, decided in memory, then written as one transaction.

use crate::domain::{Job, Ordinal, Outcome, State, Timestamp, cancel_pending, settle};

use super::change::{CancelOrder, Cancellation, Change, Settlement, Submission};
use super::ledger::{Ledger, Running, Slot};
use super::payload::{self, Stored};
use super::sqlite::rows;
use super::sqlite::script::Rows;
use super::{Error, Event};

/// The counters that only rise, as of the last commit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counters {
    pub(super) epoch: i64,
    pub(super) ordinal: i64,
    pub(super) seq: i64,
    pub(super) payload: i64,
}

impl Counters {
    fn next_ordinal(&mut self) -> Ordinal {
        self.ordinal += 1;
        Ordinal(self.ordinal)
    }

    fn next_seq(&mut self) -> i64 {
        self.seq += 1;
        self.seq
    }
}

/// A value too large for its row, written in this group.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) payload: i64,
    pub(super) number: i64,
    pub(super) bytes: Vec<u8>,
}

/// What one transaction writes, one list for each statement.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) counters: Counters,
    pub(super) inserted: Rows,
    pub(super) claimed: Rows,
    pub(super) cancel_requested: Rows,
    pub(super) ended: Rows,
    pub(super) callbacks: Rows,
    pub(super) due: Rows,
    pub(super) delivery_bodies: Rows,
    pub(super) delivery_attempts: Rows,
    pub(super) linked: Rows,
    pub(super) abandoned: Rows,
    pub(super) chunks: Vec<Chunk>,
    pub(super) events: Vec<Event>,
    claimed_ordinals: Vec<Ordinal>,
    /// Inserted in this group and not yet started; the claims may still start them.
    fresh: Vec<Fresh>,
    pub(super) now: Timestamp,
}

#[derive(Debug)]
struct Fresh {
    job: Job,
    arguments: Stored,
    has_callbacks: bool,
    member: usize,
}

impl Group {
    /// Decides what `changes` do, in their order, and what starts in the slots that are free then.
    pub(super) fn assemble(
        changes: &mut [Change],
        ledger: &mut Ledger,
        counters: Counters,
        now: Timestamp,
    ) -> Self {
        let mut group = Self::empty(counters, now);
        for (member, change) in changes.iter_mut().enumerate() {
            group.apply(member, change, ledger);
            group.claim(ledger);
        }
        if changes.is_empty() {
            // The first group of a server: what waited when the last one ended.
            group.claim(ledger);
        }
        group.insert_fresh(changes);
        if !group.claimed_ordinals.is_empty() {
            group.events.push(Event::Claimed(std::mem::take(&mut group.claimed_ordinals)));
        }
        if !group.due.is_empty() {
            group.events.push(Event::DeliveriesDue);
        }
        group
    }

    /// A group without members. `now` is the latest moment that the writer has heard of.
    pub(super) fn empty(counters: Counters, now: Timestamp) -> Self {
        Self {
            counters,
            inserted: Rows::default(),
            claimed: Rows::default(),
            cancel_requested: Rows::default(),
            ended: Rows::default(),
            callbacks: Rows::default(),
            due: Rows::default(),
            delivery_bodies: Rows::default(),
            delivery_attempts: Rows::default(),
            linked: Rows::default(),
            abandoned: Rows::default(),
            chunks: Vec::new(),
            events: Vec::new(),
            claimed_ordinals: Vec::new(),
            fresh: Vec::new(),
            now,
        }
    }

    /// Whether there is anything to write.
    pub(super) fn is_empty(&self) -> bool {
        let jobs = [&self.inserted, &self.claimed, &self.ended];
        jobs.into_iter().all(Rows::is_empty) && self.is_jobs_only() && self.chunks.is_empty()
    }

    /// Whether it does no more than insert, claim and end jobs, as most groups do.
    pub(super) fn is_jobs_only(&self) -> bool {
        let others = [
            &self.cancel_requested,
            &self.callbacks,
            &self.due,
            &self.delivery_bodies,
            &self.delivery_attempts,
            &self.linked,
            &self.abandoned,
        ];
        others.into_iter().all(Rows::is_empty)
    }

    fn apply(&mut self, member: usize, change: &mut Change, ledger: &mut Ledger) {
        match change {
            Change::Submit { submission, written_ahead, reply } => {
                if let Err(refusal) = self.submit(member, submission, *written_ahead, ledger) {
                    reply.set(Err(refusal));
                }
            }
            Change::Settle { settlement, written_ahead, reply } => {
                reply.set(self.settle(settlement, *written_ahead, ledger));
            }
            Change::Release { queue, pool, now } => {
                self.now = self.now.max(*now);
                ledger.release(Slot { queue: queue.clone(), pool: *pool });
            }
            Change::Cancel { order, reply } => reply.set(Ok(self.cancel(order, ledger))),
            Change::AddCallback { job, callback, reply } => {
                rows::callback(&mut self.callbacks, *job, callback);
                rows::due(&mut self.due, *job, callback.created_at);
                if let Some(running) = ledger.running(*job) {
                    ledger.set_running(*job, Some(Running { may_have_callbacks: true, ..running }));
                }
                reply.set(Ok(()));
            }
            Change::DeliveryBody { callback, body, reply } => {
                self.delivery_bodies.row().int(callback.0).text(body).end();
                reply.set(Ok(()));
            }
            Change::Delivered { report, reply } => {
                rows::delivery_attempt(&mut self.delivery_attempts, report);
                // A first attempt may be what a later callback of the same job waits for.
                self.events.push(Event::DeliveriesDue);
                reply.set(Ok(()));
            }
            Change::StopClaiming { reply } => {
                ledger.stop_claiming();
                reply.set(Ok(()));
            }
            Change::Checkpoint { .. } | Change::Close => {}
        }
    }

    fn submit(
        &mut self,
        member: usize,
        it: &Submission,
        written_ahead: Option<i64>,
        ledger: &mut Ledger,
    ) -> Result<(), Error> {
        let ordinal = Ordinal(self.counters.ordinal + 1);
        let slot = Slot { queue: it.spec.queue.clone(), pool: it.pool };
        ledger.admit(slot, it.spec.priority, ordinal)?;
        let ordinal = self.counters.next_ordinal();
        self.now = self.now.max(it.spec.created_at);
        let arguments = self.store(payload::arguments(&it.spec), written_ahead);
        let job = Job::submitted(it.spec.clone(), ordinal);
        let has_callbacks = !it.callbacks.is_empty();
        self.fresh.push(Fresh { job, arguments, has_callbacks, member });
        Ok(())
    }

    fn settle(
        &mut self,
        it: &Settlement,
        written_ahead: Option<i64>,
        ledger: &mut Ledger,
    ) -> Result<(), Error> {
        let ordinal = it.job.ordinal;
        let running = ledger.running(ordinal).filter(|running| running.attempt == it.job.attempt);
        let running = running.ok_or(Error::Superseded)?;
        self.now = self.now.max(it.now);
        let job = with_cancel(&it.job, running);
        let next = settle(&job, it.outcome.clone(), it.now);
        let result = next.result.as_ref().map(|it| self.store(it.as_str().into(), written_ahead));
        self.end(
            &next,
            rows::Guard { from: State::Running, attempt: Some(job.attempt) },
            result.as_ref(),
        );
        if running.may_have_callbacks {
            self.make_due(&next);
        }
        let slot = Slot { queue: job.spec.queue.clone(), pool: it.pool };
        ledger.set_running(ordinal, None);
        if it.frees_slot {
            ledger.release(slot.clone());
        }
        if !next.is_done() {
            ledger.readmit(slot, job.spec.priority, ordinal);
        }
        self.events.push(Event::Changed(next));
        Ok(())
    }

    fn cancel(&mut self, order: &CancelOrder, ledger: &mut Ledger) -> Cancellation {
        let job = &order.job;
        let slot = Slot { queue: job.spec.queue.clone(), pool: order.pool };
        if ledger.withdraw(slot, job.spec.priority, job.ordinal) {
            let guard = rows::Guard { from: State::Pending, attempt: None };
            let next = cancel_pending(job, order.now);
            self.end(&next, guard, None);
            self.make_due(&next);
            self.events.push(Event::Cancelled(job.ordinal));
            return Cancellation::Cancelled;
        }
        match ledger.running(job.ordinal) {
            None => Cancellation::Done,
            Some(_) if !order.terminate => Cancellation::Running,
            Some(Running { cancel_requested_at: Some(_), .. }) => Cancellation::Requested,
            Some(running) => {
                let seq = self.counters.next_seq();
                let row = self.cancel_requested.row();
                row.int(job.ordinal.0).int(seq).int(order.now.0).end();
                ledger.set_running(
                    job.ordinal,
                    Some(Running { cancel_requested_at: Some(order.now), ..running }),
                );
                self.events.push(Event::CancelRequested(order.clone()));
                Cancellation::Requested
            }
        }
    }

    /// Writes the end of an attempt, or of the waiting.
    fn end(&mut self, next: &Job, guard: rows::Guard, result: Option<&Stored>) {
        debug_assert!(
            guard.from.may_become(next.state),
            "{} may not become {}",
            guard.from,
            next.state
        );
        let seq = self.counters.next_seq();
        rows::ended(&mut self.ended, next, guard, seq, result);
    }

    /// Makes the deliveries of a job that is done due.
    fn make_due(&mut self, next: &Job) {
        if let Some(finished_at) = next.finished_at {
            rows::due(&mut self.due, next.ordinal, self.now.max(finished_at));
        }
    }

    /// Starts whatever has a slot now. A job of this very group is inserted as running.
    fn claim(&mut self, ledger: &mut Ledger) {
        while let Some(ordinal) = ledger.claim() {
            let now = self.now;
            if let Some(fresh) = self.fresh_at(ordinal) {
                let created_at = fresh.job.spec.created_at;
                fresh.job.state = State::Running;
                fresh.job.attempt = 1;
                fresh.job.started_at = Some(now.max(created_at));
                let may_have_callbacks = fresh.has_callbacks;
                let running = Running { attempt: 1, may_have_callbacks, ..Running::default() };
                ledger.set_running(ordinal, Some(running));
                continue;
            }
            let (seq, epoch) = (self.counters.next_seq(), self.counters.epoch);
            self.claimed.row().int(ordinal.0).int(seq).int(epoch).int(now.0).end();
            self.claimed_ordinals.push(ordinal);
        }
    }

    /// The job of this group at that place. Its jobs follow one another without a gap.
    fn fresh_at(&mut self, ordinal: Ordinal) -> Option<&mut Fresh> {
        let first = self.fresh.first()?.job.ordinal;
        let place = usize::try_from(ordinal.0 - first.0).ok()?;
        self.fresh.get_mut(place)
    }

    fn insert_fresh(&mut self, changes: &mut [Change]) {
        for fresh in std::mem::take(&mut self.fresh) {
            let Some(Change::Submit { submission, reply, .. }) = changes.get_mut(fresh.member)
            else {
                continue;
            };
            let job = fresh.job;
            let seq = self.counters.next_seq();
            rows::inserted(&mut self.inserted, &job, seq, self.counters.epoch, &fresh.arguments);
            for callback in &submission.callbacks {
                rows::callback(&mut self.callbacks, job.ordinal, callback);
            }
            if job.state == State::Running {
                self.events.push(Event::Started(job.clone()));
            }
            reply.set(Ok(job));
        }
    }

    /// Deletes payloads that nobody will own.
    pub(super) fn abandon(&mut self, payloads: &[i64]) {
        for payload in payloads {
            self.abandoned.row().int(*payload).end();
        }
    }

    /// Settles a job whose server died while it ran.
    pub(super) fn recover(&mut self, job: &Job) {
        let now = self.now;
        let guard = rows::Guard { from: State::Running, attempt: Some(job.attempt) };
        let next = settle(job, Outcome::Crashed, now);
        self.end(&next, guard, None);
        self.make_due(&next);
    }

    /// Keeps a value in its row, or in pieces beside it if it is large and not there yet.
    fn store(&mut self, text: String, written_ahead: Option<i64>) -> Stored {
        if let Some(payload) = written_ahead {
            self.linked.row().int(payload).end();
            return Stored::Payload { payload, bytes: text.len() };
        }
        if text.len() <= payload::INLINE_BYTES_MAX {
            return Stored::Inline(text);
        }
        self.counters.payload += 1;
        let (payload, bytes) = (self.counters.payload, text.len());
        for (number, piece) in (0..).zip(text.as_bytes().chunks(payload::CHUNK_BYTES_MAX)) {
            self.chunks.push(Chunk { payload, number, bytes: piece.to_vec() });
        }
        Stored::Payload { payload, bytes }
    }
}

/// The job as its attempt knows it, with the cancel that the attempt may not have heard of yet.
fn with_cancel(job: &Job, running: Running) -> Job {
    match (job.cancel_requested_at, running.cancel_requested_at) {
        (None, Some(at)) => {
            Job { cancel_requested_at: Some(at), version: job.version + 1, ..job.clone() }
        }
        (Some(_), _) | (None, None) => job.clone(),
    }
}
