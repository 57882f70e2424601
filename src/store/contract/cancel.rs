//! Cancels, of one job and of many.

use std::collections::HashSet;
use std::sync::Arc;

use super::page::Filter;
use crate::domain::{Job, Ordinal, Pool, State, Timestamp};

/// A cancel, to be decided in one transaction with the state.
#[derive(Clone, Debug)]
pub struct CancelOrder {
    /// The job, as it was read.
    pub job: Arc<Job>,
    /// Where its function runs.
    pub pool: Pool,
    /// Whether a running job is asked to stop, or left alone as Python's `cancel()` does.
    pub terminate: bool,
    /// How long a job that is asked to stop may take.
    pub grace_seconds: f64,
    /// When.
    pub now: Timestamp,
}

/// What a cancel did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancellation {
    /// The job waited; it is cancelled.
    Cancelled,
    /// The job runs; it is now, or was before, asked to stop.
    Requested,
    /// The job runs and was left alone.
    Running,
    /// The job was done before.
    Done,
}

/// Jobs that must not start any more, because they are being cancelled.
#[derive(Clone, Debug)]
pub enum Mark {
    /// These.
    Jobs(HashSet<Ordinal>),
    /// Those that pass a filter and were there when it was marked.
    Meant(Filter),
    /// Those of the batch at that place. It stands until the batch is done.
    Batch(Ordinal),
}

/// Some of the jobs that are being cancelled.
#[derive(Clone, Debug)]
pub struct CancelPortion {
    /// Where they are.
    pub jobs: Vec<Ordinal>,
    /// Whether those are meant that have not started.
    pub pending: bool,
    /// Whether those are meant that run.
    pub running: bool,
    /// Whether running ones are asked to stop, or left alone.
    pub terminate: bool,
    /// How long those may take.
    pub grace_seconds: f64,
    /// When.
    pub now: Timestamp,
}

/// What became of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CancelCounts {
    /// Jobs that were meant and not done.
    pub matched: usize,
    /// Of these, jobs that had not started, and are cancelled.
    pub cancelled: usize,
    /// Of these, jobs that run and are asked to stop.
    pub terminating: usize,
}

impl CancelCounts {
    /// Counts those of another portion too.
    pub fn add(&mut self, other: Self) {
        self.matched += other.matched;
        self.cancelled += other.cancelled;
        self.terminating += other.terminating;
    }
}

/// Some of the jobs that are not done, and where to look for more; none when there are no more.
pub type Unfinished = (Vec<(Ordinal, State)>, Option<Ordinal>);
