//! One request that gets many jobs as each is done, and learns of them one after the other.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::domain::{Job, JobId, Spec};

use super::{Error, Place, Table, Waiters, Watcher, lock};

/// Results and arguments above this many bytes are not kept for whoever follows: a reader that is slow would hold
/// them all in memory.
const KEPT_BYTES_MAX: usize = 16 * 1024;

impl Waiters {
    /// Gets jobs as they are done; none yet.
    pub(in crate::engine) fn follow(&self) -> Result<Follow, Error> {
        let place = self.take_place()?;
        let (sender, done) = mpsc::unbounded_channel();
        Ok(Follow { sender, done, ids: std::collections::HashSet::new(), place })
    }
}

/// The jobs that one request follows. They are told once each, so no more wait in the channel than it named.
#[derive(Debug)]
pub(in crate::engine) struct Follow {
    sender: mpsc::UnboundedSender<Job>,
    done: mpsc::UnboundedReceiver<Job>,
    /// Those that are not told yet.
    ids: std::collections::HashSet<JobId>,
    place: Place,
}

impl Follow {
    /// Follows a job from now on.
    pub(in crate::engine) fn add(&mut self, id: JobId) {
        self.ids.insert(id);
        let watcher = Watcher::Each(self.sender.clone());
        lock(&self.place.table).watch(id, self.place.number, watcher);
    }

    /// Follows it no more.
    pub(in crate::engine) fn remove(&mut self, id: JobId) {
        self.ids.remove(&id);
        lock(&self.place.table).leave(id, self.place.number);
    }

    /// The next job that is done.
    pub(in crate::engine) async fn next(&mut self) -> Job {
        match self.done.recv().await {
            Some(job) => self.told(job),
            None => std::future::pending().await,
        }
    }

    /// The next one, if it is done already.
    pub(in crate::engine) fn try_next(&mut self) -> Option<Job> {
        let job = self.done.try_recv().ok()?;
        Some(self.told(job))
    }

    fn told(&mut self, job: Job) -> Job {
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

/// The job without what is large.
pub(super) fn slim(job: &Job) -> Job {
    let mut slim = job.clone();
    if slim.result.as_ref().is_some_and(|result| result.len() > KEPT_BYTES_MAX) {
        slim.result = None;
        slim.result_omitted = true;
    }
    let bytes = |json: &Option<crate::domain::Json>| json.as_ref().map_or(0, |it| it.len());
    if bytes(&slim.spec.args) + bytes(&slim.spec.kwargs) > KEPT_BYTES_MAX {
        slim.spec = Arc::new(Spec { args: None, kwargs: None, ..(*slim.spec).clone() });
    }
    slim
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{Json, Outcome, Timestamp, example, settle};

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
        let large = Json::trusted(format!("\"{}\"", "x".repeat(KEPT_BYTES_MAX)));
        let jobs = [done(1, Json::trusted("1")), done(2, large), done(3, Json::trusted("3"))];
        jobs.iter().for_each(|job| follow.add(job.spec.id));
        follow.remove(jobs[2].spec.id);
        for job in &jobs {
            waiters.done(job);
            waiters.done(job);
        }
        assert_eq!(follow.next().await, *jobs[0]);
        let second = follow.try_next().expect("it is done");
        assert_eq!(
            (second.spec.id, second.result, second.result_omitted),
            (jobs[1].spec.id, None, true)
        );
        assert_eq!(follow.try_next(), None);
        follow.add(JobId(Uuid::from_u128(4)));
        drop(follow);
        let table = lock(&waiters.shared);
        assert_eq!((table.jobs.len(), table.watched, table.requests), (0, 0, 0));
    }
}
