//! The cancel of one job: what waits ends at once, what runs is asked to stop.

use crate::domain::{State, cancel_pending};
use crate::store::ledger::{Running, Slot};
use crate::store::{Cancellation, Ended, Error, Event};

use super::{CancelOrder, Group, Guard, disagree};

impl Group<'_> {
    pub(super) fn cancel(&mut self, order: &CancelOrder) -> Result<Cancellation, Error> {
        let job = &order.job;
        if job.spec.options.manual {
            return self.cancel_manual(order);
        }
        let slot = Slot { queue: job.spec.queue.clone(), pool: order.pool };
        if self.ledger.withdraw(slot, job.spec.priority, job.ordinal) || self.unscheduled(job)? {
            let guard = Guard { from: State::Pending, attempt: None };
            let mut next = cancel_pending(job, order.now);
            self.end(&mut next, guard, None)?;
            self.make_due(&mut next)?;
            self.events.extend(Ended::of(&next).map(Event::Cancelled));
            return Ok(Cancellation::Cancelled);
        }
        match self.ledger.running(job.ordinal) {
            None => Ok(Cancellation::Done),
            Some(_) if !order.terminate => Ok(Cancellation::Running),
            Some(Running { cancel_requested_at: Some(_), .. }) => Ok(Cancellation::Requested),
            Some(running) => {
                let seq = self.change_of(job.ordinal);
                if !self.sql.request_cancel(job.ordinal, seq, order.now)? {
                    return Err(disagree(format!("job {} does not run", job.ordinal.0)));
                }
                let running = Running { cancel_requested_at: Some(order.now), ..running };
                self.ledger.set_running(job.ordinal, Some(running));
                self.events.push(Event::CancelRequested(order.clone()));
                Ok(Cancellation::Requested)
            }
        }
    }
}
