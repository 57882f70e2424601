//! Why the engine did not do what was asked.

use uuid::Uuid;

use std::sync::Arc;

use crate::domain::{
    BatchId, CallbackId, FunctionName, Invalid, Job, JobId, QueueName, ScopeName, State,
};
use crate::runtime::Refusal;
use crate::store::{self, Failure};

/// Errors of the service; HTTP gives each its status and its words.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No job has this id.
    #[error("there is no job {0}")]
    NotFound(JobId),
    /// No batch has this id.
    #[error("there is no batch {0}")]
    BatchNotFound(BatchId),
    /// The job or batch of this id was done and its time is over (F22).
    #[error("{0} has expired: it was kept as long as it had to be, and is gone")]
    Expired(Uuid),
    /// A call of a batch does not fit the function, in Python's words.
    #[error("call {call}: {refusal}")]
    InvalidCall {
        /// Which one, from 0.
        call: usize,
        /// What is wrong.
        refusal: Refusal,
    },
    /// The batch has more jobs than can be named in one request.
    #[error("batch {id} has {total} jobs, and a wait may name {most}; read its results instead")]
    BatchTooLarge {
        /// The batch.
        id: BatchId,
        /// Its jobs.
        total: i64,
        /// Most jobs of a wait.
        most: usize,
    },
    /// The batch takes no more calls.
    #[error("the batch takes no more calls: it was closed, or cancelled")]
    BatchClosed,
    /// A job of a batch goes with it.
    #[error("job {0} belongs to a batch, and goes with it")]
    OfBatch(JobId),
    /// Only what is done can be forgotten.
    #[error("job {0} is not done; cancel it first, or wait for its end")]
    NotDone(JobId),
    /// Only what failed or was cancelled is submitted again.
    #[error("job {id} is {state}; only a job that failed or was cancelled can be submitted again")]
    NotRetried {
        /// The job.
        id: JobId,
        /// How it stands.
        state: State,
    },
    /// What is still told of cannot be forgotten.
    #[error("a delivery of job {0} is still open; wait for its end, or delete the callback")]
    DeliveryOpen(JobId),
    /// No callback has this id.
    #[error("there is no callback {0}")]
    CallbackNotFound(CallbackId),
    /// There is nothing to tell yet.
    #[error("what callback {0} waits for has not come about; it is told when it has")]
    CallbackWaits(CallbackId),
    /// It is being told.
    #[error("a delivery of callback {0} is pending already; wait for its end")]
    CallbackPending(CallbackId),
    /// Another request has made a job with the id that this one chooses.
    #[error(
        "a job with this id exists, and this is not the request that made it; choose another id, or send that \
         request unchanged to get its job"
    )]
    IdConflict,
    /// Another request has this idempotency key.
    #[error(
        "the idempotency key was given to another request, which made {0}; draw a new key for a new request, \
         or send that one unchanged to get what it made"
    )]
    KeyMismatch(Uuid),
    /// Only a manual job can be completed from outside.
    #[error("the job is not manual: its function gives it its end")]
    NotManual(Arc<Job>),
    /// The job has an end already, and not this one (F20).
    #[error("the job is {} already, and its end does not change", .0.state)]
    AlreadyDone(Arc<Job>),
    /// The label of a manual job is not a function's name.
    #[error(transparent)]
    InvalidLabel(Invalid),
    /// No function has this name.
    #[error("there is no function named '{name}'; there are {}", known.join(", "))]
    UnknownFunction {
        /// The name that was asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The function asks for a scope of its own.
    #[error(
        "{function} needs a key that allows {scope}; an operator makes one with `futurity keys create --scope submit \
         --scope {scope}`"
    )]
    NotAllowed {
        /// The function.
        function: FunctionName,
        /// What it asks for.
        scope: ScopeName,
    },
    /// The arguments do not fit the function, in Python's words.
    #[error("{0}")]
    InvalidArguments(Refusal),
    /// An address that the egress policy denies.
    #[error("{detail}")]
    EgressDenied {
        /// Whose address it is.
        of: Caller,
        /// Which address, and what an operator can do.
        detail: String,
    },
    /// A callback that cannot be taken.
    #[error("{detail}")]
    InvalidCallback {
        /// Which of the request's callbacks; none where there is only one.
        callback: Option<usize>,
        /// Its field.
        field: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// No queue has this name.
    #[error("there is no queue named '{0}'; `PUT /v1/queues/{0}` makes one")]
    UnknownQueue(QueueName),
    /// The queue holds all it may.
    #[error(
        "queue '{queue}' already holds {max_pending} waiting jobs; try again when some have run"
    )]
    QueueFull {
        /// The queue.
        queue: QueueName,
        /// Its limit.
        max_pending: usize,
    },
    /// As many manual jobs wait as may.
    #[error(
        "{0} manual jobs may wait (`limits.manual_jobs`), and there is no room for another; complete or cancel \
         some, or raise that limit"
    )]
    TooManyManual(usize),
    /// The queue takes no more jobs (E3).
    #[error("queue '{0}' is shut down and takes no more jobs; `PUT /v1/queues/{0}` opens it again")]
    QueueShutdown(QueueName),
    /// No queue has this name, and the request was about it.
    #[error("there is no queue '{0}'; /v1/queues lists them")]
    QueueNotFound(QueueName),
    /// There are as many queues as there may be.
    #[error("there are {0} queues already, and no more can be made; use one that is there")]
    TooManyQueues(usize),
    /// The job, or the batch, has as many callbacks as it may.
    #[error(
        "there are {0} callbacks already, and no more can be added; delete some, or take another job"
    )]
    TooManyCallbacks(usize),
    /// No job has any of these ids.
    #[error("{} of the ids name no job", .0.len())]
    NoneOf(Vec<(usize, JobId)>),
    /// A place in the order of all changes that lies beyond the last.
    #[error(
        "is no place that this server gave; is this another data directory, or an older copy of it?"
    )]
    UnknownPlace,
    /// All waits together watch as many jobs as they may.
    #[error("all waits together may watch {0} jobs; wait for fewer, or ask again later")]
    TooManyWatched(usize),
    /// As many requests wait as may.
    #[error("{0} requests are waiting already; ask again without waiting")]
    TooManyWaiters(usize),
    /// The client is gone.
    #[error("the client went away in the middle of its body")]
    HungUp,
    /// The server is stopping.
    #[error("the server is stopping and takes no more jobs; send it again to its successor")]
    Draining,
    /// The disk is full.
    #[error("the disk is full; nothing was written, and what was accepted before is safe")]
    StorageFull,
    /// The database cannot be written at this moment.
    #[error(
        "another process has locked the database, or memory is short; nothing was written, and what was accepted \
         before is safe"
    )]
    DatabaseBusy,
    /// It is not known whether the write happened.
    #[error("the database failed during the commit: the write may have happened or not")]
    OutcomeUnknown,
    /// What is kept of it does not read back as it was written (G3).
    #[error("{0}; restore a backup, and see what `futurity fsck` finds")]
    Damaged(String),
    /// Something of ours failed; it is in the log.
    #[error("internal error")]
    Internal(#[source] store::Error),
}

/// Who would call a denied address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The function, with the call's arguments.
    Function,
    /// The callback that is the whole request, or the one at that place of a submission.
    Callback(Option<usize>),
}

pub(super) fn of_store(error: store::Error) -> Error {
    match error {
        store::Error::Refused(refusal) => of_refusal(refusal),
        store::Error::Failed(failure) => of_failure(failure),
    }
}

fn of_refusal(refusal: store::Refusal) -> Error {
    match refusal {
        store::Refusal::UnknownQueue(queue) => Error::UnknownQueue(queue),
        store::Refusal::QueueFull { queue, max_pending } => Error::QueueFull { queue, max_pending },
        store::Refusal::TooManyManual(most) => Error::TooManyManual(most),
        store::Refusal::QueueShutdown(queue) => Error::QueueShutdown(queue),
        store::Refusal::TooManyQueues(count) => Error::TooManyQueues(count),
        store::Refusal::TooManyCallbacks(count) => Error::TooManyCallbacks(count),
        store::Refusal::IdConflict => Error::IdConflict,
        store::Refusal::KeyMismatch(id) => Error::KeyMismatch(id),
        store::Refusal::Expired(id) => Error::Expired(id),
        store::Refusal::BatchClosed => Error::BatchClosed,
        // Whoever submits looks for the job itself.
        store::Refusal::Superseded | store::Refusal::Repeated(_) => Error::Internal(refusal.into()),
    }
}

pub(super) fn of_failure(failure: Failure) -> Error {
    match failure {
        Failure::Full => Error::StorageFull,
        Failure::NotNow(_) => Error::DatabaseBusy,
        Failure::OutcomeUnknown(_) => Error::OutcomeUnknown,
        Failure::Closed => Error::Draining,
        Failure::Damaged(what) => Error::Damaged(what),
        Failure::Sql(_) => Error::Internal(failure.into()),
    }
}
