//! The dispatcher: hears what each commit did, starts what was claimed, wakes who waits.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Job, Json, Ordinal};
use crate::store::{Claimed, Commits, Ended, Event, View};

use super::Engine;
use super::attempt;
use super::failures;
use super::running::Control;

/// Jobs that are read at once to tell that they were cancelled.
const ANNOUNCED_AT_ONCE: usize = 250;

/// Between two tries to read what a commit told of.
const READ_AGAIN: Duration = Duration::from_millis(500);

/// Runs until the store is closed.
pub(super) async fn run(engine: Engine, mut commits: Commits) {
    while let Some(group) = commits.next().await {
        for event in group {
            engine.hear(event);
        }
        engine.shared.followers.committed();
    }
}

impl Engine {
    fn hear(&self, event: Event) {
        match event {
            Event::Started(job, bound) => {
                let control = self.shared.running.begin(job.ordinal);
                self.begin(job, Some(bound), control);
            }
            Event::Claimed(claimed) => self.begin_all(claimed),
            Event::Changed(job) => {
                self.shared.running.end(&job);
                failures::tell(&job);
                if !job.is_done() {
                    self.shared.waiters.changed(job.spec.id);
                    return;
                }
                self.shared.due.of(&job);
                // Whoever was given the job will hardly ask for it again. Who follows a tag hears of it, and asks.
                if self.shared.waiters.is_followed(&job) {
                    self.shared.recent.keep(&job);
                    self.shared.waiters.done(&job);
                } else if !self.shared.waiters.done(&job) {
                    self.shared.recent.keep(&job);
                }
            }
            Event::Cancelled(ended) => self.announce_many(&[ended]),
            Event::CancelledMany(jobs) => self.announce_many(&jobs),
            Event::Drained(name) => {
                tracing::debug!(queue = %name, "a queue that was shut down is drained, or open again");
                self.shared.drained.send_replace(());
            }
            Event::AskedMany { jobs, grace_seconds } => {
                let grace = Duration::try_from_secs_f64(grace_seconds).unwrap_or_default();
                for (ordinal, id) in jobs {
                    self.shared.running.cancel(ordinal, grace);
                    self.shared.waiters.changed(id);
                }
            }
            Event::Batch(id) => {
                self.shared.waiters.batch_changed(id);
                // It may be done, and nobody has read when it expires; the cleaner finds out.
                self.shared.due.soon(self.now());
            }
            Event::BatchCancelling(batch) => self.go_on_cancelling(batch),
            Event::Gone(ids) => self.shared.recent.forget(&ids),
            Event::CancelRequested(order) => {
                let grace = Duration::try_from_secs_f64(order.grace_seconds).unwrap_or_default();
                self.shared.running.cancel(order.job.ordinal, grace);
                self.shared.waiters.changed(order.job.spec.id);
            }
            Event::MayStart(ids) => ids.iter().for_each(|id| self.shared.waiters.changed(*id)),
            Event::Waits(alarm) => self.shared.timer.set(alarm),
            Event::DeliveriesDue => self.shared.deliveries_due.notify_one(),
            Event::Broken => self.shared.shutdown.failed.cancel(),
        }
    }

    fn begin(&self, job: Arc<Job>, bound: Option<Json>, control: Arc<Control>) {
        self.shared.running.named(job.spec.id);
        // In a box, because a future is moved many times before it is first polled.
        let attempt = Box::pin(attempt::run(self.clone(), job, bound, control));
        self.shared.attempts.spawn(attempt);
    }

    /// Starts jobs that waited, those at once that need not be read.
    fn begin_all(&self, claimed: Vec<Claimed>) {
        let mut unknown = Vec::new();
        for Claimed { ordinal, known } in claimed {
            let control = self.shared.running.begin(ordinal);
            match known {
                Some((job, bound)) => {
                    self.shared.waiters.changed(job.spec.id);
                    self.begin(job, Some(bound), control);
                }
                None => unknown.push((ordinal, control)),
            }
        }
        if !unknown.is_empty() {
            self.shared.attempts.spawn(begin_unknown(self.clone(), unknown));
        }
    }

    /// Wakes who waits for one of the jobs that were cancelled before they started. Whoever waits for many
    /// hears of it at once, so that ends are heard of in their order. For whoever waits for one, the
    /// job is read; of those that nobody waits for none is: who comes later finds them done.
    fn announce_many(&self, jobs: &[Ended]) {
        jobs.iter().for_each(|ended| self.shared.waiters.ended(*ended));
        jobs.iter().copied().for_each(failures::tell_waiting);
        // Nobody has read when they expire; the cleaner finds out.
        self.shared.due.soon(self.now());
        let awaited = jobs.iter().filter(|ended| self.shared.waiters.is_awaited(ended.id));
        let awaited: Vec<Ordinal> = awaited.map(|ended| ended.ordinal).collect();
        for page in awaited.chunks(ANNOUNCED_AT_ONCE) {
            self.shared.tasks.spawn(announce(self.clone(), page.to_vec()));
        }
    }

    /// Reads jobs that a commit told of. They are there; only the database can be out of reach, and
    /// then it is asked again until the server stops.
    async fn committed(&self, ordinals: &[Ordinal]) -> Vec<Arc<Job>> {
        loop {
            match self.shared.store.jobs_at(ordinals, View::Whole, usize::MAX).await {
                Ok(found) => return found.jobs.into_iter().map(Arc::new).collect(),
                Err(error) => {
                    tracing::error!(%error, "committed jobs cannot be read; trying again")
                }
            }
            tokio::select! {
                () = tokio::time::sleep(READ_AGAIN) => {}
                () = self.shared.shutdown.attempts.cancelled() => return Vec::new(),
            }
        }
    }
}

async fn begin_unknown(engine: Engine, claimed: Vec<(Ordinal, Arc<Control>)>) {
    let ordinals: Vec<Ordinal> = claimed.iter().map(|(ordinal, _)| *ordinal).collect();
    for job in engine.committed(&ordinals).await {
        let found = claimed.iter().find(|(ordinal, _)| *ordinal == job.ordinal);
        if let Some((_, control)) = found {
            engine.shared.waiters.changed(job.spec.id);
            engine.begin(job, None, Arc::clone(control));
        }
    }
}

async fn announce(engine: Engine, ordinals: Vec<Ordinal>) {
    for job in engine.committed(&ordinals).await {
        engine.shared.waiters.done(&job);
    }
}
