//! Cancels, of one job and of many.

use std::sync::Arc;

use super::page::Filter;
use crate::domain::{Job, JobId, Ordinal, Pool, Timestamp};

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

/// Which jobs a cancel of many means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CancelFilter {
    /// These; those that are not there, or are done, count for nothing.
    Jobs(Vec<JobId>),
    /// Those that pass the filter and were there when it was asked.
    Matching(Filter),
    /// Those of the batch at that place, which was cancelled before: none of it starts.
    Batch(Ordinal),
}

/// A cancel of many.
#[derive(Clone, Debug)]
pub struct CancelMany {
    /// Which jobs are meant.
    pub filter: CancelFilter,
    /// Whether running ones are asked to stop, or left alone.
    pub terminate: bool,
    /// How long those may take.
    pub grace_seconds: f64,
    /// Whether they are only counted.
    pub dry_run: bool,
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
