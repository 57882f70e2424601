//! `as_completed` without an end: the jobs of a tag, those that are still to come as well, as they are done.

use std::collections::VecDeque;

use crate::store::{Ended, TagEnds};

use super::wait_many::portion_room;
use super::waiters::{Heard, TagWatch};
use super::{EndedJob, Engine, Error, Held, Portions, Share};

/// Changes that are looked at together.
const LOOKED_AT: usize = 4_096;

/// The jobs of a tag in the order of their ends, as they end. Nothing of them is kept here but where they stand, and of
/// that no more than is looked for at once.
#[derive(Debug)]
pub struct OpenCompletions {
    engine: Engine,
    watch: TagWatch,
    share: Share,
    result_bytes_max: usize,
    /// Every end up to here is given, or ready.
    to: i64,
    ready: VecDeque<Heard>,
    portions: Portions,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Begins,
    /// Looks for itself.
    Behind,
    /// Hears of each end.
    Live,
    Over,
}

/// What [`OpenCompletions`] give next.
#[derive(Debug)]
pub enum OpenCompletion {
    /// Where they begin: what ends behind this place is given.
    Begin(i64),
    /// Jobs that are done, each with its end's place in the order of all changes; and the room for them.
    Jobs(Vec<(i64, EndedJob)>, Held),
    /// The server stops; what was given reaches up to this place.
    Stopping(i64),
}

impl Engine {
    /// Follows the jobs that have `tag` as they are done: from where somebody was before, or from now on. Results have at
    /// most `result_bytes_max` bytes; larger ones are left out.
    ///
    /// # Errors
    /// [`Error::UnknownPlace`], [`Error::TooManyWaiters`], or a failure of the database.
    pub async fn open_completions(
        &self,
        tag: &str,
        after: Option<i64>,
        (share, result_bytes_max): (Share, usize),
    ) -> Result<OpenCompletions, Error> {
        let watch = self.shared.waiters.follow_tag(tag)?;
        let known = self.shared.store.changes(0, 0).await?.known;
        // What was told before is on the disk, so a place beyond that is another database's.
        if after.is_some_and(|after| after > known.head) {
            return Err(Error::UnknownPlace);
        }
        Ok(OpenCompletions {
            engine: self.clone(),
            watch,
            share,
            result_bytes_max,
            to: after.unwrap_or(known.head),
            ready: VecDeque::new(),
            portions: Portions::default(),
            stage: Stage::Begins,
        })
    }
}

impl OpenCompletions {
    /// What comes next; none after the end.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn next(&mut self) -> Result<Option<OpenCompletion>, Error> {
        loop {
            if let Some((jobs, held)) = self.given().await? {
                return Ok(Some(OpenCompletion::Jobs(jobs, held)));
            }
            match self.stage {
                Stage::Begins => {
                    self.stage = Stage::Behind;
                    return Ok(Some(OpenCompletion::Begin(self.to)));
                }
                Stage::Over => return Ok(None),
                _ if self.engine.shared.shutdown.waits.is_cancelled() => {
                    self.stage = Stage::Over;
                    return Ok(Some(OpenCompletion::Stopping(self.to)));
                }
                Stage::Behind => self.look().await?,
                Stage::Live => self.hear().await,
            }
        }
    }

    /// So many jobs that were given took so many bytes: the next portion is as large as they let it be.
    pub fn saw(&mut self, jobs: usize, bytes: usize) {
        self.portions.saw(jobs, bytes);
    }

    /// The jobs that are ready, as many as are printed at once; none if there are none.
    async fn given(&mut self) -> Result<Option<(Vec<(i64, EndedJob)>, Held)>, Error> {
        while !self.ready.is_empty() {
            let held = self.share.take(portion_room(self.result_bytes_max)).await;
            let heard: Vec<Heard> = self.ready.iter().take(self.portions.next()).copied().collect();
            let page: Vec<Ended> = heard.iter().map(|it| it.ended).collect();
            let (jobs, count) = self.engine.ended_jobs(&page, self.result_bytes_max).await?;
            self.ready.drain(..count);
            let tag = self.watch.tag();
            let has_tag = |(heard, job): &(&Heard, EndedJob)| match job {
                EndedJob::Kept(job) => job.spec.tags.as_slice().iter().any(|it| it == tag),
                EndedJob::Gone(_) => heard.is_known,
            };
            let jobs = heard.iter().zip(jobs).filter(has_tag);
            let jobs: Vec<_> = jobs.map(|(heard, job)| (heard.ended.seq, job)).collect();
            if !jobs.is_empty() {
                return Ok(Some((jobs, held)));
            }
        }
        Ok(None)
    }

    /// Looks for what has ended since. When there is nothing, what ends later is heard of.
    async fn look(&mut self) -> Result<(), Error> {
        let _turn = self.engine.shared.followers.catching_up.acquire().await;
        let looked =
            self.engine.shared.store.tag_ends(self.watch.tag(), self.to, LOOKED_AT).await?;
        let TagEnds { ends, to } = looked;
        if to == self.to {
            self.stage = Stage::Live;
        }
        self.to = to;
        self.ready.extend(ends.into_iter().map(|ended| Heard { ended, is_known: true }));
        Ok(())
    }

    async fn hear(&mut self) {
        let heard = tokio::select! {
            biased;
            heard = self.watch.next() => heard,
            () = self.engine.shared.shutdown.waits.cancelled() => return,
        };
        let Some(heard) = heard else {
            self.stage = Stage::Behind;
            return;
        };
        let more = std::iter::from_fn(|| self.watch.try_next()).take(LOOKED_AT);
        for heard in std::iter::once(heard).chain(more) {
            // What was found before, and a job of which is told twice, as a cancel of many does.
            if heard.ended.seq > self.to {
                self.to = heard.ended.seq;
                self.ready.push_back(heard);
            }
        }
    }
}
