//! What requests are known by when they come again.

use rusqlite::{OptionalExtension as _, Result, params};
use uuid::Uuid;

use crate::domain::{Fingerprint, JobId, Ordinal, OwnedKey, Spec};

use super::Statements;

const SELECT_REQUEST: &str =
    "select fingerprint, job from idempotency_keys where owner = ? and idempotency_key = ?";
const SELECT_EXISTS: &str = "select exists (select 1 from jobs where id = ?)";
const SELECT_FINGERPRINT: &str = "select fingerprint from jobs where id = ?";
const SELECT_GONE: &str = "select exists (select 1 from tombstones where id = ?)";
/// Apart from the insert of the job, as hardly any has one.
const KEEP_FINGERPRINT: &str =
    "update jobs set fingerprint = ?2 where ordinal = ?1 and fingerprint is null";
const INSERT_KEY: &str =
    "insert into idempotency_keys (owner, idempotency_key, fingerprint, job, created_at)
values (?, ?, ?, ?, ?)";

impl Statements<'_> {
    /// The request that has this key, and the job that came of it.
    pub(in crate::store) fn request_of(
        self,
        it: &OwnedKey,
    ) -> Result<Option<(Fingerprint, JobId)>> {
        let mut statement = self.prepared(SELECT_REQUEST)?;
        let read = |row: &rusqlite::Row<'_>| {
            Ok((Fingerprint(row.get(0)?), JobId(Uuid::from_bytes(row.get(1)?))))
        };
        statement.query_row([&it.owner, it.key.as_str()], read).optional()
    }

    /// Whether a job of that id is there.
    pub(in crate::store) fn exists(self, id: JobId) -> Result<bool> {
        self.prepared(SELECT_EXISTS)?.query_row([id.0.as_bytes()], |row| row.get(0))
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

    /// Keeps the key of the request that `spec` came with.
    pub(in crate::store) fn keep_key(
        self,
        it: &OwnedKey,
        fingerprint: Fingerprint,
        spec: &Spec,
    ) -> Result<()> {
        let (owner, key) = (&it.owner, it.key.as_str());
        let job = spec.id.0.as_bytes();
        self.run(INSERT_KEY, params![owner, key, fingerprint.0, job, spec.created_at.0]).map(drop)
    }
}
