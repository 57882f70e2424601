//! What is asked of the slots, beside the jobs that take them.

use crate::domain::{Pool, QueueName};

/// What can be asked of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotChange {
    /// The slot of an attempt that was settled while its code still ran is free.
    Release {
        /// The queue of its job.
        queue: QueueName,
        /// Where it ran.
        pool: Pool,
    },
    /// So many jobs may run in that pool. Those that run beyond that go on.
    Resize {
        /// The pool.
        pool: Pool,
        /// How many.
        slots: usize,
    },
    /// All jobs may run beside each other, also those that were to run alone first (G9).
    ClearSuspects,
    /// Nothing is claimed any more: the server stops.
    StopClaiming,
}
