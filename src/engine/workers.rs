//! Workers: the claim knows how many calls their processes can take.

use tokio::sync::mpsc;

use crate::runtime::{Layer, Resize, Worker};
use crate::store::SlotChange;

use super::Engine;

/// Tells the claim of each change before it counts, until the server stops.
pub(super) async fn resize(engine: Engine, mut resizes: mpsc::UnboundedReceiver<Resize>) {
    while let Some(Resize { pool, slots, done }) = resizes.recv().await {
        let change = SlotChange::Resize { pool, slots };
        if let Err(error) = engine.shared.store.change_slots(change, engine.now()).await {
            tracing::warn!(%error, "the places of a worker were not counted anew");
        }
        // Whoever asked may be gone.
        done.send(()).unwrap_or_default();
    }
}

impl Engine {
    /// The workers.
    #[must_use]
    pub fn workers(&self) -> &[Worker] {
        self.shared.runtime.workers()
    }

    /// What keeps programs from this server, and what of it is not there; none where there are no programs.
    #[must_use]
    pub fn layers(&self) -> Option<Vec<Layer>> {
        Some(self.shared.runtime.processes()?.layers())
    }

    /// Has the processes of all workers give way to new ones, which run the code that is there then: of each worker one
    /// after the other, each when its call is over. Does not wait for that.
    pub fn renew_workers(&self) {
        self.shared.runtime.renew();
    }

    /// The same of the worker of this name, if there is one.
    pub fn renew_worker(&self, name: &str) -> Option<&Worker> {
        let worker = self.workers().iter().find(|worker| worker.name() == name)?;
        worker.renew();
        tracing::info!(worker = name, "renewed: its processes give way, one after the other");
        Some(worker)
    }

    /// What bounds programs beside the look of their reapers, or why nothing does; none where there are none.
    #[must_use]
    pub fn cgroups(&self) -> Option<Result<&[String], &str>> {
        Some(self.shared.runtime.processes()?.cgroups())
    }
}
