//! Values too large for a job's row, in pieces beside it.

use rusqlite::params;

use crate::store::codec;
use crate::store::contract::Failure;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::values::stored::{CHUNK_BYTES_MAX, INLINE_BYTES_MAX, Stored};

const INSERT_CHUNK: &str = "insert into chunks (payload, number, bytes) values (?, ?, ?)";

const INSERT_UNLINKED: &str =
    "insert into unlinked_payloads (payload) values (?) on conflict do nothing";

const DELETE_UNLINKED: &str = "delete from unlinked_payloads where payload = ?";

const DELETE_CHUNKS: &str = "delete from chunks where payload = ?";

/// Writes a piece of a value that no job owns yet.
pub fn write_ahead(
    txn: &mut Txn<'_>,
    payload: i64,
    number: usize,
    bytes: &[u8],
) -> Result<(), Failure> {
    mark_unlinked(txn.sql, payload)?;
    Ok(insert_chunk(txn.sql, payload, number, bytes)?)
}

/// Keeps a value in its row, or in pieces beside it if it is large and not there yet.
pub fn store<'t>(txn: &mut Txn<'_>, text: &'t str) -> Result<Stored<'t>, Failure> {
    let bytes = text.len();
    if let Some(payload) = txn.written_ahead.take() {
        link(txn.sql, payload)?;
        return Ok(Stored::Payload { payload, bytes, sum: codec::sum(text) });
    }
    if bytes <= INLINE_BYTES_MAX {
        return Ok(Stored::Inline(text));
    }
    let payload = txn.counters.next_payload();
    for (number, piece) in text.as_bytes().chunks(CHUNK_BYTES_MAX).enumerate() {
        insert_chunk(txn.sql, payload, number, piece)?;
    }
    Ok(Stored::Payload { payload, bytes, sum: codec::sum(text) })
}

pub fn insert_chunk(
    sql: Statements<'_>,
    payload: i64,
    number: usize,
    bytes: &[u8],
) -> rusqlite::Result<()> {
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    sql.run(INSERT_CHUNK, params![payload, number, bytes]).map(drop)
}

/// Notes that a payload has no owner yet.
pub fn mark_unlinked(sql: Statements<'_>, payload: i64) -> rusqlite::Result<()> {
    sql.run(INSERT_UNLINKED, [payload]).map(drop)
}

/// The payload has an owner now.
pub fn link(sql: Statements<'_>, payload: i64) -> rusqlite::Result<()> {
    sql.run(DELETE_UNLINKED, [payload]).map(drop)
}

/// Deletes a payload that nobody will own.
pub fn delete_payload(sql: Statements<'_>, payload: i64) -> rusqlite::Result<()> {
    sql.run(DELETE_CHUNKS, [payload])?;
    sql.run(DELETE_UNLINKED, [payload]).map(drop)
}
