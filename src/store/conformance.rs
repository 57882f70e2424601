//! The conformance suite: what every database below the store must do, through the store's own verbs.

pub mod backend;
pub mod batch_removals;
pub mod batches;
pub mod callbacks;
pub mod cancel_many;
pub mod cancels;
pub mod changes;
pub mod claims;
pub mod clocks;
pub mod deaths;
pub mod logs;
pub mod manual;
pub mod model;
pub mod outbox;
pub mod pages;
pub mod places;
pub mod queues;
pub mod recoveries;
pub mod redeliveries;
pub mod refusals;
pub mod removals;
pub mod repeats;
pub mod values;

pub use std::collections::BTreeMap;
pub use std::sync::Arc;

pub use tokio::sync::{mpsc, oneshot};

pub use crate::domain::{
    Callback, CallbackId, Job, JobError, Json, Ordinal, Outcome, Pool, Priority, QueueName, Spec,
    State, Timestamp, example,
};

pub use super::contract::Known;
pub use super::{
    CallbackQuery, CancelOrder, Completion, Config, DueDelivery, Error, Event, Filter, Many,
    OpenedStore, Places, Queue, QueueSettings, SlotChange, Store, Submission, Submitted, View,
};
pub use backend::{Backend, Damage, Figure, Refused};

/// When everything that a test does not date happens.
pub const NOW: Timestamp = Timestamp(3_000);

/// A store on a file of its own, and what it tells.
pub struct TestStore {
    pub store: Store,
    pub events: mpsc::UnboundedReceiver<Vec<Event>>,
    pub closed: oneshot::Receiver<()>,
    pub recovered: usize,
    pub suspect_deliveries: Vec<Ordinal>,
    pub cancelling: Vec<Ordinal>,
    pub config: Config,
    pub backend: Backend,
}

/// A page of a list.
pub struct Page {
    pub jobs: Vec<Job>,
    pub next: Option<Ordinal>,
}

impl TestStore {
    /// One queue, `default`, that runs so many jobs at once.
    pub async fn of_workers(max_workers: usize) -> Self {
        Self::with(QueueSettings { max_workers, max_pending: 1_000 }).await
    }

    pub async fn with(settings: QueueSettings) -> Self {
        let backend = Backend::fresh();
        let config = Config {
            path: backend.path(),
            queues: BTreeMap::from([(QueueName::default_queue(), settings)]),
            queue_default: QueueSettings { max_workers: 2, max_pending: 1_000 },
            manual_max: 1_000,
            slots: BTreeMap::from([(Pool::Tasks, 1_000), (Pool::Threads, 1_000)]),
            pools: BTreeMap::from([("echo".to_owned(), Pool::Tasks)]),
            delivery_wait_ms_max: 86_400_000,
            accept_data_loss: false,
        };
        Self::open(backend, config).await
    }

    pub async fn open(backend: Backend, config: Config) -> Self {
        Self::open_at(NOW, backend, config).await
    }

    pub async fn open_at(now: Timestamp, backend: Backend, config: Config) -> Self {
        let opened = Store::open(config.clone(), now).await.expect("a store");
        let OpenedStore { store, mut commits, closed, recovered, .. } = opened;
        let (suspect_deliveries, cancelling) = (opened.suspect_deliveries, opened.cancelling);
        let (heard, events) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(events) = commits.next().await {
                // A test that does not listen is answered all the same.
                drop(heard.send(events));
            }
        });
        Self { store, events, closed, recovered, suspect_deliveries, cancelling, config, backend }
    }

    /// The next server on the same file: this one is dropped without a word.
    pub async fn reopened(self) -> Self {
        self.reopened_at(NOW).await
    }

    pub async fn reopened_at(self, now: Timestamp) -> Self {
        let Self { store, events, closed, config, backend, .. } = self;
        drop((store, events));
        closed.await.expect("the writer ends by itself");
        Self::open_at(now, backend, config).await
    }

    /// Submits example number `number`.
    pub async fn submit(&self, number: u64) -> Job {
        self.put(submission(example::spec(number))).await.expect("a job")
    }

    pub async fn put(&self, submission: Submission) -> Result<Job, Error> {
        self.store.submit(submission, None).await?.get().await.map(Arc::unwrap_or_clone)
    }

    pub async fn many(&self, many: Many) -> Result<Submitted, Error> {
        self.store.submit_many(many).await?.get().await
    }

    pub async fn settle(&self, job: &Job, outcome: Outcome) -> Result<(), Error> {
        self.record(settlement(job, outcome)).await
    }

    pub async fn record(&self, settlement: Completion) -> Result<(), Error> {
        self.store.complete(Arc::new(settlement), None).await
    }

    /// Hands an outcome over, as an attempt does.
    pub async fn hands_over(&self, it: Completion, failed: impl FnOnce(Error) + Send + 'static) {
        let sent = self.store.complete(Arc::new(it), Some(Box::new(failed))).await;
        sent.expect("it hears of it");
    }

    pub async fn change_slots(&self, change: SlotChange) -> Result<(), Error> {
        self.store.change_slots(change, NOW).await
    }

    /// The code of an attempt that was given up has ended.
    pub async fn release(&self, queue: QueueName) {
        let change = SlotChange::Release { queue, pool: Pool::Tasks };
        self.change_slots(change).await.expect("an answer");
    }

    pub async fn queue_of(&self, name: QueueName) -> Queue {
        self.store.queues(Some(name)).await.expect("a queue").remove(0)
    }

    /// Those of these jobs that are there, whole.
    pub async fn jobs_at(&self, places: &[Ordinal]) -> Vec<Job> {
        self.store.jobs_at(places, View::Whole, usize::MAX).await.expect("they read").jobs
    }

    /// A page of jobs, as a list shows it.
    pub async fn list(&self, filter: &Filter, below: Option<Ordinal>, limit: usize) -> Page {
        let Places { places, next } =
            self.store.list(filter, below, limit).await.expect("they read");
        let found = self.store.jobs_at(&places, View::Brief, usize::MAX).await;
        Page { jobs: found.expect("they read").jobs, next }
    }

    pub async fn known(&self) -> Known {
        self.store.changes(0, 0).await.expect("it reads").known
    }

    pub async fn callbacks_of(&self, query: &CallbackQuery) -> Vec<Callback> {
        let found = self.store.callback_places(query, None, 1_000).await.expect("they read");
        self.store.callbacks_at(&found.places).await.expect("they read")
    }

    pub async fn due_at(&self, callback: Ordinal) -> Option<DueDelivery> {
        let mut outbox = self.store.outbox(NOW).await.expect("a look");
        outbox.due_at(callback).await.expect("it reads")
    }

    /// Asks for the delivery of a callback once more; how many are due for that.
    pub async fn redelivers(&self, id: CallbackId) -> usize {
        let found = self.store.callback_places(&CallbackQuery::Id(id), None, 1).await;
        let places = found.expect("it reads").places;
        self.store.redeliver(places, NOW).await.expect("an answer")
    }

    pub async fn job(&self, job: &Job) -> Job {
        self.store.job(job.spec.id).await.expect("it reads").expect("it is there")
    }

    pub async fn state(&self, job: &Job) -> State {
        self.job(job).await.state
    }

    /// What was told of jobs since the last look. The writer tells before it answers.
    pub fn new_events(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Ok(events) = self.events.try_recv() {
            told.extend(of_jobs(&events));
        }
        told
    }

    /// What the next commit tells of jobs.
    pub async fn next_events(&mut self) -> Vec<String> {
        of_jobs(&self.events.recv().await.expect("a commit that tells"))
    }

    /// Whether any commit since the last look told that deliveries are due.
    pub fn heard_of_deliveries(&mut self) -> bool {
        let mut told = false;
        while let Ok(events) = self.events.try_recv() {
            told |= events.iter().any(|event| matches!(event, Event::DeliveriesDue));
        }
        told
    }

    /// One number of the database.
    pub fn number(&self, figure: Figure) -> i64 {
        self.backend.number(figure)
    }
}

pub fn submission(spec: Spec) -> Submission {
    let bound = Json::empty_object();
    let (spec, callbacks) = (Arc::new(spec), Vec::new());
    Submission { spec, pool: Pool::Tasks, run_at: None, callbacks, bound, identity: None }
}

pub fn settlement(job: &Job, outcome: Outcome) -> Completion {
    Completion {
        job: Arc::new(job.clone()),
        outcome,
        log: Vec::new(),
        now: NOW,
        chance: 0.5,
        pool: Pool::Tasks,
        frees_slot: true,
    }
}

pub fn urgent(number: u64, priority: i64) -> Submission {
    let priority = Priority::new(priority).expect("a priority");
    submission(Spec { priority, ..example::spec(number) })
}

pub fn cancel(job: &Job, terminate: bool) -> CancelOrder {
    CancelOrder {
        job: Arc::new(job.clone()),
        pool: Pool::Tasks,
        terminate,
        grace_seconds: 1.0,
        now: NOW,
    }
}

pub fn returned() -> Outcome {
    Outcome::Returned(Json::trusted("1"))
}

pub fn raised() -> Outcome {
    Outcome::Raised(JobError::new("ValueError", "no"))
}

/// The events that tell of jobs. That deliveries may be due is told too often rather than too seldom.
pub fn of_jobs(events: &[Event]) -> Vec<String> {
    let of_jobs = events.iter().filter(|event| !matches!(event, Event::DeliveriesDue));
    of_jobs.map(in_words).collect()
}

/// An event as a few words, with jobs by their ordinals.
pub fn in_words(event: &Event) -> String {
    match event {
        Event::Started(job, _) => format!("started {}", job.ordinal.0),
        Event::Claimed(claimed) => {
            let ordinals: Vec<i64> = claimed.iter().map(|claimed| claimed.ordinal.0).collect();
            format!("claimed {ordinals:?}")
        }
        Event::Changed(job) => format!("changed {} {}", job.ordinal.0, job.state),
        Event::Cancelled(ended) => format!("cancelled {}", ended.ordinal.0),
        Event::CancelledMany(jobs) => {
            let ordinals: Vec<i64> = jobs.iter().map(|ended| ended.ordinal.0).collect();
            format!("cancelled {ordinals:?}")
        }
        Event::Drained(name) => format!("drained {name}"),
        Event::AskedMany { jobs, .. } => {
            let ordinals: Vec<i64> = jobs.iter().map(|(ordinal, _)| ordinal.0).collect();
            format!("cancel requested {ordinals:?}")
        }
        Event::Batch(_) => "batch".to_owned(),
        Event::BatchCancelling(batch) => format!("batch cancelling {}", batch.0),
        Event::Gone(ids) => format!("gone {}", ids.len()),
        Event::CancelRequested(order) => format!("cancel requested {}", order.job.ordinal.0),
        Event::MayStart(ids) => format!("may start {}", ids.len()),
        Event::Waits(alarm) => {
            let at = |at: Option<Timestamp>| at.map_or(0, |at| at.0);
            format!("waits {} {}", at(alarm.deadline), at(alarm.wall))
        }
        Event::DeliveriesDue => "due".to_owned(),
        Event::Broken => "broken".to_owned(),
    }
}
