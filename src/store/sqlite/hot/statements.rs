//! The statements of nearly every commit, ready to run. To look one up among all, and to put it back, takes a tenth of
//! what it does.

use std::cell::RefCell;

use rusqlite::{Connection, Statement, ToSql};

use crate::domain::Ordinal;
use crate::store::sqlite::hot::multi_row_insert::{MultiRowInsert, Rows};
use crate::store::sqlite::hot::new_row::{self, NewRow};
use crate::store::sqlite::hot::result_row::{self, ResultRow};

/// Of a job that waited only the database knows the version and the counts for sure, since whoever cancels it may have
/// read it long before; of one that ran, its attempt.
const LEAVE: &str = "update calls set state = ?4, version = coalesce(?5, version + 1), seq = ?6,
    started_at = case when ?4 = 'pending' then null else started_at end,
    interruptions = coalesce(?7, interruptions), crashes = coalesce(?8, crashes),
    cancel_requested_at = ?9, failures = coalesce(?10, failures), run_at = ?11, run_at_is_wall = 0,
    deadline_at = ?12
where ordinal = ?1 and state = ?2 and (?3 is null or attempt = ?3)";

/// Which jobs are not done, as far as that is kept.
pub const INSERT_UNFINISHED: Rows =
    Rows { into: "insert or rollback into unfinished (job) values ", row: "(?)" };

/// [`HotStatements`], but for how long the statements live: what uses them need not be tied to it.
pub trait Hot: std::fmt::Debug {
    fn insert(&self, new_rows: &[NewRow]) -> rusqlite::Result<()>;
    fn insert_results(&self, results: &[ResultRow]) -> rusqlite::Result<()>;
    fn insert_unfinished(&self, jobs: &[Ordinal]) -> rusqlite::Result<()>;
    fn leave(&self, values: &[&dyn ToSql]) -> rusqlite::Result<usize>;
}

/// The statements of nearly every commit, ready to run. To look one up among all, and to put it back, takes a tenth of
/// what it does.
#[derive(Debug)]
pub struct HotStatements<'c> {
    new_rows: MultiRowInsert<'c, NewRow, new_row::LastRow>,
    results: MultiRowInsert<'c, ResultRow, result_row::LastResult>,
    unfinished: MultiRowInsert<'c, Ordinal, ()>,
    leave: RefCell<Statement<'c>>,
}

impl<'c> HotStatements<'c> {
    pub fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            new_rows: MultiRowInsert::prepare(connection, new_row::INSERT, NewRow::bind)?,
            results: MultiRowInsert::prepare(connection, result_row::INSERT, ResultRow::bind)?,
            unfinished: MultiRowInsert::prepare(connection, INSERT_UNFINISHED, bind_job)?,
            leave: RefCell::new(connection.prepare(LEAVE)?),
        })
    }
}

impl Hot for HotStatements<'_> {
    fn insert(&self, new_rows: &[NewRow]) -> rusqlite::Result<()> {
        self.new_rows.insert(new_rows)
    }

    fn insert_results(&self, results: &[ResultRow]) -> rusqlite::Result<()> {
        self.results.insert(results)
    }

    fn insert_unfinished(&self, jobs: &[Ordinal]) -> rusqlite::Result<()> {
        self.unfinished.insert(jobs)
    }

    fn leave(&self, values: &[&dyn ToSql]) -> rusqlite::Result<usize> {
        self.leave.borrow_mut().execute(values)
    }
}

/// See [`super::multi_row_insert::Bind`].
fn bind_job(
    job: &Ordinal,
    statement: &mut Statement<'_>,
    first: usize,
    _: &mut (),
) -> rusqlite::Result<()> {
    statement.raw_bind_parameter(first, job.0)
}
