//! One job, as it stands or when it is done.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Job, JobId, State};

use super::{Engine, Error, waiters};

impl Engine {
    /// The job as it stands now (F6).
    pub async fn get(&self, id: JobId) -> Result<Arc<Job>, Error> {
        match self.shared.recent.get(id) {
            Some(done) => Ok(done),
            // In a box: what reads from the disk is large, and seldom comes to be.
            None => Box::pin(self.read(id)).await,
        }
    }

    async fn read(&self, id: JobId) -> Result<Arc<Job>, Error> {
        let Some(mut job) = self.shared.store.job(id).await? else {
            return Err(self.missing(id).await);
        };
        if job.state == State::Running {
            job.progress = self.shared.running.progress(job.ordinal);
        }
        Ok(Arc::new(job))
    }

    /// The job when it is done, or as it stands after `wait` (F7, F8). Ending the wait cancels nothing.
    pub async fn wait(&self, id: JobId, wait: Duration) -> Result<Arc<Job>, Error> {
        if wait.is_zero() {
            return self.get(id).await;
        }
        let waiter = self.shared.waiters.subscribe(id)?;
        let deadline = tokio::time::Instant::now() + wait;
        if !self.shared.running.runs(id) {
            let job = self.get(id).await?;
            if job.is_done() {
                return Ok(job);
            }
        }
        match self.until(waiter, deadline).await {
            Some(done) => Ok(done),
            None => self.get(id).await,
        }
    }

    /// The job as soon as its version is none of those that `is_known`, or as it stands after `wait`. Ending
    /// the wait changes nothing.
    pub async fn wait_for_change(
        &self,
        id: JobId,
        is_known: impl Fn(&Job) -> bool,
        wait: Duration,
    ) -> Result<Arc<Job>, Error> {
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let change = self.shared.waiters.subscribe_to_change(id)?;
            let job = self.get(id).await?;
            let is_over = tokio::time::Instant::now() >= deadline
                || self.shared.shutdown.waits.is_cancelled();
            // What is done changes no more.
            if is_over || job.is_done() || !is_known(&job) {
                return Ok(job);
            }
            self.until(change, deadline).await;
        }
    }

    /// Waits for a waiter's job, at most until `deadline` or the end of the server.
    pub(super) async fn until<T>(
        &self,
        waiter: waiters::Waiter<T>,
        deadline: tokio::time::Instant,
    ) -> Option<T> {
        tokio::select! {
            biased;
            done = waiter.done() => done,
            () = tokio::time::sleep_until(deadline) => None,
            () = self.shared.shutdown.waits.cancelled() => None,
        }
    }
}
