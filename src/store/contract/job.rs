//! What is asked of one job: that it comes, and that its attempt ends.

use std::sync::Arc;

use super::error::Error;
use crate::domain::{
    Identity, Job, JobError, Json, LogLine, NewCallback, Ordinal, Outcome, Pool, RunAt, Spec,
    Timestamp,
};

/// A job to be written.
#[derive(Clone, Debug)]
pub struct Submission {
    /// What was asked for, with its arguments whole.
    pub spec: Arc<Spec>,
    /// Where its function runs.
    pub pool: Pool,
    /// Not to be started before; none: at once.
    pub run_at: Option<RunAt>,
    /// Its callbacks, in order.
    pub callbacks: Vec<NewCallback>,
    /// Its arguments as the function takes them: they go back with [`super::event::Event::Started`].
    pub bound: Json,
    /// What its request is known by when it comes again; most are not. In a box, because it is seldom there.
    pub identity: Option<Box<Identity>>,
}

/// Jobs that are submitted together, each for itself.
#[derive(Clone, Debug)]
pub struct Many {
    /// The jobs. Those of a batch name it, and where it stands.
    pub calls: Vec<Submission>,
    /// The open batch that all of them belong to.
    pub batch: Option<Ordinal>,
}

/// What came of each, in order.
pub type Submitted = Vec<Result<Arc<Job>, Error>>;

/// The end of an attempt, to be written.
#[derive(Clone, Debug)]
pub struct Completion {
    /// The job as its attempt knows it. What the writer knows better, a cancel, is added to it.
    pub job: Arc<Job>,
    /// How the attempt ended.
    pub outcome: Outcome,
    /// What it has logged and was not kept before.
    pub log: Vec<LogLine>,
    /// When.
    pub now: Timestamp,
    /// From 0 to 1: spreads the wait before another attempt.
    pub chance: f64,
    /// Where it ran.
    pub pool: Pool,
    /// Whether its slot is free again; a thread may still be busy with code that was given up.
    pub frees_slot: bool,
}

/// The end of a manual job, to be written if it has none yet.
#[derive(Clone, Debug)]
pub struct ManualResult {
    /// The job, as it was read.
    pub job: Arc<Job>,
    /// Its result or its exception.
    pub end: Result<Json, JobError>,
    /// When.
    pub now: Timestamp,
}
