//! What a commit did that the rest of the service must hear of.

use std::sync::Arc;

use super::cancel::CancelOrder;
use super::timer::NextTimer;
use crate::domain::{BatchId, Job, JobId, Json, Ordinal, QueueName, State};

/// A job that is done, as it stands in the order of all changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its name.
    pub id: JobId,
    /// Its place.
    pub ordinal: Ordinal,
    /// How it ended.
    pub state: State,
    /// Its end's place in the order of all changes.
    pub seq: i64,
}

impl Ended {
    /// The end of `job`; none if it is not done.
    #[must_use]
    pub fn of(job: &Job) -> Option<Self> {
        let (id, ordinal, state) = (job.spec.id, job.ordinal, job.state);
        job.finished_seq.map(|seq| Self { id, ordinal, state, seq })
    }
}

/// How one of many jobs stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub id: JobId,
    /// Its end; none if it is not done.
    pub ended: Option<Ended>,
}

/// A job that waited and has a slot now.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Its place.
    pub ordinal: Ordinal,
    /// The job as its claim left it, and its arguments as its function takes them, where they need not be read.
    pub known: Option<(Arc<Job>, Json)>,
}

/// What a commit did that the rest of the service must hear of.
#[derive(Clone, Debug)]
pub enum Event {
    /// This job's first attempt was claimed with its submission, which had these bound arguments; whoever
    /// hears it must run it, once.
    Started(Arc<Job>, Json),
    /// These jobs were claimed from the backlog; the same, after loading those that are not known.
    Claimed(Vec<Claimed>),
    /// This job is done, or an interruption made it wait again.
    Changed(Arc<Job>),
    /// This job was cancelled before it started.
    Cancelled(Ended),
    /// These jobs were cancelled, or their time was over, while they waited, many at a time.
    CancelledMany(Vec<Ended>),
    /// This queue was shut down, and now every job of it is done, or it is open again.
    Drained(QueueName),
    /// These running jobs were asked to stop.
    AskedMany {
        /// Which.
        jobs: Vec<(Ordinal, JobId)>,
        /// How long each may take.
        grace_seconds: f64,
    },
    /// The counts of this batch have moved, or it is done.
    Batch(BatchId),
    /// The jobs of the batch at that place are to be cancelled. None of them starts any more.
    BatchCancelling(Ordinal),
    /// These jobs, which were done, are there no more.
    Gone(Vec<JobId>),
    /// This running job was asked to stop.
    CancelRequested(CancelOrder),
    /// A job waits now for one of these moments.
    Waits(NextTimer),
    /// The time of these jobs has come: they wait for a slot, if they were not claimed at once.
    MayStart(Vec<JobId>),
    /// Deliveries have become due.
    DeliveriesDue,
    /// The writer had to stop: nothing can be promised any more.
    Broken,
}
