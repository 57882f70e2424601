//! What time brings to jobs that wait.

use crate::domain::{Due, Job, JobError, RunAt, State, Timestamp};
use crate::store::ledger::Slot;
use crate::store::sqlite::write::clocks::DueRow;
use crate::store::sqlite::write::ends::End;
use crate::store::{Alarm, Ended, Error, Event, Moment};

use super::{Group, disagree};

/// Jobs that come due in one group.
const PORTION: usize = 1_000;

impl Group<'_> {
    /// Does what is due, and says when there is something to do next. What may start is claimed with
    /// everything else.
    pub(super) fn come_due(&mut self, moment: Moment) -> Result<Alarm, Error> {
        self.now = self.now.max(moment.now);
        let rows = self.sql.due(moment.now, PORTION)?;
        let left = PORTION - rows.len();
        for row in rows {
            self.comes_due(&row, moment)?;
        }
        for row in self.sql.due_on_the_wall(moment.wall, left)? {
            self.comes_due(&row, moment)?;
        }
        Ok(Alarm { deadline: self.sql.next_deadline()?, wall: self.sql.next_on_the_wall()? })
    }

    fn comes_due(&mut self, row: &DueRow, moment: Moment) -> Result<(), Error> {
        let moment = (moment.now, moment.wall);
        let clocks = row.options.clocks;
        if self.ledger.is_marked(&row.queue, row.seq) {
            return self.cancel_due(row);
        }
        match clocks.due(row.created_at, row.run_at, row.deadline_at, moment) {
            Due::Start => self.may_start(row),
            Due::Fail(error) => self.time_is_over(row, error),
            Due::Nothing => Ok(()),
        }
    }

    /// A shutdown has marked it, and its time comes before the portion that it belongs to.
    fn cancel_due(&mut self, row: &DueRow) -> Result<(), Error> {
        self.withdraw_due(row)?;
        self.cancel_withdrawn(row.ordinal)
    }

    fn withdraw_due(&mut self, row: &DueRow) -> Result<(), Error> {
        if row.options.manual {
            // It is in no queue.
            self.ledger.withdraw_manual();
            return Ok(());
        }
        if row.run_at.is_some() {
            self.ledger.unschedule(&row.queue);
        } else if !self.ledger.withdraw_anywhere(&row.queue, row.priority, row.ordinal) {
            return Err(disagree(format!("job {} waits nowhere", row.ordinal.0)));
        }
        Ok(())
    }

    fn may_start(&mut self, row: &DueRow) -> Result<(), Error> {
        let seq = self.change_of(row.ordinal);
        let clocks = row.options.clocks;
        let deadline = clocks.deadline(row.created_at, None, self.now, row.attempt > 0);
        if !self.sql.may_start(row.ordinal, seq, deadline)? {
            return Err(disagree(format!("job {} does not wait for its time", row.ordinal.0)));
        }
        self.startable.push(row.id);
        self.ledger.unschedule(&row.queue);
        let slot = Slot { queue: row.queue.clone(), pool: self.ledger.home(&row.function) };
        self.ledger.readmit(slot, row.priority, row.ordinal);
        self.claim()
    }

    fn time_is_over(&mut self, row: &DueRow, error: JobError) -> Result<(), Error> {
        self.withdraw_due(row)?;
        let seq = self.change_of(row.ordinal);
        let error = error.of_attempt(row.attempt);
        let retention_ms = row.options.retention_ms;
        let expires_at = row.batch.is_none().then(|| self.now.plus_millis(retention_ms));
        if !self.sql.fail_waiting(row.ordinal, seq)? {
            return Err(disagree(format!("job {} does not wait", row.ordinal.0)));
        }
        self.end_waiting(End::of_failed(row.ordinal, seq, (self.now, expires_at), &error), None)?;
        self.make_due_of(row.ordinal, self.now)?;
        let (id, ordinal) = (row.id, row.ordinal);
        self.cancelled.push(Ended { id, ordinal, state: State::Failed, seq });
        self.moved(row.batch, (ordinal, seq), (State::Pending, State::Failed))
    }

    /// Keeps the attempt that has just failed, and what it has left of those before. Of a job that has no other, its own
    /// row tells all.
    pub(super) fn keep_attempts(&self, before: &Job, next: &Job) -> Result<(), Error> {
        if next.failures > before.failures && next.spec.options.retry.max_attempts > 1 {
            for failed in next.attempts.changed_since(&before.attempts) {
                self.sql.keep_attempt(next.ordinal, failed)?;
            }
        }
        Ok(())
    }

    /// Whether the job waits for its time; then it is no longer counted.
    pub(super) fn unscheduled(&mut self, job: &Job) -> Result<bool, Error> {
        if self.ledger.running(job.ordinal).is_some() || !self.sql.is_scheduled(job.ordinal)? {
            return Ok(false);
        }
        self.ledger.unschedule(&job.spec.queue);
        Ok(true)
    }

    /// Tells what a job waits for. Most wait for nothing but a slot.
    pub(super) fn waits_for(&mut self, job: &Job, deadline: Option<Timestamp>) {
        let wall = match job.run_at {
            Some(RunAt::Wall(at)) => Some(at),
            Some(RunAt::Counted(_)) | None => None,
        };
        if deadline.is_some() || wall.is_some() {
            self.events.push(Event::Waits(Alarm { deadline, wall }));
        }
    }
}
