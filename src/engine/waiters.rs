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

    /// Whether anyone waits for this job.
    pub(super) fn is_awaited(&self, id: JobId) -> bool {
        lock(&self.shared).jobs.contains_key(&id)
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{Json, Outcome, Timestamp, example, settle};

    fn done() -> Job {
        settle(&example::running(), Outcome::Returned(Json::trusted("1")), Timestamp(3_000))
    }

    /// Jobs that are waited for, and the count of those who wait.
    fn size(waiters: &Waiters) -> (usize, usize) {
        let table = lock(&waiters.shared);
        (table.jobs.len(), table.count)
    }

    #[tokio::test]
    async fn f7_ten_thousand_waiters_each_get_the_job_and_leave_an_empty_table() {
        let waiters = Waiters::new(10_000);
        let job = done();
        let subscribed: Vec<Waiter> =
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
