//! The end of a server: nothing that was promised is lost, and nobody waits for ever (G21).

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::store::{self, SlotChange};

use super::Engine;

/// After the grace, attempts that were asked to stop are recorded within this.
const RECORD_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks whether what the database refused is recorded.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Engine {
    /// Ends when the store can promise nothing any more.
    pub async fn broken(&self) {
        self.shared.shutdown.failed.cancelled().await;
    }

    /// Whether the store can promise nothing any more.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.shared.shutdown.failed.is_cancelled()
    }

    /// Not ready from now on: refuses submissions, claims nothing, and gives what runs until `grace`
    /// has passed or `hurry` ends. Then asks it to stop, gives up what does not, and puts that back
    /// among the waiting, to run again at the next start. Reads and waits are served all the while;
    /// at the end every waiter has an answer.
    pub async fn drain(&self, grace: Duration, hurry: impl Future<Output = ()>) {
        let shared = &self.shared;
        shared.shutdown.draining.store(true, Ordering::Relaxed);
        if let Err(error) = self.stop_claiming().await {
            tracing::warn!(%error, "claims could not be stopped");
        }
        shared.attempts.close();
        tokio::select! {
            () = self.recorded() => {}
            () = tokio::time::sleep(grace) => tracing::info!("the grace is over; stopping what still runs"),
            () = hurry => tracing::info!("stopping at once"),
            () = shared.shutdown.failed.cancelled() => {}
        }
        shared.shutdown.attempts.cancel();
        if tokio::time::timeout(RECORD_WITHIN, self.recorded()).await.is_err() {
            tracing::warn!("some attempts did not end; the next start recovers them");
        }
        shared.shutdown.waits.cancel();
    }

    async fn stop_claiming(&self) -> Result<(), store::Error> {
        self.shared.store.change_slots(SlotChange::StopClaiming, self.now()).await
    }

    /// Ends when every attempt has ended and what came of it is recorded. The store goes on trying with what could not be.
    async fn recorded(&self) {
        loop {
            self.shared.attempts.wait().await;
            // Nothing is claimed any more; the answer comes after whatever was sent before.
            let is_closed = self.stop_claiming().await.is_err();
            if is_closed
                || self.shared.attempts.is_empty() && self.shared.store.health().outcomes_kept == 0
            {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Writes what is under way and closes the database.
    pub async fn close(self) {
        let shared = &self.shared;
        shared.runtime.close().await;
        let writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        shared.store.clone().close().await;
        if let Some(writer) = writer
            && writer.await.is_err()
        {
            tracing::error!("the writer ended early");
        }
    }
}
