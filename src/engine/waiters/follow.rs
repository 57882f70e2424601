//! One request that gets many jobs as each is done, and learns of them one after the other.

use std::sync::Arc;

use foldhash::HashSet;
use tokio::sync::mpsc;

use crate::domain::{FailedAttempts, Job, JobError, JobId, Json, Spec};

use super::{Error, Registration, Table, Waiters, Watcher, lock};

/// A job that has more than so many bytes is not kept for whoever follows: a reader that is slow would hold them all in
/// memory.
const KEPT_BYTES_MAX: usize = 1_024;

impl Waiters {
    /// Gets jobs as they are done; none yet.
    pub(in crate::engine) fn follow(&self) -> Result<Follow, Error> {
        let registration = self.register_only()?;
        let (sender, done) = mpsc::unbounded_channel();
        Ok(Follow { sender, done, ids: HashSet::default(), registration })
    }
}

/// The jobs that one request follows. They are told once each, so no more wait in the channel than it named.
#[derive(Debug)]
pub(in crate::engine) struct Follow {
    sender: mpsc::UnboundedSender<DoneJob>,
    done: mpsc::UnboundedReceiver<DoneJob>,
    /// Those that are not told yet.
    ids: HashSet<JobId>,
    registration: Registration,
}

impl Follow {
    /// Follows these jobs from now on.
    pub(in crate::engine) fn add(&mut self, ids: impl IntoIterator<Item = JobId>) {
        let mut table = lock(&self.registration.table);
        for id in ids {
            self.ids.insert(id);
            table.watch(id, self.registration.number, Watcher::Each(self.sender.clone()));
        }
    }

    /// Follows it no more.
    pub(in crate::engine) fn remove(&mut self, id: JobId) {
        self.ids.remove(&id);
        lock(&self.registration.table).leave(id, self.registration.number);
    }

    /// The next job that is done.
    pub(in crate::engine) async fn next(&mut self) -> DoneJob {
        match self.done.recv().await {
            Some(told) => self.heard(told),
            None => std::future::pending().await,
        }
    }

    /// The next one, if it is done already.
    pub(in crate::engine) fn try_next(&mut self) -> Option<DoneJob> {
        let told = self.done.try_recv().ok()?;
        Some(self.heard(told))
    }

    fn heard(&mut self, told: DoneJob) -> DoneJob {
        self.ids.remove(&told.job.spec.id);
        told
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        let mut table: std::sync::MutexGuard<'_, Table> = lock(&self.registration.table);
        self.ids.iter().for_each(|id| table.leave(*id, self.registration.number));
    }
}

/// A job that is done, as whoever follows it is told.
#[derive(Clone, Debug)]
pub(in crate::engine) struct DoneJob {
    /// The job, without what is large.
    pub(in crate::engine) job: Arc<Job>,
    /// What came of it has so many bytes.
    pub(in crate::engine) bytes: usize,
    /// Whether what came of it is there; else it is to be read when its turn comes.
    pub(in crate::engine) is_whole: bool,
}

impl DoneJob {
    pub(super) fn of(job: &Arc<Job>) -> Self {
        let error_bytes = job.error.as_ref().map_or(0, JobError::bytes);
        let bytes = error_bytes + job.result.as_ref().map_or(0, Json::len);
        let is_whole = bytes <= KEPT_BYTES_MAX;
        let omits_arguments = job.spec.arguments_bytes() > KEPT_BYTES_MAX;
        if is_whole && !omits_arguments && job.attempts.as_slice().is_empty() {
            return Self { job: Arc::clone(job), bytes, is_whole };
        }
        let mut slim = Job { attempts: FailedAttempts::default(), ..(**job).clone() };
        if !is_whole {
            slim.result_omitted |= slim.result.take().is_some();
            slim.error_omitted |= slim.error.is_some();
            slim.error = slim.error.as_ref().map(JobError::brief);
        }
        if omits_arguments {
            slim.spec = Arc::new(Spec { args: None, kwargs: None, ..(*job.spec).clone() });
        }
        Self { job: Arc::new(slim), bytes, is_whole }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{Outcome, Timestamp, example, settle};

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
        follow.add(jobs.iter().map(|job| job.spec.id));
        follow.remove(jobs[2].spec.id);
        for job in &jobs {
            waiters.done(job);
            waiters.done(job);
        }
        let first = follow.next().await;
        assert_eq!((&first.job, first.is_whole), (&jobs[0], true));
        let second = follow.try_next().expect("it is done");
        assert_eq!(
            (second.job.spec.id, &second.job.result, second.job.result_omitted, second.is_whole),
            (jobs[1].spec.id, &None, true, false)
        );
        assert!(follow.try_next().is_none());
        follow.add([JobId(Uuid::from_u128(4))]);
        drop(follow);
        let table = lock(&waiters.shared);
        assert_eq!((table.jobs.len(), table.watched, table.requests), (0, 0, 0));
    }
}
