//! Jobs enter the indexes late: most are done before, and never have to.
//!
//! A job that starts at once is in no index but that of ids, and nothing is written there when it is done.
//! Once enough others were submitted after it, the indexes reach it: if it still runs, it is entered among
//! the unfinished; if it is done, its range of ordinals is noted, to be looked through when the first of
//! them expires. So a start finds what is not done through the index once it has looked at the few jobs that
//! the index does not reach yet (docs/decisions/0028).

use crate::domain::{Job, Ordinal, State, Timestamp};
use crate::store::Error;
use crate::store::sqlite::write::indexing::Range;

use super::Group;

/// The indexes take so many ordinals at once, and leave at least as many out.
const STEP: i64 = 2_048;
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

    /// Lets the indexes reach every job that there is.
    pub(in crate::store) fn index_all(&mut self) -> Result<(), Error> {
        self.index_up_to(Ordinal(self.counters.ordinal))
    }

    fn index_up_to(&mut self, to: Ordinal) -> Result<(), Error> {
        let range = Range { after: Ordinal(self.counters.indexed_to), to };
        self.sql.index_unfinished(range)?;
        if let Some(first) = self.sql.next_expiry_in(range)? {
            self.sql.keep_range(range, first)?;
        }
        self.sql.keep_indexed_to(to)?;
        self.counters.indexed_to = to.0;
        Ok(())
    }

    /// Whether a job is in the index that belongs to its state.
    pub(super) fn is_indexed(&self, job: &Job) -> bool {
        let is_reached = job.ordinal.0 <= self.counters.indexed_to;
        match job.state {
            State::Pending => true,
            State::Running => is_reached,
            State::Succeeded | State::Failed | State::Cancelled => {
                is_reached || job.spec.options.retention_ms < SHORT_RETENTION_MS
            }
        }
    }

    /// Lets the indexes reach every job, if one that they do not reach is over.
    pub(super) fn index_what_is_over(&mut self, now: Timestamp) -> Result<(), Error> {
        let after = Ordinal(self.counters.indexed_to);
        let range = Range { after, to: Ordinal(self.counters.ordinal) };
        let first = self.sql.next_expiry_in(range)?;
        if first.is_some_and(|first| first <= now) { self.index_all() } else { Ok(()) }
    }

    /// A range was looked through to its end.
    pub(super) fn looked_through(&mut self, range: Range, now: Timestamp) -> Result<(), Error> {
        let next = self.sql.next_expiry_in(range)?;
        let again = next.map(|next| next.max(now.plus_millis(LOOK_AGAIN_MS)));
        Ok(self.sql.looked_through(range, again)?)
    }
}
