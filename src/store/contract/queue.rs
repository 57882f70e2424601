//! Queues: what they may do, what is asked of them, and how they stand.

use crate::domain::{Ordinal, QueueName, Timestamp};

/// What a queue may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// How many of its jobs run at once, whatever their function.
    pub max_workers: usize,
    /// How many of its jobs may wait.
    pub max_pending: usize,
}

/// A queue as it stands at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Its name.
    pub name: QueueName,
    /// What it may do.
    pub settings: QueueSettings,
    /// Whether nothing is started from it.
    pub paused: bool,
    /// Whether submissions are refused.
    pub shutdown: bool,
    /// It goes when it has been empty so long.
    pub expires_ms: Option<i64>,
    /// Its jobs that wait.
    pub pending: usize,
    /// Its jobs that run.
    pub running: usize,
    /// The one that was submitted first of those that wait for a slot.
    pub oldest: Option<Ordinal>,
    /// Since when that one has waited: from its submission, or from when it might have started.
    pub waits_since: Option<Timestamp>,
}

/// What is asked of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueOrder {
    /// Which one.
    pub queue: QueueName,
    /// What.
    pub change: QueueChange,
    /// When.
    pub now: Timestamp,
}

/// What can be asked of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueChange {
    /// Makes it, or changes what is given; one that was shut down is open again.
    Set {
        /// How many of its jobs run at once.
        max_workers: Option<usize>,
        /// How many of its jobs may wait.
        max_pending: Option<usize>,
        /// It goes when it has been empty so long.
        expires_ms: Option<i64>,
    },
    /// Starts nothing from it.
    Pause,
    /// Starts what waits.
    Resume,
    /// Refuses submissions; what waits still runs (E12).
    ShutDown {
        /// Unless it is cancelled (E14). No later shutdown takes that back (E15).
        cancel_futures: bool,
    },
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// The queue as it stands then.
    pub queue: Queue,
    /// How many waiting jobs the order cancels. None of them ever starts, but not all need have been
    /// settled yet.
    pub cancelled: usize,
}
