//! What goes again: jobs whose time is over, what is left of them, and the room that they took.

use crate::domain::{Ordinal, Timestamp};

/// How long a client is told that a job is gone, rather than that it never was; and how long an idempotency
/// key is kept at least.
pub const DAY_MS: i64 = 86_400_000;

/// How far a pass over everything that may be over has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepCursor {
    /// Jobs up to here, by expiry and then by place.
    pub jobs: (Timestamp, Ordinal),
    /// In the range of ordinals that is being looked through: jobs up to here.
    pub in_range: Ordinal,
    /// Idempotency keys up to those made then. A key is looked at once, when it is a day old: one whose job
    /// is still there goes with the job.
    pub keys: Timestamp,
}

impl SweepCursor {
    /// Nothing was looked at.
    pub const NOTHING: Self = Self {
        jobs: (Timestamp(i64::MIN), Ordinal(i64::MIN)),
        in_range: Ordinal(0),
        keys: Timestamp(i64::MIN),
    };
}

/// What one portion of a pass did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Jobs that were removed.
    pub removed: usize,
    /// Whether this pass has met an expired job that stays because a delivery of it is open. It goes in the
    /// commit that ends the delivery.
    pub holds: bool,
    /// Where the next portion goes on; none when the pass is over.
    pub next: Option<SweepCursor>,
    /// How far keys have been looked at, for the next pass.
    pub keys: Timestamp,
    /// When something more will be over, as far as is known now.
    pub due_at: Option<Timestamp>,
}

/// What was done to make the file smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vacuumed {
    /// Free pages were given back, and there are more.
    Partly,
    /// There is nothing to give back but what will soon be written again.
    Wholly,
    /// Others had something to write; nothing was done.
    Busy,
}

/// What came of the wish to delete a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone.
    Deleted,
    /// There is no such job.
    Missing,
    /// It is not done.
    NotDone,
    /// A delivery of it is still open.
    DeliveryOpen,
    /// It goes with its batch.
    OfBatch,
}
