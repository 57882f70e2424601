//! Many jobs are cancelled: by portions, and where a claim would start one of them.

use crate::domain::{JobId, Ordinal, State};
use crate::store::cancel_many::{CancelCounts, CancelPortion, Mark};
use crate::store::ledger::Running;
use crate::store::sqlite::write::cancel_many::UnstartedRow;
use crate::store::sqlite::write::ends::End;
use crate::store::{Ended, Error, Event};

use super::{Group, disagree};

/// Jobs that one group cancels where it would have claimed them. What is left is for the next one.
const AT_CLAIMS_MAX: usize = 500;

impl Group<'_> {
    /// No job that `mark` means starts from here on.
    pub(super) fn mark_cancelled(&mut self, mark: &Mark) -> (u64, Ordinal) {
        let newest = Ordinal(self.counters.ordinal);
        (self.ledger.mark_cancelled(mark.clone(), newest), newest)
    }

    /// Cancels some jobs, as far as they are not done.
    pub(super) fn cancel_some(&mut self, it: &CancelPortion) -> Result<CancelCounts, Error> {
        self.now = self.now.max(it.now);
        let mut counts = CancelCounts::default();
        let mut asked = Vec::new();
        for &job in &it.jobs {
            match self.ledger.running(job) {
                Some(running) if it.running => {
                    counts.matched += 1;
                    if it.terminate {
                        counts.terminating += 1;
                        if running.cancel_requested_at.is_none() {
                            asked.push((job, self.ask_to_stop(job, running)?));
                        }
                    }
                }
                Some(_) => {}
                None if it.pending && self.cancel_unstarted(job, false)? => {
                    counts.matched += 1;
                    counts.cancelled += 1;
                }
                None => {}
            }
        }
        if !asked.is_empty() {
            self.events.push(Event::AskedMany { jobs: asked, grace_seconds: it.grace_seconds });
        }
        Ok(counts)
    }

    /// Whether a job that was just claimed is cancelled instead of being started.
    pub(super) fn is_cancelled_at_claim(&mut self, job: Ordinal) -> Result<bool, Error> {
        let marks = self.ledger.marks_up_to(job);
        for (number, mark) in marks {
            let is_meant = match &*mark {
                Mark::Jobs(jobs) => jobs.contains(&job),
                Mark::Meant(filter) => self.sql.is_meant(job, filter)?,
                Mark::Batch(batch) => self.sql.is_of_batch(job, *batch)?,
            };
            if is_meant {
                self.ledger.drop_claim(job);
                self.ledger.count_cancelled(number);
                if !self.cancel_unstarted(job, true)? {
                    return Err(disagree(format!("job {} does not wait", job.0)));
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether this group has cancelled so many where it would have claimed them that the next one goes on.
    pub(super) fn has_cancelled_enough(&self) -> bool {
        self.ledger.has_marks() && self.cancelled.len() >= AT_CLAIMS_MAX
    }

    /// Cancels a job that waits, with its deliveries; false if it does not wait.
    fn cancel_unstarted(&mut self, job: Ordinal, is_claimed: bool) -> Result<bool, Error> {
        let Some(row) = self.write_cancel(job)? else { return Ok(false) };
        if row.queue.is_none() {
            self.ledger.withdraw_manual();
            return Ok(true);
        }
        // One that was about to be claimed has left its queue already, and one whose time has not come is in none.
        if !self.ledger.withdraw_anywhere(&row.queue, row.priority, job) && !is_claimed {
            self.ledger.unschedule(&row.queue);
        }
        Ok(true)
    }

    /// Writes that a job that waits is cancelled, and makes its deliveries due; none if it does not wait.
    pub(super) fn write_cancel(&mut self, job: Ordinal) -> Result<Option<UnstartedRow>, Error> {
        debug_assert!(State::Pending.may_become(State::Cancelled), "the table of transitions");
        let seq = self.change_of(job);
        let Some(row) = self.sql.cancel_unstarted(job, seq, self.now)? else { return Ok(None) };
        let expires_at = row.batch.is_none().then(|| self.now.plus_millis(row.retention_ms));
        let end = End::of_cancelled(job, seq, (self.now, expires_at));
        self.end_waiting(end, Some(row.version))?;
        if row.has_callbacks {
            self.make_due_of(job, self.now)?;
        }
        self.cancelled.push(Ended { id: row.id, ordinal: job, state: State::Cancelled, seq });
        self.moved(row.batch, (job, seq), (State::Pending, State::Cancelled))?;
        Ok(Some(row))
    }

    fn ask_to_stop(&mut self, job: Ordinal, running: Running) -> Result<JobId, Error> {
        let seq = self.change_of(job);
        let Some(id) = self.sql.ask_to_stop(job, seq, self.now)? else {
            return Err(disagree(format!("job {} does not run", job.0)));
        };
        let running = Running { cancel_requested_at: Some(self.now), ..running };
        self.ledger.set_running(job, Some(running));
        Ok(id)
    }
}
