//! The first floor's archive: the door. What is promised stands here; what a backend makes of it, in its own folder.
//!
//! All writes of all requests go through one writer that commits them in groups; readers have connections of their own, which
//! cannot write.

mod codec;
#[cfg(test)]
mod conformance;
mod contract;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod reads;
mod sqlite;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::{
    Batch, CallbackId, Job, JobId, LogLine, NewCallback, Ordinal, QueueName, Timestamp,
};

use sqlite::Sqlite;

pub use contract::{
    BUSY_TIMEOUT, BatchChange, BatchJob, BatchKey, BatchPage, CallbackFilter, CallbackQuery,
    CancelCounts, CancelFilter, CancelMany, CancelOrder, Cancellation, Changes, Claimed,
    Completion, Config, DatabasePath, Deletion, DeliveryReport, DeliverySubject, DueDelivery,
    DueReceiver, Ended, Error, Event, Failed, Failure, Filter, JobChange, LOCK_PATIENCE, Left,
    ManualResult, Many, NewBatch, NextTimer, Now, Order, Ordered, Places, Portion, Queue,
    QueueChange, QueueOrder, QueueSettings, Refusal, Removed, SlotChange, Standing, StoreHealth,
    Submission, Submitted, SweepCursor, Synchronous, TagEnds, Vacuumed, View,
};
pub use sqlite::{Answer, BackupFile, Commits, OpenError, Outbox, backup, fsck, restore};

/// An opened store and its side effects.
pub type OpenedStore = contract::Opened<Store, Commits>;

/// The same verb of the backend that there is.
macro_rules! backend {
    ($self:ident.$($call:tt)+) => {
        match $self {
            Store::Sqlite(it) => it.$($call)+,
        }
    };
}
use backend;

/// The store. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Store {
    /// In a file, by SQLite.
    Sqlite(Sqlite),
}

impl Store {
    /// Opens the database, makes or migrates it, recovers what a dead server left running, and starts the writer. `now`
    /// stamps what recovery settles.
    pub async fn open(config: Config, now: Timestamp) -> Result<OpenedStore, OpenError> {
        let it = sqlite::open(config, now).await?;
        Ok(OpenedStore {
            store: Self::Sqlite(it.store),
            commits: it.commits,
            closed: it.closed,
            recovered: it.recovered,
            failed: it.failed,
            suspects: it.suspects,
            suspect_deliveries: it.suspect_deliveries,
            cancelling: it.cancelling,
        })
    }

    /// Writes what is under way and closes the database.
    pub async fn close(self) {
        backend!(self.close().await);
    }

    /// How the store fares.
    pub fn health(&self) -> StoreHealth {
        backend!(self.health())
    }

    /// Submits a job: durable when the answer is there (G1), and perhaps already running. A request that has an
    /// identity makes one job, however often it comes and whoever else sends it at the same moment (G8). `failed` is
    /// for whoever waits for more than the commit: it is called if nothing comes of it, and the answer says why.
    pub async fn submit(
        &self,
        submission: Submission,
        failed: Option<Failed>,
    ) -> Result<Answer<Arc<Job>>, Error> {
        backend!(self.submit(submission, failed).await)
    }

    /// Submits many jobs in one commit: each is there or is refused for itself. What is sent later is committed later.
    pub async fn submit_many(&self, many: Many) -> Result<Answer<Submitted>, Error> {
        backend!(self.submit_many(many).await)
    }

    /// Submits a batch with all its jobs: durable when this returns, or not there at all (E4).
    pub async fn submit_batch(&self, batch: NewBatch) -> Result<Batch, Error> {
        backend!(self.submit_batch(batch).await)
    }

    /// Makes an attempt's outcome durable, with its deliveries, and claims the next job for its slot. With `failed` it does
    /// not wait for that, unless the outcome is so large that it is written ahead: that is called if the outcome is not
    /// recorded, perhaps on the writer's thread. What is sent later is committed later.
    pub async fn complete(
        &self,
        completion: Arc<Completion>,
        failed: Option<Failed>,
    ) -> Result<(), Error> {
        backend!(self.complete(completion, failed).await)
    }

    /// Gives a manual job its end, with its deliveries (F21). None if it does not wait for one any more:
    /// the first end stands (F20).
    pub async fn complete_manual(&self, result: ManualResult) -> Result<Option<Arc<Job>>, Error> {
        backend!(self.complete_manual(result).await)
    }

    /// Cancels a job that waits, or asks a running one to stop.
    pub async fn cancel(&self, order: CancelOrder) -> Result<Cancellation, Error> {
        backend!(self.cancel(order).await)
    }

    /// Cancels many jobs, a portion a commit, and says how many when all is done. None of those that wait starts
    /// meanwhile. If it is given up, what was not reached may stay so until the server ends.
    pub async fn cancel_matching(
        &self,
        asked: CancelMany,
        now: impl Fn() -> Timestamp,
    ) -> Result<CancelCounts, Error> {
        backend!(self.cancel_matching(asked, now).await)
    }

    /// Does what is due then, as much as one group may; says when there is something to do next,
    /// which may be at once.
    pub async fn run_timers(&self, now: Now) -> Result<NextTimer, Error> {
        backend!(self.run_timers(now).await)
    }

    /// Adds lines to the log of a job.
    pub async fn append_log(&self, job: Ordinal, lines: Vec<LogLine>) -> Result<(), Error> {
        backend!(self.append_log(job, lines).await)
    }

    /// Deletes a job that is done, as if it had never been.
    pub async fn delete(&self, id: JobId, now: Timestamp) -> Result<Deletion, Error> {
        backend!(self.delete(id, now).await)
    }

    /// Removes a portion of what is over at `now`: done jobs that have expired, ids that are gone for a day,
    /// idempotency keys of jobs that are gone.
    pub async fn sweep(&self, now: Timestamp, from: SweepCursor) -> Result<Removed, Error> {
        backend!(self.sweep(now, from).await)
    }

    /// Gives a portion of the database's free pages back to the file system. Unless it is `forced`, only when
    /// nobody else writes.
    pub async fn vacuum(&self, forced: bool) -> Result<Vacuumed, Error> {
        backend!(self.vacuum(forced).await)
    }

    /// Ends a batch for those who bring calls to it, or cancels it. False if it was so before, or is done.
    pub async fn change_batch(
        &self,
        batch: Ordinal,
        change: BatchChange,
        now: Timestamp,
    ) -> Result<bool, Error> {
        backend!(self.change_batch(batch, change, now).await)
    }

    /// Adds a callback; if what it waits for has come about, its delivery is due at once (F14).
    pub async fn add_callback(
        &self,
        subject: DeliverySubject,
        callback: NewCallback,
    ) -> Result<(), Error> {
        backend!(self.add_callback(subject, callback).await)
    }

    /// Removes a callback and its delivery; false if there is none. A POST that is on its way may still
    /// arrive.
    pub async fn remove_callback(&self, id: CallbackId, now: Timestamp) -> Result<bool, Error> {
        backend!(self.remove_callback(id, now).await)
    }

    /// Makes the deliveries of these callbacks due again whose delivery is over; how many that were. The schedule begins
    /// anew, attempts are numbered on. At most 1,000 at a time, so that others get their turn in between.
    pub async fn redeliver(&self, callbacks: Vec<Ordinal>, now: Timestamp) -> Result<usize, Error> {
        backend!(self.redeliver(callbacks, now).await)
    }

    /// Keeps the bodies of deliveries, by the places of their callbacks: each is rendered once for all its
    /// attempts. Those, and the deliveries at `again`, which have bodies, are about to be sent: if the server dies
    /// before it is recorded what came of that, the next one counts it (G9).
    pub async fn begin_deliveries(
        &self,
        bodies: Arc<BTreeMap<Ordinal, String>>,
        again: Vec<Ordinal>,
    ) -> Result<(), Error> {
        backend!(self.begin_deliveries(bodies, again).await)
    }

    /// Records one POST and what becomes of its delivery.
    pub async fn record_delivery(&self, report: DeliveryReport) -> Result<(), Error> {
        backend!(self.record_delivery(report).await)
    }

    /// Changes, pauses or shuts down a queue, or makes it.
    pub async fn change_queue(&self, order: QueueOrder) -> Result<Ordered, Error> {
        backend!(self.change_queue(order).await)
    }

    /// All queues, by name, or that of a name, as the writer has them.
    pub async fn queues(&self, name: Option<QueueName>) -> Result<Vec<Queue>, Error> {
        backend!(self.queues(name).await)
    }

    /// Changes who may have a slot, beside the jobs that take and leave them.
    pub async fn change_slots(&self, change: SlotChange, now: Timestamp) -> Result<(), Error> {
        backend!(self.change_slots(change, now).await)
    }
}
