//! The ground floor: what a job is and what may happen to it. Pure: no I/O, no clock, no SQL, no tasks.

mod attempts;
pub mod batch;
mod brief;
pub mod callback;
pub mod clocks;
pub mod error;
#[cfg(test)]
pub mod example;
mod hidden;
pub mod identity;
pub mod invalid;
pub mod job;
pub mod json;
pub mod labels;
pub mod log;
pub mod options;
mod outcome;
pub mod queue;
pub mod receiver;
mod scope;
pub mod settle;
pub mod signature;
mod spec;
pub mod state;
pub mod text;
pub mod timestamp;

pub use attempts::{FailedAttempt, FailedAttempts};
pub use batch::{Batch, BatchId, BatchSlot, Counts, OnError, When};
pub use brief::{BRIEF_BYTES_MAX, LeftOut};
pub use callback::{
    Callback, CallbackId, CallbackState, Delivery, DeliveryState, NewCallback, Owner, StateCounts,
};
pub use clocks::{Due, RetryAfter, backoff_ms};
pub use error::{ErrorType, JobError};
pub use hidden::Hidden;
pub use identity::{Fingerprint, IdempotencyKey, Identity, OwnedKey};
pub use invalid::Invalid;
pub use job::{
    Damage, FunctionName, Job, JobId, OnInterrupt, Ordinal, Pool, Priority, Progress, QueueName,
};
pub use json::Json;
pub use labels::{Metadata, Tags};
pub use log::{LogLine, LogPlace, LogStream};
pub use options::{Clocks, Defaults, Options, Retry, RunAt, Start};
pub use outcome::Outcome;
pub use queue::{MAX_PENDING_MAX, MAX_WORKERS_MAX};
pub use receiver::{ReceiverHealth, Tier};
pub use scope::ScopeName;
pub use settle::{CRASHES_MAX, CRASHES_SUSPECT, cancel_pending, complete, is_completed_so, settle};
pub use signature::{Parameter, Signature};
pub use spec::Spec;
pub use state::State;
pub use timestamp::Timestamp;
