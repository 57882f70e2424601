//! Queues: Python's executors. Settings, pause, and the shutdown that waits until a queue is drained.

use std::time::Duration;

use crate::domain::{QueueName, Timestamp};
use crate::store::{self, Ordered, Queue, QueueChange, QueueOrder, Refusal};

use super::{Engine, Error};

/// Requests that may wait at once until a queue is drained. Each asks again whenever one is.
pub(super) const WAITING_MAX: usize = 1_000;

/// A queue as it stands, and how long its oldest job has waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueNow {
    /// The queue.
    pub queue: Queue,
    /// How long the job has waited for a slot that was submitted first of those that do.
    pub oldest_pending_ms: Option<i64>,
}

impl QueueNow {
    /// Whether every job of it is done.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.queue.pending == 0 && self.queue.running == 0
    }
}

/// A shutdown.
#[derive(Clone, Copy, Debug)]
pub struct ShutdownRequest {
    /// Whether what has not started is cancelled (E14), or runs (E12).
    pub cancel_futures: bool,
    /// How long to wait until the queue is drained.
    pub wait: Duration,
}

impl Engine {
    /// All queues, by name.
    pub async fn queues(&self) -> Result<Vec<QueueNow>, Error> {
        Ok(self.shared.store.queues(None).await?.into_iter().map(|it| self.with_age(it)).collect())
    }

    /// The queue of that name.
    pub async fn queue(&self, name: &QueueName) -> Result<QueueNow, Error> {
        let mut found = self.shared.store.queues(Some(name.clone())).await.map_err(of_queue)?;
        let queue = found.pop().ok_or_else(|| Error::QueueNotFound(name.clone()))?;
        Ok(self.with_age(queue))
    }

    /// Makes a queue, or changes what is given of one: at once, also while its jobs run (E17). One that
    /// was shut down takes jobs again.
    pub async fn set_queue(
        &self,
        name: &QueueName,
        max_workers: Option<usize>,
        max_pending: Option<usize>,
        expires_ms: Option<i64>,
    ) -> Result<QueueNow, Error> {
        let change = QueueChange::Set { max_workers, max_pending, expires_ms };
        let ordered = self.order(name, change).await?;
        if expires_ms.is_some() {
            self.shared.due.soon(self.now());
        }
        Ok(self.with_age(ordered.queue))
    }

    /// Starts nothing from the queue, or goes on with it. What runs is left alone.
    pub async fn pause_queue(&self, name: &QueueName, paused: bool) -> Result<QueueNow, Error> {
        let change = if paused { QueueChange::Pause } else { QueueChange::Resume };
        let ordered = self.order(name, change).await?;
        Ok(self.with_age(ordered.queue))
    }

    /// Shuts a queue down (E12), and waits until it is drained or the wait is over. Gives the queue as it
    /// stands then, and how many waiting jobs were cancelled. Ending the wait changes nothing.
    pub async fn shut_down_queue(
        &self,
        name: &QueueName,
        asked: ShutdownRequest,
    ) -> Result<(QueueNow, usize), Error> {
        let waits = !asked.wait.is_zero();
        let place = waits.then(|| self.shared.drains.try_acquire());
        let _place = place.transpose().map_err(|_full| Error::TooManyWaiters(WAITING_MAX))?;
        // Subscribe first, look after.
        let mut drained = self.shared.drained.subscribe();
        let deadline = tokio::time::Instant::now() + asked.wait;
        let change = QueueChange::ShutDown { cancel_futures: asked.cancel_futures };
        let Ordered { queue, cancelled } = self.order(name, change).await?;
        let mut now = self.with_age(queue);
        let mut in_time = waits;
        // Someone may open it again meanwhile; then there is nothing more to wait for.
        while in_time && !now.is_drained() && now.queue.shutdown {
            in_time = tokio::select! {
                biased;
                heard = drained.changed() => heard.is_ok(),
                () = tokio::time::sleep_until(deadline) => false,
                () = self.shared.shutdown.waits.cancelled() => false,
            };
            now = self.queue(name).await?;
        }
        Ok((now, cancelled))
    }

    async fn order(&self, name: &QueueName, change: QueueChange) -> Result<Ordered, Error> {
        let order = QueueOrder { queue: name.clone(), change, now: self.now() };
        self.shared.store.change_queue(order).await.map_err(of_queue)
    }

    fn with_age(&self, queue: Queue) -> QueueNow {
        // A clock that was set back between two starts makes nobody wait for less than nothing.
        let waited = |since: Timestamp| self.now().0.saturating_sub(since.0).max(0);
        let oldest_pending_ms = queue.waits_since.map(waited);
        QueueNow { queue, oldest_pending_ms }
    }
}

/// A queue that is the subject of a request, and not a part of it, is found or not.
fn of_queue(error: store::Error) -> Error {
    match error {
        store::Error::Refused(Refusal::UnknownQueue(name)) => Error::QueueNotFound(name),
        other => other.into(),
    }
}
