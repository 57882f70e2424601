//! What is asked of a queue: settings, pause, shutdown.

use crate::domain::{Ordinal, QueueName};
use crate::store::change::{QueueChange, QueueOrder};
use crate::store::ledger::KeptQueue;
use crate::store::{Error, Ordered, Queue, QueueSettings};

use super::Group;

impl Group<'_> {
    /// Does what is asked of a queue, and starts what may start then. The inner error is a refusal, for
    /// which nothing was written.
    pub(super) fn order_queue(&mut self, it: &QueueOrder) -> Result<Result<Ordered, Error>, Error> {
        let name = &it.queue;
        let before = match (self.ledger.kept(name), &it.change) {
            (Some(kept), _) => Ok(kept),
            (None, QueueChange::Set { .. }) => self.ledger.new_queue(),
            (None, _) => Err(Error::UnknownQueue(name.clone())),
        };
        let before = match before {
            Ok(before) => before,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.now = self.now.max(it.now);
        let cancels = it.change == QueueChange::ShutDown { cancel_futures: true };
        let mut kept = changed(before, &it.change);
        if cancels {
            kept.cancel_to = Some(self.counters.seq);
        }
        self.sql.keep_queue(name, &kept)?;
        self.ledger.keep_queue(name, kept);
        let mut cancelled = 0;
        if cancels {
            cancelled = self.ledger.doom(name, Ordinal(self.counters.ordinal));
            self.cancel_marked()?;
        }
        self.claim()?;
        Ok(self.queue(name).map(|queue| Ordered { queue, cancelled }))
    }

    /// The queues as this group has them now: that of one name, or all.
    pub(super) fn queues(&self, name: Option<&QueueName>) -> Result<Vec<Queue>, Error> {
        match name {
            Some(name) => self.queue(name).map(|queue| vec![queue]),
            None => Ok(self.ledger.queues(None)),
        }
    }

    fn queue(&self, name: &QueueName) -> Result<Queue, Error> {
        let found = self.ledger.queues(Some(name)).pop();
        found.ok_or_else(|| Error::UnknownQueue(name.clone()))
    }
}

fn changed(before: KeptQueue, change: &QueueChange) -> KeptQueue {
    match change {
        QueueChange::Set { max_workers, max_pending } => {
            let settings = QueueSettings {
                max_workers: max_workers.unwrap_or(before.settings.max_workers),
                max_pending: max_pending.unwrap_or(before.settings.max_pending),
            };
            KeptQueue { settings, shutdown: false, ..before }
        }
        QueueChange::Pause => KeptQueue { paused: true, ..before },
        QueueChange::Resume => KeptQueue { paused: false, ..before },
        // What an earlier shutdown asked to cancel stays asked (E15).
        QueueChange::ShutDown { .. } => KeptQueue { shutdown: true, ..before },
    }
}
