//! The verbs that only read.

use std::collections::HashMap;

use uuid::Uuid;

use crate::domain::{
    Batch, BatchId, Callback, CallbackId, Identity, Job, JobId, LogLine, LogPlace, Ordinal, State,
    StateCounts, Timestamp,
};
use crate::store::contract::{
    BatchPage, CallbackFilter, CallbackPlaces, CallbackTurn, CallbackTurned, Changes, DueDelivery,
    Failure, Filter, Known, Order, Page, Place, Places, Portion, Standing, TagEnds, Unfinished,
};
use crate::store::{Outbox, Store, backend};

impl Store {
    /// The lines of a job's log that are kept, behind `after`: at most 1 MiB of them.
    pub async fn log(&self, job: Ordinal, after: LogPlace) -> Result<Vec<LogLine>, Failure> {
        backend!(self.log(job, after).await)
    }

    /// A look at the outbox as it is at `now`.
    pub async fn outbox(&self, now: Timestamp) -> Result<Outbox, Failure> {
        backend!(self.outbox(now).await)
    }

    /// The delivery at that place, if it is to be made.
    pub async fn due_at(&self, callback: Ordinal) -> Result<Option<DueDelivery>, Failure> {
        backend!(self.due_at(callback).await)
    }

    /// At most `limit` callbacks of a job with their deliveries, in the order they were added, and where the next page
    /// begins; none behind the last.
    pub async fn callbacks(
        &self,
        job: Ordinal,
        page: CallbackTurn,
    ) -> Result<CallbackTurned, Failure> {
        backend!(self.callbacks(job, page).await)
    }

    /// The same of a batch.
    pub async fn batch_callbacks(
        &self,
        batch: Ordinal,
        page: CallbackTurn,
    ) -> Result<CallbackTurned, Failure> {
        backend!(self.batch_callbacks(batch, page).await)
    }

    /// The callback of that id with its delivery.
    pub async fn callback(&self, id: CallbackId) -> Result<Option<Callback>, Failure> {
        backend!(self.callback(id).await)
    }

    /// The callbacks at those places, in their order; those that are gone are left out.
    pub async fn callbacks_at(&self, places: &[Ordinal]) -> Result<Vec<Callback>, Failure> {
        backend!(self.callbacks_at(places).await)
    }

    /// At most `limit` callbacks of those below `below` that pass `filter`, the newest first. It looks
    /// through 10,000 at most, so it may give fewer.
    pub async fn callback_places(
        &self,
        filter: &CallbackFilter,
        below: Option<Ordinal>,
        limit: usize,
    ) -> Result<CallbackPlaces, Failure> {
        backend!(self.callback_places(filter, below, limit).await)
    }

    /// How many callbacks of a job are in each state.
    pub async fn callback_states(&self, job: Ordinal) -> Result<StateCounts, Failure> {
        backend!(self.callback_states(job).await)
    }

    /// How many deliveries are in each state, of all callbacks.
    pub async fn delivery_counts(&self) -> Result<StateCounts, Failure> {
        backend!(self.delivery_counts().await)
    }

    /// Whether any callback was given something in confidence.
    pub async fn has_sealed(&self) -> Result<bool, Failure> {
        backend!(self.has_sealed().await)
    }

    /// The batch of that id.
    pub async fn batch(&self, id: BatchId) -> Result<Option<Batch>, Failure> {
        backend!(self.batch(id).await)
    }

    /// The batch at that place.
    pub async fn batch_at(&self, place: Ordinal) -> Result<Option<Batch>, Failure> {
        backend!(self.batch_at(place).await)
    }

    /// One page of the batches submitted before `below`, newest first.
    pub async fn batches(
        &self,
        below: Option<Ordinal>,
        page_size: usize,
    ) -> Result<BatchPage, Failure> {
        backend!(self.batches(below, page_size).await)
    }

    /// The batch that the same request made before, if it did.
    pub async fn repeated_batch(&self, identity: &Identity) -> Result<Option<BatchId>, Failure> {
        backend!(self.repeated_batch(identity).await)
    }

    /// Batches whose jobs are to be cancelled and are not all done.
    pub async fn batches_cancelling(&self) -> Result<Vec<Ordinal>, Failure> {
        backend!(self.batches_cancelling().await)
    }

    /// How the next jobs of a batch stand: those behind the call `after`, done or not, or those that ended
    /// behind the change `after`.
    pub async fn places(
        &self,
        batch: Ordinal,
        order: Order,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Place>, Failure> {
        backend!(self.places(batch, order, after, limit).await)
    }

    /// The ids of a batch's jobs, in the order of the calls.
    pub async fn ids_of_batch(&self, batch: Ordinal, limit: usize) -> Result<Vec<JobId>, Failure> {
        backend!(self.ids_of_batch(batch, limit).await)
    }

    /// From the first job of a batch to behind its last.
    pub async fn extent_of_batch(&self, id: BatchId) -> Result<(Ordinal, Ordinal), Failure> {
        backend!(self.extent_of_batch(id).await)
    }

    /// At most `limit` of the jobs that are not done and pass `filter`, behind `after` and up to `to`, in the
    /// order of submission. It examines a bounded number of rows.
    pub async fn unfinished(
        &self,
        filter: &Filter,
        after: Ordinal,
        to: Ordinal,
        limit: usize,
    ) -> Result<Unfinished, Failure> {
        backend!(self.unfinished(filter, after, to, limit).await)
    }

    /// Those of the jobs of these ids that are not done.
    pub async fn unfinished_of(&self, ids: &[JobId]) -> Result<Vec<(Ordinal, State)>, Failure> {
        backend!(self.unfinished_of(ids).await)
    }

    /// The job that the same request made before, if it did; `id` is the one that it chooses. What it
    /// finds stays so; what it does not find may come a moment later.
    pub async fn repeated(
        &self,
        id: Option<JobId>,
        identity: &Identity,
    ) -> Result<Option<JobId>, Failure> {
        backend!(self.repeated(id, identity).await)
    }

    /// Whether a job or batch of that id expired less than a day before `now`.
    pub async fn is_gone(&self, id: Uuid, now: Timestamp) -> Result<bool, Failure> {
        backend!(self.is_gone(id, now).await)
    }

    /// The job of that id, whole.
    pub async fn job(&self, id: JobId) -> Result<Option<Job>, Failure> {
        backend!(self.job(id).await)
    }

    /// The jobs at those places, whole, in the order of submission.
    pub async fn jobs_at(&self, ordinals: &[Ordinal]) -> Result<Vec<Job>, Failure> {
        backend!(self.jobs_at(ordinals).await)
    }

    /// One page of the jobs that pass `filter`, submitted before `below`, newest first. It examines a
    /// bounded number of rows, so it may be short, even empty, and not the last.
    pub async fn list(
        &self,
        filter: &Filter,
        below: Option<Ordinal>,
        page_size: usize,
    ) -> Result<Page, Failure> {
        backend!(self.list(filter, below, page_size).await)
    }

    /// Where the jobs of such a page stand: they are read when their turn comes.
    pub async fn list_places(
        &self,
        filter: &Filter,
        below: Option<Ordinal>,
        page_size: usize,
    ) -> Result<Places, Failure> {
        backend!(self.list_places(filter, below, page_size).await)
    }

    /// How those of these jobs stand that are there, at one moment, in the order asked.
    pub async fn standings(&self, ids: &[JobId]) -> Result<Vec<Standing>, Failure> {
        backend!(self.standings(ids).await)
    }

    /// The jobs at those places, without large values, in the order of submission.
    pub async fn brief_at(&self, ordinals: &[Ordinal]) -> Result<Vec<Job>, Failure> {
        backend!(self.brief_at(ordinals).await)
    }

    /// The jobs at the first of those places, in their order and without large values, but for results of so many bytes: as
    /// many as have about `bytes_max` bytes together, and one at least.
    pub async fn portion_at(
        &self,
        places: &[Ordinal],
        result_bytes_max: usize,
        bytes_max: usize,
    ) -> Result<Portion, Failure> {
        backend!(self.portion_at(places, result_bytes_max, bytes_max).await)
    }

    /// The job of that id without large values, and the place of its last change.
    pub async fn changed_job(&self, id: JobId) -> Result<Option<(i64, Job)>, Failure> {
        backend!(self.changed_job(id).await)
    }

    /// How far the known changes reach.
    pub async fn known_changes(&self) -> Result<Known, Failure> {
        backend!(self.known_changes().await)
    }

    /// The changes behind `after`, at most about `limit`; `to` is `after` if there are none. Jobs come without
    /// large values.
    pub async fn changes(&self, after: i64, limit: usize) -> Result<Changes, Failure> {
        backend!(self.changes(after, limit).await)
    }

    /// The ends behind `after` of jobs that have this tag; `to` is `after` if nothing has changed since. It looks at about
    /// `most` changes.
    pub async fn tag_ends(&self, tag: &str, after: i64, most: usize) -> Result<TagEnds, Failure> {
        backend!(self.tag_ends(tag, after, most).await)
    }

    /// Since when each of these jobs has waited; one that is gone is left out.
    pub async fn waiting_since(
        &self,
        jobs: &[Ordinal],
    ) -> Result<HashMap<Ordinal, Timestamp>, Failure> {
        backend!(self.waiting_since(jobs).await)
    }
}
