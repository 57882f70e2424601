//! The log of changes: what each commit did, in the order of all changes.

use crate::domain::{JobId, Ordinal};
use crate::store::{Error, log_entry};

use super::Group;

/// Changes that are kept for those who follow; a million single ones take some 30 MB.
const KEPT: i64 = 1_000_000;
/// What is older goes once so many more have come.
const TRIMMED_EVERY: i64 = 4_096;

/// The changes of one group.
#[derive(Debug, Default)]
pub(super) struct Log {
    first_seq: i64,
    entries: Vec<u8>,
    /// The ordinal of the last one.
    last: i64,
}

impl Group<'_> {
    /// The place of a job's change in the order of all changes.
    pub(super) fn change_of(&mut self, job: Ordinal) -> i64 {
        let seq = self.counters.next_seq();
        if self.log.entries.is_empty() {
            self.log.first_seq = seq;
        }
        log_entry::write(&mut self.log.entries, job.0 - self.log.last);
        self.log.last = job.0;
        seq
    }

    /// Notes that a job is there no more.
    pub(super) fn is_gone(&mut self, id: JobId) {
        self.change_of(Ordinal(0));
        self.log.entries.extend_from_slice(id.0.as_bytes());
    }

    /// Counts a group that changed no job, but something: the high-water mark knows each commit (G3).
    fn count_quiet(&mut self) -> Result<(), Error> {
        if self.sql.connection().total_changes() == self.rows_before {
            return Ok(());
        }
        self.counters.quiet += 1;
        Ok(self.sql.keep_quiet(self.counters.quiet)?)
    }

    /// Keeps what this group has changed, and lets go of what is too old.
    pub(super) fn keep_log(&mut self) -> Result<(), Error> {
        if self.log.entries.is_empty() {
            return self.count_quiet();
        }
        self.counters.logged_to = self.counters.seq;
        let (first, last) = (self.log.first_seq, self.counters.seq);
        self.sql.keep_changes(first, last, &self.log.entries)?;
        if first / TRIMMED_EVERY != (last + 1) / TRIMMED_EVERY {
            self.sql.forget_changes(last - KEPT)?;
        }
        Ok(())
    }
}
