//! Callbacks: `Future.add_done_callback`, and what became of them (F13 to F17).

use crate::domain::{BatchId, Callback, CallbackId, Job, JobId, Ordinal, StateCounts};
use crate::store::{CallbackFilter, CallbackQuery, DeliverySubject};

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
        let subject = DeliverySubject::Job(job.ordinal);
        self.shared.store.add_callback(subject, new.clone()).await?;
        // What is remembered of the job does not know of it.
        self.shared.recent.forget(&[id]);
        match self.callback(new.id).await? {
            Some((_, callback)) => Ok(callback),
            // It has expired, or was forgotten, since it was looked at.
            None => Err(self.missing(id).await),
        }
    }

    /// One page of a job's callbacks, in the order they were added: at most so many, behind that place.
    pub async fn callbacks(
        &self,
        id: JobId,
        (after, limit): (Option<Ordinal>, usize),
    ) -> Result<CallbackPage, Error> {
        let job = self.get(id).await?;
        self.callbacks_of(&CallbackQuery::OfJob(job.ordinal), after, limit).await
    }

    /// The same of a batch.
    pub async fn batch_callbacks(
        &self,
        id: BatchId,
        (after, limit): (Option<Ordinal>, usize),
    ) -> Result<CallbackPage, Error> {
        let place = self.batch(id).await?.ordinal;
        self.callbacks_of(&CallbackQuery::OfBatch(place), after, limit).await
    }

    /// How many of a job's callbacks are in each state; none if it has none.
    pub async fn callback_states(&self, job: &Job) -> Result<Option<StateCounts>, Error> {
        if !job.may_have_callbacks {
            return Ok(None);
        }
        let counts = self.shared.store.callback_states(Some(job.ordinal)).await?;
        Ok(Some(counts).filter(|counts| !counts.is_empty()))
    }

    /// One page of the callbacks that pass `filter`, of all jobs and batches, the newest first.
    pub async fn list_callbacks(
        &self,
        filter: &CallbackFilter,
        below: Option<Ordinal>,
        page_size: usize,
    ) -> Result<CallbackPage, Error> {
        self.callbacks_of(&CallbackQuery::Matching(filter.clone()), below, page_size).await
    }

    async fn callbacks_of(
        &self,
        query: &CallbackQuery,
        from: Option<Ordinal>,
        limit: usize,
    ) -> Result<CallbackPage, Error> {
        let page = self.shared.store.callback_places(query, from, limit).await?;
        let found = self.shared.store.callbacks_at(&page.places).await?;
        let callbacks = found.into_iter().map(|callback| self.by_the_wall(callback)).collect();
        Ok(CallbackPage { callbacks, next: page.next })
    }

    /// The callback of that id, and its place.
    pub(super) async fn callback(
        &self,
        id: CallbackId,
    ) -> Result<Option<(Ordinal, Callback)>, Error> {
        let found = self.shared.store.callback_places(&CallbackQuery::Id(id), None, 1).await?;
        let callback = self.shared.store.callbacks_at(&found.places).await?.pop();
        let callback = callback.map(|callback| self.by_the_wall(callback));
        Ok(found.places.first().copied().zip(callback))
    }

    /// How many deliveries are in each state, of all callbacks.
    pub async fn delivery_counts(&self) -> Result<StateCounts, Error> {
        Ok(self.shared.store.callback_states(None).await?)
    }

    /// Tells a callback once more, at once: the same id and bytes, the whole schedule anew. Gives the
    /// callback as it stands then.
    pub async fn redeliver(&self, id: CallbackId) -> Result<Callback, Error> {
        let query = CallbackQuery::Id(id);
        let places = self.shared.store.callback_places(&query, None, 1).await?.places;
        let is_due = self.shared.store.redeliver(places.clone(), self.now()).await? == 1;
        let Some(callback) = self.shared.store.callbacks_at(&places).await?.pop() else {
            return Err(Error::CallbackNotFound(id));
        };
        match callback.delivery {
            _ if is_due => Ok(self.by_the_wall(callback)),
            None => Err(Error::CallbackWaits(id)),
            Some(_) => Err(Error::CallbackPending(id)),
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
    fn by_the_wall(&self, mut callback: Callback) -> Callback {
        if let Some(next_at) = callback.delivery.as_mut().and_then(|it| it.next_at.as_mut()) {
            *next_at = next_at.plus_millis(self.clock().wall_ahead_ms());
        }
        callback
    }

    async fn redeliver_all(
        &self,
        filter: &CallbackFilter,
        dry: bool,
    ) -> Result<RedeliveryCounts, Error> {
        let query = CallbackQuery::Matching(filter.clone());
        let (mut counts, mut below) = (RedeliveryCounts::default(), None);
        while !self.shared.shutdown.waits.is_cancelled() {
            let page = self.shared.store.callback_places(&query, below, PORTION).await?;
            counts.matched += page.places.len();
            if !dry && !page.places.is_empty() {
                let store = &self.shared.store;
                counts.redelivered += store.redeliver(page.places, self.now()).await?;
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
        if self.shared.store.remove_callback(id, self.now()).await? {
            return Ok(());
        }
        Err(Error::CallbackNotFound(id))
    }
}
