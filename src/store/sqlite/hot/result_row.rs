//! The rows of what came of jobs: each is written once.

use rusqlite::{Statement, ToSql, params};

use crate::domain::{JobError, Json, Ordinal, State, Timestamp};
use crate::store::codec;
use crate::store::sqlite::hot::multi_row_insert::{Numbers, Rows, bind};
use crate::store::sqlite::values::stored::Stored;

/// The first are each end's own; the others most ends have in common with the one before, as
/// with [`super::insert`].
pub const INSERT: Rows = Rows {
    into: "insert or rollback into ends (job, seq, result, sum,
    version, finished_at, expires_at, result_bytes, state, indexed, result_payload, error)
values ",
    row: "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
};

/// Of its values, those that are its own, and numbers that may be.
const OWN_VALUES: usize = 4;

const NUMBERS: usize = 4;

/// How a job has ended.
#[derive(Debug)]
pub struct ResultRow {
    pub job: Ordinal,
    pub state: State,
    pub seq: i64,
    pub finished_at: Timestamp,
    /// None: it goes with its batch.
    pub expires_at: Option<Timestamp>,
    /// Whether the index of what expires has it.
    pub indexed: bool,
    pub outcome: ResultColumns,
    /// Which version of its job it is; none where only the row of the job says.
    pub version: Option<i64>,
}

/// What came of a job, as it is kept.
#[derive(Debug, Default)]
pub struct ResultColumns {
    /// None where it stands beside the row.
    result: Option<Json>,
    pub payload: Option<i64>,
    pub bytes: Option<i64>,
    pub error: Option<String>,
    pub sum: Option<i64>,
}

impl ResultColumns {
    /// That of a job that has ended with this value.
    pub fn returned(job: Ordinal, value: &Json, stored: &Stored<'_>) -> Self {
        let (bytes, sum) = (Some(stored.bytes()), Some(codec::sum_of(job, stored.sum())));
        let payload = stored.payload();
        let result = payload.is_none().then(|| value.clone());
        Self { result, payload, bytes, error: None, sum }
    }

    /// That of a job that has failed.
    pub fn failed(job: Ordinal, error: &JobError) -> Self {
        let error = codec::error_text(error);
        let sum = Some(codec::sum_of(job, codec::sum(&error)));
        Self { sum, error: Some(error), ..Self::default() }
    }

    /// As it stands in the row.
    pub fn result(&self) -> Option<&str> {
        self.result.as_ref().map(Json::as_str)
    }
}

impl ResultRow {
    /// That of a job that waited and is cancelled: when, and when it expires.
    pub fn of_cancelled(
        job: Ordinal,
        seq: i64,
        (finished_at, expires_at): (Timestamp, Option<Timestamp>),
    ) -> Self {
        let (state, outcome) = (State::Cancelled, ResultColumns::default());
        Self { job, state, seq, finished_at, expires_at, indexed: true, outcome, version: None }
    }

    /// That of a job that has waited too long.
    pub fn of_failed(
        job: Ordinal,
        seq: i64,
        (finished_at, expires_at): (Timestamp, Option<Timestamp>),
        error: &JobError,
    ) -> Self {
        let (state, outcome) = (State::Failed, ResultColumns::failed(job, error));
        Self { job, state, seq, finished_at, expires_at, indexed: true, outcome, version: None }
    }

    /// Whether it has none of what most ends do not have.
    fn is_plain(&self) -> bool {
        self.state == State::Succeeded && self.outcome.payload.is_none()
    }

    /// See [`super::together::Bind`].
    pub fn bind(
        &self,
        statement: &mut Statement<'_>,
        first: usize,
        kept: &mut LastResult,
    ) -> rusqlite::Result<()> {
        let end = self;
        let outcome = &end.outcome;
        let own: [&dyn ToSql; OWN_VALUES] = [&end.job.0, &end.seq, &outcome.result(), &outcome.sum];
        bind(statement, first, &own)?;
        let expires_at = end.expires_at.map(|at| at.0);
        let numbers = [end.version, Some(end.finished_at.0), expires_at, outcome.bytes];
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

/// What a row has still.
#[derive(Debug, Default)]
pub struct LastResult {
    numbers: Numbers<NUMBERS>,
    /// Of a plain end, whether it is indexed.
    indexed: Option<bool>,
}
