//! Which callback has an id, and whose a callback is.

use rusqlite::{OptionalExtension as _, Row};

use crate::domain::{CallbackId, NewCallback, Ordinal};
use crate::store::sqlite::statements::Statements;

/// As SQLite counts them.
pub const CALLBACKS_MAX: i64 = NewCallback::COUNT_MAX as i64;

const SELECT_CALLBACK: &str = "select ordinal, job from callbacks where id = ?";

const SELECT_JOB_OF_CALLBACK: &str = "select job from callbacks where ordinal = ?";

/// The place of the callback of that id, and that of its job; a batch's has none.
pub fn place_of(
    sql: Statements<'_>,
    id: CallbackId,
) -> rusqlite::Result<Option<(Ordinal, Option<Ordinal>)>> {
    let places =
        |row: &Row<'_>| Ok((Ordinal(row.get(0)?), row.get::<_, Option<i64>>(1)?.map(Ordinal)));
    sql.prepared(SELECT_CALLBACK)?.query_row([id.0.as_bytes()], places).optional()
}

pub fn job_of(sql: Statements<'_>, callback: Ordinal) -> rusqlite::Result<Option<Ordinal>> {
    let mut statement = sql.prepared(SELECT_JOB_OF_CALLBACK)?;
    let job = |row: &Row<'_>| row.get::<_, Option<i64>>(0);
    Ok(statement.query_row([callback.0], job).optional()?.flatten().map(Ordinal))
}
