//! What the suite needs of a database beside the verbs of the store: to count what is there, to have a write refused, and to
//! find rows as a broken server or an older version leaves them. Only this file knows which backend runs.

use crate::domain::{JobId, Ordinal, State, Timestamp};
use crate::store::DatabasePath;
use crate::store::sqlite::tests::database::Database;

/// A number that can be read from a database.
#[derive(Clone, Copy, Debug)]
pub enum Figure {
    /// Jobs that are there.
    Jobs,
    JobsIn(State),
    JobsNotIn(State),
    /// Those that have made an attempt.
    JobsStarted,
    /// Those that are not to start before some time.
    JobsScheduled,
    /// Those that run, and not of this server.
    JobsOfOtherServers,
    /// Those whose numbers are beyond what is reserved.
    JobsBeyondCounters,
    Batches,
    /// What a batch has left anywhere, its jobs and callbacks included.
    RowsOfBatches,
    Callbacks,
    Deliveries,
    /// Those that were about to be sent when the server ended.
    DeliveriesBegun,
    DeliveryAttempts,
    FailedAttempts,
    IdempotencyKeys,
    Tombstones,
    Receivers,
    /// Pieces of logs.
    LogPieces,
    /// Large values.
    Values,
    /// Pieces of those.
    ValuePieces,
    /// Large values that are written and belong to nothing.
    UnownedValues,
    Epoch,
    LastOrdinal,
    LastSeq,
}

/// A write that the database refuses from now on.
#[derive(Clone, Copy, Debug)]
pub enum Refused {
    /// Every new job.
    NewJob,
    /// The job at that place, when it comes.
    NewJobAt(Ordinal),
    /// The end of every job.
    End,
    /// That the time of the job at that place has come.
    TimerOf(Ordinal),
    /// The cancel of the job at that place, while it waits.
    CancelOf(Ordinal),
}

/// A row as the store itself would not leave it.
#[derive(Clone, Copy, Debug)]
pub enum Damage<'a> {
    /// The feed does not reach back to the changes up to there.
    FeedCutTo(i64),
    /// Only the newest entry of the feed is left.
    FeedCut,
    /// An earlier version kept no feed, and its changes reached up to there.
    NoFeed(i64),
    /// The job at that place has another version.
    Version(Ordinal, i64),
    /// The job at that place was last changed there.
    Seq(Ordinal, i64),
    /// Every queue that was made over HTTP is gone.
    NoQueues,
    /// A paused queue of that name, which no name may be today.
    Queue(&'a str),
    /// The default queue was shut down, and its jobs that last changed up to there are to be cancelled.
    ShutDown(i64),
    /// An attempt of the job has failed.
    FailedAttempt(Ordinal),
    /// The job came by an idempotency key then.
    Key(JobId, Timestamp),
    /// The job is gone, and perhaps something tells that it was there.
    Gone(JobId, bool),
    /// A large value was written for a job that never came.
    UnownedValue,
}

/// The database below a store.
#[derive(Debug)]
pub struct Backend(pub Database);

impl Backend {
    pub fn fresh() -> Self {
        Self(Database::fresh())
    }

    pub fn path(&self) -> DatabasePath {
        self.0.path()
    }

    pub fn number(&self, figure: Figure) -> i64 {
        self.0.number(figure)
    }

    /// The jobs that have changed behind `after`: the change, the job, and its state.
    pub fn changed_after(&self, after: i64) -> Vec<(i64, i64, String)> {
        self.0.changed_after(after)
    }

    /// The states of the jobs of a batch.
    pub fn states_of(&self, batch: Ordinal) -> Vec<State> {
        self.0.states_of(batch)
    }

    /// The jobs in the order of their ends.
    pub fn in_order_of_ends(&self) -> Vec<i64> {
        self.0.in_order_of_ends()
    }

    pub fn refuse(&self, what: Refused) {
        self.0.refuse(what);
    }

    /// Refuses nothing any more.
    pub fn allow(&self) {
        self.0.allow();
    }

    pub fn damage(&self, what: Damage<'_>) {
        self.0.damage(what);
    }

    /// What kill -9 leaves of it while a server has it open.
    pub fn copied(&self) -> Self {
        Self(self.0.copied())
    }
}
