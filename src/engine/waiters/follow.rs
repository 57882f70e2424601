//! One request that gets many jobs as each is done, and learns of them one after the other.

use std::sync::Arc;

use foldhash::HashSet;
use tokio::sync::mpsc;

use crate::domain::{Job, JobId};

use super::{Error, Place, Table, Waiters, Watcher, lock};

impl Waiters {
    /// Gets jobs as they are done; none yet.
    pub(in crate::engine) fn follow(&self) -> Result<Follow, Error> {
        let place = self.take_place()?;
        let (sender, done) = mpsc::unbounded_channel();
        Ok(Follow { sender, done, ids: HashSet::default(), place })
    }
}

/// The jobs that one request follows. They are told once each, so no more wait in the channel than it named.
#[derive(Debug)]
pub(in crate::engine) struct Follow {
    sender: mpsc::UnboundedSender<Arc<Job>>,
    done: mpsc::UnboundedReceiver<Arc<Job>>,
    /// Those that are not told yet.
    ids: HashSet<JobId>,
    place: Place,
}

impl Follow {
    /// Follows these jobs from now on.
    pub(in crate::engine) fn add(&mut self, ids: impl IntoIterator<Item = JobId>) {
        let mut table = lock(&self.place.table);
        for id in ids {
            self.ids.insert(id);
            table.watch(id, self.place.number, Watcher::Each(self.sender.clone()));
        }
    }

    /// Follows it no more.
    pub(in crate::engine) fn remove(&mut self, id: JobId) {
        self.ids.remove(&id);
        lock(&self.place.table).leave(id, self.place.number);
    }

    /// The next job that is done.
    pub(in crate::engine) async fn next(&mut self) -> Arc<Job> {
        match self.done.recv().await {
            Some(job) => self.told(job),
            None => std::future::pending().await,
        }
    }

    /// The next one, if it is done already.
    pub(in crate::engine) fn try_next(&mut self) -> Option<Arc<Job>> {
        let job = self.done.try_recv().ok()?;
        Some(self.told(job))
    }

    fn told(&mut self, job: Arc<Job>) -> Arc<Job> {
        self.ids.remove(&job.spec.id);
        job
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        let mut table: std::sync::MutexGuard<'_, Table> = lock(&self.place.table);
        self.ids.iter().for_each(|id| table.leave(*id, self.place.number));
    }
}

/// The job without what is large: a reader that is slow would hold all of it in memory.
pub(super) fn slim(job: &Arc<Job>) -> Arc<Job> {
    job.brief().map_or_else(|| Arc::clone(job), Arc::new)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{BRIEF_BYTES_MAX, Json, Outcome, Spec, Timestamp, example, settle};

    fn done(number: u128, result: Json) -> Arc<Job> {
        let spec = Spec { id: JobId(Uuid::from_u128(number)), ..example::spec(1) };
        let running = Job { spec: Arc::new(spec), ..example::running() };
        Arc::new(settle(&running, Outcome::Returned(result), Timestamp(3_000), 0.5))
    }

    #[tokio::test]
    async fn each_is_told_once_without_what_is_large_and_the_table_is_left_empty() {
        let waiters = Waiters::new(1, 0);
        let mut follow = waiters.follow().expect("a place");
        assert!(waiters.follow().is_err(), "it is a waiter like any other");
        let large = Json::trusted(format!("\"{}\"", "x".repeat(BRIEF_BYTES_MAX)));
        let jobs = [done(1, Json::trusted("1")), done(2, large), done(3, Json::trusted("3"))];
        follow.add(jobs.iter().map(|job| job.spec.id));
        follow.remove(jobs[2].spec.id);
        for job in &jobs {
            waiters.done(job);
            waiters.done(job);
        }
        assert_eq!(follow.next().await, jobs[0]);
        let second = follow.try_next().expect("it is done");
        assert_eq!(
            (second.spec.id, &second.result, second.result_omitted),
            (jobs[1].spec.id, &None, true)
        );
        assert_eq!(follow.try_next(), None);
        follow.add([JobId(Uuid::from_u128(4))]);
        drop(follow);
        let table = lock(&waiters.shared);
        assert_eq!((table.jobs.len(), table.watched, table.requests), (0, 0, 0));
    }
}
