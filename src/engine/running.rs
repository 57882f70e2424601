//! The jobs that run in this process, and the handle by which each is asked to stop.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use foldhash::{HashMap, HashSet};
use tokio_util::sync::CancellationToken;

use crate::domain::{Job, JobId, Ordinal, Progress};
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

/// All of them, by place and by id.
#[derive(Debug, Default)]
pub(super) struct RunningJobs {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    controls: HashMap<Ordinal, Arc<Control>>,
    ids: HashSet<JobId>,
}

impl RunningJobs {
    /// A claimed job, from the moment that its claim is heard of: a cancel that follows finds it.
    pub(super) fn begin(&self, ordinal: Ordinal) -> Arc<Control> {
        let control = Arc::new(Control::default());
        self.lock().controls.insert(ordinal, Arc::clone(&control));
        control
    }

    /// The claimed job is this one.
    pub(super) fn named(&self, id: JobId) {
        self.lock().ids.insert(id);
    }

    /// The end of the attempt is committed. Its waiters are woken after this, never before: so whoever
    /// subscribes and then still finds the job here will be woken.
    pub(super) fn end(&self, job: &Job) {
        let mut table = self.lock();
        table.controls.remove(&job.ordinal);
        table.ids.remove(&job.spec.id);
    }

    /// Whether this job is known to run, so that nobody needs to look for its end.
    pub(super) fn runs(&self, id: JobId) -> bool {
        self.lock().ids.contains(&id)
    }

    /// Asks a job to stop, if it still runs.
    pub(super) fn cancel(&self, ordinal: Ordinal, grace: Duration) {
        let control = self.lock().controls.get(&ordinal).cloned();
        if let Some(control) = control {
            control.cancel(grace);
        }
    }

    /// The call of a running job, once its code runs.
    pub(super) fn call(&self, ordinal: Ordinal) -> Option<Call> {
        let control = self.lock().controls.get(&ordinal).cloned();
        control.and_then(|control| control.call.get().cloned())
    }

    /// What a running job last said of itself.
    pub(super) fn progress(&self, ordinal: Ordinal) -> Option<Progress> {
        self.call(ordinal).and_then(|call| call.last_progress())
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
