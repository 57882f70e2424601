//! The statements of nearly every commit, held ready: a job comes, it is left, and it ends.

use std::cell::RefCell;

use rusqlite::{Connection, Result, Statement, ToSql, params};

use crate::domain::{Job, Ordinal, State, Timestamp};

use super::ends::{self, EndOfVersion};
use super::indexing;
use super::insert::{self, Arrival};
use super::together::Together;
use super::{Hot, Statements};

/// The state of a call whose job has an end.
const DONE: &str = "done";

/// Of a job that waited only the database knows the version and the counts for sure, since whoever cancels it may have
/// read it long before; of one that ran, its attempt.
const LEAVE: &str = "update calls set state = ?4, version = coalesce(?5, version + 1), seq = ?6,
    started_at = case when ?4 = 'pending' then null else started_at end,
    interruptions = coalesce(?7, interruptions), crashes = coalesce(?8, crashes),
    cancel_requested_at = ?9, failures = coalesce(?10, failures), run_at = ?11, run_at_is_wall = 0,
    deadline_at = ?12
where ordinal = ?1 and state = ?2 and (?3 is null or attempt = ?3)";

/// What the end of an attempt, or of the waiting, assumes of the row.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Guard {
    pub(in crate::store) from: State,
    pub(in crate::store) attempt: Option<u32>,
}

/// The statements of nearly every commit, ready to run. To look one up among all, and to put it back, takes a tenth of
/// what it does.
#[derive(Debug)]
pub(in crate::store) struct Held<'c> {
    arrivals: Together<'c, Arrival, insert::Kept>,
    ends: Together<'c, EndOfVersion, ends::Kept>,
    unfinished: Together<'c, Ordinal, ()>,
    leave: RefCell<Statement<'c>>,
}

impl<'c> Held<'c> {
    pub(in crate::store) fn prepare(connection: &'c Connection) -> Result<Self> {
        Ok(Self {
            arrivals: Together::prepare(connection, insert::INSERT, Arrival::bind)?,
            ends: Together::prepare(connection, ends::INSERT, EndOfVersion::bind)?,
            unfinished: Together::prepare(connection, indexing::INSERT, indexing::bind)?,
            leave: RefCell::new(connection.prepare(LEAVE)?),
        })
    }
}

impl Hot for Held<'_> {
    fn insert(&self, arrivals: &[Arrival]) -> Result<()> {
        self.arrivals.insert(arrivals)
    }

    fn insert_ends(&self, ends: &[EndOfVersion]) -> Result<()> {
        self.ends.insert(ends)
    }

    fn insert_unfinished(&self, jobs: &[Ordinal]) -> Result<()> {
        self.unfinished.insert(jobs)
    }

    fn leave(&self, values: &[&dyn ToSql]) -> Result<usize> {
        self.leave.borrow_mut().execute(values)
    }
}

impl Statements<'_> {
    /// Notes that a job neither runs nor waits as it did: it waits once more, or is done, and its end is kept beside it. False
    /// if the guard does not hold.
    pub(in crate::store) fn leave(
        self,
        next: &Job,
        deadline: Option<Timestamp>,
        (guard, seq): (Guard, i64),
    ) -> Result<bool> {
        let state = if next.is_done() { DONE } else { next.state.as_str() };
        let values = params![
            next.ordinal.0,
            guard.from.as_str(),
            guard.attempt,
            state,
            guard.attempt.map(|_| next.version),
            seq,
            guard.attempt.map(|_| next.interruptions),
            guard.attempt.map(|_| next.crashes),
            next.cancel_requested_at.map(|at| at.0),
            guard.attempt.map(|_| next.failures),
            next.run_at.map(|it| it.at().0),
            deadline.map(|at| at.0),
        ];
        self.hot.leave(values).map(|rows| rows == 1)
    }
}
