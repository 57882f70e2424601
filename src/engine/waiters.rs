//! Who waits for which job. Whoever waits for one job gets it from memory when it is settled, and whoever
//! waits for many hears which of them is done; each is woken once for a job.

mod batches;
mod follow;
mod tags;
mod watchers;

use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::HashMap;
use tokio::sync::{mpsc, oneshot};

use crate::domain::{BatchId, Job, JobId};
use crate::store::Ended;

use super::Error;

pub(super) use batches::BatchWatch;
pub(super) use follow::{DoneJob, Follow};
pub(super) use tags::{Heard, TagWatch};
use watchers::Watchers;

/// All requests that wait.
#[derive(Clone, Debug)]
pub(super) struct Waiters {
    shared: Arc<Mutex<Table>>,
    waiters_max: usize,
    /// Jobs that all waits together may watch.
    watched_max: usize,
}

#[derive(Debug, Default)]
struct Table {
    jobs: HashMap<JobId, Watchers>,
    batches: HashMap<BatchId, batches::BatchReaders>,
    /// Those who follow the jobs of a tag.
    tags: Vec<tags::Follower>,
    /// Entries of `jobs`, all told.
    watched: usize,
    requests: usize,
    next: u64,
}

/// How a request hears of a job.
#[derive(Debug)]
enum Watcher {
    /// By the job itself, when it is done.
    Done(oneshot::Sender<Arc<Job>>),
    /// By the job itself, one of many.
    Each(mpsc::UnboundedSender<DoneJob>),
    /// That its version has changed.
    Changed(oneshot::Sender<()>),
    /// Which of many it is, when it is done. One job is told once, so no more wait in the channel
    /// than the request named.
    Many(mpsc::UnboundedSender<Ended>),
}

impl Waiters {
    pub(super) fn new(waiters_max: usize, watched_max: usize) -> Self {
        Self { shared: Arc::default(), waiters_max, watched_max }
    }

    /// Waits for a job from now on. Subscribe first, look after: then no end can be missed.
    pub(super) fn subscribe(&self, id: JobId) -> Result<Waiter<Arc<Job>>, Error> {
        let (sender, receiver) = oneshot::channel();
        let registration = self.register(id, Watcher::Done(sender))?;
        Ok(Waiter { receiver, registration })
    }

    /// Waits for the next change of a job's version from now on.
    pub(super) fn subscribe_to_change(&self, id: JobId) -> Result<Waiter<()>, Error> {
        let (sender, receiver) = oneshot::channel();
        let registration = self.register(id, Watcher::Changed(sender))?;
        Ok(Waiter { receiver, registration })
    }

    /// Hears from now on which of these jobs, no two the same, are done, in the order of their ends.
    pub(super) fn watch(&self, ids: Arc<[JobId]>) -> Result<Watch, Error> {
        let (sender, ended) = mpsc::unbounded_channel();
        let mut table = lock(&self.shared);
        if table.watched + ids.len() > self.watched_max {
            return Err(Error::TooManyWatched(self.watched_max));
        }
        let number = table.enter(self.waiters_max)?;
        for id in ids.iter() {
            table.watch(*id, number, Watcher::Many(sender.clone()));
        }
        drop(table);
        let registration =
            Registration { table: Arc::clone(&self.shared), watched: Watched::Many(ids), number };
        Ok(Watch { ended, _registration: registration })
    }

    /// A place among those who wait, for one who hears what it waits for in another way.
    pub(super) fn register_only(&self) -> Result<Registration, Error> {
        let number = lock(&self.shared).enter(self.waiters_max)?;
        Ok(Registration { table: Arc::clone(&self.shared), watched: Watched::None, number })
    }

    fn register(&self, id: JobId, watcher: Watcher) -> Result<Registration, Error> {
        let mut table = lock(&self.shared);
        let number = table.enter(self.waiters_max)?;
        table.watch(id, number, watcher);
        drop(table);
        Ok(Registration { table: Arc::clone(&self.shared), watched: Watched::One(id), number })
    }

    /// Whether anyone waits for this job.
    pub(super) fn is_awaited(&self, id: JobId) -> bool {
        lock(&self.shared).jobs.contains_key(&id)
    }

    /// Wakes everyone who waits for this job, which is done; whether it was given to one of them.
    pub(super) fn done(&self, job: &Arc<Job>) -> bool {
        self.tell_tags(job);
        let woken = self.take(job.spec.id, |_| true);
        let ended = Ended::of(job);
        let mut is_given = false;
        // Outside the lock: those who wake up give back their place.
        for watcher in woken {
            match watcher {
                // Someone who stopped waiting this very moment is no longer interested.
                Watcher::Done(sender) => is_given |= sender.send(Arc::clone(job)).is_ok(),
                Watcher::Each(sender) => is_given |= sender.send(DoneJob::of(job)).is_ok(),
                Watcher::Changed(sender) => sender.send(()).unwrap_or_default(),
                Watcher::Many(sender) => drop(ended.map(|ended| sender.send(ended))),
            }
        }
        is_given
    }

    /// Tells that a job is done to whoever needs no more than that. Those who wait for the job itself
    /// are told by [`Waiters::done`].
    pub(super) fn ended(&self, ended: Ended) {
        self.tell_all_tags(ended);
        let needs_job = |watcher: &Watcher| matches!(watcher, Watcher::Done(_) | Watcher::Each(_));
        for watcher in self.take(ended.id, |watcher| !needs_job(watcher)) {
            match watcher {
                Watcher::Done(_) | Watcher::Each(_) => {}
                Watcher::Changed(sender) => sender.send(()).unwrap_or_default(),
                Watcher::Many(sender) => drop(sender.send(ended)),
            }
        }
    }

    /// Tells that the version of a job that is not done has changed.
    pub(super) fn changed(&self, id: JobId) {
        for watcher in self.take(id, |watcher| matches!(watcher, Watcher::Changed(_))) {
            if let Watcher::Changed(sender) = watcher {
                sender.send(()).unwrap_or_default();
            }
        }
    }

    /// Takes those of a job's watchers that are to be told now.
    fn take(&self, id: JobId, is_told: impl Fn(&Watcher) -> bool) -> Vec<Watcher> {
        let mut table = lock(&self.shared);
        let Some(watchers) = table.jobs.get_mut(&id) else { return Vec::new() };
        let told = watchers.take(is_told);
        if watchers.is_empty() {
            table.jobs.remove(&id);
        }
        table.watched -= told.len();
        told
    }
}

impl Table {
    /// Counts a request in; its number.
    fn enter(&mut self, waiters_max: usize) -> Result<u64, Error> {
        if self.requests >= waiters_max {
            return Err(Error::TooManyWaiters(waiters_max));
        }
        self.requests += 1;
        self.next += 1;
        Ok(self.next)
    }

    fn watch(&mut self, id: JobId, number: u64, watcher: Watcher) {
        match self.jobs.entry(id) {
            Entry::Vacant(place) => {
                place.insert(Watchers::One(number, watcher));
            }
            Entry::Occupied(mut place) => place.get_mut().add(number, watcher),
        }
        self.watched += 1;
    }

    fn leave(&mut self, id: JobId, number: u64) {
        let Some(watchers) = self.jobs.get_mut(&id) else { return };
        let was_there = watchers.remove(number);
        if watchers.is_empty() {
            self.jobs.remove(&id);
        }
        self.watched -= usize::from(was_there);
    }
}

/// One request that waits for one job.
#[derive(Debug)]
pub(super) struct Waiter<T> {
    receiver: oneshot::Receiver<T>,
    registration: Registration,
}

impl Waiter<()> {
    /// Waits for the next change from now on, at the same place.
    pub(super) fn renew(&mut self) {
        let Watched::One(id) = &self.registration.watched else { return };
        let (sender, receiver) = oneshot::channel();
        let mut table = lock(&self.registration.table);
        table.leave(*id, self.registration.number);
        table.watch(*id, self.registration.number, Watcher::Changed(sender));
        drop(table);
        self.receiver = receiver;
    }

    /// Ends with the change; never, if it was told before.
    pub(super) async fn changed(&mut self) {
        if (&mut self.receiver).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl<T> Waiter<T> {
    /// Ends the wait, without what was waited for, when it is called.
    pub(super) fn end(&self) -> impl FnOnce() + Send + 'static {
        let (table, number) = (Arc::clone(&self.registration.table), self.registration.number);
        let id = match self.registration.watched {
            Watched::One(id) => Some(id),
            Watched::None | Watched::Batch(_) | Watched::Many(_) => None,
        };
        move || id.into_iter().for_each(|id| lock(&table).leave(id, number))
    }

    /// What was waited for.
    pub(super) async fn done(self) -> Option<T> {
        self.receiver.await.ok()
    }
}

/// One request that waits for many jobs.
#[derive(Debug)]
pub(super) struct Watch {
    ended: mpsc::UnboundedReceiver<Ended>,
    _registration: Registration,
}

impl Watch {
    /// The next job that is done; pending for ever when all were told.
    pub(super) async fn next(&mut self) -> Ended {
        match self.ended.recv().await {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }

    /// The next one, if it is done already.
    pub(super) fn try_next(&mut self) -> Option<Ended> {
        self.ended.try_recv().ok()
    }
}

/// What a request watches.
#[derive(Debug)]
enum Watched {
    /// What it gives back itself.
    None,
    Batch(BatchId),
    One(JobId),
    Many(Arc<[JobId]>),
}

/// A place in the table, given back when the wait ends, however it ends.
#[derive(Debug)]
pub(super) struct Registration {
    table: Arc<Mutex<Table>>,
    watched: Watched,
    number: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        table.requests -= 1;
        match &self.watched {
            Watched::None => {}
            Watched::Batch(id) => table.leave_batch(*id),
            Watched::One(id) => table.leave(*id, self.number),
            Watched::Many(ids) => ids.iter().for_each(|id| table.leave(*id, self.number)),
        }
    }
}

/// Nothing that can panic runs under the lock, so a poisoned table is still whole.
fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
