//! Jobs that run alone after a start (G9), and the end of that.

use std::time::Duration;

use crate::store::SlotChange;

use super::Engine;

/// So long a start keeps everything else waiting, at most: what runs for hours must not stop the service.
const ALONE_WITHIN: Duration = Duration::from_secs(300);

/// Lets everything run together after a while, if it does not by itself before.
pub(super) async fn clear(engine: Engine, suspects: usize) {
    tracing::warn!(
        jobs = suspects,
        "the server died twice while these jobs ran: each of them runs alone now, before all others"
    );
    tokio::select! {
        () = tokio::time::sleep(ALONE_WITHIN) => {}
        () = engine.shared.shutdown.attempts.cancelled() => return,
    }
    if let Err(error) =
        engine.shared.store.change_slots(SlotChange::ClearSuspects, engine.now()).await
    {
        tracing::warn!(%error, "jobs that ran alone still do");
    }
}
