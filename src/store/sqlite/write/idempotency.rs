//! What requests are known by when they come again.

use rusqlite::{OptionalExtension as _, Result, params};
use uuid::Uuid;

use crate::domain::{Fingerprint, JobId, Ordinal, OwnedKey, Timestamp};

use super::Statements;

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

impl Statements<'_> {
    /// The request that has this key, and the job or batch that came of it.
    pub(in crate::store) fn request_of(self, it: &OwnedKey) -> Result<Option<(Fingerprint, Uuid)>> {
        let mut statement = self.prepared(SELECT_REQUEST)?;
        let read =
            |row: &rusqlite::Row<'_>| Ok((Fingerprint(row.get(0)?), Uuid::from_bytes(row.get(1)?)));
        statement.query_row([&it.owner, it.key.as_str()], read).optional()
    }

    /// Whether a job or a batch of that id is there.
    pub(in crate::store) fn exists(self, id: Uuid) -> Result<bool> {
        self.prepared(SELECT_EXISTS)?.query_row([id.as_bytes()], |row| row.get(0))
    }

    /// The fingerprint of the request that chose this id for its job: none if no job has the id, and
    /// `Some(None)` if one has that was given it by us.
    pub(in crate::store) fn fingerprint_of(self, id: JobId) -> Result<Option<Option<Fingerprint>>> {
        let mut statement = self.prepared(SELECT_FINGERPRINT)?;
        let read = |row: &rusqlite::Row<'_>| Ok(row.get::<_, Option<_>>(0)?.map(Fingerprint));
        statement.query_row([id.0.as_bytes()], read).optional()
    }

    /// Whether a job of that id was there and has expired.
    pub(in crate::store) fn is_gone(self, id: JobId) -> Result<bool> {
        self.prepared(SELECT_GONE)?.query_row([id.0.as_bytes()], |row| row.get(0))
    }

    pub(in crate::store) fn keep_fingerprint(self, job: Ordinal, it: Fingerprint) -> Result<()> {
        self.run(KEEP_FINGERPRINT, params![job.0, it.0]).map(drop)
    }

    /// Keeps the key of the request of which the job or batch of that id came.
    pub(in crate::store) fn keep_key(
        self,
        it: &OwnedKey,
        fingerprint: Fingerprint,
        made: Uuid,
        created_at: Timestamp,
    ) -> Result<()> {
        let (owner, key, made) = (&it.owner, it.key.as_str(), made.as_bytes());
        self.run(INSERT_KEY, params![owner, key, fingerprint.0, made, created_at.0]).map(drop)
    }
}
