//! Manual jobs, which are completed from outside.

use std::sync::Arc;

use crate::domain::{Job, JobError, Json, Timestamp};

use super::change::Change;
use super::{Error, Store};

/// The end of a manual job, to be written if it has none yet.
#[derive(Clone, Debug)]
pub struct Completion {
    /// The job, as it was read.
    pub job: Arc<Job>,
    /// Its result or its exception.
    pub end: Result<Json, JobError>,
    /// When.
    pub now: Timestamp,
}

impl Store {
    /// Gives a manual job its end, with its deliveries (F21). None if it does not wait for one any more:
    /// the first end stands (F20).
    ///
    /// # Errors
    /// A failure of the disk.
    pub async fn complete(&self, completion: Completion) -> Result<Option<Arc<Job>>, Error> {
        let it = Box::new(completion);
        self.write(|reply| Change::Complete { it, written_ahead: None, reply }).await
    }
}
