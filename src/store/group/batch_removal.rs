//! Batches that are over go with their jobs, in portions: the jobs first, then what is left.

use crate::domain::Timestamp;
use crate::store::removal::DAY_MS;
use crate::store::sqlite::write::batch_removal::OverRow;
use crate::store::{Error, Event};

use super::Group;
use super::removal::Portion;

impl Group<'_> {
    /// Removes what the portion has room for of the batches that have expired; whether there may be more.
    pub(super) fn clean_batches(
        &mut self,
        now: Timestamp,
        portion: &mut Portion,
    ) -> Result<bool, Error> {
        while !portion.is_full() {
            let Some(batch) = self.sql.batch_over(now)? else {
                portion.holds |= self.sql.is_batch_held(now)?;
                return Ok(false);
            };
            if self.remove_some_of(&batch, portion)? {
                break;
            }
        }
        Ok(true)
    }

    /// True if the portion has no room for the next job.
    fn remove_some_of(&mut self, batch: &OverRow, portion: &mut Portion) -> Result<bool, Error> {
        if !batch.is_going {
            // Whoever asks for it now is told that it is gone, rather than shown the half of it.
            self.sql.let_batch_go(batch.ordinal)?;
        }
        let rows = self.sql.jobs_of_batch(batch.ordinal, portion.rows_left)?;
        let wanted = portion.rows_left;
        // As many rows of ends as jobs, so that none is left with the last of them.
        self.sql.delete_ends(batch.ordinal, rows.len())?;
        if self.expire_some(&rows, portion, |_passed| {})? || rows.len() == wanted {
            return Ok(true);
        }
        self.sql.delete_batch(batch.ordinal)?;
        // It may have come with this group: one without calls is done at once.
        self.tallies.remove(&batch.ordinal);
        self.sql.delete_keys_of(batch.id.0, self.now.plus_millis(-DAY_MS))?;
        self.sql.keep_tombstone(batch.id.0, self.now)?;
        portion.rows_left = portion.rows_left.saturating_sub(1);
        self.events.push(Event::Batch(batch.id));
        Ok(false)
    }
}
