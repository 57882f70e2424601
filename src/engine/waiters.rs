//! Who waits for which job. Whoever waits for one job gets it from memory when it is settled, and whoever
//! waits for many hears which of them is done; each is woken once for a job.

mod batches;
mod follow;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::domain::{BatchId, Job, JobId};
use crate::store::Ended;

use super::Error;

pub(super) use batches::BatchWatch;
pub(super) use follow::Follow;

/// Jobs that all waits together may watch.
const WATCHED_MAX: usize = 1_000_000;

/// All requests that wait.
#[derive(Clone, Debug)]
pub(super) struct Waiters {
    shared: Arc<Mutex<Table>>,
    waiters_max: usize,
}

#[derive(Debug, Default)]
struct Table {
    jobs: HashMap<JobId, BTreeMap<u64, Watcher>>,
    batches: HashMap<BatchId, batches::Watched>,
    /// Entries of `jobs`, all told.
    watched: usize,
    requests: usize,
    next: u64,
}

/// How a request hears of a job.
#[derive(Debug)]
enum Watcher {
    /// By the job itself, when it is done.
    Done(oneshot::Sender<Job>),
    /// By the job itself, one of many.
    Each(mpsc::UnboundedSender<Job>),
    /// That its version has changed.
    Changed(oneshot::Sender<()>),
    /// Which of many it is, when it is done. One job is told once, so no more wait in the channel
    /// than the request named.
    Many(mpsc::UnboundedSender<Ended>),
}

impl Waiters {
    pub(super) fn new(waiters_max: usize) -> Self {
        Self { shared: Arc::default(), waiters_max }
    }

    /// Waits for a job from now on. Subscribe first, look after: then no end can be missed.
    pub(super) fn subscribe(&self, id: JobId) -> Result<Waiter<Job>, Error> {
        let (sender, receiver) = oneshot::channel();
        let place = self.place(id, Watcher::Done(sender))?;
        Ok(Waiter { receiver, _place: place })
    }

    /// Waits for the next change of a job's version from now on.
    pub(super) fn subscribe_to_change(&self, id: JobId) -> Result<Waiter<()>, Error> {
        let (sender, receiver) = oneshot::channel();
        let place = self.place(id, Watcher::Changed(sender))?;
        Ok(Waiter { receiver, _place: place })
    }

    /// Hears from now on which of these jobs, no two the same, are done, in the order of their ends.
    pub(super) fn watch(&self, ids: Arc<[JobId]>) -> Result<Watch, Error> {
        let (sender, ended) = mpsc::unbounded_channel();
        let mut table = lock(&self.shared);
        if table.watched + ids.len() > WATCHED_MAX {
            return Err(Error::TooManyWatched(WATCHED_MAX));
        }
        let number = table.enter(self.waiters_max)?;
        for id in ids.iter() {
            table.watch(*id, number, Watcher::Many(sender.clone()));
        }
        drop(table);
        let place = Place { table: Arc::clone(&self.shared), watched: Watched::Many(ids), number };
        Ok(Watch { ended, _place: place })
    }

    /// A place among those who wait, for one who hears what it waits for in another way.
    pub(super) fn take_place(&self) -> Result<Place, Error> {
        let number = lock(&self.shared).enter(self.waiters_max)?;
        Ok(Place { table: Arc::clone(&self.shared), watched: Watched::None, number })
    }

    fn place(&self, id: JobId, watcher: Watcher) -> Result<Place, Error> {
        let mut table = lock(&self.shared);
        let number = table.enter(self.waiters_max)?;
        table.watch(id, number, watcher);
        drop(table);
        Ok(Place { table: Arc::clone(&self.shared), watched: Watched::One(id), number })
    }

    /// Whether anyone waits for this job.
    pub(super) fn is_awaited(&self, id: JobId) -> bool {
        lock(&self.shared).jobs.contains_key(&id)
    }

    /// Wakes everyone who waits for this job, which is done; whether it was given to one of them.
    pub(super) fn done(&self, job: &Job) -> bool {
        let woken = self.take(job.spec.id, |_| true);
        let ended = Ended::of(job);
        let mut is_given = false;
        // Outside the lock: those who wake up give back their place.
        for watcher in woken {
            match watcher {
                // Someone who stopped waiting this very moment is no longer interested.
                Watcher::Done(sender) => is_given |= sender.send(job.clone()).is_ok(),
                Watcher::Each(sender) => is_given |= sender.send(follow::slim(job)).is_ok(),
                Watcher::Changed(sender) => sender.send(()).unwrap_or_default(),
                Watcher::Many(sender) => drop(ended.map(|ended| sender.send(ended))),
            }
        }
        is_given
    }

    /// Tells that a job is done to whoever needs no more than that. Those who wait for the job itself
    /// are told by [`Waiters::done`].
    pub(super) fn ended(&self, ended: Ended) {
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
        let told: Vec<Watcher> =
            watchers.extract_if(.., |_, watcher| is_told(watcher)).map(|(_, it)| it).collect();
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
        self.jobs.entry(id).or_default().insert(number, watcher);
        self.watched += 1;
    }

    fn leave(&mut self, id: JobId, number: u64) {
        let Some(watchers) = self.jobs.get_mut(&id) else { return };
        let was_there = watchers.remove(&number).is_some();
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
    _place: Place,
}

impl<T> Waiter<T> {
    /// What was waited for.
    pub(super) async fn done(self) -> Option<T> {
        self.receiver.await.ok()
    }
}

/// One request that waits for many jobs.
#[derive(Debug)]
pub(super) struct Watch {
    ended: mpsc::UnboundedReceiver<Ended>,
    _place: Place,
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
pub(super) struct Place {
    table: Arc<Mutex<Table>>,
    watched: Watched,
    number: u64,
}

impl Drop for Place {
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
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{Json, Outcome, State, Timestamp, example, settle};

    fn done() -> Job {
        let outcome = Outcome::Returned(Json::trusted("1"));
        Job { finished_seq: Some(1), ..settle(&example::running(), outcome, Timestamp(3_000), 0.5) }
    }

    /// Jobs that are waited for, and how many wait for them, all told.
    fn size(waiters: &Waiters) -> (usize, usize) {
        let table = lock(&waiters.shared);
        (table.jobs.len(), table.watched)
    }

    #[tokio::test]
    async fn f7_ten_thousand_waiters_each_get_the_job_and_leave_an_empty_table() {
        let waiters = Waiters::new(10_000);
        let job = done();
        let subscribed: Vec<Waiter<Job>> =
            (0..10_000).map(|_| waiters.subscribe(job.spec.id).expect("a place")).collect();
        assert_eq!(size(&waiters), (1, 10_000));
        waiters.done(&job);
        assert_eq!(size(&waiters), (0, 0), "places are free before anyone has looked");
        waiters.done(&job);
        for waiter in subscribed {
            assert_eq!(waiter.done().await.as_ref(), Some(&job));
        }
        assert_eq!(size(&waiters), (0, 0));
    }

    #[tokio::test]
    async fn a_waiter_hears_of_its_own_job_only() {
        let waiters = Waiters::new(2);
        let job = done();
        let other = JobId(Uuid::from_u128(7));
        let (mine, theirs) = (waiters.subscribe(job.spec.id), waiters.subscribe(other));
        waiters.done(&job);
        assert!(mine.expect("a place").done().await.is_some());
        assert_eq!(size(&waiters), (1, 1));
        drop(theirs);
        assert_eq!(size(&waiters), (0, 0));
    }

    #[test]
    fn one_waiter_too_many_is_refused_and_a_place_given_back_is_taken_again() {
        let waiters = Waiters::new(2);
        let id = done().spec.id;
        let first = waiters.subscribe(id).expect("a place");
        let _second = waiters.subscribe(id).expect("a place");
        for _ in 0..3 {
            let refused = waiters.subscribe(id).expect_err("no place");
            assert!(matches!(refused, Error::TooManyWaiters(2)));
        }
        assert_eq!(size(&waiters), (1, 2), "a refused waiter takes no place");
        drop(first);
        assert_eq!(size(&waiters), (1, 1));
        let _third = waiters.subscribe(id).expect("the place that was given back");
        assert!(waiters.subscribe(id).is_err());
    }

    #[tokio::test]
    async fn w1_one_who_watches_many_hears_of_each_once_in_the_order_of_their_ends() {
        let waiters = Waiters::new(2);
        let ids: Vec<JobId> = (1..=4).map(|id| JobId(Uuid::from_u128(id))).collect();
        let mut watch = waiters.watch(ids.clone().into()).expect("a place");
        assert_eq!(size(&waiters), (4, 4));
        let ended = |place: usize, seq| Ended {
            id: ids[place],
            seq,
            state: State::Cancelled,
            ..Ended::of(&done()).expect("it is done")
        };
        for (place, seq) in [(2, 7), (0, 8), (2, 7)] {
            waiters.ended(ended(place, seq));
        }
        assert_eq!(watch.next().await, ended(2, 7));
        assert_eq!(watch.try_next(), Some(ended(0, 8)));
        assert_eq!(watch.try_next(), None, "a job is told once");
        assert_eq!(size(&waiters), (2, 2));
        drop(watch);
        assert_eq!(size(&waiters), (0, 0));
        assert_eq!(lock(&waiters.shared).requests, 0);
    }

    #[tokio::test]
    async fn a_change_wakes_whoever_waits_for_a_change_and_leaves_the_others_waiting() {
        let waiters = Waiters::new(3);
        let job = done();
        let change = waiters.subscribe_to_change(job.spec.id).expect("a place");
        let end = waiters.subscribe(job.spec.id).expect("a place");
        waiters.changed(job.spec.id);
        assert_eq!(change.done().await, Some(()));
        assert_eq!(size(&waiters), (1, 1));
        let change = waiters.subscribe_to_change(job.spec.id).expect("a place");
        waiters.done(&job);
        assert_eq!((change.done().await, end.done().await.as_ref()), (Some(()), Some(&job)));
        assert_eq!(size(&waiters), (0, 0));
    }

    #[test]
    fn a_wait_for_more_jobs_than_may_be_watched_is_refused_whole() {
        let waiters = Waiters::new(200);
        let ids: Arc<[JobId]> = (0..10_000).map(|id| JobId(Uuid::from_u128(id))).collect();
        let watches: Vec<Watch> = (0..WATCHED_MAX / ids.len())
            .map(|_| waiters.watch(Arc::clone(&ids)).expect("a place"))
            .collect();
        let refused = waiters.watch(Arc::from([ids[0]])).expect_err("no place");
        assert!(matches!(refused, Error::TooManyWatched(WATCHED_MAX)), "{refused:?}");
        drop(watches);
        assert_eq!(size(&waiters), (0, 0));
    }

    #[test]
    fn a_waiter_dropped_after_the_end_takes_nobody_elses_place_away() {
        let waiters = Waiters::new(3);
        let job = done();
        let late = waiters.subscribe(job.spec.id).expect("a place");
        waiters.done(&job);
        let _next = waiters.subscribe(job.spec.id).expect("a place");
        drop(late);
        assert_eq!(size(&waiters), (1, 1));
    }
}
