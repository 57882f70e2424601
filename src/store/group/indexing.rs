//! Jobs enter the indexes late: most are done before, and never have to.
//!
//! A job that starts at once is in no index but that of ids, and nothing is written there when it is done.
//! Once enough others were submitted after it, the indexes reach it: if it still runs, it is entered among
//! the unfinished; if it is done, its range of ordinals is noted, to be looked through when the first of
//! them expires. So a start finds what is not done through the index once it has looked at the few jobs that
//! the index does not reach yet (docs/decisions/0028).

use crate::domain::{Job, Ordinal, Timestamp};
use crate::store::Error;
use crate::store::sqlite::write::indexing::Range;

use super::Group;

/// The indexes take so many ordinals at once, and leave at least as many out.
pub(super) const STEP: i64 = 2_048;
/// What is kept for less than an hour is indexed by its expiry: it goes when it is over. The rest may take
/// [`LOOK_AGAIN_MS`] longer.
const SHORT_RETENTION_MS: i64 = 3_600_000;
/// A range of ordinals is looked through no more often than that.
const LOOK_AGAIN_MS: i64 = 60_000;

impl Group<'_> {
    /// Lets the indexes follow, if they are far enough behind.
    pub(super) fn index_some(&mut self) -> Result<(), Error> {
        if self.counters.ordinal - self.counters.indexed_to < 2 * STEP {
            return Ok(());
        }
        self.index_up_to(Ordinal(self.counters.ordinal - STEP))
    }

    /// Lets the indexes reach every job that another server has left.
    pub(in crate::store) fn index_what_is_left(&mut self) -> Result<(), Error> {
        let range = self.range_up_to(Ordinal(self.counters.ordinal));
        self.sql.insert_left(range)?;
        let first = self.sql.next_expiry_in(range)?;
        self.counters.indexes_reach(range.to);
        self.reach(range, first)
    }

    /// What is not done and in no index runs: what waits is entered when it comes.
    fn index_up_to(&mut self, to: Ordinal) -> Result<(), Error> {
        let range = self.range_up_to(to);
        self.sql.insert_unfinished(&self.ledger.index_running(range.to))?;
        // What ends of them from here on is indexed when it does.
        let first = self.counters.indexes_reach(range.to);
        self.reach(range, first)
    }

    fn range_up_to(&self, to: Ordinal) -> Range {
        Range { after: Ordinal(self.counters.indexed_to), to }
    }

    /// Notes how far they reach, and when the range is to be looked through for what is over.
    fn reach(&self, range: Range, first: Option<Timestamp>) -> Result<(), Error> {
        first.map_or(Ok(()), |first| self.sql.keep_range(range, first))?;
        Ok(self.sql.keep_indexed_to(range.to)?)
    }

    /// Whether a job that is done is in the index of what expires.
    pub(super) fn expires_by_index(&self, job: &Job) -> bool {
        let is_reached = job.ordinal.0 <= self.counters.indexed_to;
        is_reached || job.spec.options.retention_ms < SHORT_RETENTION_MS
    }

    /// Lets the indexes reach every job, if one that they do not reach is over.
    pub(super) fn index_what_is_over(&mut self, now: Timestamp) -> Result<(), Error> {
        let newest = Ordinal(self.counters.ordinal);
        let first = self.sql.next_expiry_in(self.range_up_to(newest))?;
        if first.is_some_and(|first| first <= now) { self.index_up_to(newest) } else { Ok(()) }
    }

    /// A range was looked through to its end.
    pub(super) fn looked_through(&mut self, range: Range, now: Timestamp) -> Result<(), Error> {
        let next = self.sql.next_expiry_in(range)?;
        let again = next.map(|next| next.max(now.plus_millis(LOOK_AGAIN_MS)));
        Ok(self.sql.looked_through(range, again)?)
    }
}
