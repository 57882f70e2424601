//! Requests that come again (G8): known by their idempotency key, or by the id that the client chose. It is
//! decided in the transaction that would write the job, so of many at once one is the first.

use rusqlite::{OptionalExtension as _, params};
use uuid::Uuid;

use crate::domain::{Fingerprint, Identity, Job, JobId, Ordinal, OwnedKey, Spec, Timestamp};
use crate::store::contract::{Failure, Refusal};
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;

const SELECT_REQUEST: &str =
    "select fingerprint, job from idempotency_keys where owner = ? and idempotency_key = ?";

const SELECT_EXISTS: &str = "select exists (select 1 from calls where id = ?1)
    or exists (select 1 from batches as b where b.id = ?1)";

const SELECT_FINGERPRINT: &str = "select fingerprint from calls where id = ?";

const SELECT_GONE: &str = "select exists (select 1 from tombstones where id = ?)";

/// Apart from the insert of the job, as hardly any has one.
const KEEP_FINGERPRINT: &str =
    "update calls set fingerprint = ?2 where ordinal = ?1 and fingerprint is null";

const INSERT_KEY: &str =
    "insert into idempotency_keys (owner, idempotency_key, fingerprint, job, created_at)
values (?, ?, ?, ?, ?)";

/// What the request is to be answered with instead of a new job; none if it has made none yet. The key
/// is asked first: it names the whole request, the chosen id included.
pub fn look_up(
    txn: &mut Txn<'_>,
    spec: &Spec,
    identity: &Identity,
) -> Result<Option<Refusal>, Failure> {
    if let Some(key) = &identity.key
        && let Some(known) = look_up_key(txn, key, identity)?
    {
        return Ok(Some(known));
    }
    if !identity.chooses_id {
        return Ok(None);
    }
    let known = match fingerprint_of(txn.sql, spec.id)? {
        None if has_tombstone(txn.sql, spec.id)? => Refusal::Expired(spec.id.0),
        None => return Ok(None),
        // A job whose id we drew has no fingerprint, and equals no request.
        Some(kept) if kept != Some(identity.fingerprint) => Refusal::IdConflict,
        Some(_) => {
            if let Some(key) = &identity.key {
                // From now on the request is known by this key as well.
                keep_key(txn.sql, key, identity.fingerprint, spec.id.0, spec.created_at)?;
            }
            Refusal::Repeated(spec.id.0)
        }
    };
    Ok(Some(known))
}

pub fn look_up_key(
    txn: &mut Txn<'_>,
    key: &OwnedKey,
    identity: &Identity,
) -> Result<Option<Refusal>, Failure> {
    let Some((fingerprint, made)) = request_of(txn.sql, key)? else { return Ok(None) };
    Ok(Some(if fingerprint != identity.fingerprint {
        Refusal::KeyMismatch(made)
    } else if exists(txn.sql, made)? {
        Refusal::Repeated(made)
    } else {
        Refusal::Expired(made)
    }))
}

/// Keeps what the request of a new job is known by.
pub fn remember(txn: &mut Txn<'_>, job: &Job, identity: &Identity) -> Result<(), Failure> {
    if identity.chooses_id {
        keep_fingerprint(txn.sql, job.ordinal, identity.fingerprint)?;
    }
    if let Some(key) = &identity.key {
        let (id, created_at) = (job.spec.id.0, job.spec.created_at);
        keep_key(txn.sql, key, identity.fingerprint, id, created_at)?;
    }
    Ok(())
}

/// The request that has this key, and the job or batch that came of it.
pub fn request_of(
    sql: Statements<'_>,
    it: &OwnedKey,
) -> rusqlite::Result<Option<(Fingerprint, Uuid)>> {
    let mut statement = sql.prepared(SELECT_REQUEST)?;
    let read =
        |row: &rusqlite::Row<'_>| Ok((Fingerprint(row.get(0)?), Uuid::from_bytes(row.get(1)?)));
    statement.query_row([&it.owner, it.key.as_str()], read).optional()
}

/// Whether a job or a batch of that id is there.
pub fn exists(sql: Statements<'_>, id: Uuid) -> rusqlite::Result<bool> {
    sql.prepared(SELECT_EXISTS)?.query_row([id.as_bytes()], |row| row.get(0))
}

/// The fingerprint of the request that chose this id for its job: none if no job has the id, and
/// `Some(None)` if one has that was given it by us.
pub fn fingerprint_of(
    sql: Statements<'_>,
    id: JobId,
) -> rusqlite::Result<Option<Option<Fingerprint>>> {
    let mut statement = sql.prepared(SELECT_FINGERPRINT)?;
    let read = |row: &rusqlite::Row<'_>| Ok(row.get::<_, Option<_>>(0)?.map(Fingerprint));
    statement.query_row([id.0.as_bytes()], read).optional()
}

/// Whether a job of that id was there and has expired.
pub fn has_tombstone(sql: Statements<'_>, id: JobId) -> rusqlite::Result<bool> {
    sql.prepared(SELECT_GONE)?.query_row([id.0.as_bytes()], |row| row.get(0))
}

pub fn keep_fingerprint(
    sql: Statements<'_>,
    job: Ordinal,
    it: Fingerprint,
) -> rusqlite::Result<()> {
    sql.run(KEEP_FINGERPRINT, params![job.0, it.0]).map(drop)
}

/// Keeps the key of the request of which the job or batch of that id came.
pub fn keep_key(
    sql: Statements<'_>,
    it: &OwnedKey,
    fingerprint: Fingerprint,
    made: Uuid,
    created_at: Timestamp,
) -> rusqlite::Result<()> {
    let (owner, key, made) = (&it.owner, it.key.as_str(), made.as_bytes());
    sql.run(INSERT_KEY, params![owner, key, fingerprint.0, made, created_at.0]).map(drop)
}
