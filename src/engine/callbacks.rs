//! Callbacks: `Future.add_done_callback`, and what became of them (F13 to F17).

use crate::domain::{BatchId, Callback, CallbackId, Job, JobId, Ordinal, StateCounts};
use crate::store::{CallbackFilter, CallbackTurn, Redelivery};

use super::{CallbackRequest, Engine, Error};

/// Deliveries that one commit makes due again: others get their turn in between.
const PORTION: usize = 1_000;

/// One page of callbacks: of all, the newest first; of one job or batch, in the order they were added.
#[derive(Clone, Debug)]
pub struct CallbackPage {
    /// The callbacks.
    pub callbacks: Vec<Callback>,
    /// The next page begins behind this; none behind the last.
    pub next: Option<Ordinal>,
}

/// What became of a wish to tell many callbacks once more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedeliveryCounts {
    /// Those that were meant.
    pub matched: usize,
    /// Those of them whose delivery is due again.
    pub redelivered: usize,
}

impl Engine {
    /// Adds a callback. If the job is done, it is told at once (F14).
    pub async fn add_callback(&self, id: JobId, asked: CallbackRequest) -> Result<Callback, Error> {
        let new = self.checked_callback(None, &asked)?;
        let job = self.get(id).await?;
        self.shared.store.add_callback(job.ordinal, new.clone()).await?;
        // What is remembered of the job does not know of it.
        self.shared.recent.forget(&[id]);
        match self.shared.store.callback(new.id).await? {
            Some(callback) => Ok(self.by_the_wall(callback)),
            // It has expired, or was forgotten, since it was looked at.
            None => Err(self.missing(id).await),
        }
    }

    /// One page of a job's callbacks, in the order they were added.
    pub async fn callbacks(&self, id: JobId, page: CallbackTurn) -> Result<CallbackPage, Error> {
        let job = self.get(id).await?;
        let (callbacks, next) = self.shared.store.callbacks(job.ordinal, page).await?;
        Ok(CallbackPage { callbacks: self.all_by_the_wall(callbacks), next })
    }

    /// The same of a batch.
    pub async fn batch_callbacks(
        &self,
        id: BatchId,
        page: CallbackTurn,
    ) -> Result<CallbackPage, Error> {
        let place = self.batch(id).await?.ordinal;
        let (callbacks, next) = self.shared.store.batch_callbacks(place, page).await?;
        Ok(CallbackPage { callbacks: self.all_by_the_wall(callbacks), next })
    }

    /// How many of a job's callbacks are in each state; none if it has none.
    pub async fn callback_states(&self, job: &Job) -> Result<Option<StateCounts>, Error> {
        if !job.may_have_callbacks {
            return Ok(None);
        }
        let counts = self.shared.store.callback_states(job.ordinal).await?;
        Ok(Some(counts).filter(|counts| !counts.is_empty()))
    }

    /// One page of the callbacks that pass `filter`, of all jobs and batches, the newest first.
    pub async fn list_callbacks(
        &self,
        filter: &CallbackFilter,
        below: Option<Ordinal>,
        page_size: usize,
    ) -> Result<CallbackPage, Error> {
        let page = self.shared.store.callback_places(filter, below, page_size).await?;
        let callbacks = self.all_by_the_wall(self.shared.store.callbacks_at(&page.places).await?);
        Ok(CallbackPage { callbacks, next: page.next })
    }

    /// How many deliveries are in each state, of all callbacks.
    pub async fn delivery_counts(&self) -> Result<StateCounts, Error> {
        Ok(self.shared.store.delivery_counts().await?)
    }

    /// Tells a callback once more, at once: the same id and bytes, the whole schedule anew. Gives the
    /// callback as it stands then.
    pub async fn redeliver(&self, id: CallbackId) -> Result<Callback, Error> {
        match self.shared.store.redeliver(id, self.now()).await? {
            Redelivery::Due => {
                let found = self.shared.store.callback(id).await?;
                found.map(|it| self.by_the_wall(it)).ok_or(Error::CallbackNotFound(id))
            }
            Redelivery::Missing => Err(Error::CallbackNotFound(id)),
            Redelivery::NotDone => Err(Error::CallbackWaits(id)),
            Redelivery::Pending => Err(Error::CallbackPending(id)),
        }
    }

    /// Tells every callback that passes `filter` and whose delivery is over once more; only counts them if
    /// it is `dry`. It goes on when whoever asked hangs up. If the server ends meanwhile, the rest stays as
    /// it was, and is what the same filter finds.
    pub async fn redeliver_many(
        &self,
        filter: CallbackFilter,
        dry: bool,
    ) -> Result<RedeliveryCounts, Error> {
        let engine = self.clone();
        let task = self.shared.tasks.spawn(async move { engine.redeliver_all(&filter, dry).await });
        task.await.unwrap_or(Err(Error::Draining))
    }

    /// The same, with the moment of its next attempt by the wall clock: the others are of it already.
    pub(super) fn by_the_wall(&self, mut callback: Callback) -> Callback {
        if let Some(next_at) = callback.delivery.as_mut().and_then(|it| it.next_at.as_mut()) {
            *next_at = next_at.plus_millis(self.clock().wall_ahead_ms());
        }
        callback
    }

    pub(super) fn all_by_the_wall(&self, callbacks: Vec<Callback>) -> Vec<Callback> {
        callbacks.into_iter().map(|callback| self.by_the_wall(callback)).collect()
    }

    async fn redeliver_all(
        &self,
        filter: &CallbackFilter,
        dry: bool,
    ) -> Result<RedeliveryCounts, Error> {
        let (mut counts, mut below) = (RedeliveryCounts::default(), None);
        while !self.shared.hushed.is_cancelled() {
            let page = self.shared.store.callback_places(filter, below, PORTION).await?;
            counts.matched += page.places.len();
            if !dry && !page.places.is_empty() {
                let store = &self.shared.store;
                counts.redelivered += store.redeliver_many(page.places, self.now()).await?;
            }
            below = page.next;
            if below.is_none() {
                break;
            }
        }
        Ok(counts)
    }

    /// Takes a callback away, with what was, or was to be, delivered. A POST on its way may still arrive.
    pub async fn drop_callback(&self, id: CallbackId) -> Result<(), Error> {
        if self.shared.store.drop_callback(id, self.now()).await? {
            return Ok(());
        }
        Err(Error::CallbackNotFound(id))
    }
}
