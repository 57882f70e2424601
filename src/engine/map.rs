//! Streaming map: `Executor.map` with `buffersize`, over input that has no end in sight (E7, E10).

use std::collections::{BTreeMap, VecDeque};
use std::mem;

use uuid::Uuid;

use crate::domain::{Batch, BatchId, Job, OnError, Ordinal, Timestamp};
use crate::store::{self, Many, Order, Submission};

use super::batches::Common;
use super::waiters::Follow;
use super::{BatchCall, Engine, Error, NewJob};

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
    /// Calls that are submitted and not given back, by their index; with their job, once it is done.
    buffered: BTreeMap<i64, Option<Job>>,
    /// Those of them that are done, as they ended.
    ended: VecDeque<i64>,
    given: i64,
    /// Whether the batch takes calls; none once it was cancelled.
    is_open: bool,
}

impl Engine {
    /// Begins a map: an open batch, to which calls are added as they come.
    ///
    /// # Errors
    /// [`Error`] that says what to change in the request, or that the server cannot take it now.
    pub async fn map(&self, new: NewMap) -> Result<Map, Error> {
        let NewMap { common, buffersize, order, on_error, on_disconnect } = new;
        let common = self.common(common, BatchId(Uuid::now_v7()), Ordinal(0))?;
        let queue = self.shared.store.queue(common.queue()).await?;
        if queue.shutdown {
            return Err(Error::QueueShutdown(queue.name));
        }
        let follow = self.shared.waiters.follow()?;
        let batch = self.shared.store.submit_batch(store::NewBatch {
            id: common.batch(),
            function: common.function_name().clone(),
            on_error,
            is_open: true,
            retention_ms: common.retention_ms(),
            created_at: common.since(),
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
        if self.is_open { self.buffersize.saturating_sub(self.buffered.len()) } else { 0 }
    }

    /// Whether it takes calls.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// How many calls are submitted and not given back.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.buffered.len()
    }

    /// How many results were given.
    #[must_use]
    pub fn given(&self) -> i64 {
        self.given
    }

    /// Submits calls, each with its index, in one commit; those that are refused, each for itself. Nothing is
    /// taken any more once the batch was cancelled.
    ///
    /// # Errors
    /// A failure of the disk: then none of them is there.
    pub async fn submit(
        &mut self,
        calls: Vec<(i64, BatchCall)>,
    ) -> Result<Vec<(i64, Error)>, Error> {
        let now = self.engine.now();
        let (mut refused, mut taken) = (Vec::new(), Vec::with_capacity(calls.len()));
        for (index, call) in calls {
            match self.call(index, call, now) {
                Ok(submission) => taken.push(submission),
                Err(refusal) => refused.push((index, refusal)),
            }
        }
        if taken.is_empty() {
            return Ok(refused);
        }
        // Followed before it exists, so that no end is missed.
        taken.iter().for_each(|call| self.follow.add(call.spec.id));
        let indexes: Vec<i64> = taken.iter().filter_map(|it| Some(it.spec.batch?.index)).collect();
        let ids: Vec<_> = taken.iter().map(|call| call.spec.id).collect();
        let many = Many { calls: taken, batch: Some(self.batch.ordinal) };
        match self.engine.shared.store.submit_many(many).await {
            Ok(submitted) => {
                for ((index, id), job) in indexes.into_iter().zip(ids).zip(submitted) {
                    match job {
                        Ok(_) => drop(self.buffered.insert(index, None)),
                        Err(error) => {
                            self.follow.remove(id);
                            refused.push((index, error.into()));
                        }
                    }
                }
                refused.sort_by_key(|(index, _)| *index);
                Ok(refused)
            }
            Err(error) => {
                ids.into_iter().for_each(|id| self.follow.remove(id));
                if matches!(error, store::Error::BatchClosed) {
                    self.is_open = false;
                    return Ok(refused);
                }
                Err(error.into())
            }
        }
    }

    fn call(&self, index: i64, call: BatchCall, now: Timestamp) -> Result<Submission, Error> {
        let place = usize::try_from(index).unwrap_or(usize::MAX);
        self.engine.call_of(&self.common, call, place, now)
    }

    /// Waits until a job of it is done; false if the server stops first. Nothing is lost if nobody waits to the
    /// end.
    pub async fn done(&mut self) -> bool {
        let job = tokio::select! {
            biased;
            job = self.follow.next() => job,
            () = self.engine.shared.ending.cancelled() => return false,
        };
        self.ended_now(job);
        while let Some(job) = self.follow.try_next() {
            self.ended_now(job);
        }
        true
    }

    fn ended_now(&mut self, job: Job) {
        let Some(of) = job.spec.batch else { return };
        if let Some(place) = self.buffered.get_mut(&of.index) {
            *place = Some(job);
            self.ended.push_back(of.index);
        }
    }

    /// The results whose turn it is.
    pub fn results(&mut self) -> Vec<(i64, Job)> {
        let mut results = Vec::new();
        match self.order {
            Order::Input => {
                while let Some(first) = self.buffered.first_entry() {
                    let (index, Some(job)) = (*first.key(), first.get().clone()) else { break };
                    first.remove();
                    results.push((index, job));
                }
                self.ended.clear();
            }
            Order::Completed => {
                for index in mem::take(&mut self.ended) {
                    if let Some(Some(job)) = self.buffered.remove(&index) {
                        results.push((index, job));
                    }
                }
            }
        }
        self.given += i64::try_from(results.len()).unwrap_or(i64::MAX);
        results
    }

    /// A call could not be taken: cancels what is not done of it, if that is what a failure does (E8).
    ///
    /// # Errors
    /// A failure of the disk.
    pub async fn fails(&mut self) -> Result<(), Error> {
        if self.batch.on_error == OnError::Cancel {
            self.is_open = false;
            let now = self.engine.now();
            self.engine.shared.store.cancel_batch(self.batch.ordinal, now).await?;
        }
        Ok(())
    }

    /// No more calls come. Whatever is submitted runs on, and is found by its batch.
    ///
    /// # Errors
    /// A failure of the disk.
    pub async fn close(&mut self) -> Result<(), Error> {
        self.is_open = false;
        let now = self.engine.now();
        Ok(self.engine.shared.store.close_batch(self.batch.ordinal, now).await?)
    }
}

impl Drop for Map {
    /// Whoever mapped went away before the end (E7).
    fn drop(&mut self) {
        if !self.is_open && self.buffered.is_empty() {
            return;
        }
        let (engine, batch) = (self.engine.clone(), self.batch.ordinal);
        let stops = engine.shared.ending.is_cancelled();
        let cancels = self.on_disconnect == OnError::Cancel && !stops;
        self.engine.shared.tasks.spawn(async move {
            let (store, now) = (&engine.shared.store, engine.now());
            let ended = match cancels {
                true => store.cancel_batch(batch, now).await.map(drop),
                false => store.close_batch(batch, now).await,
            };
            if let Err(error) = ended {
                // The next start closes it.
                tracing::warn!(%error, "a batch whose client went away is not closed");
            }
        });
    }
}
