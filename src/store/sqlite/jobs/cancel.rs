//! The cancel of one job: what waits ends at once, what runs is asked to stop.

use crate::domain::{State, cancel_pending};
use crate::store::contract::{CancelOrder, Cancellation, Ended, Error, Event};
use crate::store::sqlite::callbacks::due;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::jobs::end::Guard;
use crate::store::sqlite::jobs::manual;
use crate::store::sqlite::jobs::{ask_to_stop, end, timers};
use crate::store::sqlite::slots::{Running, Slot};
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::write::{Ran, Write};

impl Write for CancelOrder {
    type Output = Cancellation;

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<Cancellation> {
        let job = &self.job;
        if job.spec.options.manual {
            return Ok(Ok(manual::cancel_manual(txn, self)?));
        }
        let slot = Slot { queue: job.spec.queue.clone(), pool: self.pool };
        if txn.slots.withdraw(slot, job.spec.priority, job.ordinal)
            || timers::unscheduled(txn, job)?
        {
            let guard = Guard { from: State::Pending, attempt: None };
            let mut next = cancel_pending(job, self.now);
            end::end(txn, &mut next, guard, None)?;
            due::make_due(txn, &mut next)?;
            txn.events.extend(Ended::of(&next).map(Event::Cancelled));
            return Ok(Ok(Cancellation::Cancelled));
        }
        match txn.slots.running(job.ordinal) {
            None => Ok(Ok(Cancellation::Done)),
            Some(_) if !self.terminate => Ok(Ok(Cancellation::Running)),
            Some(Running { cancel_requested_at: Some(_), .. }) => Ok(Ok(Cancellation::Requested)),
            Some(running) => {
                ask_to_stop::ask_to_stop(txn, job.ordinal, (running, self.now))?;
                txn.events.push(Event::CancelRequested(self.clone()));
                Ok(Ok(Cancellation::Requested))
            }
        }
    }
}

impl Sqlite {
    pub async fn cancel(&self, order: CancelOrder) -> Result<Cancellation, Error> {
        self.write(order).await
    }
}
