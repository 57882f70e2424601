//! The verbs that only read.

use uuid::Uuid;

use crate::domain::{
    Batch, Callback, Identity, Job, JobId, LogLine, LogPlace, Ordinal, StateCounts, Timestamp,
};
use crate::store::contract::{
    BatchJob, BatchKey, BatchPage, CallbackPlaces, CallbackQuery, Changes, Failure, Filter, Order,
    Places, Portion, Standing, TagEnds, View,
};
use crate::store::{Outbox, Store, backend};

impl Store {
    /// The job of that id, whole.
    pub async fn job(&self, id: JobId) -> Result<Option<Job>, Failure> {
        backend!(self.job(id).await)
    }

    /// The jobs at the first of those places: as many as have about `bytes_max` bytes together, and one at least.
    pub async fn jobs_at(
        &self,
        places: &[Ordinal],
        view: View,
        bytes_max: usize,
    ) -> Result<Portion, Failure> {
        backend!(self.jobs_at(places, view, bytes_max).await)
    }

    /// Where the jobs stand that pass `filter` and were submitted before `below`, newest first. It examines a
    /// bounded number of rows, so it may give few, even none, and not be the last page.
    pub async fn list(
        &self,
        filter: &Filter,
        below: Option<Ordinal>,
        page_size: usize,
    ) -> Result<Places, Failure> {
        backend!(self.list(filter, below, page_size).await)
    }

    /// How those of these jobs stand that are there, at one moment, in the order asked.
    pub async fn standings(&self, ids: &[JobId]) -> Result<Vec<Standing>, Failure> {
        backend!(self.standings(ids).await)
    }

    /// The lines of a job's log that are kept, behind `after`: at most 1 MiB of them.
    pub async fn log(&self, job: Ordinal, after: LogPlace) -> Result<Vec<LogLine>, Failure> {
        backend!(self.log(job, after).await)
    }

    /// The job or batch that the same request made before, if it did; `id` is the one that it chooses. What it
    /// finds stays so; what it does not find may come a moment later.
    pub async fn repeated(
        &self,
        id: Option<JobId>,
        identity: &Identity,
    ) -> Result<Option<Uuid>, Failure> {
        backend!(self.repeated(id, identity).await)
    }

    /// Whether a job or batch of that id expired less than a day before `now`.
    pub async fn is_gone(&self, id: Uuid, now: Timestamp) -> Result<bool, Failure> {
        backend!(self.is_gone(id, now).await)
    }

    /// The changes behind `after`, at most about `limit`, and how far all reach; `to` is `after` if there are none. Jobs
    /// come without large values.
    pub async fn changes(&self, after: i64, limit: usize) -> Result<Changes, Failure> {
        backend!(self.changes(after, limit).await)
    }

    /// The job of that id without large values, and the place of its last change.
    pub async fn changed_job(&self, id: JobId) -> Result<Option<(i64, Job)>, Failure> {
        backend!(self.changed_job(id).await)
    }

    /// The ends behind `after` of jobs that have this tag; `to` is `after` if nothing has changed since. It looks at about
    /// `most` changes.
    pub async fn tag_ends(&self, tag: &str, after: i64, most: usize) -> Result<TagEnds, Failure> {
        backend!(self.tag_ends(tag, after, most).await)
    }

    /// That batch.
    pub async fn batch(&self, key: BatchKey) -> Result<Option<Batch>, Failure> {
        backend!(self.batch(key).await)
    }

    /// One page of the batches submitted before `below`, newest first.
    pub async fn batches(
        &self,
        below: Option<Ordinal>,
        page_size: usize,
    ) -> Result<BatchPage, Failure> {
        backend!(self.batches(below, page_size).await)
    }

    /// How the next jobs of a batch stand: those behind the call `after`, done or not, or those that ended
    /// behind the change `after`.
    pub async fn batch_jobs(
        &self,
        batch: Ordinal,
        order: Order,
        after: i64,
        limit: usize,
    ) -> Result<Vec<BatchJob>, Failure> {
        backend!(self.batch_jobs(batch, order, after, limit).await)
    }

    /// Where the callbacks stand that are looked for: at most `limit` of them, behind `from`. Through all of them it looks at a
    /// bounded number, so it may give fewer and not be the last page.
    pub async fn callback_places(
        &self,
        query: &CallbackQuery,
        from: Option<Ordinal>,
        limit: usize,
    ) -> Result<CallbackPlaces, Failure> {
        backend!(self.callback_places(query, from, limit).await)
    }

    /// The callbacks at those places with their deliveries, in their order; those that are gone are left out.
    pub async fn callbacks_at(&self, places: &[Ordinal]) -> Result<Vec<Callback>, Failure> {
        backend!(self.callbacks_at(places).await)
    }

    /// How many callbacks of a job are in each state; or, of all jobs and batches, how many deliveries.
    pub async fn callback_states(&self, job: Option<Ordinal>) -> Result<StateCounts, Failure> {
        backend!(self.callback_states(job).await)
    }

    /// A look at the deliveries that are due, as they are at `now`.
    pub async fn outbox(&self, now: Timestamp) -> Result<Outbox, Failure> {
        backend!(self.outbox(now).await)
    }
}
