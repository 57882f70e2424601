//! Batches: jobs that are submitted together, and how they stand.

use super::event::Ended;
use super::job::Submission;
use crate::domain::{
    Batch, BatchId, FunctionName, Identity, JobId, NewCallback, OnError, Ordinal, Timestamp, When,
};

/// A batch to be written, with its calls: all of them, or none.
#[derive(Clone, Debug)]
pub struct NewBatch {
    /// Its name.
    pub id: BatchId,
    /// The function that all its jobs call.
    pub function: FunctionName,
    /// What becomes of the rest when one of them fails (E8).
    pub on_error: OnError,
    /// Whether more calls may come.
    pub is_open: bool,
    /// How long it is kept once it is done, in milliseconds.
    pub retention_ms: i64,
    /// When it was submitted, by the server's own clock.
    pub created_at: Timestamp,
    /// By how much the wall clock was ahead of that one, in milliseconds.
    pub wall_ahead_ms: i64,
    /// Its callbacks, in order, and what each waits for.
    pub callbacks: Vec<(NewCallback, When)>,
    /// What its request is known by when it comes again.
    pub identity: Option<Box<Identity>>,
    /// Its jobs, all in one queue and one pool. The writer tells each where the batch stands.
    pub calls: Vec<Submission>,
}

/// Which batch is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchKey {
    /// That of this id.
    Id(BatchId),
    /// That at this place.
    At(Ordinal),
}

/// What can be asked of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchChange {
    /// No more calls come: it is done when its jobs are.
    Close,
    /// None of its jobs starts any more, and none is added; what is there is still to be cancelled.
    Cancel,
}

/// In which order the jobs of a batch are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// In that of the calls (E5).
    #[default]
    Input,
    /// In that of their ends.
    Completed,
}

/// How one job of a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchJob {
    /// Its place among the calls.
    pub index: i64,
    /// Its name.
    pub id: JobId,
    /// Its place in the order of submission.
    pub ordinal: Ordinal,
    /// Its end; none if it is not done.
    pub ended: Option<Ended>,
}

/// One page of the batches, newest first.
#[derive(Clone, Debug)]
pub struct BatchPage {
    /// The batches.
    pub batches: Vec<Batch>,
    /// Where the next page begins: below this; none on the last page.
    pub next: Option<Ordinal>,
}
