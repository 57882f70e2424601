//! The conformance suite: what every database below the store must do, through the store's own verbs.

mod arrivals;
mod batch_removals;
mod batches;
mod callbacks;
mod cancel_many;
mod cancels;
mod changes;
mod claims;
mod clocks;
mod deaths;
mod ends;
mod indexing;
mod logs;
mod manual;
mod model;
mod order;
mod outbox;
mod pages;
mod places;
mod queues;
mod recoveries;
mod redeliveries;
mod refusals;
mod refused_for_now;
mod removals;
mod repeats;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::SqlitePool;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

use crate::domain::{
    Callback, CallbackId, Job, JobError, Json, Ordinal, Outcome, Pool, Priority, QueueName, Spec,
    State, Timestamp, example,
};

use super::contract::Known;
use super::sqlite::Sqlite;
use super::{
    CallbackQuery, CancelOrder, Completion, Config, DueDelivery, Error, Event, Filter, Many,
    Opened, Places, Queue, QueueSettings, SlotChange, Store, Submission, Submitted, View,
};

/// When everything that a test does not date happens.
const NOW: Timestamp = Timestamp(3_000);

/// A store on a file of its own, and what it tells.
struct TestStore {
    store: Store,
    events: mpsc::UnboundedReceiver<Vec<Event>>,
    closed: oneshot::Receiver<()>,
    recovered: usize,
    suspect_deliveries: Vec<Ordinal>,
    cancelling: Vec<Ordinal>,
    config: Config,
    dir: TempDir,
}

/// A page of a list.
struct Page {
    jobs: Vec<Job>,
    next: Option<Ordinal>,
}

impl TestStore {
    /// One queue, `default`, that runs so many jobs at once.
    async fn of_workers(max_workers: usize) -> Self {
        Self::with(QueueSettings { max_workers, max_pending: 1_000 }).await
    }

    async fn with(settings: QueueSettings) -> Self {
        let dir = TempDir::new().expect("a directory");
        let config = Config {
            path: dir.path().join("futurity.db").into(),
            queues: BTreeMap::from([(QueueName::default_queue(), settings)]),
            queue_default: QueueSettings { max_workers: 2, max_pending: 1_000 },
            manual_max: 1_000,
            slots: BTreeMap::from([(Pool::Tasks, 1_000), (Pool::Threads, 1_000)]),
            pools: BTreeMap::from([("echo".to_owned(), Pool::Tasks)]),
            delivery_wait_ms_max: 86_400_000,
            accept_data_loss: false,
        };
        Self::open(dir, config).await
    }

    async fn open(dir: TempDir, config: Config) -> Self {
        Self::open_at(NOW, dir, config).await
    }

    async fn open_at(now: Timestamp, dir: TempDir, config: Config) -> Self {
        let opened = Store::open(config.clone(), now).await.expect("a store");
        let Opened { store, mut commits, closed, recovered, .. } = opened;
        let (suspect_deliveries, cancelling) = (opened.suspect_deliveries, opened.cancelling);
        let (heard, events) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(events) = commits.next().await {
                // A test that does not listen is answered all the same.
                drop(heard.send(events));
            }
        });
        Self { store, events, closed, recovered, suspect_deliveries, cancelling, config, dir }
    }

    /// The next server on the same file: this one is dropped without a word.
    async fn reopened(self) -> Self {
        self.reopened_at(NOW).await
    }

    async fn reopened_at(self, now: Timestamp) -> Self {
        let Self { store, events, closed, config, dir, .. } = self;
        drop((store, events));
        closed.await.expect("the writer ends by itself");
        Self::open_at(now, dir, config).await
    }

    /// Submits example number `number`.
    async fn submit(&self, number: u64) -> Job {
        self.put(submission(example::spec(number))).await.expect("a job")
    }

    async fn put(&self, submission: Submission) -> Result<Job, Error> {
        self.store.submit(submission, None).await?.get().await.map(Arc::unwrap_or_clone)
    }

    async fn many(&self, many: Many) -> Result<Submitted, Error> {
        self.store.submit_many(many).await?.get().await
    }

    async fn settle(&self, job: &Job, outcome: Outcome) -> Result<(), Error> {
        self.record(settlement(job, outcome)).await
    }

    async fn record(&self, settlement: Completion) -> Result<(), Error> {
        self.store.complete(Arc::new(settlement), None).await
    }

    /// Hands an outcome over, as an attempt does.
    async fn hands_over(&self, it: Completion, failed: impl FnOnce(Error) + Send + 'static) {
        let sent = self.store.complete(Arc::new(it), Some(Box::new(failed))).await;
        sent.expect("it hears of it");
    }

    async fn change_slots(&self, change: SlotChange) -> Result<(), Error> {
        self.store.change_slots(change, NOW).await
    }

    /// The code of an attempt that was given up has ended.
    async fn release(&self, queue: QueueName) {
        let change = SlotChange::Release { queue, pool: Pool::Tasks };
        self.change_slots(change).await.expect("an answer");
    }

    async fn queue_of(&self, name: QueueName) -> Queue {
        self.store.queues(Some(name)).await.expect("a queue").remove(0)
    }

    /// Those of these jobs that are there, whole.
    async fn jobs_at(&self, places: &[Ordinal]) -> Vec<Job> {
        self.store.jobs_at(places, View::Whole, usize::MAX).await.expect("they read").jobs
    }

    /// A page of jobs, as a list shows it.
    async fn list(&self, filter: &Filter, below: Option<Ordinal>, limit: usize) -> Page {
        let Places { places, next } =
            self.store.list(filter, below, limit).await.expect("they read");
        let found = self.store.jobs_at(&places, View::Brief, usize::MAX).await;
        Page { jobs: found.expect("they read").jobs, next }
    }

    async fn known(&self) -> Known {
        self.store.changes(0, 0).await.expect("it reads").known
    }

    async fn callbacks_of(&self, query: &CallbackQuery) -> Vec<Callback> {
        let found = self.store.callback_places(query, None, 1_000).await.expect("they read");
        self.store.callbacks_at(&found.places).await.expect("they read")
    }

    async fn due_at(&self, callback: Ordinal) -> Option<DueDelivery> {
        let mut outbox = self.store.outbox(NOW).await.expect("a look");
        outbox.due_at(callback).await.expect("it reads")
    }

    /// Asks for the delivery of a callback once more; how many are due for that.
    async fn redelivers(&self, id: CallbackId) -> usize {
        let found = self.store.callback_places(&CallbackQuery::Id(id), None, 1).await;
        let places = found.expect("it reads").places;
        self.store.redeliver(places, NOW).await.expect("an answer")
    }

    async fn job(&self, job: &Job) -> Job {
        self.store.job(job.spec.id).await.expect("it reads").expect("it is there")
    }

    async fn state(&self, job: &Job) -> State {
        self.job(job).await.state
    }

    /// What was told of jobs since the last look. The writer tells before it answers.
    fn told(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Ok(events) = self.events.try_recv() {
            told.extend(of_jobs(&events));
        }
        told
    }

    /// What the next commit tells of jobs.
    async fn tells(&mut self) -> Vec<String> {
        of_jobs(&self.events.recv().await.expect("a commit that tells"))
    }

    /// Whether any commit since the last look told that deliveries are due.
    fn told_of_deliveries(&mut self) -> bool {
        let mut told = false;
        while let Ok(events) = self.events.try_recv() {
            told |= events.iter().any(|event| matches!(event, Event::DeliveriesDue));
        }
        told
    }

    /// Changes the database behind the writer's back.
    fn execute(&self, sql: &str) {
        let path = self.dir.path().join("futurity.db");
        let connection = rusqlite::Connection::open(path).expect("a connection");
        connection.busy_timeout(std::time::Duration::from_secs(30)).expect("a time-out");
        connection.execute_batch(sql).expect("it is done");
    }

    /// One number of the database.
    async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(self.readers()).await.expect("a number")
    }

    /// Waits until the writer has taken all that was sent.
    async fn until_taken(&self) {
        let Store::Sqlite(it) = &self.store;
        loop {
            // Who is to send may not have begun.
            tokio::task::yield_now().await;
            if it.writer.capacity() == it.writer.max_capacity() {
                return;
            }
        }
    }

    fn sqlite(&self) -> Sqlite {
        let Store::Sqlite(it) = &self.store;
        it.clone()
    }

    /// The connections of its readers.
    fn readers(&self) -> &SqlitePool {
        let Store::Sqlite(it) = &self.store;
        &it.readers
    }
}

fn submission(spec: Spec) -> Submission {
    let bound = Json::empty_object();
    let (spec, callbacks) = (Arc::new(spec), Vec::new());
    Submission { spec, pool: Pool::Tasks, run_at: None, callbacks, bound, identity: None }
}

fn settlement(job: &Job, outcome: Outcome) -> Completion {
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

fn urgent(number: u64, priority: i64) -> Submission {
    let priority = Priority::new(priority).expect("a priority");
    submission(Spec { priority, ..example::spec(number) })
}

fn cancel(job: &Job, terminate: bool) -> CancelOrder {
    CancelOrder {
        job: Arc::new(job.clone()),
        pool: Pool::Tasks,
        terminate,
        grace_seconds: 1.0,
        now: NOW,
    }
}

fn returned() -> Outcome {
    Outcome::Returned(Json::trusted("1"))
}

fn raised() -> Outcome {
    Outcome::Raised(JobError::new("ValueError", "no"))
}

/// The events that tell of jobs. That deliveries may be due is told too often rather than too seldom.
fn of_jobs(events: &[Event]) -> Vec<String> {
    let of_jobs = events.iter().filter(|event| !matches!(event, Event::DeliveriesDue));
    of_jobs.map(in_words).collect()
}

/// An event as a few words, with jobs by their ordinals.
fn in_words(event: &Event) -> String {
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
