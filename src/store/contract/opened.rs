//! What a start found.

use tokio::sync::oneshot;

use crate::domain::{Job, Ordinal};

/// An opened store and its side effects: of the door, or of one backend.
#[derive(Debug)]
pub struct Opened<S, C> {
    /// The store.
    pub store: S,
    /// What each commit did; nobody is answered unless this is read.
    pub commits: C,
    /// Told when the writer has written everything and closed the database.
    pub closed: oneshot::Receiver<()>,
    /// Jobs that were running when the last server died.
    pub recovered: usize,
    /// Those of them that failed by it.
    pub failed: Vec<Job>,
    /// Jobs that run first, and each with no other beside it: the server has died during them too often (G9).
    pub suspects: usize,
    /// Deliveries that go first, and each with no other beside it, for the same reason.
    pub suspect_deliveries: Vec<Ordinal>,
    /// Batches whose jobs are still to be cancelled. None of those starts.
    pub cancelling: Vec<Ordinal>,
}
