//! The order of all changes, as whoever follows along sees it.

use crate::domain::{Job, JobId};

use super::event::Ended;

/// How far the known changes reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// What changed up to here is not known any more.
    pub floor: i64,
    /// The latest change.
    pub head: i64,
}

/// One change, in the order of all.
#[derive(Clone, Debug, PartialEq)]
pub struct JobChange {
    /// Its place.
    pub seq: i64,
    /// What it left.
    pub left: Left,
}

/// What a change left.
#[derive(Clone, Debug, PartialEq)]
pub enum Left {
    /// The job as it has stood since. In a box, because it is large.
    Job(Box<Job>),
    /// Nothing: the job is gone.
    Gone(JobId),
}

/// Some changes, and how far they reach.
#[derive(Clone, Debug)]
pub struct Changes {
    /// Those that still show: a change that was followed by another of the same job is left out.
    pub changes: Vec<JobChange>,
    /// Up to here nothing is left out but such.
    pub to: i64,
    /// How far the feed reaches at that moment.
    pub known: Known,
}

/// Ends that were asked for, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagEnds {
    /// The ends.
    pub ends: Vec<Ended>,
    /// Up to here these are all.
    pub to: i64,
}
