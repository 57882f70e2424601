//! Waiting for many jobs: `wait` and `as_completed` (W1 to W10, A1 to A6).

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{BRIEF_BYTES_MAX, Job, JobId, Ordinal, State};
use crate::store::{Ended, Standing, View};

use super::waiters::Watch;
use super::{Engine, Error, Held, PORTION_BYTES, Portions, Share};

/// When a wait for many jobs is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReturnWhen {
    /// When all are done.
    #[default]
    AllCompleted,
    /// When any is done (W5).
    FirstCompleted,
    /// When any has failed, or all are done; a cancelled job has not failed (W6).
    FirstException,
}

impl ReturnWhen {
    const ALL: [Self; 3] = [Self::AllCompleted, Self::FirstCompleted, Self::FirstException];

    /// Python's name for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllCompleted => "ALL_COMPLETED",
            Self::FirstCompleted => "FIRST_COMPLETED",
            Self::FirstException => "FIRST_EXCEPTION",
        }
    }

    /// The choice of that name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.as_str() == word)
    }

    /// Whether a wait is over that has seen these ends, with so many jobs still to come.
    fn is_met(self, ended: &HashMap<JobId, Ended>, missing: usize) -> bool {
        let any = |is_it: fn(State) -> bool| ended.values().any(|ended| is_it(ended.state));
        missing == 0
            || match self {
                Self::AllCompleted => false,
                Self::FirstCompleted => !ended.is_empty(),
                Self::FirstException => any(|state| state == State::Failed),
            }
    }
}

/// What a wait for many jobs came to; both lists in the order asked.
#[derive(Debug)]
pub struct Waited {
    /// Those that are done.
    pub done: Vec<Ended>,
    /// Those that are not.
    pub not_done: Vec<JobId>,
    /// Whether it ended because its time was over.
    pub timed_out: bool,
}

/// A job that is done, for whoever waited for it with others.
#[derive(Clone, Debug)]
pub enum EndedJob {
    /// As it stands, without large values.
    Kept(Arc<Job>),
    /// It was forgotten since: no more is known than how it ended.
    Gone(Ended),
}

impl EndedJob {
    /// The job, if it is kept.
    #[must_use]
    pub fn kept(self) -> Option<Arc<Job>> {
        match self {
            Self::Kept(job) => Some(job),
            Self::Gone(_) => None,
        }
    }
}

impl Engine {
    /// Waits for `ids` until `when` is met, at most `wait`. The same id twice is one job (W1). Ending the
    /// wait cancels nothing.
    pub async fn wait_many(
        &self,
        ids: &[JobId],
        when: ReturnWhen,
        wait: Duration,
    ) -> Result<Waited, Error> {
        let deadline = Instant::now() + wait;
        let asked = distinct(ids);
        let mut watch = self.shared.waiters.watch(asked.clone().into())?;
        let standings = self.standings(ids, &asked).await?;
        let mut ended: HashMap<JobId, Ended> =
            standings.iter().filter_map(|it| Some((it.id, it.ended?))).collect();
        let mut timed_out = false;
        while !timed_out && !when.is_met(&ended, asked.len() - ended.len()) {
            tokio::select! {
                biased;
                next = watch.next() => {
                    ended.insert(next.id, next);
                    ended.extend(std::iter::from_fn(|| watch.try_next()).map(|it| (it.id, it)));
                }
                () = tokio::time::sleep_until(deadline) => timed_out = true,
                () = self.shared.shutdown.waits.cancelled() => timed_out = true,
            }
        }
        let done = asked.iter().filter_map(|id| ended.get(id).copied()).collect();
        let not_done = asked.into_iter().filter(|id| !ended.contains_key(id)).collect();
        Ok(Waited { done, not_done, timed_out })
    }

    /// The first of the jobs that have ended so, each of them, in this order, without large values, but for results of so many
    /// bytes: as many as are printed at once. Of how many these are all is told as well.
    pub async fn ended_jobs(
        &self,
        ended: &[Ended],
        result_bytes_max: usize,
    ) -> Result<(Vec<EndedJob>, usize), Error> {
        let mut found: HashMap<Ordinal, Arc<Job>> = HashMap::with_capacity(ended.len());
        found.extend(
            ended.iter().filter_map(|it| Some((it.ordinal, self.shared.recent.get(it.id)?))),
        );
        let missing = ended.iter().map(|it| it.ordinal).filter(|it| !found.contains_key(it));
        let missing: Vec<Ordinal> = missing.collect();
        let mut count = ended.len();
        if !missing.is_empty() {
            let store = &self.shared.store;
            let view = View::Results(result_bytes_max);
            let read = store.jobs_at(&missing, view, PORTION_BYTES).await?;
            let next = missing.get(read.places);
            count = ended.iter().position(|it| Some(&it.ordinal) == next).unwrap_or(count);
            found.extend(read.jobs.into_iter().map(|job| (job.ordinal, Arc::new(job))));
        }
        let told = |it: &Ended| match found.remove(&it.ordinal) {
            Some(job) => EndedJob::Kept(job),
            None => EndedJob::Gone(*it),
        };
        Ok((ended[..count].iter().map(told).collect(), count))
    }

    /// Gives those of `ids` that are done, and then each as it is done, in the order of their ends (A1).
    /// Ends up to `after` were told before. Without a time it goes on until all are done. `share` has the room for them.
    pub async fn as_completed(
        &self,
        ids: &[JobId],
        after: i64,
        wait: Option<Duration>,
        (share, result_bytes_max): (Share, usize),
    ) -> Result<Completions, Error> {
        // Further off than a clock can say is never.
        let deadline = wait.and_then(|wait| Instant::now().checked_add(wait));
        let asked = distinct(ids);
        let watch = self.shared.waiters.watch(asked.clone().into())?;
        let standings = self.standings(ids, &asked).await?;
        let mut ended: Vec<Ended> = standings.iter().filter_map(|it| it.ended).collect();
        // What ends after this look is committed after it, and so has a higher place.
        ended.sort_unstable_by_key(|it| it.seq);
        let unfinished: HashSet<JobId> =
            standings.iter().filter(|it| it.ended.is_none()).map(|it| it.id).collect();
        Ok(Completions {
            engine: self.clone(),
            share,
            watch,
            completed: ended.partition_point(|it| it.seq <= after),
            ready: ended.into_iter().filter(|it| it.seq > after).collect(),
            unfinished,
            portions: Portions::default(),
            result_bytes_max,
            deadline,
            is_over: false,
        })
    }

    /// How the jobs stand; all of them must be there (W10).
    async fn standings(&self, ids: &[JobId], asked: &[JobId]) -> Result<Vec<Standing>, Error> {
        let standings = self.shared.store.standings(asked).await?;
        if standings.len() == asked.len() {
            return Ok(standings);
        }
        let found: HashSet<JobId> = standings.iter().map(|it| it.id).collect();
        let missing = ids.iter().copied().enumerate().filter(|(_, id)| !found.contains(id));
        Err(Error::NoneOf(missing.collect()))
    }
}

/// Jobs in the order of their ends, as they end.
#[derive(Debug)]
pub struct Completions {
    engine: Engine,
    share: Share,
    watch: Watch,
    /// Ends that are known and not yet given, in their order. Only ids wait here: the jobs are read
    /// when whoever reads them is ready for more.
    ready: VecDeque<Ended>,
    unfinished: HashSet<JobId>,
    portions: Portions,
    result_bytes_max: usize,
    completed: usize,
    deadline: Option<Instant>,
    is_over: bool,
}

/// What [`Completions`] give next.
#[derive(Debug)]
pub enum Completion {
    /// Jobs that are done, each with its end's place in the order of all changes; and the room for them.
    Jobs(Vec<(i64, EndedJob)>, Held),
    /// All are done, or the time is over (A2).
    End {
        /// How many of the jobs are done.
        completed: usize,
        /// How many are not.
        unfinished: usize,
        /// Whether the time was over first.
        timed_out: bool,
    },
}

impl Completions {
    /// The next jobs, or the end; none after the end.
    pub async fn next(&mut self) -> Result<Option<Completion>, Error> {
        if self.is_over {
            return Ok(None);
        }
        loop {
            while let Some(ended) = self.watch.try_next() {
                self.heard(ended);
            }
            if !self.ready.is_empty() {
                let held = self.share.take(portion_room(self.result_bytes_max)).await;
                let page: Vec<Ended> =
                    self.ready.iter().take(self.portions.next()).copied().collect();
                let (jobs, count) = self.engine.ended_jobs(&page, self.result_bytes_max).await?;
                self.ready.drain(..count);
                self.completed += count;
                let jobs = page.iter().map(|ended| ended.seq).zip(jobs).collect();
                return Ok(Some(Completion::Jobs(jobs, held)));
            }
            if self.unfinished.is_empty() {
                return Ok(Some(self.end(false)));
            }
            let deadline = self.deadline;
            tokio::select! {
                biased;
                ended = self.watch.next() => self.heard(ended),
                () = until(deadline) => return Ok(Some(self.end(true))),
                () = self.engine.shared.shutdown.waits.cancelled() => return Ok(Some(self.end(false))),
            }
        }
    }

    /// So many jobs that were given took so many bytes: the next portion is as large as they let it be.
    pub fn saw(&mut self, jobs: usize, bytes: usize) {
        self.portions.saw(jobs, bytes);
    }

    /// An end that the first look had seen already is not told again.
    fn heard(&mut self, ended: Ended) {
        if self.unfinished.remove(&ended.id) {
            self.ready.push_back(ended);
        }
    }

    fn end(&mut self, timed_out: bool) -> Completion {
        self.is_over = true;
        let (completed, unfinished) = (self.completed, self.unfinished.len());
        Completion::End { completed, unfinished, timed_out }
    }
}

/// What the jobs of a portion take in memory, about: the last of them may be as large as one may be.
#[must_use]
pub fn portion_room(result_bytes_max: usize) -> usize {
    PORTION_BYTES + result_bytes_max.saturating_sub(BRIEF_BYTES_MAX)
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Each id once, in the order asked.
fn distinct(ids: &[JobId]) -> Vec<JobId> {
    let mut seen = HashSet::with_capacity(ids.len());
    ids.iter().copied().filter(|id| seen.insert(*id)).collect()
}
