//! Who waits for which batch. A batch changes often, so whoever waits is told only that it has, and looks.

use std::sync::Arc;

use tokio::sync::watch;

use crate::domain::BatchId;

use super::{Error, Registration, Table, Waiters, lock};

/// Those who wait for one batch.
#[derive(Debug)]
pub(super) struct BatchReaders {
    readers: usize,
    changed: watch::Sender<()>,
}

impl Waiters {
    /// Hears of every change of a batch from now on. Subscribe first, look after: then none can be missed.
    pub(in crate::engine) fn watch_batch(&self, id: BatchId) -> Result<BatchWatch, Error> {
        let mut table = lock(&self.shared);
        let number = table.enter(self.waiters_max)?;
        let watched = table
            .batches
            .entry(id)
            .or_insert_with(|| BatchReaders { readers: 0, changed: watch::Sender::new(()) });
        watched.readers += 1;
        let changed = watched.changed.subscribe();
        drop(table);
        let watched = super::Watched::Batch(id);
        Ok(BatchWatch {
            changed,
            _registration: Registration { table: Arc::clone(&self.shared), watched, number },
        })
    }

    /// Tells that a batch has changed.
    pub(in crate::engine) fn batch_changed(&self, id: BatchId) {
        if let Some(watched) = lock(&self.shared).batches.get(&id) {
            watched.changed.send_replace(());
        }
    }
}

impl Table {
    pub(super) fn leave_batch(&mut self, id: BatchId) {
        let Some(watched) = self.batches.get_mut(&id) else { return };
        watched.readers -= 1;
        if watched.readers == 0 {
            self.batches.remove(&id);
        }
    }
}

/// One request that waits for a batch.
#[derive(Debug)]
pub(in crate::engine) struct BatchWatch {
    changed: watch::Receiver<()>,
    _registration: Registration,
}

impl BatchWatch {
    /// Ends when the batch has changed since this was last called, or since the subscription.
    pub(in crate::engine) async fn changed(&mut self) {
        // The sender lives as long as this place is taken.
        if self.changed.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn a_change_between_two_looks_is_heard_and_the_last_reader_leaves_an_empty_table() {
        let waiters = Waiters::new(2, 0);
        let id = BatchId(Uuid::from_u128(1));
        let mut first = waiters.watch_batch(id).expect("a place");
        let second = waiters.watch_batch(id).expect("a place");
        assert!(waiters.watch_batch(id).is_err(), "it is a waiter like any other");
        waiters.batch_changed(id);
        waiters.batch_changed(id);
        first.changed().await;
        drop((first, second));
        assert!(lock(&waiters.shared).batches.is_empty());
        assert_eq!(lock(&waiters.shared).requests, 0);
        waiters.batch_changed(id);
    }
}
