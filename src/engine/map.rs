//! Streaming map: `Executor.map` with `buffersize`, over input that has no end in sight (E7, E10).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::mem;
use std::sync::Arc;

use uuid::Uuid;

use crate::domain::{BRIEF_BYTES_MAX, Batch, BatchId, Job, JobId, OnError, Ordinal, Timestamp};
use crate::store::{
    self, Answer, BatchChange, Ended, Many, Order, Refusal, Store, Submission, Submitted,
};

use super::batches::Common;
use super::waiters::{DoneJob, Follow};
use super::{BatchCall, EndedJob, Engine, Error, Held, NewJob};

/// Portions of calls that may be on their way to the disk: while one is written, the next is read and checked.
const PORTIONS_MAX: usize = 4;
/// What a call takes in memory until its result is given: larger results are read when their turn comes.
pub const CALL_BYTES: usize = 2 * 1_024;
/// Results that are given at once, about.
const GIVEN_BYTES: usize = 64 * 1_024;
/// A line beside what came of its job, about.
const LINE_BYTES: usize = 256;

/// A map to be begun.
#[derive(Clone, Debug)]
pub struct NewMap {
    /// What all its jobs have in common: function, queue, options.
    pub common: NewJob,
    /// Calls that may be submitted and not yet given back, at most.
    pub buffersize: usize,
    /// In which order results are given.
    pub order: Order,
    /// What becomes of the rest when a job fails (E8).
    pub on_error: OnError,
    /// What becomes of the rest when whoever maps goes away (E7): the same choice.
    pub on_disconnect: OnError,
    /// Larger results are left out.
    pub result_bytes_max: usize,
}

/// A map that is under way. Its jobs belong to a batch, by which they are found again.
#[derive(Debug)]
pub struct Map {
    engine: Engine,
    common: Common,
    batch: Batch,
    follow: Follow,
    buffersize: usize,
    order: Order,
    on_disconnect: OnError,
    result_bytes_max: usize,
    /// What was sent and is not answered, the oldest first.
    portions: VecDeque<Portion>,
    /// Calls that are sent and not given back, by their index; with their job, once it is done.
    buffered: BTreeMap<i64, Option<DoneJob>>,
    /// Those of them that are done, as they ended.
    ended: VecDeque<i64>,
    given: i64,
    /// Whether the batch takes calls; none once it was cancelled.
    is_open: bool,
}

/// What happens to a map.
#[derive(Debug)]
pub enum Happened {
    /// Jobs of it are done.
    Ended,
    /// Calls that were sent together are submitted, but for these.
    Answered {
        /// Each by its index, and why.
        refused: Vec<(i64, Error)>,
    },
    /// The server stops.
    Stops,
}

/// Calls that were sent together, and what came of them.
#[derive(Debug)]
struct Portion {
    sent: Vec<(i64, JobId)>,
    /// Room for what was sent, until it is on the disk.
    _held: Held,
    answer: Answer<Submitted>,
}

impl Engine {
    /// Begins a map: an open batch, to which calls are added as they come.
    pub async fn map(&self, new: NewMap) -> Result<Map, Error> {
        let NewMap { common, buffersize, order, on_error, on_disconnect, result_bytes_max } = new;
        let common = self.common(common, BatchId(Uuid::now_v7()), Ordinal(0))?;
        let queue = self.shared.store.queues(Some(common.queue())).await?;
        if queue.iter().any(|queue| queue.shutdown) {
            return Err(Error::QueueShutdown(common.queue()));
        }
        let follow = self.shared.waiters.follow()?;
        let batch = self.shared.store.submit_batch(store::NewBatch {
            id: common.batch(),
            function: common.function_name().clone(),
            on_error,
            is_open: true,
            retention_ms: common.retention_ms(),
            created_at: common.since(),
            wall_ahead_ms: common.wall_ahead_ms(),
            callbacks: Vec::new(),
            identity: None,
            calls: Vec::new(),
        });
        let batch = batch.await?;
        let common = common.at(batch.ordinal);
        let (buffered, ended) = (BTreeMap::new(), VecDeque::new());
        Ok(Map {
            engine: self.clone(),
            common,
            batch,
            follow,
            buffersize,
            order,
            on_disconnect,
            result_bytes_max,
            portions: VecDeque::new(),
            buffered,
            ended,
            given: 0,
            is_open: true,
        })
    }
}

impl Map {
    /// The batch that its jobs belong to.
    #[must_use]
    pub fn batch(&self) -> BatchId {
        self.batch.id
    }

    /// How many calls may be submitted now (E10).
    #[must_use]
    pub fn room(&self) -> usize {
        let takes = self.is_open && self.portions.len() < PORTIONS_MAX;
        if takes { self.buffersize.saturating_sub(self.buffered.len()) } else { 0 }
    }

    /// Whether it takes calls.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// How many calls are sent and not given back.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.buffered.len()
    }

    /// How many results were given.
    #[must_use]
    pub fn given(&self) -> i64 {
        self.given
    }

    /// Sends calls on, each with its index, to be submitted in one commit; gives those that are refused at once,
    /// each for itself; room is held for them until then. What becomes of the others is told by [`Map::next`]. Nothing is taken any more once the
    /// batch was cancelled.
    pub async fn send(
        &mut self,
        calls: Vec<(i64, BatchCall)>,
        held: Held,
    ) -> Result<Vec<(i64, Error)>, Error> {
        let now = self.engine.now();
        let (mut refused, mut taken) = (Vec::new(), Vec::with_capacity(calls.len()));
        let mut sent = Vec::with_capacity(calls.len());
        for (index, call) in calls {
            match self.call(index, call, now) {
                Ok(submission) => {
                    sent.push((index, submission.spec.id));
                    taken.push(submission);
                }
                Err(refusal) => refused.push((index, refusal)),
            }
        }
        if taken.is_empty() {
            return Ok(refused);
        }
        // Followed before they exist, so that no end is missed.
        self.follow.add(sent.iter().map(|(_, id)| *id));
        self.buffered.extend(sent.iter().map(|(index, _)| (*index, None)));
        let many = Many { calls: taken, batch: Some(self.batch.ordinal) };
        let answer = self.engine.shared.store.submit_many(many).await?;
        self.portions.push_back(Portion { sent, _held: held, answer });
        Ok(refused)
    }

    /// What came of the portion that was sent first. Those of its calls that were refused are not there.
    fn answered(
        &mut self,
        submitted: Result<Submitted, store::Error>,
    ) -> Result<Vec<(i64, Error)>, Error> {
        let Some(Portion { sent, .. }) = self.portions.pop_front() else { return Ok(Vec::new()) };
        let mut refused = Vec::new();
        match submitted {
            Ok(submitted) => {
                for ((index, id), job) in sent.into_iter().zip(submitted) {
                    if let Err(error) = job {
                        self.forget(index, id);
                        refused.push((index, error.into()));
                    }
                }
            }
            Err(store::Error::Refused(Refusal::BatchClosed)) => {
                self.is_open = false;
                sent.into_iter().for_each(|(index, id)| self.forget(index, id));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(refused)
    }

    fn forget(&mut self, index: i64, id: JobId) {
        self.follow.remove(id);
        self.buffered.remove(&index);
    }

    fn call(&self, index: i64, call: BatchCall, now: Timestamp) -> Result<Submission, Error> {
        let place = usize::try_from(index).unwrap_or(usize::MAX);
        self.engine.call_of(&self.common, call, place, now)
    }

    /// Waits for what happens next. Nothing is lost if nobody waits to the end.
    pub async fn next(&mut self) -> Result<Happened, Error> {
        let job = tokio::select! {
            biased;
            submitted = first_answer(&mut self.portions) => {
                return Ok(Happened::Answered { refused: self.answered(submitted)? });
            }
            job = self.follow.next() => job,
            () = self.engine.shared.shutdown.waits.cancelled() => return Ok(Happened::Stops),
        };
        self.ended_now(job);
        while let Some(job) = self.follow.try_next() {
            self.ended_now(job);
        }
        Ok(Happened::Ended)
    }

    fn ended_now(&mut self, told: DoneJob) {
        let Some(of) = told.job.spec.batch else { return };
        if let Some(place) = self.buffered.get_mut(&of.index) {
            *place = Some(told);
            self.ended.push_back(of.index);
        }
    }

    /// Room for so many calls more than those that are sent and not given back.
    #[must_use]
    pub fn bytes_with(&self, more: usize) -> usize {
        (self.buffered.len() + more) * CALL_BYTES
    }

    /// Room for the results whose turn it is, at most; 0 if there are none.
    #[must_use]
    pub fn bytes_to_give(&self) -> usize {
        let is_any = match self.order {
            Order::Input => self.buffered.first_key_value().is_some_and(|(_, told)| told.is_some()),
            Order::Completed => !self.ended.is_empty(),
        };
        let shown = 2 * self.result_bytes_max.max(BRIEF_BYTES_MAX);
        if is_any { GIVEN_BYTES + LINE_BYTES + shown } else { 0 }
    }

    /// The results whose turn it is, as many as are printed at once.
    pub async fn results(&mut self) -> Result<Vec<(i64, Arc<Job>)>, Error> {
        let turns = self.turns();
        self.given += i64::try_from(turns.len()).unwrap_or(i64::MAX);
        let large = turns.iter().filter(|(_, told)| !told.is_whole);
        let large: Vec<Ended> = large.filter_map(|(_, told)| Ended::of(&told.job)).collect();
        if large.is_empty() {
            return Ok(turns.into_iter().map(|(index, told)| (index, told.job)).collect());
        }
        let (mut read, mut from) = (HashMap::with_capacity(large.len()), 0);
        while from < large.len() {
            let (jobs, count) =
                self.engine.ended_jobs(&large[from..], self.result_bytes_max).await?;
            let kept = jobs.into_iter().filter_map(EndedJob::kept);
            read.extend(kept.map(|job| (job.spec.id, job)));
            from += count.max(1);
        }
        // One that has expired since is told without its result.
        let whole = |(index, told): (i64, DoneJob)| {
            (index, read.remove(&told.job.spec.id).unwrap_or(told.job))
        };
        Ok(turns.into_iter().map(whole).collect())
    }

    fn turns(&mut self) -> Vec<(i64, DoneJob)> {
        let (mut turns, mut bytes) = (Vec::new(), 0);
        while bytes < GIVEN_BYTES {
            let next = match self.order {
                Order::Input => {
                    let first = self.buffered.first_entry().filter(|it| it.get().is_some());
                    first.map(|first| first.remove_entry())
                }
                Order::Completed => {
                    let next = self.ended.pop_front();
                    next.map(|index| (index, self.buffered.remove(&index).flatten()))
                }
            };
            let Some((index, told)) = next else { break };
            bytes += LINE_BYTES
                + told
                    .as_ref()
                    .map_or(0, |told| told.bytes.min(self.result_bytes_max.max(BRIEF_BYTES_MAX)));
            turns.extend(told.map(|told| (index, told)));
        }
        if self.order == Order::Input {
            self.ended.clear();
        }
        turns
    }

    /// A call could not be taken: cancels what is not done of it, if that is what a failure does (E8).
    pub async fn fails(&mut self) -> Result<(), Error> {
        if self.batch.on_error == OnError::Cancel {
            self.is_open = false;
            let now = self.engine.now();
            self.engine
                .shared
                .store
                .change_batch(self.batch.ordinal, BatchChange::Cancel, now)
                .await?;
        }
        Ok(())
    }

    /// Whether each call that was sent is submitted or refused.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.portions.is_empty()
    }

    /// No more calls come: of those that are not answered none need be taken. Whatever is submitted runs on, and is
    /// found by its batch.
    pub async fn close(&mut self) -> Result<(), Error> {
        self.is_open = false;
        let now = self.engine.now();
        let store = &self.engine.shared.store;
        store.change_batch(self.batch.ordinal, BatchChange::Close, now).await?;
        Ok(())
    }
}

/// What came of the first of them; never, if there is none.
async fn first_answer(portions: &mut VecDeque<Portion>) -> Result<Submitted, store::Error> {
    match portions.front_mut() {
        Some(portion) => portion.answer.get().await,
        None => std::future::pending().await,
    }
}

impl Drop for Map {
    /// Whoever mapped went away before the end (E7).
    fn drop(&mut self) {
        if !self.is_open && self.buffered.is_empty() {
            return;
        }
        let (engine, batch) = (self.engine.clone(), self.batch.ordinal);
        let portions = mem::take(&mut self.portions);
        let stops = engine.shared.shutdown.waits.is_cancelled();
        let cancels = self.on_disconnect == OnError::Cancel && !stops;
        self.engine.shared.tasks.spawn(async move {
            let now = engine.now();
            if !cancels {
                // A batch that is closed with them would not take them.
                for mut portion in portions {
                    drop(portion.answer.get().await);
                }
            }
            let change = if cancels { BatchChange::Cancel } else { BatchChange::Close };
            let end = |store: Store| async move { store.change_batch(batch, change, now).await };
            // If the server ends before, the next start closes it.
            engine.until_done("a batch whose client went away is not closed", end).await;
        });
    }
}
