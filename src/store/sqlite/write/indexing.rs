//! Which jobs are not done, as far as it is kept, and the ranges of their ordinals that are looked through for what is over.

use rusqlite::{OptionalExtension as _, Result, Statement, params};

use crate::domain::{Ordinal, Timestamp};

use super::together::Rows;
use super::{Statements, removal};

const KEEP_INDEXED_TO: &str = "update counters set indexed_to = ? where only_row = 1";
pub(in crate::store) const INSERT: Rows =
    Rows { into: "insert or rollback into unfinished (job) values ", row: "(?)" };
const DELETE: &str = "delete from unfinished where job = ?";
/// Of jobs that another server has left.
const INSERT_LEFT: &str = "insert into unfinished (job)
select c.ordinal from calls as c where c.ordinal > ?1 and c.ordinal <= ?2
    and not exists (select 1 from ends as e where e.job = c.ordinal)
on conflict (job) do nothing";
const SELECT_NEXT_EXPIRY_BETWEEN: &str =
    "select min(expires_at) from ends where job > ? and job <= ? and indexed = 0";
const KEEP_RANGE: &str =
    "insert into expiry_ranges (after_ordinal, to_ordinal, look_at) values (?, ?, ?)";
const SELECT_DUE_RANGE: &str = "select after_ordinal, to_ordinal from expiry_ranges
where look_at <= ? order by look_at limit 1";
const LOOK_AGAIN: &str = "update expiry_ranges set look_at = ?2 where after_ordinal = ?1";
const DELETE_RANGE: &str = "delete from expiry_ranges where after_ordinal = ?";

/// Ordinals behind the first, up to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Range {
    pub(in crate::store) after: Ordinal,
    pub(in crate::store) to: Ordinal,
}

impl Statements<'_> {
    /// Notes how far the indexes reach.
    pub(in crate::store) fn keep_indexed_to(self, to: Ordinal) -> Result<()> {
        self.run(KEEP_INDEXED_TO, [to.0]).map(drop)
    }

    /// Enters jobs among those that are not done.
    pub(in crate::store) fn insert_unfinished(self, jobs: &[Ordinal]) -> Result<()> {
        self.hot.insert_unfinished(jobs)
    }

    /// Takes a job out of those that are not done; false if it is not among them.
    pub(in crate::store) fn delete_unfinished(self, job: Ordinal) -> Result<bool> {
        self.run(DELETE, [job.0]).map(|rows| rows == 1)
    }

    /// Enters those jobs of a range that are not done.
    pub(in crate::store) fn insert_left(self, range: Range) -> Result<()> {
        self.run(INSERT_LEFT, [range.after.0, range.to.0]).map(drop)
    }

    /// When the first job of a range expires that no index knows.
    pub(in crate::store) fn next_expiry_in(self, range: Range) -> Result<Option<Timestamp>> {
        let mut statement = self.prepared(SELECT_NEXT_EXPIRY_BETWEEN)?;
        statement.query_row([range.after.0, range.to.0], removal::moment)
    }

    /// Has a range looked through for what is over, then.
    pub(in crate::store) fn keep_range(self, range: Range, look_at: Timestamp) -> Result<()> {
        self.run(KEEP_RANGE, params![range.after.0, range.to.0, look_at.0]).map(drop)
    }

    /// A range that is to be looked through now.
    pub(in crate::store) fn due_range(self, now: Timestamp) -> Result<Option<Range>> {
        let mut statement = self.prepared(SELECT_DUE_RANGE)?;
        let range = |row: &rusqlite::Row<'_>| {
            Ok(Range { after: Ordinal(row.get(0)?), to: Ordinal(row.get(1)?) })
        };
        statement.query_row([now.0], range).optional()
    }

    /// Has a range looked through again, or never again.
    pub(in crate::store) fn looked_through(
        self,
        range: Range,
        look_again_at: Option<Timestamp>,
    ) -> Result<()> {
        match look_again_at {
            Some(at) => self.run(LOOK_AGAIN, [range.after.0, at.0]).map(drop),
            None => self.run(DELETE_RANGE, [range.after.0]).map(drop),
        }
    }
}

/// See [`super::together::Bind`].
pub(super) fn bind(
    job: &Ordinal,
    statement: &mut Statement<'_>,
    first: usize,
    _: &mut (),
) -> Result<()> {
    statement.raw_bind_parameter(first, job.0)
}
