//! The ends of a batch's jobs, in their order: many in a row of their table, because a row for each costs a job of a
//! batch as much as half of its own end.

use crate::domain::Ordinal;
use crate::store::Error;

use super::Group;

/// Ends in a row: it stays within a page.
const TOGETHER: usize = 128;

/// Jobs of one batch that have ended.
#[derive(Debug, Default)]
pub(super) struct Ends {
    first_seq: i64,
    count: usize,
    /// Their ordinals, a JSON array that is still open.
    jobs: String,
}

impl Ends {
    fn add(&mut self, job: Ordinal, seq: i64) {
        if self.count == 0 {
            self.first_seq = seq;
        }
        self.jobs.push(if self.count == 0 { '[' } else { ',' });
        self.jobs.push_str(itoa::Buffer::new().format(job.0));
        self.count += 1;
    }
}

impl Group<'_> {
    /// Notes that a job of a batch has ended by the change at `seq`.
    pub(super) fn has_ended_of(
        &mut self,
        batch: Ordinal,
        (job, seq): (Ordinal, i64),
    ) -> Result<(), Error> {
        let ends = self.batch_ends.entry(batch).or_default();
        ends.add(job, seq);
        if ends.count < TOGETHER {
            return Ok(());
        }
        self.batch_ends.remove(&batch).map_or(Ok(()), |full| self.keep(batch, full))
    }

    /// Writes what is not written yet.
    pub(super) fn keep_batch_ends(&mut self) -> Result<(), Error> {
        let ends = std::mem::take(&mut self.batch_ends);
        ends.into_iter().try_for_each(|(batch, ends)| self.keep(batch, ends))
    }

    fn keep(
        &mut self,
        batch: Ordinal,
        Ends { first_seq, mut jobs, .. }: Ends,
    ) -> Result<(), Error> {
        jobs.push(']');
        Ok(self.sql.keep_ends(batch, first_seq, &jobs)?)
    }
}
