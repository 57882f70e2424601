//! Which jobs are read, and how many at a time.

use crate::domain::{BatchId, FunctionName, Job, Ordinal, QueueName, State, Timestamp};

/// Which jobs a list shows; all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those in this state.
    pub state: Option<State>,
    /// Those of this function.
    pub function: Option<FunctionName>,
    /// Those of this queue.
    pub queue: Option<QueueName>,
    /// Those that have this tag.
    pub tag: Option<String>,
    /// Those submitted after this.
    pub created_after: Option<Timestamp>,
    /// Those submitted before this.
    pub created_before: Option<Timestamp>,
    /// Those of this batch.
    pub batch: Option<BatchId>,
}

/// Where the jobs of one page of a list stand, newest first.
#[derive(Clone, Debug)]
pub struct Places {
    /// Their places.
    pub places: Vec<Ordinal>,
    /// Where the next page begins: below this; none on the last page.
    pub next: Option<Ordinal>,
}

/// How much of a job is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// All of it.
    Whole,
    /// Without large values.
    Brief,
    /// Without large values, but a result may have so many bytes.
    Results(usize),
    /// Without arguments, result and error: of whoever need not know them, and cannot be held up by damage of them.
    Bare,
}

/// Some of the jobs that were asked for.
#[derive(Clone, Debug, Default)]
pub struct Portion {
    /// The jobs, in the order asked; one that is not there is left out.
    pub jobs: Vec<Job>,
    /// Of so many of the places, the first ones, are these all.
    pub places: usize,
}
