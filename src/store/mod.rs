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

use tokio::sync::oneshot;

use crate::domain::{
    Batch, CallbackId, Job, JobId, LogLine, NewCallback, Ordinal, Pool, QueueName, Timestamp, When,
};

use sqlite::Sqlite;

pub use contract::{
    Alarm, BUSY_TIMEOUT, BatchPage, CallbackFilter, CallbackTurn, CancelCounts, CancelOrder,
    CancelPortion, Cancellation, Changes, Claimed, Cleaned, Completion, Config, DatabasePath,
    DeliveryReport, DueDelivery, Ended, Error, Event, Failure, Filter, Forgetting, JobChange,
    LOCK_PATIENCE, Left, Many, Mark, Moment, NewBatch, Order, Ordered, Page, Place, Places,
    Portion, Queue, QueueChange, QueueOrder, QueueSettings, Redelivery, Refusal, Settlement,
    Shrunk, Standing, Submission, Submitted, Swept, Synchronous, TagEnds, Told, Turn,
};
pub use sqlite::{Answer, BackupFile, Commits, OpenError, Outbox, backup, fsck, restore};

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
    /// Opens the database, makes or migrates it, recovers what a dead server left running, and starts the writer. `now`
    /// stamps what recovery settles.
    pub async fn open(config: Config, now: Timestamp) -> Result<Opened, OpenError> {
        let opened = sqlite::open(config, now).await?;
        Ok(Opened {
            store: Self::Sqlite(opened.store),
            commits: opened.commits,
            closed: opened.closed,
            recovered: opened.recovered,
            failed: opened.failed,
            suspects: opened.suspects,
            suspect_deliveries: opened.suspect_deliveries,
        })
    }

    /// Writes what is under way and closes the database.
    pub async fn close(self) {
        backend!(self.close().await);
    }

    /// Adds lines to the log of a job.
    pub async fn keep_log(&self, job: Ordinal, lines: Vec<LogLine>) -> Result<(), Error> {
        backend!(self.keep_log(job, lines).await)
    }

    /// Adds a callback; if the job is done, its delivery is due at once (F14).
    pub async fn add_callback(&self, job: Ordinal, callback: NewCallback) -> Result<(), Error> {
        backend!(self.add_callback(job, callback).await)
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

    /// Makes a delivery that is over due again: its schedule begins anew, its attempts are numbered on.
    pub async fn redeliver(&self, id: CallbackId, now: Timestamp) -> Result<Redelivery, Error> {
        backend!(self.redeliver(id, now).await)
    }

    /// The same for those of `callbacks` whose delivery is over; how many that were. At most 1,000 at a time,
    /// so that others get their turn in between.
    pub async fn redeliver_many(
        &self,
        callbacks: Vec<Ordinal>,
        now: Timestamp,
    ) -> Result<usize, Error> {
        backend!(self.redeliver_many(callbacks, now).await)
    }

    /// Removes a callback and its delivery; false if there is none. A POST that is on its way may still
    /// arrive.
    pub async fn drop_callback(&self, id: CallbackId, now: Timestamp) -> Result<bool, Error> {
        backend!(self.drop_callback(id, now).await)
    }

    /// No more calls come: the batch is done when its jobs are.
    pub async fn close_batch(&self, batch: Ordinal, now: Timestamp) -> Result<(), Error> {
        backend!(self.close_batch(batch, now).await)
    }

    /// From now on no job of the batch starts, and none is added; what is there is still to be cancelled. False
    /// if it was asked for before, or is done.
    pub async fn cancel_batch(&self, batch: Ordinal, now: Timestamp) -> Result<bool, Error> {
        backend!(self.cancel_batch(batch, now).await)
    }

    /// Adds a callback to a batch; if what it waits for has come about, its delivery is due at once (F14).
    pub async fn add_batch_callback(
        &self,
        batch: Ordinal,
        callback: NewCallback,
        when: When,
    ) -> Result<(), Error> {
        backend!(self.add_batch_callback(batch, callback, when).await)
    }

    /// Submits a batch with all its jobs: durable when this returns, or not there at all (E4).
    pub async fn submit_batch(&self, batch: NewBatch) -> Result<Batch, Error> {
        backend!(self.submit_batch(batch).await)
    }

    /// Submits many jobs in one commit: each is there or is refused for itself.
    pub async fn submit_many(&self, many: Many) -> Result<Submitted, Error> {
        backend!(self.submit_many(many).await)
    }

    /// The same, with an answer that may be asked for later. What is sent later is committed later.
    pub async fn send_many(&self, many: Many) -> Result<Answer<Submitted>, Error> {
        backend!(self.send_many(many).await)
    }

    /// From now on no job starts that `mark` means; one that would is cancelled instead. Gives the number of
    /// the mark, and the place of the newest job that it can mean.
    pub async fn mark_cancelled(&self, mark: Mark) -> Result<(u64, Ordinal), Error> {
        backend!(self.mark_cancelled(mark).await)
    }

    /// Cancels some jobs, in one commit.
    pub async fn cancel_portion(&self, portion: CancelPortion) -> Result<CancelCounts, Error> {
        backend!(self.cancel_portion(portion).await)
    }

    /// Takes a mark back; gives how many jobs were cancelled for it instead of being started.
    pub async fn unmark_cancelled(&self, number: u64) -> Result<usize, Error> {
        backend!(self.unmark_cancelled(number).await)
    }

    /// Makes an attempt's outcome durable, with its deliveries, and claims the next job for its slot.
    pub async fn settle(&self, settlement: Arc<Settlement>) -> Result<(), Error> {
        backend!(self.settle(settlement).await)
    }

    /// The same for an attempt that is over, and need not hear of it: `failed` is called if its outcome is not recorded,
    /// perhaps on the writer's thread. What is sent later is committed later. An outcome that is so large that it is
    /// written ahead is waited for.
    pub async fn send_settlement(
        &self,
        settlement: Arc<Settlement>,
        failed: impl FnOnce(Error) + Send + 'static,
    ) {
        backend!(self.send_settlement(settlement, failed).await)
    }

    /// Gives a manual job its end, with its deliveries (F21). None if it does not wait for one any more:
    /// the first end stands (F20).
    pub async fn complete(&self, completion: Completion) -> Result<Option<Arc<Job>>, Error> {
        backend!(self.complete(completion).await)
    }

    /// Does what is due at that moment, as much as one group may; says when there is something to do next,
    /// which may be at once.
    pub async fn come_due(&self, moment: Moment) -> Result<Alarm, Error> {
        backend!(self.come_due(moment).await)
    }

    /// Cancels a job that waits, or asks a running one to stop.
    pub async fn cancel(&self, order: CancelOrder) -> Result<Cancellation, Error> {
        backend!(self.cancel(order).await)
    }

    /// Submits a job: durable when this returns (G1), and perhaps already running. A request that has an
    /// identity makes one job, however often it comes and whoever else sends it at the same moment (G8).
    pub async fn submit(&self, submission: Submission) -> Result<Arc<Job>, Error> {
        backend!(self.submit(submission).await)
    }

    /// Sends a submission, for whoever waits for more than its commit: nobody is woken by that. `failed` is called if
    /// nothing comes of it; then the answer says why, as that of [`Store::submit`].
    pub async fn send_submission(
        &self,
        submission: Submission,
        failed: impl FnOnce() + Send + 'static,
    ) -> Result<Answer<Arc<Job>>, Error> {
        backend!(self.send_submission(submission, failed).await)
    }

    /// Forgets a job that is done, as if it had never been.
    pub async fn forget(&self, id: JobId, now: Timestamp) -> Result<Forgetting, Error> {
        backend!(self.forget(id, now).await)
    }

    /// Removes a portion of what is over at `now`: done jobs that have expired, ids that are gone for a day,
    /// idempotency keys of jobs that are gone.
    pub async fn clean(&self, now: Timestamp, from: Swept) -> Result<Cleaned, Error> {
        backend!(self.clean(now, from).await)
    }

    /// Gives a portion of the database's free pages back to the file system. Unless it is `forced`, only when
    /// nobody else writes.
    pub async fn shrink(&self, forced: bool) -> Result<Shrunk, Error> {
        backend!(self.shrink(forced).await)
    }

    /// Changes, pauses or shuts down a queue, or makes it.
    pub async fn order_queue(&self, order: QueueOrder) -> Result<Ordered, Error> {
        backend!(self.order_queue(order).await)
    }

    /// All queues, by name, as the writer has them.
    pub async fn queues(&self) -> Result<Vec<Queue>, Error> {
        backend!(self.queues().await)
    }

    /// The queue of that name, as the writer has it.
    pub async fn queue(&self, name: QueueName) -> Result<Queue, Error> {
        backend!(self.queue(name).await)
    }

    /// Gives back the slot of an attempt that was settled while its code still ran.
    pub async fn release(&self, queue: QueueName, pool: Pool, now: Timestamp) {
        backend!(self.release(queue, pool, now).await)
    }

    /// So many jobs may run in `pool` from now on. Those that run beyond that go on.
    pub async fn resize(&self, pool: Pool, slots: usize, now: Timestamp) -> Result<(), Error> {
        backend!(self.resize(pool, slots, now).await)
    }

    /// Lets all jobs run beside each other, also those that were to run alone first (G9).
    pub async fn clear_suspects(&self, now: Timestamp) -> Result<(), Error> {
        backend!(self.clear_suspects(now).await)
    }

    /// Claims nothing from now on: the server is stopping.
    pub async fn stop_claiming(&self) -> Result<(), Error> {
        backend!(self.stop_claiming().await)
    }

    /// Whether there is so little room on the disk that submissions are refused (G16).
    pub fn has_little_room(&self) -> bool {
        backend!(self.has_little_room())
    }

    /// What is wrong though it goes on, each in a sentence.
    pub fn troubles(&self) -> Vec<String> {
        backend!(self.troubles())
    }

    /// How many outcomes were handed over, could not be recorded, and are tried again.
    pub fn outcomes_kept(&self) -> usize {
        backend!(self.outcomes_kept())
    }

    /// Whether a job runs with nothing beside it, or is to, because servers died while it ran (G9).
    pub fn runs_alone(&self) -> bool {
        backend!(self.runs_alone())
    }
}
