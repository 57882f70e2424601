//! Why nothing was written, or perhaps was: what the caller asked for may not be, or we cannot.

use std::sync::Arc;

use uuid::Uuid;

use crate::domain::QueueName;

/// What the caller asked for may not be. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The job's queue does not exist.
    #[error("there is no queue named '{0}'")]
    UnknownQueue(QueueName),
    /// The job's queue holds as many waiting jobs as it may.
    #[error("queue '{queue}' already holds {max_pending} waiting jobs")]
    QueueFull {
        /// The queue.
        queue: QueueName,
        /// Its limit.
        max_pending: usize,
    },
    /// As many manual jobs wait as may.
    #[error("{0} manual jobs may wait, and no more")]
    TooManyManual(usize),
    /// The job's queue takes no more jobs (E3).
    #[error("queue '{0}' is shut down")]
    QueueShutdown(QueueName),
    /// There are as many queues as there may be.
    #[error("there are {0} queues already")]
    TooManyQueues(usize),
    /// The job, or the batch, has as many callbacks as it may.
    #[error("there are {0} callbacks already")]
    TooManyCallbacks(usize),
    /// Another attempt, or an end, came first.
    #[error("another write came first")]
    Superseded,
    /// A job with this id exists, and another request made it.
    #[error("a job with this id exists")]
    IdConflict,
    /// The batch takes no more jobs: it was closed, or cancelled.
    #[error("the batch takes no more jobs")]
    BatchClosed,
    /// The same request was made before, and the job or batch of this id came of it.
    #[error("the same request made {0} before")]
    Repeated(Uuid),
    /// The idempotency key was given to another request, of which the job or batch of this id came.
    #[error("the idempotency key belongs to another request, which made {0}")]
    KeyMismatch(Uuid),
    /// The request was made before, and the job or batch that came of it is gone.
    #[error("{0} is gone")]
    Expired(Uuid),
}

/// What the database said, in the words of its backend.
#[derive(Clone, Debug)]
pub struct Cause(Arc<dyn std::error::Error + Send + Sync>);

impl Cause {
    /// The error of a backend's library.
    pub fn of(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }

    /// The error, if it is of that library.
    pub fn of_type<E: std::error::Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

/// We cannot, whoever asks.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The disk is full; nothing was written.
    #[error("the disk is full")]
    Full,
    /// The database cannot be written at this moment: another process has locked it, or memory is short. Nothing was written.
    #[error("the database cannot be written now: {0}")]
    NotNow(Cause),
    /// The commit failed in a way that leaves open whether it happened.
    #[error("the database failed during a commit: {0}")]
    OutcomeUnknown(Cause),
    /// The store is closed, or its writer has ended.
    #[error("the store is closed")]
    Closed,
    /// The database refused a statement; nothing was written.
    #[error("the database refused: {0}")]
    Sql(Cause),
    /// A row that we wrote does not read back as what it must be.
    #[error("damaged row: {0}")]
    Damaged(String),
}

impl Failure {
    /// Whether it passes by itself, so that the same may be asked again.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self, Self::NotNow(_) | Self::Full)
    }
}

/// What is called when nothing comes of a write, on the thread that found out: it must not block.
pub type Failed = Box<dyn FnOnce(Error) + Send>;

/// Why a verb of the store did nothing, or may have.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// It was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It failed.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Error {
    /// Whether it passes by itself, so that the same may be asked again.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self, Self::Failed(failure) if failure.passes())
    }
}
