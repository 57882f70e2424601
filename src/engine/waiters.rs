//! Who waits for which job. A settled job reaches its waiters from memory; each is woken once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::domain::{Job, JobId};

use super::Error;

/// All requests that wait.
#[derive(Clone, Debug)]
pub(super) struct Waiters {
    shared: Arc<Mutex<Table>>,
    waiters_max: usize,
}

#[derive(Debug, Default)]
struct Table {
    jobs: HashMap<JobId, BTreeMap<u64, oneshot::Sender<Job>>>,
    count: usize,
    next: u64,
}

impl Waiters {
    pub(super) fn new(waiters_max: usize) -> Self {
        Self { shared: Arc::default(), waiters_max }
    }

    /// Waits for a job from now on. Subscribe first, look after: then no end can be missed.
    pub(super) fn subscribe(&self, id: JobId) -> Result<Waiter, Error> {
        let mut table = lock(&self.shared);
        if table.count >= self.waiters_max {
            return Err(Error::TooManyWaiters(self.waiters_max));
        }
        let (sender, receiver) = oneshot::channel();
        let number = table.next;
        table.next += 1;
        table.count += 1;
        table.jobs.entry(id).or_default().insert(number, sender);
        let place = Place { table: Arc::clone(&self.shared), id, number };
        Ok(Waiter { receiver, _place: place })
    }

    /// Wakes everyone who waits for this job, which is done.
    pub(super) fn done(&self, job: &Job) {
        let woken = {
            let mut table = lock(&self.shared);
            let woken = table.jobs.remove(&job.spec.id).unwrap_or_default();
            table.count -= woken.len();
            woken
        };
        // Outside the lock: those who wake up give back their place.
        for (_, sender) in woken {
            // Someone who stopped waiting this very moment is no longer interested.
            drop(sender.send(job.clone()));
        }
    }
}

/// One request that waits for one job.
#[derive(Debug)]
pub(super) struct Waiter {
    receiver: oneshot::Receiver<Job>,
    _place: Place,
}

impl Waiter {
    /// The job, when it is done.
    pub(super) async fn done(self) -> Option<Job> {
        self.receiver.await.ok()
    }
}

/// A place in the table, given back when the wait ends, however it ends.
#[derive(Debug)]
struct Place {
    table: Arc<Mutex<Table>>,
    id: JobId,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        let Some(waiting) = table.jobs.get_mut(&self.id) else { return };
        let was_there = waiting.remove(&self.number).is_some();
        if waiting.is_empty() {
            table.jobs.remove(&self.id);
        }
        if was_there {
            table.count -= 1;
        }
    }
}

/// Nothing that can panic runs under the lock, so a poisoned table is still whole.
fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
