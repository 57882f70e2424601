//! Cancelling many jobs at once, however many wait, and in the way of nobody.

use tokio::sync::oneshot;

use crate::domain::Ordinal;
use crate::store::{self, CancelCounts, CancelFilter};

use super::{CancelMode, Engine, Error};

/// How long a running job may take that is asked to stop.
const GRACE_SECONDS: f64 = 5.0;
/// Cancels of many that are under way at once. The next ones wait for their turn.
pub(super) const AT_ONCE_MAX: usize = 8;

/// A cancel of many.
#[derive(Clone, Debug)]
pub struct CancelMany {
    /// Which jobs are meant.
    pub filter: CancelFilter,
    /// What becomes of those that run.
    pub mode: CancelMode,
    /// Whether they are only counted.
    pub dry_run: bool,
}

impl Engine {
    /// Cancels many jobs (F3, F4), and says how many when all is done. Whoever asked may go away meanwhile:
    /// that changes nothing.
    pub async fn cancel_many(&self, asked: CancelMany) -> Result<CancelCounts, Error> {
        if asked.dry_run {
            return self.cancel_matching(asked).await;
        }
        let (answer, counts) = oneshot::channel();
        let engine = self.clone();
        self.shared.tasks.spawn(async move {
            let Ok(_turn) = engine.shared.cancels.acquire().await else { return };
            // Whoever asked may be gone; the work is done all the same.
            drop(answer.send(engine.cancel_matching(asked).await));
        });
        counts.await.map_err(|_ended| Error::Draining)?
    }

    /// Cancels what is not done of a batch, none of which starts any more: what waits, and what runs is asked to stop.
    pub(super) async fn cancel_rest_of(&self, batch: Ordinal) -> Result<(), Error> {
        let filter = CancelFilter::Batch(batch);
        let asked = CancelMany { filter, mode: CancelMode::Terminate, dry_run: false };
        self.cancel_matching(asked).await.map(drop)
    }

    async fn cancel_matching(&self, asked: CancelMany) -> Result<CancelCounts, Error> {
        let CancelMany { filter, mode, dry_run } = asked;
        let terminate = mode == CancelMode::Terminate;
        let asked = store::CancelMany { filter, terminate, grace_seconds: GRACE_SECONDS, dry_run };
        tokio::select! {
            biased;
            () = self.shared.shutdown.waits.cancelled() => Err(Error::Draining),
            counts = self.shared.store.cancel_matching(asked, || self.now()) => Ok(counts?),
        }
    }
}
