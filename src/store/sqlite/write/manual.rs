//! Manual jobs, which stand in their rows alone.

use rusqlite::Result;

use crate::domain::Ordinal;

use super::Statements;

/// Only what is in no queue waits to be completed; all else waits to be run.
const SELECT_AWAITS: &str = "select exists (select 1 from calls as j
where j.ordinal = ? and j.state = 'pending' and j.queue = '')";

impl Statements<'_> {
    /// Whether the job is a manual one that has no end yet.
    pub(in crate::store) fn awaits_completion(self, job: Ordinal) -> Result<bool> {
        self.prepared(SELECT_AWAITS)?.query_row([job.0], |row| row.get(0))
    }
}
