//! Many jobs are cancelled: a rule that claims honour at once, then portions between the other writes.

use rusqlite::params;

use crate::domain::{FunctionName, Ordinal, QueueName, State, Timestamp};
use crate::store::contract::{
    BatchKey, CancelCounts, CancelFilter, CancelMany, Error, Event, Failure, Filter,
};
use crate::store::sqlite::batches::pages;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::jobs::filter::meant;
use crate::store::sqlite::jobs::{ask_to_stop, cancel_waiting};
use crate::store::sqlite::slots::CancelRule;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::write::{IfRefused, Ran, Reply, Write, pending};

/// Jobs that are cancelled in one commit.
const PORTION: usize = 500;

const SELECT_MEANT: &str =
    concat!("select exists (select 1 from calls where ordinal = ?1 and ", meant!(), ")");

/// No job that the rule means starts from here on. Gives its number, and the newest job that it can mean.
#[derive(Debug)]
pub struct AddCancelRule(pub CancelRule);

impl Write for AddCancelRule {
    type Output = (u64, Ordinal);

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<(u64, Ordinal)> {
        let newest = Ordinal(txn.counters.ordinal);
        Ok(Ok((txn.slots.add_cancel_rule(self.0.clone(), newest), newest)))
    }
}

/// Takes the rule of that number back. Gives how many jobs were cancelled by it instead of being started.
#[derive(Debug)]
pub struct DropCancelRule(pub u64);

impl Write for DropCancelRule {
    type Output = usize;

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<usize> {
        Ok(Ok(txn.slots.drop_cancel_rule(self.0)))
    }

    fn if_refused(&self) -> IfRefused {
        IfRefused::Retry
    }
}

/// Some of the jobs that are being cancelled.
#[derive(Clone, Debug)]
pub struct CancelPortion {
    pub jobs: Vec<Ordinal>,
    /// Whether those are meant that have not started.
    pub pending: bool,
    /// Whether those are meant that run.
    pub running: bool,
    pub terminate: bool,
    pub grace_seconds: f64,
    pub now: Timestamp,
}

/// Cancels some jobs, as far as they are not done.
impl Write for CancelPortion {
    type Output = CancelCounts;

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<CancelCounts> {
        txn.now = txn.now.max(self.now);
        let mut counts = CancelCounts::default();
        let mut asked = Vec::new();
        for &job in &self.jobs {
            match txn.slots.running(job) {
                Some(running) if self.running => {
                    counts.matched += 1;
                    if self.terminate {
                        counts.terminating += 1;
                        if running.cancel_requested_at.is_none() {
                            let id = ask_to_stop::ask_to_stop(txn, job, (running, txn.now))?;
                            asked.push((job, id));
                        }
                    }
                }
                Some(_) => {}
                None if self.pending && cancel_waiting::cancel_unstarted(txn, job, false)? => {
                    counts.matched += 1;
                    counts.cancelled += 1;
                }
                None => {}
            }
        }
        if !asked.is_empty() {
            txn.events.push(Event::AskedMany { jobs: asked, grace_seconds: self.grace_seconds });
        }
        Ok(Ok(counts))
    }
}

impl Sqlite {
    pub async fn cancel_matching(
        &self,
        asked: CancelMany,
        now: impl Fn() -> Timestamp,
    ) -> Result<CancelCounts, Error> {
        let mut search = self.search(&asked.filter).await?;
        if asked.dry_run {
            return self.count(&mut search, asked.terminate).await;
        }
        let rule = match (&asked.filter, &search) {
            // Its rule stands until it is done.
            (CancelFilter::Batch(_), _) => {
                return self.cancel_found(&mut search, &asked, now).await;
            }
            (_, Search::Listed(jobs)) => {
                CancelRule::Jobs(jobs.as_slice().iter().map(|(job, _)| *job).collect())
            }
            (_, Search::Filtered { filter, .. }) => CancelRule::Matching(filter.clone()),
        };
        let (number, newest) = self.write(AddCancelRule(rule)).await?;
        if let Search::Filtered { to, .. } = &mut search {
            *to = newest;
        }
        let mut counts = match self.cancel_found(&mut search, &asked, now).await {
            Ok(counts) => counts,
            Err(error) => {
                // What the rule means never starts. Whoever asked need not wait for the end of that.
                drop(self.send(pending(DropCancelRule(number), Reply::none())).await);
                return Err(error);
            }
        };
        let at_claims = self.write(DropCancelRule(number)).await?;
        counts.add(CancelCounts { matched: at_claims, cancelled: at_claims, terminating: 0 });
        Ok(counts)
    }

    async fn search(&self, filter: &CancelFilter) -> Result<Search, Failure> {
        Ok(match filter {
            CancelFilter::Jobs(ids) => Search::Listed(self.unfinished_of(ids).await?.into_iter()),
            CancelFilter::Matching(filter) => Search::Filtered {
                filter: filter.clone(),
                after: Some(Ordinal(0)),
                to: Ordinal(i64::MAX),
            },
            CancelFilter::Batch(place) => match self.batch(BatchKey::At(*place)).await? {
                Some(batch) => {
                    let extent =
                        pages::extent(&mut *self.readers.acquire().await?, batch.id).await?;
                    Search::Filtered {
                        filter: Filter { batch: Some(batch.id), ..Filter::default() },
                        after: Some(Ordinal(extent.from.0 - 1)),
                        to: Ordinal(extent.below.0 - 1),
                    }
                }
                None => Search::Listed(Vec::new().into_iter()),
            },
        })
    }

    /// Cancels what a search finds: what waits, and what runs is asked to stop. A rule keeps it from starting meanwhile.
    async fn cancel_found(
        &self,
        search: &mut Search,
        asked: &CancelMany,
        now: impl Fn() -> Timestamp,
    ) -> Result<CancelCounts, Error> {
        let state = match &asked.filter {
            CancelFilter::Matching(filter) => filter.state,
            CancelFilter::Jobs(_) | CancelFilter::Batch(_) => None,
        };
        let mut counts = CancelCounts::default();
        while let Some(found) = search.next(self).await? {
            if found.is_empty() {
                continue;
            }
            let portion = CancelPortion {
                jobs: found.into_iter().map(|(job, _)| job).collect(),
                pending: state.is_none_or(|state| state == State::Pending),
                running: state.is_none_or(|state| state == State::Running),
                terminate: asked.terminate,
                grace_seconds: asked.grace_seconds,
                now: now(),
            };
            counts.add(self.write(portion).await?);
        }
        Ok(counts)
    }

    /// What a cancel would do now.
    async fn count(&self, search: &mut Search, terminate: bool) -> Result<CancelCounts, Error> {
        let mut counts = CancelCounts::default();
        while let Some(found) = search.next(self).await? {
            let running = found.iter().filter(|(_, state)| *state == State::Running).count();
            counts.add(CancelCounts {
                matched: found.len(),
                cancelled: found.len() - running,
                terminating: if terminate { running } else { 0 },
            });
        }
        Ok(counts)
    }
}

/// Where to look for the next ones.
enum Search {
    Listed(std::vec::IntoIter<(Ordinal, State)>),
    Filtered { filter: Filter, after: Option<Ordinal>, to: Ordinal },
}

impl Search {
    /// The next ones, perhaps none here; none at all at the end.
    async fn next(&mut self, store: &Sqlite) -> Result<Option<Vec<(Ordinal, State)>>, Failure> {
        match self {
            Self::Listed(jobs) => {
                let next: Vec<_> = jobs.take(PORTION).collect();
                Ok((!next.is_empty()).then_some(next))
            }
            Self::Filtered { filter, after, to } => {
                let Some(from) = *after else { return Ok(None) };
                let (found, next) = store.unfinished(filter, from, *to, PORTION).await?;
                *after = next;
                Ok(Some(found))
            }
        }
    }
}

/// Whether a job passes a filter.
pub fn is_meant(sql: Statements<'_>, job: Ordinal, filter: &Filter) -> Result<bool, Failure> {
    let values = params![
        job.0,
        filter.state.map(State::as_str),
        filter.function.as_ref().map(FunctionName::as_str),
        filter.queue.as_ref().map(QueueName::as_str),
        filter.tag,
        filter.created_after.map(|at| at.0),
        filter.created_before.map(|at| at.0),
        filter.batch.map(|it| it.0.into_bytes()),
    ];
    Ok(sql.prepared(SELECT_MEANT)?.query_row(values, |row| row.get(0))?)
}
