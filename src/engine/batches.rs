//! Batches: `Executor.map` (E4 to E8), all or nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::{
    Batch, BatchId, BatchSlot, Callback, FunctionName, JobId, Json, OnError, Options, Ordinal,
    QueueName, Spec, Timestamp, When,
};
use crate::runtime::Function;
use crate::store::{
    self, BatchChange, BatchKey, BatchPage, DeliverySubject, Order, Refusal, Submission,
};

use super::waiters::BatchWatch;
use super::{CallbackRequest, Engine, Error, NewJob};

/// Calls that are checked before the other requests have their turn.
const CHECKED_AT_ONCE: usize = 256;
/// Jobs of a batch that one wait may name.
const WAITED_MAX: usize = 10_000;
/// Between two tries to go on with a cancel.
const CANCEL_AGAIN: Duration = Duration::from_secs(1);

/// A call of a batch.
#[derive(Clone, Debug)]
pub struct BatchCall {
    /// Positional arguments, a JSON array.
    pub args: Json,
    /// Keyword arguments, a JSON object.
    pub kwargs: Json,
}

/// A batch to be submitted.
#[derive(Clone, Debug)]
pub struct NewBatch {
    /// What all its jobs have in common: function, queue, options. Its arguments and callbacks are not used.
    pub common: NewJob,
    /// The calls, in order.
    pub calls: Vec<BatchCall>,
    /// What becomes of the rest when one of them fails (E8).
    pub on_error: OnError,
    /// Whom to tell of it, in order, and of what.
    pub callbacks: Vec<(CallbackRequest, When)>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct SubmittedBatch {
    /// The batch.
    pub batch: Batch,
    /// Whether it was submitted before, by the same request.
    pub is_replay: bool,
}

/// What the jobs of a batch have in common, checked.
#[derive(Clone, Debug)]
pub(super) struct Common {
    function: Arc<Function>,
    new: Arc<NewJob>,
    batch: BatchId,
    place: Ordinal,
    /// From when its clocks count.
    since: Timestamp,
    /// By how much the wall clock was ahead then.
    wall_ahead_ms: i64,
}

impl Common {
    pub(super) fn batch(&self) -> BatchId {
        self.batch
    }

    pub(super) fn function_name(&self) -> &FunctionName {
        &self.function.name
    }

    pub(super) fn queue(&self) -> QueueName {
        self.new.queue.clone().unwrap_or_else(QueueName::default_queue)
    }

    pub(super) fn retention_ms(&self) -> i64 {
        self.new.options.retention_ms
    }

    pub(super) fn since(&self) -> Timestamp {
        self.since
    }

    pub(super) fn wall_ahead_ms(&self) -> i64 {
        self.wall_ahead_ms
    }

    /// The same, once it is known where the batch stands.
    pub(super) fn at(self, place: Ordinal) -> Self {
        Self { place, ..self }
    }
}

impl Engine {
    /// Submits a batch: all of its calls, in one commit, or none (E4). A request that has a key makes one
    /// batch however often it comes.
    pub async fn submit_batch(&self, new: NewBatch) -> Result<SubmittedBatch, Error> {
        let identity = new.common.identity.clone();
        let batch = match self.checked_batch(new).await {
            Ok(batch) => batch,
            Err(refusal) => {
                // What is refused now may have been taken when it first came.
                let Some(identity) = identity else { return Err(refusal) };
                let before = self.shared.store.repeated(None, &identity).await?;
                return self.replay_batch(BatchId(before.ok_or(refusal)?)).await;
            }
        };
        match self.shared.store.submit_batch(batch).await {
            Ok(batch) => Ok(SubmittedBatch { batch, is_replay: false }),
            Err(store::Error::Refused(Refusal::Repeated(id))) => {
                self.replay_batch(BatchId(id)).await
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn replay_batch(&self, id: BatchId) -> Result<SubmittedBatch, Error> {
        Ok(SubmittedBatch { batch: self.batch(id).await?, is_replay: true })
    }

    async fn checked_batch(&self, new: NewBatch) -> Result<store::NewBatch, Error> {
        let NewBatch { mut common, calls, on_error, callbacks } = new;
        let identity = common.identity.take();
        let common = self.common(common, BatchId(Uuid::now_v7()), Ordinal(0))?;
        let mut checked = Vec::with_capacity(callbacks.len());
        for (place, (asked, when)) in callbacks.iter().enumerate() {
            checked.push((self.checked_callback(Some(place), asked)?, *when));
        }
        let mut submissions = Vec::with_capacity(calls.len());
        for (place, call) in calls.into_iter().enumerate() {
            if place % CHECKED_AT_ONCE == CHECKED_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            let submission = self.call_of(&common, call, place, common.since);
            submissions.push(submission?);
        }
        Ok(store::NewBatch {
            id: common.batch,
            function: common.function.name.clone(),
            on_error,
            is_open: false,
            retention_ms: common.new.options.retention_ms,
            created_at: common.since,
            wall_ahead_ms: common.wall_ahead_ms,
            callbacks: checked,
            identity,
            calls: submissions,
        })
    }

    /// Checks what the jobs of a batch have in common.
    pub(super) fn common(
        &self,
        new: NewJob,
        batch: BatchId,
        place: Ordinal,
    ) -> Result<Common, Error> {
        if self.shared.shutdown.draining.load(Ordering::Relaxed) {
            return Err(Error::Draining);
        }
        let name = new.function.as_deref().unwrap_or_default();
        let function = Arc::clone(self.known_function(name)?);
        Self::check_asker(&function, &new.asker)?;
        let new = new.with(Some(&function));
        let (since, wall_ahead_ms) = (self.now(), self.clock().wall_ahead_ms());
        Ok(Common { function, new: Arc::new(new), batch, place, since, wall_ahead_ms })
    }

    /// The submission of one call, made at `created_at`.
    pub(super) fn call_of(
        &self,
        common: &Common,
        call: BatchCall,
        index: usize,
        created_at: Timestamp,
    ) -> Result<Submission, Error> {
        let queue = common.queue();
        let Common { function, new, batch, place, since, wall_ahead_ms } = common;
        // A map may last for days, and what its key allows may change.
        Self::check_asker(function, &new.asker)?;
        let bound = function
            .bind(&call.args, &call.kwargs)
            .map_err(|refusal| Error::InvalidCall { call: index, refusal })?;
        let run_at = self.run_at(new.start, created_at);
        let mut options =
            Options { wall_ahead_ms: *wall_ahead_ms, start_at: run_at, ..new.options };
        // The time of the batch counts from its creation, whenever the call came (E6).
        let spent = created_at.millis_since(*since);
        let left = options.clocks.total_timeout_ms.map(|timeout| timeout.saturating_sub(spent));
        options.clocks.total_timeout_ms = left.map(|left| left.max(1));
        let index = i64::try_from(index).unwrap_or(i64::MAX);
        let spec = Spec {
            id: JobId(Uuid::now_v7()),
            function: function.name.clone(),
            args: Some(call.args),
            kwargs: Some(call.kwargs),
            queue,
            priority: new.priority,
            on_interrupt: new.on_interrupt.unwrap_or_default(),
            tags: new.tags.clone(),
            metadata: new.metadata.clone(),
            options,
            batch: Some(BatchSlot { batch: *batch, place: *place, index }),
            created_at,
        };
        Ok(Submission {
            spec: Arc::new(spec),
            pool: function.pool(),
            run_at,
            callbacks: Vec::new(),
            bound,
            identity: None,
        })
    }

    /// The batch as it stands now.
    pub async fn batch(&self, id: BatchId) -> Result<Batch, Error> {
        match self.shared.store.batch(BatchKey::Id(id)).await? {
            Some(batch) => Ok(batch),
            None => Err(self.missing_batch(id).await),
        }
    }

    /// The batch when it is done, or as it stands after `wait`. Ending the wait cancels nothing.
    pub async fn wait_batch(&self, id: BatchId, wait: Duration) -> Result<Batch, Error> {
        if wait.is_zero() {
            return self.batch(id).await;
        }
        let watch = self.shared.waiters.watch_batch(id)?;
        self.batch_done(id, watch, Instant::now() + wait).await
    }

    async fn batch_done(
        &self,
        id: BatchId,
        mut watch: BatchWatch,
        deadline: Instant,
    ) -> Result<Batch, Error> {
        loop {
            let batch = self.batch(id).await?;
            if batch.is_done() || self.shared.shutdown.waits.is_cancelled() {
                return Ok(batch);
            }
            tokio::select! {
                biased;
                () = watch.changed() => {}
                () = tokio::time::sleep_until(deadline) => return self.batch(id).await,
                () = self.shared.shutdown.waits.cancelled() => {}
            }
        }
    }

    /// One page of the batches, newest first.
    pub async fn batches(
        &self,
        below: Option<Ordinal>,
        page_size: usize,
    ) -> Result<BatchPage, Error> {
        Ok(self.shared.store.batches(below, page_size).await?)
    }

    /// Cancels what is not done of a batch: none of it starts any more, and what runs is asked to stop. Gives
    /// the batch when all is done, or as it stands after `wait`.
    pub async fn cancel_batch(&self, id: BatchId, wait: Duration) -> Result<Batch, Error> {
        let watch = self.shared.waiters.watch_batch(id)?;
        let deadline = Instant::now() + wait;
        let batch = self.batch(id).await?;
        self.shared.store.change_batch(batch.ordinal, BatchChange::Cancel, self.now()).await?;
        self.batch_done(id, watch, deadline).await
    }

    /// Adds a callback to a batch. If what it waits for has come about, it is told at once (F14).
    pub async fn add_batch_callback(
        &self,
        id: BatchId,
        asked: CallbackRequest,
        when: When,
    ) -> Result<Callback, Error> {
        let new = self.checked_callback(None, &asked)?;
        let place = self.batch(id).await?.ordinal;
        let subject = DeliverySubject::Batch(place, when);
        self.shared.store.add_callback(subject, new.clone()).await?;
        match self.callback(new.id).await? {
            Some((_, callback)) => Ok(callback),
            // It has expired since it was looked at.
            None => Err(self.missing_batch(id).await),
        }
    }

    /// The ids of the jobs of a batch, in the order of the calls, to wait for them.
    pub async fn jobs_of_batch(&self, id: BatchId) -> Result<Vec<JobId>, Error> {
        let batch = self.batch(id).await?;
        let (total, most) = (batch.counts.total, WAITED_MAX);
        if usize::try_from(total).unwrap_or(usize::MAX) > most {
            return Err(Error::BatchTooLarge { id, total, most });
        }
        let jobs = self.shared.store.batch_jobs(batch.ordinal, Order::Input, -1, most).await?;
        Ok(jobs.into_iter().map(|job| job.id).collect())
    }

    /// Goes on with the cancel of a batch beside everything else.
    pub(super) fn go_on_cancelling(&self, batch: Ordinal) {
        self.shared.tasks.spawn(cancel_rest(self.clone(), batch));
    }
}

/// Cancels what is left of a batch. The writer keeps it from starting meanwhile, and tries are repeated until
/// the server ends: then the next one goes on.
async fn cancel_rest(engine: Engine, batch: Ordinal) {
    loop {
        let error = match engine.cancel_rest_of(batch).await {
            Ok(()) => return,
            Err(error) => error,
        };
        tracing::warn!(%error, "the cancel of a batch is tried again");
        tokio::select! {
            () = tokio::time::sleep(CANCEL_AGAIN) => {}
            () = engine.shared.shutdown.waits.cancelled() => return,
        }
    }
}
