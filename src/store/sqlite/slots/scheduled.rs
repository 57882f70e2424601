//! Jobs whose time to start has not come: they are only counted.

use crate::domain::{FunctionName, Ordinal, Pool, QueueName};

use super::{CancelCursor, Slots, Undo};
use crate::store::contract::Refusal;

impl Slots {
    /// Where the function runs.
    pub fn home(&self, function: &FunctionName) -> Pool {
        self.homes.get(function.as_str()).copied().unwrap_or(Pool::Absent)
    }

    /// Takes a job that is to start later. It counts as one that waits.
    pub fn admit_scheduled(&mut self, name: &QueueName) -> Result<(), Refusal> {
        let queue = self.queues.get(name);
        let Some((kept, queue)) = queue.and_then(|queue| Some((queue.kept?, queue))) else {
            return Err(Refusal::UnknownQueue(name.clone()));
        };
        if kept.shutdown {
            return Err(Refusal::QueueShutdown(name.clone()));
        }
        let max_pending = kept.settings.max_pending;
        if queue.pending + queue.scheduled >= max_pending {
            return Err(Refusal::QueueFull { queue: name.clone(), max_pending });
        }
        self.schedule(name);
        Ok(())
    }

    /// Counts a job that was accepted before, and is to start later.
    pub fn schedule(&mut self, name: &QueueName) {
        let queue = self.queues.entry(name.clone()).or_default();
        self.undo.push(Undo::Scheduled(name.clone(), queue.scheduled));
        queue.is_used = true;
        queue.scheduled += 1;
    }

    /// Counts a job no longer: its time has come, or it is done.
    pub fn unschedule(&mut self, name: &QueueName) {
        let queue = self.queues.entry(name.clone()).or_default();
        self.undo.push(Undo::Scheduled(name.clone(), queue.scheduled));
        queue.scheduled = queue.scheduled.saturating_sub(1);
    }

    /// Lets a scheduled job wait to be cancelled, which an earlier server did not come to.
    pub fn cancel_scheduled(&mut self, name: &QueueName, ordinal: Ordinal) {
        let cancelling = self.cancel_cursor_of(name);
        let to = cancelling.map_or(ordinal, |cancelling| cancelling.to.max(ordinal));
        self.set_cancel_cursor(name, Some(CancelCursor { after: Ordinal(0), to }));
    }
}
