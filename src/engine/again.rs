//! What could not be done now and is tried again, until it is done or the server ends.

use std::time::Duration;

use crate::store::{Error, Failure, Store};

use super::Engine;

/// Between two tries: at first, and at most.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Says that something of ours failed, which is tried again. What passes by itself the store has told of.
pub(super) fn failed(error: &Error, what: &'static str) {
    if error.passes() {
        tracing::debug!(%error, "{what}; trying again");
    } else {
        tracing::error!(%error, "{what}; trying again");
    }
}

impl Engine {
    /// Does what nobody else would ask for again; none if the server ends before it is done.
    pub(super) async fn until_done<T, E: Into<Error>, F: Future<Output = Result<T, E>>>(
        &self,
        what: &'static str,
        does: impl Fn(Store) -> F,
    ) -> Option<T> {
        let mut pause = PAUSE_MIN;
        loop {
            match does(self.shared.store.clone()).await.map_err(Into::into) {
                Ok(done) => return Some(done),
                Err(Error::Failed(Failure::Closed)) => return None,
                Err(error) => failed(&error, what),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
                () = self.shared.shutdown.waits.cancelled() => return None,
            }
        }
    }
}
