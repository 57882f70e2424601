//! A job comes, and its attempts end: what nearly every commit is made of.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::domain::{Job, Pool, QueueName, Timestamp};

use super::change::{Change, Reply, Settlement, Submission};
use super::{Error, Store, payload};

impl Store {
    /// Submits a job: durable when this returns (G1), and perhaps already running. A request that has an
    /// identity makes one job, however often it comes and whoever else sends it at the same moment (G8).
    ///
    /// # Errors
    /// [`Error::UnknownQueue`], [`Error::QueueFull`], [`Error::QueueShutdown`], or a failure of the disk; with an
    /// identity also [`Error::Repeated`], [`Error::IdConflict`], [`Error::KeyMismatch`], [`Error::Expired`].
    pub async fn submit(&self, submission: Submission) -> Result<Arc<Job>, Error> {
        self.write(|reply| Change::Submit { submission, written_ahead: None, reply }).await
    }

    /// Sends a submission, for whoever waits for more than its commit: nobody is woken by that. `failed` is called if
    /// nothing comes of it; then the answer says why, as that of [`Store::submit`].
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn send_submission(
        &self,
        submission: Submission,
        failed: impl FnOnce() + Send + 'static,
    ) -> Result<Answer<Arc<Job>>, Error> {
        let submit = |reply: Reply<_>| {
            let reply = reply.and_failed(Box::new(|_as_answered| failed()));
            Change::Submit { submission, written_ahead: None, reply }
        };
        self.ask(submit).await
    }

    /// Makes an attempt's outcome durable, with its deliveries, and claims the next job for its slot.
    ///
    /// # Errors
    /// [`Error::Superseded`] if that attempt is no longer the running one, or a failure of the disk.
    pub async fn settle(&self, settlement: Arc<Settlement>) -> Result<(), Error> {
        self.write(|reply| Change::Settle { settlement, written_ahead: None, reply }).await
    }

    /// The same for an attempt that is over, and need not hear of it: `failed` is called if its outcome is not recorded,
    /// perhaps on the writer's thread. What is sent later is committed later. An outcome that is so large that it is
    /// written ahead is waited for.
    pub async fn send_settlement(
        &self,
        settlement: Arc<Settlement>,
        failed: impl FnOnce(Error) + Send + 'static,
    ) {
        if payload::is_large(&settlement.outcome) {
            let settled = Box::pin(self.settle(settlement)).await;
            return settled.unwrap_or_else(failed);
        }
        let reply = Reply::of_failure(Box::new(failed));
        let settle = Change::Settle { settlement, written_ahead: None, reply };
        match self.changes.send(settle).await {
            Ok(()) => {}
            Err(mpsc::error::SendError(unsent)) => unsent.answer(Some(&Error::Closed)),
        }
    }

    /// Gives back the slot of an attempt that was settled while its code still ran.
    pub async fn release(&self, queue: QueueName, pool: Pool, now: Timestamp) {
        // A store that is closed has no slots to give back.
        drop(self.send(Change::Release { queue, pool, now }).await);
    }
}

/// What came of a change, once it is committed.
#[derive(Debug)]
pub struct Answer<T>(pub(super) oneshot::Receiver<Result<T, Error>>);

impl<T> Answer<T> {
    /// Waits for it. Nothing is lost if nobody waits to the end; it is given once.
    ///
    /// # Errors
    /// What kept the change from being made.
    pub async fn get(&mut self) -> Result<T, Error> {
        (&mut self.0).await.map_err(|_closed| Error::Closed)?
    }
}
