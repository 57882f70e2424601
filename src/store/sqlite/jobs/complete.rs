//! The attempt of a job ends: its outcome is kept, with its deliveries, and its slot is free.

use std::borrow::Cow;
use std::sync::Arc;

use rusqlite::params;

use crate::domain::{FailedAttempt, Job, JobId, Ordinal, Outcome, State, settle};
use crate::store::codec;
use crate::store::contract::{Completion, Error, Event, Failed, Failure, Refusal};
use crate::store::sqlite::callbacks::due;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::job_log::keep;
use crate::store::sqlite::jobs::end;
use crate::store::sqlite::jobs::end::Guard;
use crate::store::sqlite::slots::{Running, Slot};
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::values::chunks;
use crate::store::sqlite::values::stored::CHUNK_BYTES_MAX;
use crate::store::sqlite::write::{IfRefused, Phase, ROW_BYTES, Ran, Reply, Write, pending};

const KEEP_ATTEMPT: &str = "insert into attempts (job, attempt, started_at, finished_at, error)
values (?, ?, ?, ?, ?)
on conflict (job, attempt) do update set error = excluded.error";

impl Write for Arc<Completion> {
    type Output = ();

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<()> {
        let ordinal = self.job.ordinal;
        let running = txn.slots.running(ordinal);
        let Some(running) = running.filter(|running| running.attempt == self.job.attempt) else {
            return Ok(Err(Refusal::Superseded));
        };
        txn.now = txn.now.max(self.now);
        let job = with_cancel(&self.job, running);
        let mut next = settle(&job, self.outcome.clone(), self.now, self.chance);
        next.may_have_callbacks = running.may_have_callbacks && !next.is_done();
        let value = next.result.clone();
        let result = value.as_ref().map(|it| chunks::store(txn, it.as_str()));
        let result = result.transpose()?;
        let guard = Guard { from: State::Running, attempt: Some(job.attempt) };
        end::end(txn, &mut next, guard, result.as_ref())?;
        keep::keep_log_lines(txn, ordinal, &self.log)?;
        keep_attempts(txn, &job, &next)?;
        if running.may_have_callbacks {
            due::make_due(txn, &mut next)?;
        }
        let slot = Slot { queue: job.spec.queue.clone(), pool: self.pool };
        txn.slots.set_running(ordinal, None);
        if self.frees_slot {
            txn.slots.release(slot.clone());
        } else {
            txn.slots.give_up(&slot.queue, true);
        }
        if next.run_at.is_some() {
            txn.slots.schedule(&slot.queue);
        } else if !next.is_done() {
            txn.slots.readmit(slot, job.spec.priority, ordinal);
        }
        txn.events.push(Event::Changed(Arc::new(next)));
        Ok(Ok(()))
    }

    fn bytes(&self) -> usize {
        ROW_BYTES + bytes_of(&self.outcome) + keep::log_bytes_of(&self.log)
    }

    fn large_value(&self) -> Option<Cow<'_, str>> {
        match &self.outcome {
            Outcome::Returned(result) => Some(Cow::Borrowed(result.as_str())),
            _ => None,
        }
    }

    fn phase(&self) -> Phase {
        Phase::End
    }

    fn if_refused(&self) -> IfRefused {
        IfRefused::Retry
    }

    fn job_of_outcome(&self) -> Option<JobId> {
        Some(self.job.spec.id)
    }
}

impl Sqlite {
    pub async fn complete(
        &self,
        completion: Arc<Completion>,
        failed: Option<Failed>,
    ) -> Result<(), Error> {
        match failed {
            None => Box::pin(self.write(completion)).await,
            Some(failed) if is_large(&completion.outcome) => {
                if let Err(error) = Box::pin(self.write(completion)).await {
                    failed(error);
                }
                Ok(())
            }
            Some(failed) => {
                self.send_or_answer(pending(completion, Reply::of_failure(failed))).await;
                Ok(())
            }
        }
    }
}

/// The errors of earlier attempts, which may lose their texts for it, are there already.
fn bytes_of(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Returned(result) => result.len(),
        Outcome::Raised(error) => error.bytes(),
        Outcome::Cancelled | Outcome::Stopped | Outcome::Crashed | Outcome::NotStarted { .. } => 0,
    }
}

/// Whether an outcome is so large that it is written ahead.
pub fn is_large(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Returned(result) if result.len() > CHUNK_BYTES_MAX)
}

/// The job as its attempt knows it, with the cancel that the attempt may not have heard of yet.
fn with_cancel(job: &Job, running: Running) -> Cow<'_, Job> {
    match (job.cancel_requested_at, running.cancel_requested_at) {
        (None, Some(at)) => Cow::Owned(Job {
            cancel_requested_at: Some(at),
            version: job.version + 1,
            ..job.clone()
        }),
        (Some(_), _) | (None, None) => Cow::Borrowed(job),
    }
}

/// Keeps the attempt that has just failed, and what it has left of those before. Of a job that has no other, its own
/// row tells all.
pub fn keep_attempts(txn: &Txn<'_>, before: &Job, next: &Job) -> Result<(), Failure> {
    if next.failures > before.failures && next.spec.options.retry.max_attempts > 1 {
        for failed in next.attempts.changed_since(&before.attempts) {
            keep_attempt(txn.sql, next.ordinal, failed)?;
        }
    }
    Ok(())
}

/// Keeps an attempt that failed, or what is left of its error.
pub fn keep_attempt(
    sql: Statements<'_>,
    job: Ordinal,
    failed: &FailedAttempt,
) -> rusqlite::Result<()> {
    let FailedAttempt { started_at, finished_at, error } = failed;
    let error_text = codec::error_text(error);
    let values = params![job.0, error.attempt(), started_at.0, finished_at.0, error_text];
    sql.run(KEEP_ATTEMPT, values).map(drop)
}
