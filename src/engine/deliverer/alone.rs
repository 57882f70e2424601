//! After a start: deliveries during which servers have died too often go first, and each alone (G9), so that no other one is
//! blamed if it happens once more.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{Ordinal, ReceiverHealth};
use crate::engine::Engine;
use crate::store::Store;

use super::in_flight::InFlight;
use super::post::Bodies;

/// A receiver that does not answer keeps the others waiting no longer than this.
const ALONE_FOR: Duration = Duration::from_secs(5);
/// So long all of them together keep the others waiting, at most.
const ALONE_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks whether a job still runs alone.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Engine {
    /// Sends those deliveries one after the other. Nothing is sent while a job runs alone: it is not to be blamed either, nor
    /// to have others blamed.
    pub(super) async fn send_alone(&self, suspects: Vec<Ordinal>, in_flight: &mut InFlight) {
        while self.shared.store.health().runs_alone {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        if suspects.is_empty() {
            return;
        }
        let count = suspects.len();
        tracing::warn!(
            deliveries = count,
            "the server died twice while these deliveries were made: each of them is sent alone now, before all others"
        );
        let until = Instant::now() + ALONE_WITHIN;
        for callback in suspects {
            if Instant::now() >= until {
                tracing::warn!("the rest of them is sent beside others");
                return;
            }
            self.send_one_alone(callback, in_flight).await;
        }
    }

    async fn send_one_alone(&self, callback: Ordinal, in_flight: &mut InFlight) {
        let now = self.now();
        let look = |store: Store| async move { store.outbox(now).await?.due_at(callback).await };
        let found = self.until_done("a delivery cannot be read", look).await.flatten();
        let Some(due) = found else { return };
        in_flight.take(&due, ReceiverHealth::Silent);
        let bodies = Arc::new(Bodies::of(std::slice::from_ref(&due)));
        in_flight.send(self.clone(), due, bodies);
        let finished = async {
            while in_flight.has(callback) {
                in_flight.next_finished().await;
            }
        };
        if tokio::time::timeout(ALONE_FOR, finished).await.is_err() {
            tracing::debug!("a receiver is slow to answer; the others wait no longer");
        }
    }
}
