//! The first floor's archive, and the only SQL: what is promised is here.
//!
//! All writes of all requests go through one writer that commits them in groups; readers have
//! connections of their own, which cannot write.

mod backup;
mod batches;
mod cancel_many;
mod change;
mod clocks;
mod commits;
mod ended;
mod files;
mod fsck;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod group;
mod health;
mod later;
mod ledger;
mod lifecycle;
mod log_entry;
mod logs;
mod manual;
mod mark;
mod patience;
mod payload;
mod read;
mod recovery;
mod redelivery;
mod removal;
mod space;
mod sqlite;
mod writer;

#[cfg(test)]
mod conformance;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sqlx::SqlitePool;
use tokio::sync::{Semaphore, mpsc, oneshot};
use uuid::Uuid;

use crate::domain::callback::DeliveryAttempt;
use crate::domain::{
    Batch, CallbackId, DeliveryState, Identity, Job, JobId, Json, LogLine, NewCallback, Ordinal,
    Outcome, Pace, Pool, QueueName, RunAt, Spec, Timestamp, When,
};

pub use backup::{Kept, backup, restore};
pub use batches::{Many, NewBatch, Submitted};
pub use cancel_many::{CancelCounts, CancelPortion, Mark};
pub use change::{
    CancelOrder, Cancellation, DeliveryReport, Ordered, QueueChange, QueueOrder, QueueSettings,
    Settlement, Submission,
};
pub use clocks::{Alarm, Moment};
pub use commits::{Claimed, Commits, Ended, Event};
pub use fsck::fsck;
pub use lifecycle::Answer;
pub use manual::Completion;
pub use read::{
    BatchPage, CallbackFilter, CallbackTurn, Changes, DueDelivery, Filter, JobChange, Left, Order,
    Outbox, Page, Place, Places, Portion, Standing, Told, Turn,
};
pub use redelivery::Redelivery;
pub use removal::{Cleaned, Forgetting, Shrunk, Swept};
pub use sqlite::{BUSY_TIMEOUT, LOCK_PATIENCE, OpenError};

use change::{Change, Reply};
use health::Health;
use space::Space;

/// A queue as it stands at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Its name.
    pub name: QueueName,
    /// What it may do.
    pub settings: QueueSettings,
    /// Whether nothing is started from it.
    pub paused: bool,
    /// Whether submissions are refused.
    pub shutdown: bool,
    /// Its jobs that wait.
    pub pending: usize,
    /// Its jobs that run.
    pub running: usize,
    /// The one that was submitted first of those that wait for a slot.
    pub oldest: Option<Ordinal>,
}

/// When a commit counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// Once it is on stable storage: what G1 rests on.
    Full,
    /// Once the kernel has it: a power cut loses it. Only for the negative control of the durability
    /// test, so a release build does not have it.
    #[cfg(debug_assertions)]
    Normal,
}

/// Where the database is, and when a commit to it counts as done.
#[derive(Clone, Debug)]
pub struct DatabasePath {
    /// The file.
    pub file: PathBuf,
    /// When a commit counts as done.
    pub synchronous: Synchronous,
    /// How long the writer waits for another process that has locked the database, before it says so.
    pub busy_timeout: Duration,
    /// How long a start waits for it.
    pub patience: Duration,
}

impl From<PathBuf> for DatabasePath {
    fn from(file: PathBuf) -> Self {
        Self {
            file,
            synchronous: Synchronous::Full,
            busy_timeout: BUSY_TIMEOUT,
            patience: LOCK_PATIENCE,
        }
    }
}

/// Everything that the ledger of slots has to know at the start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The database file, and how it is written.
    pub path: DatabasePath,
    /// The queues, by name.
    pub queues: BTreeMap<QueueName, QueueSettings>,
    /// What a queue that is made later has where nothing else is said.
    pub queue_default: QueueSettings,
    /// Most manual jobs that wait.
    pub manual_max: usize,
    /// Slots of each pool. [`Pool::Absent`] has none, ever.
    pub slots: BTreeMap<Pool, usize>,
    /// Where each registered function runs, by name; all others are absent.
    pub pools: BTreeMap<String, Pool>,
    /// The longest that a delivery waits for its next attempt, in milliseconds.
    pub delivery_wait_ms_max: i64,
    /// Whether to go on where something that was acknowledged is lost (G3).
    pub accept_data_loss: bool,
}

impl Config {
    fn pool_of(&self, function: &str) -> Pool {
        self.pools.get(function).copied().unwrap_or(Pool::Absent)
    }
}

/// What the database said.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Cause {
    /// To a reader.
    #[error("{0}")]
    Read(Arc<sqlx::Error>),
    /// To the writer.
    #[error("{0}")]
    Write(Arc<rusqlite::Error>),
    /// That a row is not what the ledger has of it.
    #[error("ledger and database disagree: {0}")]
    Disagreement(String),
}

/// Why a verb of the store did nothing, or may have.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The job's queue does not exist.
    #[error("there is no queue named '{0}'")]
    UnknownQueue(QueueName),
    /// The job's queue holds as many waiting jobs as it may.
    #[error("queue '{queue}' already holds {max_pending} waiting jobs")]
    QueueFull {
        /// The queue.
        queue: QueueName,
        /// Its limit.
        max_pending: usize,
    },
    /// As many manual jobs wait as may.
    #[error("{0} manual jobs may wait, and no more")]
    TooManyManual(usize),
    /// The job's queue takes no more jobs (E3).
    #[error("queue '{0}' is shut down")]
    QueueShutdown(QueueName),
    /// There are as many queues as there may be.
    #[error("there are {0} queues already")]
    TooManyQueues(usize),
    /// The job, or the batch, has as many callbacks as it may.
    #[error("there are {0} callbacks already")]
    TooManyCallbacks(usize),
    /// Another attempt, or an end, came first; nothing was written.
    #[error("another write came first")]
    Superseded,
    /// A job with this id exists, and another request made it.
    #[error("a job with this id exists")]
    IdConflict,
    /// The batch takes no more jobs: it was closed, or cancelled.
    #[error("the batch takes no more jobs")]
    BatchClosed,
    /// The same request was made before, and the job or batch of this id came of it.
    #[error("the same request made {0} before")]
    Repeated(Uuid),
    /// The idempotency key was given to another request, of which the job or batch of this id came.
    #[error("the idempotency key belongs to another request, which made {0}")]
    KeyMismatch(Uuid),
    /// The request was made before, and the job or batch that came of it is gone.
    #[error("{0} is gone")]
    Expired(Uuid),
    /// The disk is full; nothing was written.
    #[error("the disk is full")]
    Full,
    /// The database cannot be written at this moment: another process has locked it, or memory is short. Nothing was written.
    #[error("the database cannot be written now: {0}")]
    NotNow(Cause),
    /// The commit failed in a way that leaves open whether it happened.
    #[error("the database failed during a commit: {0}")]
    OutcomeUnknown(Cause),
    /// The store is closed, or its writer has ended.
    #[error("the store is closed")]
    Closed,
    /// The database refused a statement; nothing was written.
    #[error("the database refused: {0}")]
    Sql(Cause),
    /// A row that we wrote does not read back as what it must be.
    #[error("damaged row: {0}")]
    Damaged(String),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        sqlite::of_reader(error)
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        sqlite::of_writer(error)
    }
}

/// The store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    changes: mpsc::Sender<Change>,
    readers: SqlitePool,
    /// Taken by whoever reads one job.
    turns: Arc<Semaphore>,
    space: Arc<Space>,
    health: Arc<Health>,
}

/// An opened store and its side effects.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// What each commit did; nobody is answered unless this is read.
    pub commits: Commits,
    /// Told when the writer has written everything and closed the database.
    pub closed: oneshot::Receiver<()>,
    /// Jobs that were running when the last server died.
    pub recovered: usize,
    /// Those of them that failed by it.
    pub failed: Vec<Job>,
    /// Jobs that run first, and each with no other beside it: the server has died during them too often (G9).
    pub suspects: usize,
    /// Deliveries that go first, and each with no other beside it, for the same reason.
    pub suspect_deliveries: Vec<Ordinal>,
}

impl Store {
    /// Opens the database, makes or migrates it, recovers what a dead server left running, and starts
    /// the writer. `now` stamps what recovery settles.
    ///
    /// # Errors
    /// [`OpenError`]: too old an engine, too new a schema, an I/O error.
    pub async fn open(config: Config, now: Timestamp) -> Result<Opened, OpenError> {
        writer::open(config, now).await
    }

    /// So many jobs may run in `pool` from now on. Those that run beyond that go on.
    ///
    /// # Errors
    /// A failure of the disk.
    pub async fn resize(&self, pool: Pool, slots: usize, now: Timestamp) -> Result<(), Error> {
        self.write(|reply| Change::Resize { pool, slots, now, reply }).await
    }

    /// Lets all jobs run beside each other, also those that were to run alone first (G9).
    ///
    /// # Errors
    /// A failure of the disk.
    pub async fn clear_suspects(&self, now: Timestamp) -> Result<(), Error> {
        self.write(|reply| Change::ClearSuspects { now, reply }).await
    }

    /// Cancels a job that waits, or asks a running one to stop.
    ///
    /// # Errors
    /// A failure of the disk. A job that is done is no error.
    pub async fn cancel(&self, order: CancelOrder) -> Result<Cancellation, Error> {
        self.write(|reply| Change::Cancel { order, reply }).await
    }

    /// Adds a callback; if the job is done, its delivery is due at once (F14).
    ///
    /// # Errors
    /// [`Error::TooManyCallbacks`], or a failure of the disk.
    pub async fn add_callback(&self, job: Ordinal, callback: NewCallback) -> Result<(), Error> {
        self.write(|reply| Change::AddCallback { job, callback, reply }).await
    }

    /// Keeps the bodies of deliveries, by the places of their callbacks: each is rendered once for all its
    /// attempts. Those, and the deliveries at `again`, which have bodies, are about to be sent: if the server dies
    /// before it is recorded what came of that, the next one counts it (G9).
    ///
    /// # Errors
    /// A failure of the disk.
    pub async fn begin_deliveries(
        &self,
        bodies: Arc<BTreeMap<Ordinal, String>>,
        again: Vec<Ordinal>,
    ) -> Result<(), Error> {
        self.write(|reply| Change::BeginDeliveries { bodies, again, reply }).await
    }

    /// Records one POST and what becomes of its delivery.
    ///
    /// # Errors
    /// A failure of the disk.
    pub async fn record_delivery(&self, report: DeliveryReport) -> Result<(), Error> {
        self.write(|reply| Change::Delivered { report, reply }).await
    }

    /// Changes, pauses or shuts down a queue, or makes it.
    ///
    /// # Errors
    /// [`Error::UnknownQueue`], [`Error::TooManyQueues`], or a failure of the disk.
    pub async fn order_queue(&self, order: QueueOrder) -> Result<Ordered, Error> {
        self.write(|reply| Change::Queue { order, reply }).await
    }

    /// All queues, by name, as the writer has them.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn queues(&self) -> Result<Vec<Queue>, Error> {
        self.write(|reply| Change::Queues { name: None, reply }).await
    }

    /// The queue of that name, as the writer has it.
    ///
    /// # Errors
    /// [`Error::UnknownQueue`].
    pub async fn queue(&self, name: QueueName) -> Result<Queue, Error> {
        let unknown = Error::UnknownQueue(name.clone());
        let mut found = self.write(|reply| Change::Queues { name: Some(name), reply }).await?;
        found.pop().ok_or(unknown)
    }

    /// Claims nothing from now on: the server is stopping.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn stop_claiming(&self) -> Result<(), Error> {
        self.write(|reply| Change::StopClaiming { reply }).await
    }

    /// Writes what is under way and closes the database.
    pub async fn close(self) {
        // The last connection to close takes the log into the database; only the writer's can.
        self.readers.close().await;
        drop(self.send(Change::Close).await);
    }

    /// Sends one change and waits for the commit that it was part of. The writer owns the change: a
    /// caller that goes away changes nothing of it (G4).
    async fn write<T>(&self, change: impl FnOnce(Reply<T>) -> Change) -> Result<T, Error> {
        self.ask(change).await?.get().await
    }

    /// Sends one change, whose answer may be asked for later.
    async fn ask<T>(&self, change: impl FnOnce(Reply<T>) -> Change) -> Result<Answer<T>, Error> {
        let (sender, receiver) = oneshot::channel();
        self.send(change(Reply::new(sender))).await?;
        Ok(Answer(receiver))
    }

    async fn send(&self, change: Change) -> Result<(), Error> {
        self.changes.send(change).await.map_err(|_closed| Error::Closed)
    }
}
