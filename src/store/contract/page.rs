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

/// One page of a list, newest first.
#[derive(Clone, Debug)]
pub struct Page {
    /// The jobs; large arguments and results are left out.
    pub jobs: Vec<Job>,
    /// Where the next page begins: below this; none on the last page.
    pub next: Option<Ordinal>,
}

/// Where the jobs of one page of a list stand, newest first.
#[derive(Clone, Debug)]
pub struct Places {
    /// Their places.
    pub places: Vec<Ordinal>,
    /// Where the next page begins: below this; none on the last page.
    pub next: Option<Ordinal>,
}

/// Some of the jobs that were asked for.
#[derive(Clone, Debug, Default)]
pub struct Portion {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// Of so many of the places, the first ones, are these all.
    pub places: usize,
}
