//! What the writer has committed, on its way to whoever must hear of it.

use tokio::sync::mpsc;

use crate::store::contract::Event;
use crate::store::sqlite::write::Pending;

/// A committed group: its members wait for their answers, the service for what it did.
#[derive(Debug)]
pub struct Committed {
    pub members: Vec<Box<dyn Pending>>,
    pub events: Vec<Event>,
}

/// Committed groups, in commit order. They must be read to the end: whoever wrote is answered as they
/// are read, among the tasks that wait for the answers, while the writer is with its next group.
#[derive(Debug)]
pub struct Commits {
    committed: mpsc::UnboundedReceiver<Committed>,
    /// Members of the group that is being heard.
    unanswered: Vec<Box<dyn Pending>>,
}

impl Commits {
    pub fn channel() -> (mpsc::UnboundedSender<Committed>, Self) {
        let (sender, committed) = mpsc::unbounded_channel();
        (sender, Self { committed, unanswered: Vec::new() })
    }

    /// What the next group did; none when the store is closed. The group before it is answered now: an
    /// answer comes after whatever its commit told of.
    pub async fn next(&mut self) -> Option<Vec<Event>> {
        self.answer();
        let Committed { members, events } = self.committed.recv().await?;
        self.unanswered = members;
        Some(events)
    }

    fn answer(&mut self) {
        std::mem::take(&mut self.unanswered).into_iter().for_each(|write| write.answer(None));
    }
}

impl Drop for Commits {
    fn drop(&mut self) {
        self.answer();
    }
}
