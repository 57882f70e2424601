//! Jobs whose time to start has not come: the ledger only counts them.

use crate::domain::{FunctionName, Ordinal, Pool, QueueName};
use crate::store::Error;

use super::{Cancelling, Ledger, Undo};

impl Ledger {
    /// Where the function runs.
    pub(in crate::store) fn home(&self, function: &FunctionName) -> Pool {
        self.homes.get(function.as_str()).copied().unwrap_or(Pool::Absent)
    }

    /// Takes a job that is to start later. It counts as one that waits.
    pub(in crate::store) fn admit_scheduled(&mut self, name: &QueueName) -> Result<(), Error> {
        let queue = self.queues.get(name);
        let Some((kept, queue)) = queue.and_then(|queue| Some((queue.kept?, queue))) else {
            return Err(Error::UnknownQueue(name.clone()));
        };
        if kept.shutdown {
            return Err(Error::QueueShutdown(name.clone()));
        }
        let max_pending = kept.settings.max_pending;
        if queue.pending + queue.scheduled >= max_pending {
            return Err(Error::QueueFull { queue: name.clone(), max_pending });
        }
        self.schedule(name);
        Ok(())
    }

    /// Counts a job that was accepted before, and is to start later.
    pub(in crate::store) fn schedule(&mut self, name: &QueueName) {
        let queue = self.queues.entry(name.clone()).or_default();
        self.undo.push(Undo::Scheduled(name.clone(), queue.scheduled));
        queue.scheduled += 1;
    }

    /// Counts a job no longer: its time has come, or it is done.
    pub(in crate::store) fn unschedule(&mut self, name: &QueueName) {
        let queue = self.queues.entry(name.clone()).or_default();
        self.undo.push(Undo::Scheduled(name.clone(), queue.scheduled));
        queue.scheduled = queue.scheduled.saturating_sub(1);
    }

    /// Lets a scheduled job wait to be cancelled, which an earlier server did not come to.
    pub(in crate::store) fn cancel_scheduled(&mut self, name: &QueueName, ordinal: Ordinal) {
        let cancelling = self.cancelling_of(name);
        let to = cancelling.map_or(ordinal, |cancelling| cancelling.to.max(ordinal));
        self.set_cancelling(name, Some(Cancelling { after: Ordinal(0), to }));
    }
}
