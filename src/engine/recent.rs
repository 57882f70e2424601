//! Jobs that were done a moment ago: most results are asked for right after the end, and a job that is done
//! changes no more, so the database need not be asked again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::HashMap;

use crate::domain::{Job, JobError, JobId, Json};

/// Jobs that are kept.
const JOBS_MAX: usize = 4_096;
/// A job whose arguments, result, error and failed attempts are larger than this is read from disk: 4,096 of them are
/// 16 MiB.
const BYTES_MAX: usize = 4 * 1024;

/// The latest jobs that were done, by id.
#[derive(Debug, Default)]
pub(super) struct Recent {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    jobs: HashMap<JobId, Arc<Job>>,
    /// The oldest first. An id that was forgotten stays here until its turn.
    order: VecDeque<JobId>,
}

impl Recent {
    /// Keeps a job whose end is committed; the oldest makes room.
    pub(super) fn keep(&self, job: &Arc<Job>) {
        let spec = &job.spec;
        let error = job.error.as_ref().map_or(0, JobError::bytes);
        let outcome = job.result.as_ref().map_or(0, Json::len) + error + job.attempts.json_bytes();
        if spec.arguments_bytes() + outcome > BYTES_MAX {
            return;
        }
        let mut table = self.lock();
        if table.order.len() >= JOBS_MAX
            && let Some(oldest) = table.order.pop_front()
        {
            table.jobs.remove(&oldest);
        }
        table.order.push_back(spec.id);
        table.jobs.insert(spec.id, Arc::clone(job));
    }

    /// The job of that id, if it was done a moment ago.
    pub(super) fn get(&self, id: JobId) -> Option<Arc<Job>> {
        self.lock().jobs.get(&id).cloned()
    }

    /// These jobs are there no more.
    pub(super) fn forget(&self, ids: &[JobId]) {
        let mut table = self.lock();
        for id in ids {
            table.jobs.remove(id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{Outcome, Spec, Timestamp, example, settle};

    fn done(number: u128, result: Json) -> Arc<Job> {
        let spec = Spec { id: JobId(Uuid::from_u128(number)), ..example::spec(1) };
        let running = Job { spec: Arc::new(spec), ..example::running() };
        Arc::new(settle(&running, Outcome::Returned(result), Timestamp(3_000), 0.5))
    }

    #[test]
    fn the_oldest_makes_room_and_what_is_large_is_not_kept() {
        let recent = Recent::default();
        let large = done(1, Json::trusted(format!("\"{}\"", "x".repeat(BYTES_MAX))));
        recent.keep(&large);
        assert_eq!(recent.get(large.spec.id), None);
        for number in 0..=JOBS_MAX as u128 {
            recent.keep(&done(number, Json::trusted("1")));
        }
        assert_eq!(recent.get(JobId(Uuid::from_u128(0))), None);
        let second = done(1, Json::trusted("1"));
        assert_eq!(recent.get(second.spec.id), Some(second));
        assert_eq!(recent.lock().jobs.len(), JOBS_MAX);
        assert_eq!(recent.lock().order.len(), JOBS_MAX);
    }
}
