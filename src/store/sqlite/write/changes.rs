//! The log of changes.

use rusqlite::{Result, params};

use super::Statements;

const INSERT: &str = "insert into changes (first_seq, last_seq, entries) values (?, ?, ?)";
/// The newest row stays, so that the log always says how far it reaches back.
const DELETE: &str = "delete from changes
where first_seq <= ?1 and first_seq < (select max(c.first_seq) from changes as c)";

impl Statements<'_> {
    /// Keeps the changes of one group.
    pub(in crate::store) fn keep_changes(
        self,
        first_seq: i64,
        last_seq: i64,
        entries: &[u8],
    ) -> Result<()> {
        self.run(INSERT, params![first_seq, last_seq, entries]).map(drop)
    }

    /// Forgets the changes of groups that began before.
    pub(in crate::store) fn forget_changes(self, until: i64) -> Result<()> {
        self.run(DELETE, [until]).map(drop)
    }
}
