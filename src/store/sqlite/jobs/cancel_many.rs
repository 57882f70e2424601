//! Many jobs are cancelled: a mark that claims honour at once, then portions between the other writes.

use rusqlite::params;

use crate::domain::{FunctionName, Ordinal, QueueName, State};
use crate::store::contract::{CancelCounts, CancelPortion, Error, Event, Failure, Filter, Mark};
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::jobs::filter::meant;
use crate::store::sqlite::jobs::{ask_to_stop, cancel_waiting};
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::write::{IfRefused, Ran, Write};

const SELECT_MEANT: &str =
    concat!("select exists (select 1 from calls where ordinal = ?1 and ", meant!(), ")");

/// No job that `mark` means starts from here on.
#[derive(Debug)]
struct MarkCancelled {
    mark: Mark,
}

impl Write for MarkCancelled {
    type Output = (u64, Ordinal);

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<(u64, Ordinal)> {
        let newest = Ordinal(txn.counters.ordinal);
        Ok(Ok((txn.slots.mark_cancelled(self.mark.clone(), newest), newest)))
    }
}

#[derive(Debug)]
struct UnmarkCancelled {
    number: u64,
}

impl Write for UnmarkCancelled {
    type Output = usize;

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<usize> {
        Ok(Ok(txn.slots.unmark_cancelled(self.number)))
    }

    fn if_refused(&self) -> IfRefused {
        IfRefused::Retry
    }
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
    pub async fn mark_cancelled(&self, mark: Mark) -> Result<(u64, Ordinal), Error> {
        self.write(MarkCancelled { mark }).await
    }

    pub async fn cancel_portion(&self, portion: CancelPortion) -> Result<CancelCounts, Error> {
        self.write(portion).await
    }

    pub async fn unmark_cancelled(&self, number: u64) -> Result<usize, Error> {
        self.write(UnmarkCancelled { number }).await
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
