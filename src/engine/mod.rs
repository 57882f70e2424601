//! The service without HTTP: submit, get, list, wait, cancel, and what is told to callbacks.

mod again;
mod attempt;
mod batch_results;
mod batches;
mod budget;
mod callbacks;
mod cancel_many;
mod changes;
mod cleaner;
pub mod clock;
mod deliverer;
mod dispatcher;
mod error;
mod event;
mod failures;
mod forget;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod get_and_wait;
mod health;
mod job_events;
pub mod keys;
mod logs;
mod manual;
mod map;
mod open_completions;
mod portions;
mod quarantine;
mod queues;
mod recent;
mod request;
mod retry;
mod running;
mod seal;
pub mod secret;
mod shutdown;
mod stop;
mod submit;
mod timers;
mod wait_many;
mod waiters;
mod watched;
mod workers;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio_util::task::TaskTracker;

use crate::domain::{Batch, Job, JobId, Ordinal, Pool, State, Timestamp, When};
use crate::outbound::Client;
use crate::runtime::{Registry, Resize, Runtime};
use crate::store::{self, CancelOrder, OpenedStore, Store, View};

pub use crate::runtime::{Fault, Function, Layer, Refusal, Worker, WorkerState};
pub use crate::store::{
    BatchPage, CallbackFilter, CancelFilter, Cancellation, Ended, Filter, JobChange, Left, Order,
    Places, Portion,
};
pub use batch_results::{BatchResult, BatchResults};
pub use batches::{BatchCall, NewBatch, SubmittedBatch};
pub use budget::{Budget, FREE_BYTES, Held, Share, Waiting, Who};
pub use callbacks::CallbackPage;
pub use cancel_many::CancelMany;
pub use changes::{Followed, Following};
pub use clock::{Clock, Wall};
pub use deliverer::DelivererConfig;
pub use error::{Caller, Error};
pub use event::{type_of as event_type, type_of_batch as batch_event_type};
pub use job_events::{JobEvent, JobEvents, JobPlace};
pub use manual::Completed;
pub use map::{CALL_BYTES, Happened, Map, NewMap};
pub use open_completions::{OpenCompletion, OpenCompletions};
pub use portions::{JOB_BYTES, PORTION_BYTES, Portions};
pub use queues::{QueueNow, ShutdownRequest};
pub use request::{CallbackRequest, CancelMode, CancelRequest, NewJob};
pub use submit::Submitted;
pub use wait_many::{Completion, Completions, EndedJob, ReturnWhen, portion_room};
pub use watched::{SEEN_WITHIN, Watcher};

use recent::Recent;
use running::RunningJobs;
use seal::Seal;
use secret::WebhookSecrets;
use shutdown::Shutdown;
use waiters::Waiters;

/// What the engine needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Requests that may wait at once.
    pub waiters_max: usize,
    /// Jobs that all of them together may watch.
    pub watched_max: usize,
    /// When and how callbacks are told.
    pub deliverer: DelivererConfig,
    /// Makes the bodies of deliveries: the form on the wire is not our business.
    pub render: Render,
}

/// What makes the body of a delivery.
#[derive(Clone, Copy, Debug)]
pub struct Render {
    /// Of a job that is done.
    pub job: fn(&Job) -> String,
    /// Of a batch, of which this has come about.
    pub batch: fn(&Batch, When) -> String,
    /// What one who follows all changes is sent of one. All are sent the same, so it is made once.
    pub change: fn(&JobChange) -> String,
}

/// What the floors below give to the engine.
#[derive(Debug)]
pub struct Parts {
    /// The store, freshly opened.
    pub opened: OpenedStore,
    /// The functions.
    pub registry: Registry,
    /// Where they run.
    pub runtime: Runtime,
    /// How many calls workers can take.
    pub resizes: mpsc::UnboundedReceiver<Resize>,
    /// What deliveries are sent through.
    pub client: Client,
    /// What time it is.
    pub clock: Clock,
    /// Sign deliveries whose callback gave no secret of its own.
    pub secrets: WebhookSecrets,
    /// Seals what callbacks give in confidence.
    pub seal_key: [u8; 32],
}

/// One page of a list, newest first.
#[derive(Clone, Debug)]
pub struct Page {
    /// The jobs; large arguments and results are left out.
    pub jobs: Vec<Job>,
    /// Where the next page begins: below this; none on the last page.
    pub next: Option<Ordinal>,
}

/// The service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    store: Store,
    registry: Registry,
    runtime: Runtime,
    client: Client,
    clock: Clock,
    timer: timers::Timer,
    secrets: WebhookSecrets,
    seal: Seal,
    waiters: Waiters,
    running: RunningJobs,
    recent: Recent,
    deliveries_due: Notify,
    /// Turns of what the deliverer writes.
    delivery_writes: Semaphore,
    /// Told whenever a queue that was shut down is drained.
    drained: watch::Sender<()>,
    /// Those who follow all changes.
    followers: changes::Followers,
    /// Places of those who wait for that.
    drains: Semaphore,
    /// When something is to be removed.
    due: cleaner::Due,
    /// Turns of cancels of many.
    cancels: Semaphore,
    shutdown: Shutdown,
    attempts: TaskTracker,
    /// Those that were given up, and whose code still holds their slots.
    overstaying: TaskTracker,
    tasks: TaskTracker,
    writer: std::sync::Mutex<Option<oneshot::Receiver<()>>>,
}

impl Engine {
    /// Starts the dispatcher, the deliverer and the cleaner. Jobs that waited when the last server ended start now.
    #[must_use]
    pub fn start(config: Config, parts: Parts) -> Self {
        let Parts { opened, registry, runtime, resizes, client, clock, secrets, seal_key } = parts;
        let waiters = Waiters::new(config.waiters_max, config.watched_max);
        let shared = Arc::new(Shared {
            config,
            store: opened.store,
            registry,
            runtime,
            client,
            clock,
            timer: timers::Timer::default(),
            secrets,
            seal: Seal::new(&seal_key),
            waiters,
            running: RunningJobs::default(),
            recent: Recent::default(),
            deliveries_due: Notify::new(),
            delivery_writes: Semaphore::new(deliverer::WRITES_MAX),
            drained: watch::Sender::new(()),
            followers: changes::Followers::default(),
            drains: Semaphore::new(queues::WAITING_MAX),
            due: cleaner::Due::default(),
            cancels: Semaphore::new(cancel_many::AT_ONCE_MAX),
            shutdown: Shutdown::default(),
            attempts: TaskTracker::new(),
            overstaying: TaskTracker::new(),
            tasks: TaskTracker::new(),
            writer: std::sync::Mutex::new(Some(opened.closed)),
        });
        let engine = Self { shared };
        opened.failed.iter().for_each(failures::tell);
        engine.shared.tasks.spawn(dispatcher::run(engine.clone(), opened.commits));
        engine.shared.tasks.spawn(deliverer::run(engine.clone(), opened.suspect_deliveries));
        if opened.suspects > 0 {
            engine.shared.tasks.spawn(quarantine::clear(engine.clone(), opened.suspects));
        }
        // What came due while no server ran is looked for at once.
        let long_ago = Some(Timestamp(0));
        engine.shared.timer.set(store::NextTimer { deadline: long_ago, wall: long_ago });
        engine.shared.tasks.spawn(timers::run(engine.clone()));
        engine.shared.tasks.spawn(cleaner::run(engine.clone()));
        engine.shared.tasks.spawn(clock::watch(engine.clone()));
        engine.shared.tasks.spawn(workers::resize(engine.clone(), resizes));
        // What an earlier server did not come to. None of their jobs starts meanwhile.
        opened.cancelling.into_iter().for_each(|batch| engine.go_on_cancelling(batch));
        engine
    }

    /// Cancels a job (F1 to F5) and gives it back as it stands then, with what the cancel did.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::TooManyWaiters`].
    pub async fn cancel(
        &self,
        id: JobId,
        asked: CancelRequest,
    ) -> Result<(Cancellation, Arc<Job>), Error> {
        let wait = asked.wait;
        let waiter = if wait.is_zero() { None } else { Some(self.shared.waiters.subscribe(id)?) };
        let deadline = tokio::time::Instant::now() + wait;
        let job = self.get(id).await?;
        let order = CancelOrder {
            pool: self.shared.pool_of(job.spec.function.as_str()),
            job,
            terminate: asked.mode == CancelMode::Terminate,
            grace_seconds: asked.grace_seconds,
            now: self.now(),
        };
        let cancellation = self.shared.store.cancel(order).await?;
        let waited = match (cancellation, waiter) {
            (Cancellation::Requested, Some(waiter)) => self.until(waiter, deadline).await,
            _ => None,
        };
        match waited {
            Some(done) => Ok((cancellation, done)),
            None => Ok((cancellation, self.get(id).await?)),
        }
    }

    /// One page of the jobs that pass `filter`, newest first. It may be short, even empty, and not the last.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn list(
        &self,
        filter: &Filter,
        below: Option<Ordinal>,
        page_size: usize,
    ) -> Result<Page, Error> {
        let Places { places, next } = self.places(filter, below, page_size).await?;
        let mut jobs = self.shown_at(&places, usize::MAX).await?.jobs;
        // It may have changed since it was found.
        jobs.retain(|job| filter.state.is_none_or(|state| job.state == state));
        Ok(Page { jobs, next })
    }

    /// Where the jobs stand that pass `filter` and were submitted before `below`, newest first.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn places(
        &self,
        filter: &Filter,
        below: Option<Ordinal>,
        page_size: usize,
    ) -> Result<Places, Error> {
        Ok(self.shared.store.list(filter, below, page_size).await?)
    }

    /// The jobs at the first of those places, as many as are printed at once. One that was forgotten since is left out.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn jobs_at(&self, places: &[Ordinal]) -> Result<Portion, Error> {
        self.shown_at(places, PORTION_BYTES).await
    }

    async fn shown_at(&self, places: &[Ordinal], bytes_max: usize) -> Result<Portion, Error> {
        let mut portion = self.shared.store.jobs_at(places, View::Brief, bytes_max).await?;
        for job in portion.jobs.iter_mut().filter(|job| job.state == State::Running) {
            job.progress = self.shared.running.progress(job.ordinal);
        }
        Ok(portion)
    }

    /// All functions, by name.
    pub fn functions(&self) -> impl Iterator<Item = &Arc<Function>> {
        self.shared.registry.iter()
    }

    /// The function of that name.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<&Arc<Function>> {
        self.shared.registry.get(name)
    }

    /// Whether submissions are taken.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.shared.shutdown.draining.load(Ordering::Relaxed)
    }

    /// What time it is.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// By the server's own clock.
    fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }
}

impl Shared {
    fn pool_of(&self, function: &str) -> Pool {
        self.registry.get(function).map_or(Pool::Absent, |function| function.pool())
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        error::of_store(error)
    }
}

impl From<store::Failure> for Error {
    fn from(failure: store::Failure) -> Self {
        error::of_failure(failure)
    }
}
