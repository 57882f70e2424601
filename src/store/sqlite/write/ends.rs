//! The statements by which jobs end: each end is a row of its own, and is written once.

use rusqlite::{Result, Statement, ToSql, params};

use crate::domain::{JobError, Json, Ordinal, State, Timestamp};
use crate::store::payload::{self, Stored};
use crate::store::sqlite::rows;

use super::Statements;
use super::together::{Numbers, Rows, bind};

/// The first are each end's own; the others most ends have in common with the one before, as
/// with [`super::insert`].
pub(in crate::store) const INSERT: Rows = Rows {
    into: "insert or rollback into ends (job, seq, result, sum,
    version, finished_at, expires_at, result_bytes, state, indexed, result_payload, error)
values ",
    row: "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
};
/// Of its values, those that are its own, and numbers that may be.
const OWN_VALUES: usize = 4;
const NUMBERS: usize = 4;

/// Of a job that waited only the database knows the version for sure, since whoever ends it may have read it long before.
const INSERT_OF: &str = "insert into ends (job, seq, version, finished_at, expires_at, result, result_bytes, sum,
    state, indexed, result_payload, error)
select ordinal, seq, version, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 from calls where ordinal = ?1 and state = 'done'";

/// How a job has ended.
#[derive(Debug)]
pub(in crate::store) struct End {
    pub(in crate::store) job: Ordinal,
    pub(in crate::store) state: State,
    pub(in crate::store) seq: i64,
    pub(in crate::store) finished_at: Timestamp,
    /// None: it goes with its batch.
    pub(in crate::store) expires_at: Option<Timestamp>,
    /// Whether the index of what expires has it.
    pub(in crate::store) indexed: bool,
    pub(in crate::store) outcome: Outcome,
}

/// What came of a job, as it is kept.
#[derive(Debug, Default)]
pub(in crate::store) struct Outcome {
    /// None where it stands beside the row.
    result: Option<Json>,
    payload: Option<i64>,
    bytes: Option<i64>,
    error: Option<String>,
    sum: Option<i64>,
}

impl Outcome {
    /// That of a job that has ended with this value.
    pub(in crate::store) fn returned(job: Ordinal, value: &Json, stored: &Stored<'_>) -> Self {
        let (bytes, sum) = (Some(stored.bytes()), Some(payload::sum_of(job, stored.sum())));
        let payload = stored.payload();
        let result = payload.is_none().then(|| value.clone());
        Self { result, payload, bytes, error: None, sum }
    }

    /// That of a job that has failed.
    pub(in crate::store) fn failed(job: Ordinal, error: &JobError) -> Self {
        let error = rows::error_text(error);
        let sum = Some(payload::sum_of(job, payload::sum(&error)));
        Self { sum, error: Some(error), ..Self::default() }
    }

    fn result(&self) -> Option<&str> {
        self.result.as_ref().map(Json::as_str)
    }
}

impl End {
    /// That of a job that waited and is cancelled: when, and when it expires.
    pub(in crate::store) fn of_cancelled(
        job: Ordinal,
        seq: i64,
        (finished_at, expires_at): (Timestamp, Option<Timestamp>),
    ) -> Self {
        let (state, outcome) = (State::Cancelled, Outcome::default());
        Self { job, state, seq, finished_at, expires_at, indexed: true, outcome }
    }

    /// That of a job that has waited too long.
    pub(in crate::store) fn of_failed(
        job: Ordinal,
        seq: i64,
        (finished_at, expires_at): (Timestamp, Option<Timestamp>),
        error: &JobError,
    ) -> Self {
        let (state, outcome) = (State::Failed, Outcome::failed(job, error));
        Self { job, state, seq, finished_at, expires_at, indexed: true, outcome }
    }

    /// Whether it has none of what most ends do not have.
    fn is_plain(&self) -> bool {
        self.state == State::Succeeded && self.outcome.payload.is_none()
    }
}

/// What a row has still.
#[derive(Debug, Default)]
pub(super) struct Kept {
    numbers: Numbers<NUMBERS>,
    /// Of a plain end, whether it is indexed.
    indexed: Option<bool>,
}

/// An end, and which version of its job it is.
#[derive(Debug)]
pub(in crate::store) struct EndOfVersion(pub(in crate::store) End, pub(in crate::store) i64);

impl EndOfVersion {
    /// See [`super::together::Bind`].
    pub(super) fn bind(
        &self,
        statement: &mut Statement<'_>,
        first: usize,
        kept: &mut Kept,
    ) -> Result<()> {
        let Self(end, version) = self;
        let outcome = &end.outcome;
        let own: [&dyn ToSql; OWN_VALUES] = [&end.job.0, &end.seq, &outcome.result(), &outcome.sum];
        bind(statement, first, &own)?;
        let expires_at = end.expires_at.map(|at| at.0);
        let numbers = [Some(*version), Some(end.finished_at.0), expires_at, outcome.bytes];
        kept.numbers.bind(statement, first + OWN_VALUES, numbers)?;
        if end.is_plain() && kept.indexed == Some(end.indexed) {
            return Ok(());
        }
        kept.indexed = None;
        let rest = params![end.state.as_str(), end.indexed, outcome.payload, outcome.error];
        bind(statement, first + OWN_VALUES + NUMBERS, rest)?;
        kept.indexed = end.is_plain().then_some(end.indexed);
        Ok(())
    }
}

impl Statements<'_> {
    /// Keeps the ends of jobs.
    pub(in crate::store) fn insert_ends(self, ends: &[EndOfVersion]) -> Result<()> {
        self.hot.insert_ends(ends)
    }

    /// Keeps the end of a job of which only its row says the version; false if its row does not say that it is done.
    pub(in crate::store) fn insert_end_of(self, it: &End) -> Result<bool> {
        let End { job, state, finished_at, expires_at, indexed, outcome, .. } = it;
        let values = params![
            job.0,
            finished_at.0,
            expires_at.map(|at| at.0),
            outcome.result(),
            outcome.bytes,
            outcome.sum,
            state.as_str(),
            indexed,
            outcome.payload,
            outcome.error,
        ];
        self.run(INSERT_OF, values).map(|rows| rows == 1)
    }
}
