//! Cancelling many jobs at once, however many wait, and in the way of nobody.

use tokio::sync::oneshot;

use crate::domain::{JobId, Ordinal, State};
use crate::store::{CancelCounts, CancelPortion, Filter, Mark};

use super::{CancelMode, Engine, Error};

/// Jobs that are cancelled in one commit.
const PORTION: usize = 500;
/// How long a running job may take that is asked to stop.
const GRACE_SECONDS: f64 = 5.0;
/// Cancels of many that are under way at once. The next ones wait for their turn.
pub(super) const AT_ONCE_MAX: usize = 8;

/// Which jobs are meant.
#[derive(Clone, Debug)]
pub enum Meant {
    /// These; those that are not there, or are done, count for nothing.
    Jobs(Vec<JobId>),
    /// Those that pass the filter and were there when it was asked.
    Filter(Filter),
}

/// A cancel of many.
#[derive(Clone, Debug)]
pub struct CancelMany {
    pub meant: Meant,
    /// What becomes of those that run.
    pub mode: CancelMode,
    /// Whether they are only counted.
    pub dry_run: bool,
}

/// Where to look for the next ones.
enum Search {
    Listed(std::vec::IntoIter<(Ordinal, State)>),
    Filtered { filter: Filter, after: Option<Ordinal>, to: Ordinal },
}

impl Engine {
    /// Cancels many jobs (F3, F4), and says how many when all is done. Whoever asked may go away meanwhile:
    /// that changes nothing.
    pub async fn cancel_many(&self, asked: CancelMany) -> Result<CancelCounts, Error> {
        if asked.dry_run {
            return self.count(asked).await;
        }
        let (told, counts) = oneshot::channel();
        let engine = self.clone();
        self.shared.tasks.spawn(async move {
            // Whoever asked may be gone; the work is done all the same.
            drop(told.send(engine.cancel_all(asked).await));
        });
        counts.await.map_err(|_ended| Error::Draining)?
    }

    async fn cancel_all(&self, asked: CancelMany) -> Result<CancelCounts, Error> {
        let turn = self.shared.cancels.acquire().await;
        let _turn = turn.map_err(|_closed| Error::Draining)?;
        let listed = self.listed(&asked.meant).await?;
        let mark = match (&asked.meant, &listed) {
            (Meant::Filter(filter), _) => Mark::Meant(filter.clone()),
            (_, listed) => Mark::Jobs(listed.iter().flatten().map(|(job, _)| *job).collect()),
        };
        let (number, newest) = self.shared.store.mark_cancelled(mark).await?;
        let search = Search::new(&asked.meant, listed, newest);
        let counted = self.cancel_found(search, &asked).await;
        let mut counts = match counted {
            Ok(counts) => counts,
            Err(error) => {
                // What stays marked never starts. Whoever asked need not wait for the end of that.
                let engine = self.clone();
                self.shared
                    .tasks
                    .spawn(async move { engine.shared.store.unmark_cancelled(number).await });
                return Err(error);
            }
        };
        let at_claims = self.shared.store.unmark_cancelled(number).await?;
        counts.add(CancelCounts { matched: at_claims, cancelled: at_claims, terminating: 0 });
        Ok(counts)
    }

    /// Those that were named and are not done; none if a filter names them.
    async fn listed(&self, meant: &Meant) -> Result<Option<Vec<(Ordinal, State)>>, Error> {
        match meant {
            Meant::Jobs(ids) => Ok(Some(self.shared.store.unfinished_of(ids).await?)),
            Meant::Filter(_) => Ok(None),
        }
    }

    /// Cancels those that pass `filter` between two places: what waits, and what runs is asked to stop. Something
    /// else keeps them from starting.
    pub(super) async fn cancel_all_within(
        &self,
        filter: Filter,
        (after, to): (Ordinal, Ordinal),
    ) -> Result<(), Error> {
        let search = Search::Filtered { filter: filter.clone(), after: Some(after), to };
        let (meant, mode) = (Meant::Filter(filter), CancelMode::Terminate);
        let asked = CancelMany { meant, mode, dry_run: false };
        self.cancel_found(search, &asked).await.map(drop)
    }

    async fn cancel_found(
        &self,
        mut search: Search,
        asked: &CancelMany,
    ) -> Result<CancelCounts, Error> {
        let state = match &asked.meant {
            Meant::Jobs(_) => None,
            Meant::Filter(filter) => filter.state,
        };
        let mut counts = CancelCounts::default();
        while let Some(found) = search.next(self).await? {
            if self.shared.ending.is_cancelled() {
                return Err(Error::Draining);
            }
            if found.is_empty() {
                continue;
            }
            let portion = CancelPortion {
                jobs: found.into_iter().map(|(job, _)| job).collect(),
                pending: state.is_none_or(|state| state == State::Pending),
                running: state.is_none_or(|state| state == State::Running),
                terminate: asked.mode == CancelMode::Terminate,
                grace_seconds: GRACE_SECONDS,
                now: self.now(),
            };
            counts.add(self.shared.store.cancel_portion(portion).await?);
        }
        Ok(counts)
    }

    /// What a cancel would do now.
    async fn count(&self, asked: CancelMany) -> Result<CancelCounts, Error> {
        let listed = self.listed(&asked.meant).await?;
        let mut search = Search::new(&asked.meant, listed, Ordinal(i64::MAX));
        let mut counts = CancelCounts::default();
        while let Some(found) = search.next(self).await? {
            let running = found.iter().filter(|(_, state)| *state == State::Running).count();
            let terminates = asked.mode == CancelMode::Terminate;
            counts.add(CancelCounts {
                matched: found.len(),
                cancelled: found.len() - running,
                terminating: if terminates { running } else { 0 },
            });
        }
        Ok(counts)
    }
}

impl Search {
    fn new(meant: &Meant, listed: Option<Vec<(Ordinal, State)>>, to: Ordinal) -> Self {
        match meant {
            Meant::Jobs(_) => Self::Listed(listed.unwrap_or_default().into_iter()),
            Meant::Filter(filter) => {
                Self::Filtered { filter: filter.clone(), after: Some(Ordinal(0)), to }
            }
        }
    }

    /// The next ones, perhaps none here; none at all at the end.
    async fn next(&mut self, engine: &Engine) -> Result<Option<Vec<(Ordinal, State)>>, Error> {
        match self {
            Self::Listed(jobs) => {
                let next: Vec<_> = jobs.take(PORTION).collect();
                Ok((!next.is_empty()).then_some(next))
            }
            Self::Filtered { filter, after, to } => {
                let Some(from) = *after else { return Ok(None) };
                let (found, next) =
                    engine.shared.store.unfinished(filter, from, *to, PORTION).await?;
                *after = next;
                Ok(Some(found))
            }
        }
    }
}
