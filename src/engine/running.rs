//! The jobs that run in this process, and the handle by which each is asked to stop.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::{Ordinal, Progress};
use crate::runtime::Call;

/// By which a running attempt is reached.
#[derive(Debug, Default)]
pub(super) struct Control {
    cancelled: CancellationToken,
    grace: OnceLock<Duration>,
    call: OnceLock<Call>,
}

impl Control {
    /// Asks the attempt to stop within `grace`. Only the first asking counts.
    pub(super) fn cancel(&self, grace: Duration) {
        if self.grace.set(grace).is_ok() {
            self.cancelled.cancel();
        }
    }

    /// Ends when the attempt is asked to stop; says how long it may take.
    pub(super) async fn cancelled(&self) -> Duration {
        self.cancelled.cancelled().await;
        self.grace.get().copied().unwrap_or_default()
    }

    /// The attempt runs now, as this call.
    pub(super) fn runs(&self, call: &Call) {
        // An attempt has one call; a second one would be a mistake that changes nothing.
        drop(self.call.set(call.clone()));
    }
}

/// All of them, by place.
#[derive(Debug, Default)]
pub(super) struct RunningJobs {
    controls: Mutex<HashMap<Ordinal, Arc<Control>>>,
}

impl RunningJobs {
    /// A claimed job, from the moment that its claim is heard of: a cancel that follows finds it.
    pub(super) fn begin(&self, ordinal: Ordinal) -> Arc<Control> {
        let control = Arc::new(Control::default());
        self.lock().insert(ordinal, Arc::clone(&control));
        control
    }

    /// The attempt is settled.
    pub(super) fn end(&self, ordinal: Ordinal) {
        self.lock().remove(&ordinal);
    }

    /// Asks a job to stop, if it still runs.
    pub(super) fn cancel(&self, ordinal: Ordinal, grace: Duration) {
        let control = self.lock().get(&ordinal).cloned();
        if let Some(control) = control {
            control.cancel(grace);
        }
    }

    /// What a running job last said of itself.
    pub(super) fn progress(&self, ordinal: Ordinal) -> Option<Progress> {
        let control = self.lock().get(&ordinal).cloned();
        control.and_then(|control| control.call.get().and_then(Call::last_progress))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Ordinal, Arc<Control>>> {
        self.controls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
