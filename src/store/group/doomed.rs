//! Waiting jobs that are cancelled many at a time, in portions: no group is held up by a million of them.

use crate::domain::{Ordinal, QueueName};
use crate::store::Error;
use crate::store::ledger::Cancelling;

use super::{Group, disagree};

/// Rows that one group looks at, and so the most that it cancels.
pub(super) const PORTION: usize = 1_000;
/// The same in a group that others wait for.
pub(in crate::store) const PORTION_AMONG_OTHERS: usize = 250;

impl Group<'_> {
    /// Goes on with cancelling what shutdowns have marked, as far as this group's portion reaches.
    pub(in crate::store) fn cancel_marked(&mut self) -> Result<(), Error> {
        while self.portion_left > 0 {
            let next = self.ledger.next_cancelling();
            let Some((queue, cancelling)) = next.map(|(name, it)| (name.clone(), it)) else {
                return Ok(());
            };
            self.cancel_portion(&queue, cancelling)?;
        }
        Ok(())
    }

    /// Leaves at most so many rows for what this group cancels.
    pub(in crate::store) fn limit_portion(&mut self, most: usize) {
        self.portion_left = self.portion_left.min(most);
    }

    fn cancel_portion(&mut self, queue: &QueueName, at: Cancelling) -> Result<(), Error> {
        let cancel_to = self.ledger.kept(queue).and_then(|kept| kept.cancel_to).unwrap_or(0);
        let rows = self.sql.unfinished(at, queue, cancel_to, self.portion_left)?;
        let last = rows.last().map(|row| row.ordinal).filter(|_| rows.len() == self.portion_left);
        for row in rows.iter().filter(|row| row.is_marked) {
            if row.is_scheduled {
                self.ledger.unschedule(queue);
            } else if !self.ledger.withdraw_anywhere(queue, row.priority, row.ordinal) {
                return Err(disagree(format!("job {} waits nowhere", row.ordinal.0)));
            }
            self.cancel_withdrawn(row.ordinal)?;
        }
        self.portion_left -= rows.len();
        let next = last.map(|after| Cancelling { after, ..at });
        self.ledger.set_cancelling(queue, next);
        Ok(())
    }

    /// Cancels one job that waited. The ledger has let go of it before.
    pub(super) fn cancel_withdrawn(&mut self, job: Ordinal) -> Result<(), Error> {
        match self.write_cancel(job)? {
            Some(_) => Ok(()),
            None => Err(disagree(format!("job {} does not wait", job.0))),
        }
    }
}
