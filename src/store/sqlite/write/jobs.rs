//! The statements of nearly every commit: a job comes, and it ends.
//!
//! Each value that is given to a statement, and each column that it reads, is felt at the rate of all jobs.

use std::cell::RefCell;

use rusqlite::{Connection, Result, Statement, ToSql, params};

use crate::domain::{Job, State, Timestamp};
use crate::store::payload::{self, Stored};
use crate::store::sqlite::rows;

use super::insert::{Arrival, Inserts};
use super::{Hot, Statements};

const SUCCEED: &str =
    "update jobs set state = 'succeeded', version = ?3, seq = ?4, finished_seq = ?4, finished_at = ?5,
    expires_at = ?6, result = ?7, result_payload = ?8, result_bytes = ?9, indexed = ?10,
    outcome_sum = ?11
where ordinal = ?1 and state = 'running' and attempt = ?2";
/// Of a job that waited only the database knows the version and the counts for sure, since whoever cancels it may have
/// read it long before; of one that ran, its attempt.
const END_JOB: &str =
    "update jobs set state = ?4, version = coalesce(?5, version + 1), seq = ?6,
    finished_seq = case when ?7 is null then null else ?6 end, finished_at = ?7,
    started_at = case when ?4 = 'pending' then null else started_at end,
    result = ?8, result_payload = ?9, result_bytes = ?10, error = ?11,
    interruptions = coalesce(?12, interruptions), crashes = coalesce(?13, crashes),
    cancel_requested_at = ?14, failures = coalesce(?15, failures), expires_at = ?16, run_at = ?17, run_at_is_wall = 0,
    deadline_at = ?18, indexed = ?19, outcome_sum = ?20
where ordinal = ?1 and state = ?2 and (?3 is null or attempt = ?3)";

/// What the end of an attempt, or of the waiting, assumes of the row.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Guard {
    pub(in crate::store) from: State,
    pub(in crate::store) attempt: Option<u32>,
}

/// The statements of this file, ready to run. To look one up among all, and to put it back, takes a tenth of
/// what it does.
#[derive(Debug)]
pub(in crate::store) struct Held<'c> {
    inserts: Inserts<'c>,
    succeed: RefCell<Statement<'c>>,
    end: RefCell<Statement<'c>>,
}

impl<'c> Held<'c> {
    pub(in crate::store) fn prepare(connection: &'c Connection) -> Result<Self> {
        let prepare = |sql| connection.prepare(sql).map(RefCell::new);
        Ok(Self {
            inserts: Inserts::prepare(connection)?,
            succeed: prepare(SUCCEED)?,
            end: prepare(END_JOB)?,
        })
    }
}

/// One of [`Held`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    Succeed,
    End,
}

impl Hot for Held<'_> {
    fn run(&self, which: Which, values: &[&dyn ToSql]) -> Result<usize> {
        let statement = match which {
            Which::Succeed => &self.succeed,
            Which::End => &self.end,
        };
        statement.borrow_mut().execute(values)
    }

    fn insert(&self, arrivals: &[Arrival]) -> Result<()> {
        self.inserts.insert(arrivals)
    }
}

impl Statements<'_> {
    /// Makes of a job whose attempt gave a value what `next` is; false if that attempt does not run.
    pub(in crate::store) fn succeed(
        self,
        next: &Job,
        (seq, indexed): (i64, bool),
        result: &Stored<'_>,
    ) -> Result<bool> {
        let values = params![
            next.ordinal.0,
            next.attempt,
            next.version,
            seq,
            next.finished_at.map(|at| at.0),
            next.expires_at.map(|at| at.0),
            result.inline(),
            result.payload(),
            result.bytes(),
            indexed,
            result.sum(),
        ];
        self.hot.run(Which::Succeed, values).map(|rows| rows == 1)
    }

    /// Makes of the job what `next` is; false if the guard does not hold.
    pub(in crate::store) fn end_job(
        self,
        next: &Job,
        deadline: Option<Timestamp>,
        (guard, seq, indexed): (Guard, i64, bool),
        result: Option<&Stored<'_>>,
    ) -> Result<bool> {
        let error = next.error.as_ref().map(rows::error_text);
        let sum = result.map(Stored::sum).or_else(|| error.as_deref().map(payload::sum));
        let values = params![
            next.ordinal.0,
            guard.from.as_str(),
            guard.attempt,
            next.state.as_str(),
            guard.attempt.map(|_| next.version),
            seq,
            next.finished_at.map(|at| at.0),
            result.and_then(Stored::inline),
            result.and_then(Stored::payload),
            result.map(Stored::bytes),
            error,
            guard.attempt.map(|_| next.interruptions),
            guard.attempt.map(|_| next.crashes),
            next.cancel_requested_at.map(|at| at.0),
            guard.attempt.map(|_| next.failures),
            next.expires_at.map(|at| at.0),
            next.run_at.map(|it| it.at().0),
            deadline.map(|at| at.0),
            indexed,
            sum,
        ];
        self.hot.run(Which::End, values).map(|rows| rows == 1)
    }
}
