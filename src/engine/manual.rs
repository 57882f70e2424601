//! Manual jobs: futures without a call, completed by whoever has promised to (F20, F21).

use std::sync::Arc;

use crate::domain::{FunctionName, Invalid, Job, JobError, JobId, Json, is_completed_so};
use crate::store::ManualResult;

use super::{Engine, Error};

/// What stands for the function of a manual job that is given no label.
const LABEL: &str = "manual";

/// What came of a completion.
#[derive(Clone, Debug)]
pub struct Completed {
    /// The job, which is done.
    pub job: Arc<Job>,
    /// Whether it was completed so before, and nothing changed now.
    pub is_replay: bool,
}

impl Engine {
    /// Completes a manual job with a value or an error: Python's `set_result` and `set_exception`. The first
    /// end stands; the same one again changes nothing and is no error (F20).
    pub async fn complete(
        &self,
        id: JobId,
        end: Result<Json, JobError>,
    ) -> Result<Completed, Error> {
        let job = self.get(id).await?;
        if !job.spec.options.manual {
            return Err(Error::NotManual(job));
        }
        let before = if job.is_done() {
            job
        } else {
            let result = ManualResult { job, end: end.clone(), now: self.now() };
            if let Some(job) = self.shared.store.complete_manual(result).await? {
                return Ok(Completed { job, is_replay: false });
            }
            // Somebody else was faster; a job that is done changes no more.
            self.get(id).await?
        };
        if is_completed_so(&before, &end) {
            return Ok(Completed { job: before, is_replay: true });
        }
        Err(Error::AlreadyDone(before))
    }
}

/// The label of a manual job: a legal name of a function, which need not exist.
pub(super) fn label(given: Option<&str>) -> Result<FunctionName, Invalid> {
    FunctionName::new(given.unwrap_or(LABEL))
}
