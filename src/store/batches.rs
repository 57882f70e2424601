//! Batches: jobs that are submitted together, and what is asked of all of them.

use std::sync::Arc;

use crate::domain::{
    Batch, BatchId, FunctionName, Identity, Job, NewCallback, OnError, Ordinal, Timestamp, When,
};

use super::change::{Change, Submission};
use super::{Answer, Error, Store};

/// A batch to be written, with its calls: all of them, or none.
#[derive(Clone, Debug)]
pub struct NewBatch {
    /// Its name.
    pub id: BatchId,
    /// The function that all its jobs call.
    pub function: FunctionName,
    /// What becomes of the rest when one of them fails (E8).
    pub on_error: OnError,
    /// Whether more calls may come.
    pub is_open: bool,
    /// How long it is kept once it is done, in milliseconds.
    pub retention_ms: i64,
    /// When it was submitted, by the server's own clock.
    pub created_at: Timestamp,
    /// By how much the wall clock was ahead of that one, in milliseconds.
    pub wall_ahead_ms: i64,
    /// Its callbacks, in order, and what each waits for.
    pub callbacks: Vec<(NewCallback, When)>,
    /// What its request is known by when it comes again.
    pub identity: Option<Box<Identity>>,
    /// Its jobs, all in one queue and one pool. The writer tells each where the batch stands.
    pub calls: Vec<Submission>,
}

/// Jobs that are submitted together, each for itself.
#[derive(Clone, Debug)]
pub struct Many {
    /// The jobs. Those of a batch name it, and where it stands.
    pub calls: Vec<Submission>,
    /// The open batch that all of them belong to.
    pub batch: Option<Ordinal>,
}

/// What came of each, in order.
pub type Submitted = Vec<Result<Arc<Job>, Error>>;

impl Store {
    /// Submits a batch with all its jobs: durable when this returns, or not there at all (E4).
    ///
    /// # Errors
    /// As [`Store::submit`], for the batch as a whole.
    pub async fn submit_batch(&self, batch: NewBatch) -> Result<Batch, Error> {
        let it = Box::new(batch);
        self.write(|reply| Change::SubmitBatch { it, reply }).await
    }

    /// Submits many jobs in one commit: each is there or is refused for itself.
    ///
    /// # Errors
    /// [`Error::BatchClosed`], or a failure of the disk: then none is there.
    pub async fn submit_many(&self, many: Many) -> Result<Submitted, Error> {
        self.write(|reply| Change::SubmitMany { many, reply }).await
    }

    /// The same, with an answer that may be asked for later. What is sent later is committed later.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn send_many(&self, many: Many) -> Result<Answer<Submitted>, Error> {
        self.ask(|reply| Change::SubmitMany { many, reply }).await
    }

    /// No more calls come: the batch is done when its jobs are.
    ///
    /// # Errors
    /// A failure of the disk.
    pub async fn close_batch(&self, batch: Ordinal, now: Timestamp) -> Result<(), Error> {
        self.write(|reply| Change::CloseBatch { batch, now, reply }).await
    }

    /// From now on no job of the batch starts, and none is added; what is there is still to be cancelled. False
    /// if it was asked for before, or is done.
    ///
    /// # Errors
    /// A failure of the disk.
    pub async fn cancel_batch(&self, batch: Ordinal, now: Timestamp) -> Result<bool, Error> {
        self.write(|reply| Change::CancelBatch { batch, now, reply }).await
    }

    /// Adds a callback to a batch; if what it waits for has come about, its delivery is due at once (F14).
    ///
    /// # Errors
    /// [`Error::TooManyCallbacks`], or a failure of the disk.
    pub async fn add_batch_callback(
        &self,
        batch: Ordinal,
        callback: NewCallback,
        when: When,
    ) -> Result<(), Error> {
        self.write(|reply| Change::AddBatchCallback { batch, callback, when, reply }).await
    }
}
