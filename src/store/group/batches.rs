//! Batches: their calls come together, and their counts move with their jobs, once in a group.

use crate::domain::{
    Batch, Counts, Membership, NewCallback, Ordinal, Spec, State, Timestamp, When,
};
use crate::store::batches::Submitted;
use crate::store::cancel_many::Mark;
use crate::store::change::{Change, Submission};
use crate::store::sqlite::write::batches::Run;
use crate::store::{Arc, Error, Event, Many, NewBatch};

use super::{Group, disagree};

/// Batches that a start closes in one transaction.
const LEFT_OPEN_MAX: usize = 500;

impl Group<'_> {
    /// Inserts a batch with all its jobs. The inner error is a refusal, for which nothing was written.
    pub(super) fn submit_batch(
        &mut self,
        it: &mut NewBatch,
    ) -> Result<Result<Batch, Error>, Error> {
        if let Some(known) = self.look_up_batch(it)? {
            return Ok(Err(known));
        }
        let first = Ordinal(self.counters.ordinal + 2);
        let places = match self.take_places(&it.calls, first) {
            Ok(places) => places,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.now = self.now.max(it.created_at);
        self.counters.ordinal += 1;
        let place = Ordinal(self.counters.ordinal);
        self.sql.insert_batch(it, place, self.counters.epoch)?;
        for (callback, when) in &it.callbacks {
            self.sql.add_batch_callback(place, callback, *when)?;
        }
        if let Some(identity) = &it.identity
            && let Some(key) = &identity.key
        {
            self.sql.keep_key(key, identity.fingerprint, it.id.0, it.created_at)?;
        }
        let mut counts = Counts::default();
        for (index, (call, starts)) in (0..).zip(it.calls.iter_mut().zip(places)) {
            stand(call, Membership { batch: it.id, place, index });
            counts.came(self.bring(call, starts, None)?.state);
        }
        if counts.total > 0 {
            let run = Run { index_from: 0, ordinal_from: first, count: counts.total };
            self.sql.keep_run(place, run)?;
        }
        self.tallies.entry(place).or_default();
        let finished_at = (counts.total == 0 && !it.is_open).then_some(self.now);
        if finished_at.is_some() {
            self.finish_batch(place, it.retention_ms)?;
            for when in When::ALL {
                self.makes_due |= self.sql.make_batch_due(place, when, self.now)?;
            }
        }
        Ok(Ok(batch(it, place, counts, finished_at)))
    }

    /// What its request is to be answered with, if it has made a batch before.
    fn look_up_batch(&mut self, it: &NewBatch) -> Result<Option<Error>, Error> {
        match it.identity.as_ref().and_then(|identity| Some((identity, identity.key.as_ref()?))) {
            Some((identity, key)) => self.look_up_key(key, identity),
            None => Ok(None),
        }
    }

    /// Inserts jobs, each for itself. The outer refusal is of all of them.
    pub(super) fn submit_many(&mut self, it: &mut Many) -> Result<Result<Submitted, Error>, Error> {
        if let Some(batch) = it.batch
            && !self.sql.takes_calls(batch)?
        {
            return Ok(Err(Error::BatchClosed));
        }
        let mut submitted = Vec::with_capacity(it.calls.len());
        let mut run: Option<Run> = None;
        for call in &mut it.calls {
            let job = self.submit(call, None)?;
            if let Ok(job) = &job
                && let Some(Membership { place, index, .. }) = job.spec.batch
            {
                run = match run {
                    Some(run) if run.index_from + run.count == index => {
                        Some(Run { count: run.count + 1, ..run })
                    }
                    ended => {
                        ended.map_or(Ok(()), |ended| self.sql.keep_run(place, ended))?;
                        Some(Run { index_from: index, ordinal_from: job.ordinal, count: 1 })
                    }
                };
            }
            submitted.push(job);
        }
        if let (Some(batch), Some(run)) = (it.batch, run) {
            self.sql.keep_run(batch, run)?;
        }
        Ok(Ok(submitted))
    }

    /// Inserts the jobs that have come and are not inserted yet.
    pub(super) fn insert_arrivals(&mut self) -> Result<(), Error> {
        self.sql.insert(&self.arrivals)?;
        let jobs = self.arrivals.drain(..).map(|it| it.job);
        let waiting = jobs.filter(|job| job.state == State::Pending).map(|job| job.ordinal);
        Ok(self.sql.insert_unfinished(&waiting.collect::<Vec<_>>())?)
    }

    /// Does what the change asks of a batch, if it is one of these.
    pub(super) fn change_batch(&mut self, change: &mut Change) -> Result<(), Error> {
        match change {
            Change::CloseBatch { batch, now, reply } => {
                self.now = self.now.max(*now);
                self.close_batch(*batch)?;
                reply.set(Ok(()));
            }
            Change::CancelBatch { batch, now, reply } => {
                self.now = self.now.max(*now);
                reply.set(Ok(self.cancel_batch(*batch)?));
            }
            Change::AddBatchCallback { batch, callback, when, reply } => {
                reply.set(self.add_batch_callback(*batch, callback, *when)?);
            }
            // Done by now, or when all others of the group are.
            _ => {}
        }
        Ok(())
    }

    /// Closes what an earlier server left open: whoever brought the calls is gone with it.
    pub(in crate::store) fn close_left_open(&mut self) -> Result<usize, Error> {
        let open = self.sql.batches_left_open(self.counters.epoch, LEFT_OPEN_MAX)?;
        for batch in &open {
            self.close_batch(*batch)?;
        }
        Ok(open.len())
    }

    /// Goes on with the cancels that an earlier server did not come to: no job of those batches starts.
    pub(in crate::store) fn mark_cancelling(&mut self) -> Result<(), Error> {
        for batch in self.sql.batches_cancelling()? {
            self.ledger.mark_cancelled(Mark::Batch(batch), Ordinal(self.counters.ordinal));
        }
        Ok(())
    }

    fn close_batch(&mut self, batch: Ordinal) -> Result<(), Error> {
        if self.sql.close_batch(batch)? {
            self.tallies.entry(batch).or_default();
        }
        Ok(())
    }

    /// No job of the batch starts from here on; false if that was so before, or it is done.
    fn cancel_batch(&mut self, batch: Ordinal) -> Result<bool, Error> {
        if !self.sql.cancel_batch(batch, self.now)? {
            return Ok(false);
        }
        self.ledger.mark_cancelled(Mark::Batch(batch), Ordinal(self.counters.ordinal));
        self.events.push(Event::BatchCancelling(batch));
        // Whoever brings calls to it brings no more.
        self.sql.close_batch(batch)?;
        self.tallies.entry(batch).or_default();
        Ok(true)
    }

    fn add_batch_callback(
        &mut self,
        batch: Ordinal,
        callback: &NewCallback,
        when: When,
    ) -> Result<Result<(), Error>, Error> {
        if self.sql.batch_has_all_callbacks(batch)? {
            return Ok(Err(Error::TooManyCallbacks(NewCallback::COUNT_MAX)));
        }
        self.sql.add_batch_callback(batch, callback, when)?;
        let nothing = Counts::default();
        let Some(row) = self.sql.count_batch(batch, nothing)? else { return Ok(Ok(())) };
        // What this group has changed so far is counted at its end, and makes it due then.
        if when.is_met(row.counts, row.is_done) {
            self.makes_due |= self.sql.make_batch_due(batch, when, callback.due_at)?;
        }
        Ok(Ok(()))
    }

    /// Notes that a job of `batch` stands elsewhere since the change at `seq`. A failure may cancel the rest (E8).
    pub(super) fn moved(
        &mut self,
        batch: Option<Ordinal>,
        (job, seq): (Ordinal, i64),
        (from, to): (State, State),
    ) -> Result<(), Error> {
        let Some(batch) = batch else { return Ok(()) };
        self.tallies.entry(batch).or_default().moved(from, to);
        if to.is_done() {
            self.has_ended_of(batch, (job, seq))?;
        }
        if to == State::Failed && self.sql.cancels_rest(batch)? {
            self.cancel_batch(batch)?;
        }
        Ok(())
    }

    /// Moves the counts of each batch by what this group did, and makes due what its callbacks waited for.
    pub(super) fn count_batches(&mut self) -> Result<(), Error> {
        for (batch, change) in std::mem::take(&mut self.tallies) {
            let Some(row) = self.sql.count_batch(batch, change)? else {
                return Err(disagree(format!("there is no batch {}", batch.0)));
            };
            let ends = !row.is_done && row.is_closed && row.counts.done() == row.counts.total;
            if ends {
                self.finish_batch(batch, row.retention_ms)?;
            }
            let (is_done, before) = (row.is_done || ends, row.counts.before(change));
            for when in When::ALL {
                if when.is_met(row.counts, is_done) && !when.is_met(before, row.is_done) {
                    self.makes_due |= self.sql.make_batch_due(batch, when, self.now)?;
                }
            }
            self.events.push(Event::Batch(row.id));
        }
        Ok(())
    }

    fn finish_batch(&mut self, batch: Ordinal, retention_ms: i64) -> Result<(), Error> {
        let expires_at = self.now.plus_millis(retention_ms);
        if !self.sql.finish_batch(batch, self.now, expires_at)? {
            return Err(disagree(format!("batch {} is done already", batch.0)));
        }
        self.ledger.unmark_batch(batch);
        Ok(())
    }
}

/// Tells a job where its batch stands, and where it stands in it.
fn stand(call: &mut Submission, membership: Membership) {
    let spec: &mut Spec = Arc::make_mut(&mut call.spec);
    spec.batch = Some(membership);
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
