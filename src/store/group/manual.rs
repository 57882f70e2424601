//! Manual jobs: nothing runs them, and the ledger only counts those that wait. What they are stands in their rows.

use std::sync::Arc;

use crate::domain::{Job, State, cancel_pending, complete};
use crate::store::Completion;

use super::{CancelOrder, Cancellation, Ended, Error, Event, Group, Guard};

/// What waits has made no attempt yet.
const WAITS: Guard = Guard { from: State::Pending, attempt: None };

impl Group<'_> {
    /// Gives a manual job its end, with its deliveries; none if it does not wait for one any more (F20).
    pub(super) fn complete(
        &mut self,
        it: &Completion,
        written_ahead: Option<i64>,
    ) -> Result<Option<Arc<Job>>, Error> {
        if !self.sql.awaits_completion(it.job.ordinal)? {
            if let Some(payload) = written_ahead {
                self.sql.delete_payload(payload)?;
            }
            return Ok(None);
        }
        self.ledger.withdraw_manual();
        self.now = self.now.max(it.now);
        let mut next = complete(&it.job, it.end.clone(), it.now);
        let value = next.result.clone();
        let result = value.as_ref().map(|it| self.store(it.as_str(), written_ahead));
        let result = result.transpose()?;
        self.end(&mut next, WAITS, result.as_ref())?;
        self.make_due(&mut next)?;
        let next = Arc::new(next);
        self.events.push(Event::Changed(Arc::clone(&next)));
        Ok(Some(next))
    }

    /// Cancels a manual job, if it still waits.
    pub(super) fn cancel_manual(&mut self, order: &CancelOrder) -> Result<Cancellation, Error> {
        if !self.sql.awaits_completion(order.job.ordinal)? {
            return Ok(Cancellation::Done);
        }
        self.ledger.withdraw_manual();
        self.now = self.now.max(order.now);
        let mut next = cancel_pending(&order.job, order.now);
        self.end(&mut next, WAITS, None)?;
        self.make_due(&mut next)?;
        self.events.extend(Ended::of(&next).map(Event::Cancelled));
        Ok(Cancellation::Cancelled)
    }
}
