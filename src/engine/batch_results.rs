//! The results of a batch, in the order of its calls or of their ends, while its jobs run (E5, E8).

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::{Batch, BatchId, Job, Ordinal};
use crate::store::{BatchJob, Ended, Order};

use super::wait_many::portion_room;
use super::waiters::BatchWatch;
use super::{EndedJob, Engine, Error, Held, Portions, Share};

impl Engine {
    /// Gives the jobs of a batch that are done, and then each as its turn comes. `after` is the last call that
    /// was seen, or, in the order of their ends, the last change; `share` has the room for what is given.
    pub async fn batch_results(
        &self,
        id: BatchId,
        order: Order,
        after: Option<i64>,
        (share, result_bytes_max): (Share, usize),
    ) -> Result<BatchResults, Error> {
        let watch = self.shared.waiters.watch_batch(id)?;
        let batch = self.batch(id).await?;
        let first = match order {
            Order::Input => -1,
            Order::Completed => 0,
        };
        let after = after.unwrap_or(first).max(first);
        let (engine, portions) = (self.clone(), Portions::default());
        let is_over = false;
        Ok(BatchResults {
            engine,
            share,
            watch,
            batch,
            order,
            after,
            result_bytes_max,
            portions,
            is_over,
        })
    }
}

/// The results of a batch, as they come. Nothing of them is kept here: each page is read when whoever reads
/// is ready for it.
#[derive(Debug)]
pub struct BatchResults {
    engine: Engine,
    share: Share,
    watch: BatchWatch,
    /// As it was last looked at.
    batch: Batch,
    order: Order,
    after: i64,
    result_bytes_max: usize,
    portions: Portions,
    is_over: bool,
}

/// What [`BatchResults`] give next.
#[derive(Debug)]
pub enum BatchResult {
    /// Jobs that are done, each with its place among the calls; and the room for them.
    Jobs(Vec<(i64, Arc<Job>)>, Held),
    /// All were given, or the server stops.
    End {
        /// How many jobs of the batch are done.
        completed: i64,
        /// How many are not.
        unfinished: i64,
    },
}

impl BatchResults {
    /// The batch, as it was last looked at.
    #[must_use]
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// The next results, or the end; none after the end.
    pub async fn next(&mut self) -> Result<Option<BatchResult>, Error> {
        if self.is_over {
            return Ok(None);
        }
        loop {
            // What a batch that is done does not show then, it will never show.
            let was_done = self.batch.is_done();
            let places = self.ended_places().await?;
            if !places.is_empty() {
                let held = self.share.take(portion_room(self.result_bytes_max)).await;
                return Ok(Some(BatchResult::Jobs(self.jobs(&places).await?, held)));
            }
            if was_done || self.engine.shared.shutdown.waits.is_cancelled() {
                self.is_over = true;
                let counts = self.batch.counts;
                let completed = counts.done();
                return Ok(Some(BatchResult::End {
                    completed,
                    unfinished: counts.total - completed,
                }));
            }
            self.look().await?;
        }
    }

    /// So many jobs that were given took so many bytes: the next portion is as large as they let it be.
    pub fn saw(&mut self, jobs: usize, bytes: usize) {
        self.portions.saw(jobs, bytes);
    }

    /// The next places whose jobs are done.
    async fn ended_places(&self) -> Result<Vec<(i64, Ended)>, Error> {
        let store = &self.engine.shared.store;
        let places = store
            .batch_jobs(self.batch.ordinal, self.order, self.after, self.portions.next())
            .await?;
        let ended = |it: &BatchJob| it.ended.map(|ended| (it.index, ended));
        Ok(places.iter().map_while(ended).collect())
    }

    async fn jobs(&mut self, places: &[(i64, Ended)]) -> Result<Vec<(i64, Arc<Job>)>, Error> {
        let indexes: HashMap<Ordinal, i64> =
            places.iter().map(|(index, ended)| (ended.ordinal, *index)).collect();
        let ended: Vec<Ended> = places.iter().map(|(_, ended)| *ended).collect();
        let (jobs, count) = self.engine.ended_jobs(&ended, self.result_bytes_max).await?;
        if let Some((index, ended)) = places[..count].last() {
            self.after = match self.order {
                Order::Input => *index,
                Order::Completed => ended.seq,
            };
        }
        let with_index = |job: Arc<Job>| Some((*indexes.get(&job.ordinal)?, job));
        // The jobs of a batch go with it, and that is seen at the next look.
        Ok(jobs.into_iter().filter_map(EndedJob::kept).filter_map(with_index).collect())
    }

    /// Looks at the batch again; unless it is done already, once it has changed.
    async fn look(&mut self) -> Result<(), Error> {
        let before = self.batch.counts;
        self.batch = self.engine.batch(self.batch.id).await?;
        if self.batch.is_done() || self.batch.counts != before {
            return Ok(());
        }
        tokio::select! {
            biased;
            () = self.watch.changed() => {}
            () = self.engine.shared.shutdown.waits.cancelled() => {}
        }
        Ok(())
    }
}
