//! Jobs come: each takes its place, which is the one decision about it, and is then written.

use std::sync::Arc;

use crate::domain::{Job, Ordinal, Pool, State, Timestamp};
use crate::store::change::Submission;
use crate::store::ledger::{Running, Slot};
use crate::store::sqlite::write::insert::Arrival;
use crate::store::sqlite::write::together::SIXTEEN;
use crate::store::{Error, Event, payload};

use super::Group;

impl Group<'_> {
    /// Inserts a job: as running, if it has a slot now. The inner error is a refusal of this member
    /// alone, for which nothing was written.
    pub(super) fn submit(
        &mut self,
        it: &Submission,
        written_ahead: Option<i64>,
    ) -> Result<Result<Arc<Job>, Error>, Error> {
        let mut known = None;
        if let Some(identity) = &it.identity {
            // It may be that of a job that came with this one.
            self.insert_arrivals()?;
            known = self.look_up(&it.spec, identity)?;
        }
        let place = Ordinal(self.counters.ordinal + 1);
        match known.map_or_else(|| self.take_place(it, place), Err) {
            Ok(starts) => Ok(Ok(self.bring(it, starts, written_ahead)?)),
            Err(refusal) => {
                written_ahead.map_or(Ok(()), |payload| self.sql.delete_payload(payload))?;
                Ok(Err(refusal))
            }
        }
    }

    /// Gives each of `calls`, the first of which will have that ordinal, its slot, which is true, or its place in its queue.
    /// If one is refused none has a place.
    pub(super) fn take_places(
        &mut self,
        calls: &[Submission],
        first: Ordinal,
    ) -> Result<Vec<bool>, Error> {
        let steps = self.ledger.steps();
        let places = (first.0..).map(Ordinal).zip(calls);
        let taken: Result<_, _> =
            places.map(|(place, call)| self.take_place(call, place)).collect();
        if taken.is_err() {
            self.ledger.take_back_to(steps);
        }
        taken
    }

    /// Gives a job its slot, which is true, or its place in its queue.
    fn take_place(&mut self, it: &Submission, ordinal: Ordinal) -> Result<bool, Error> {
        if it.spec.options.manual {
            return self.ledger.admit_manual().map(|()| false);
        }
        if it.run_at.is_some() {
            return self.ledger.admit_scheduled(&it.spec.queue).map(|()| false);
        }
        let slot = Slot { queue: it.spec.queue.clone(), pool: it.pool };
        // What this group leaves to the next one comes before whoever comes now.
        let mut starts = !self.has_cancelled_enough() && self.ledger.take_at_once(&slot);
        if !starts {
            self.ledger.admit(slot, it.spec.priority, ordinal)?;
            // Whatever could start has started, so if anything can now, it is this job.
            starts = self.next_claim() == Some(ordinal);
        }
        if starts {
            let running = Running::at_once(!it.callbacks.is_empty());
            self.ledger.set_running(ordinal, Some(running));
        }
        Ok(starts)
    }

    /// Inserts the next job, which has taken its place.
    pub(super) fn bring(
        &mut self,
        it: &Submission,
        starts: bool,
        written_ahead: Option<i64>,
    ) -> Result<Arc<Job>, Error> {
        self.counters.ordinal += 1;
        self.now = self.now.max(it.spec.created_at);
        let ordinal = Ordinal(self.counters.ordinal);
        let may_have_callbacks = !it.callbacks.is_empty();
        let new = Job::submitted(it.spec.clone(), ordinal);
        let mut job = Job { run_at: it.run_at, may_have_callbacks, ..new };
        if starts {
            job = Job { state: State::Running, attempt: 1, started_at: Some(self.now), ..job };
        }
        let job = Arc::new(job);
        let waits = !starts && job.run_at.is_none() && !it.spec.options.manual;
        if waits && it.pool != Pool::Absent {
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
        if starts {
            self.events.push(Event::Started(Arc::clone(&job), it.bound.clone()));
        }
        Ok(job)
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
}
