//! Jobs come: each takes its place, which is the one decision about it, and is then written.

use std::borrow::Cow;
use std::sync::Arc;

use crate::domain::{Job, NewCallback, Ordinal, Pool, State, Timestamp};
use crate::store::codec;
use crate::store::contract::{Error, Event, Failed, Failure, Refusal, Submission};
use crate::store::sqlite::callbacks::add;
use crate::store::sqlite::handle::{Answer, Sqlite};
use crate::store::sqlite::hot::multi_row_insert::ROWS_PER_INSERT;
use crate::store::sqlite::hot::new_row::NewRow;
use crate::store::sqlite::jobs::{claim, end, idempotency};
use crate::store::sqlite::slots::{Running, Slot};
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::values::chunks;
use crate::store::sqlite::write::{Phase, ROW_BYTES, Ran, Write};

/// Inserts a job: as running, if it has a slot now. A refusal has written nothing.
impl Write for Submission {
    type Output = Arc<Job>;

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<Arc<Job>> {
        submit(txn, self)
    }

    fn bytes(&self) -> usize {
        bytes_of(std::slice::from_ref(self))
    }

    fn large_value(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Owned(codec::arguments(&self.spec)))
    }

    fn phase(&self) -> Phase {
        Phase::Submission
    }
}

impl Sqlite {
    pub async fn submit(
        &self,
        submission: Submission,
        failed: Option<Failed>,
    ) -> Result<Answer<Arc<Job>>, Error> {
        self.ask(submission, failed).await
    }
}

/// Inserts a job: as running, if it has a slot now.
pub fn submit(txn: &mut Txn<'_>, it: &Submission) -> Ran<Arc<Job>> {
    if let Some(identity) = &it.identity {
        // It may be that of a job that came with this one.
        insert_new_rows(txn)?;
        if let Some(known) = idempotency::look_up(txn, &it.spec, identity)? {
            return Ok(Err(known));
        }
    }
    let place = Ordinal(txn.counters.ordinal + 1);
    match take_place(txn, it, place) {
        Ok(starts) => Ok(Ok(bring(txn, it, starts)?)),
        Err(refusal) => Ok(Err(refusal)),
    }
}

/// Gives each of `calls`, the first of which will have that ordinal, its slot, which is true, or its place in its queue.
/// If one is refused none has a place.
pub fn take_places(
    txn: &mut Txn<'_>,
    calls: &[Submission],
    first: Ordinal,
) -> Result<Vec<bool>, Refusal> {
    let steps = txn.slots.steps();
    let places = (first.0..).map(Ordinal).zip(calls);
    let taken: Result<_, _> = places.map(|(place, call)| take_place(txn, call, place)).collect();
    if taken.is_err() {
        txn.slots.take_back_to(steps);
    }
    taken
}

/// Gives a job its slot, which is true, or its place in its queue.
pub fn take_place(txn: &mut Txn<'_>, it: &Submission, ordinal: Ordinal) -> Result<bool, Refusal> {
    if it.spec.options.manual {
        return txn.slots.admit_manual().map(|()| false);
    }
    if it.run_at.is_some() {
        return txn.slots.admit_scheduled(&it.spec.queue).map(|()| false);
    }
    let slot = Slot { queue: it.spec.queue.clone(), pool: it.pool };
    // What this group leaves to the next one comes before whoever comes now.
    let mut starts = !claim::has_cancelled_enough(txn) && txn.slots.take_at_once(&slot);
    if !starts {
        txn.slots.admit(slot, it.spec.priority, ordinal)?;
        // Whatever could start has started, so if anything can now, it is this job.
        starts = claim::next_claim(txn) == Some(ordinal);
    }
    if starts {
        let running = Running::at_once(!it.callbacks.is_empty());
        txn.slots.set_running(ordinal, Some(running));
    }
    Ok(starts)
}

/// Inserts the next job, which has taken its place.
pub fn bring(txn: &mut Txn<'_>, it: &Submission, starts: bool) -> Result<Arc<Job>, Failure> {
    txn.counters.ordinal += 1;
    txn.now = txn.now.max(it.spec.created_at);
    let ordinal = Ordinal(txn.counters.ordinal);
    let may_have_callbacks = !it.callbacks.is_empty();
    let new = Job::submitted(it.spec.clone(), ordinal);
    let mut job = Job { run_at: it.run_at, may_have_callbacks, ..new };
    if starts {
        job = Job { state: State::Running, attempt: 1, started_at: Some(txn.now), ..job };
    }
    let job = Arc::new(job);
    let waits = !starts && job.run_at.is_none() && !it.spec.options.manual;
    if waits && it.pool != Pool::Absent {
        txn.slots.cache_ready(&job, &it.bound);
    }
    let seq = txn.change_of(ordinal);
    let deadline = job.deadline(txn.now);
    let new_row = new_row(txn, &job, deadline, seq)?;
    txn.new_rows.push(new_row);
    // What comes with it must find its row.
    let is_alone = it.identity.is_none() && it.callbacks.is_empty();
    if !is_alone || txn.new_rows.len() == ROWS_PER_INSERT {
        insert_new_rows(txn)?;
    }
    end::waits_for(txn, &job, deadline);
    if let Some(identity) = &it.identity {
        idempotency::remember(txn, &job, identity)?;
    }
    for callback in &it.callbacks {
        add::insert_callback(txn.sql, ordinal, callback)?;
    }
    if let Some(of) = it.spec.batch {
        txn.tallies.entry(of.place).or_default().add(job.state);
    }
    if starts {
        txn.events.push(Event::Started(Arc::clone(&job), it.bound.clone()));
    }
    Ok(job)
}

pub fn new_row(
    txn: &mut Txn<'_>,
    job: &Arc<Job>,
    deadline: Option<Timestamp>,
    seq: i64,
) -> Result<NewRow, Failure> {
    let text = codec::arguments(&job.spec);
    let stored = chunks::store(txn, &text)?;
    let (arguments_bytes, arguments_sum) = (stored.bytes(), stored.sum());
    let arguments = stored.payload().map_or(Ok(text), Err);
    let (job, epoch) = (Arc::clone(job), txn.counters.epoch);
    Ok(NewRow { job, deadline, seq, epoch, arguments, arguments_bytes, arguments_sum })
}

/// Inserts the jobs that have come and are not inserted yet.
pub fn insert_new_rows(txn: &mut Txn<'_>) -> Result<(), Failure> {
    txn.sql.hot.insert(&txn.new_rows)?;
    let jobs = txn.new_rows.drain(..).map(|it| it.job);
    let waiting = jobs.filter(|job| job.state == State::Pending).map(|job| job.ordinal);
    Ok(txn.sql.hot.insert_unfinished(&waiting.collect::<Vec<_>>())?)
}

/// About how many bytes these calls write.
pub fn bytes_of(calls: &[Submission]) -> usize {
    let of_callback =
        |it: &NewCallback| ROW_BYTES + it.url.len() + it.sealed.as_ref().map_or(0, Vec::len);
    let of_call = |call: &Submission| {
        let callbacks: usize = call.callbacks.iter().map(of_callback).sum();
        ROW_BYTES + call.spec.arguments_bytes() + callbacks
    };
    calls.iter().map(of_call).sum()
}
