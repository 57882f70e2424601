//! Every statement that the writer sends: each states what it assumes of the row that it changes.

pub(in crate::store) mod batch_removal;
pub(in crate::store) mod batches;
pub(in crate::store) mod cancel_many;
mod changes;
pub(in crate::store) mod clocks;
pub(in crate::store) mod doomed;
pub(in crate::store) mod ends;
mod idempotency;
pub(in crate::store) mod indexing;
pub(in crate::store) mod insert;
pub(in crate::store) mod jobs;
pub(in crate::store) mod logs;
mod manual;
mod outbox;
mod queues;
mod redelivery;
pub(in crate::store) mod removal;
pub(in crate::store) mod together;

use rusqlite::{
    CachedStatement, Connection, OptionalExtension as _, Params, Result, ToSql, params,
};

use crate::domain::{NewCallback, Ordinal, Timestamp};
use crate::store::group::Counters;

pub(in crate::store) use jobs::Held;

const BEGIN: &str = "begin immediate";
const COMMIT: &str = "commit";
const ROLL_BACK: &str = "rollback";
const KEEP_COUNTERS: &str =
    "update counters set ordinal = ?, seq = ?, payload = ? where only_row = 1";
const KEEP_QUIET: &str = "update counters set quiet = ? where only_row = 1";

const CLAIM_JOB: &str =
    "update calls set state = 'running', attempt = attempt + 1, version = version + 1, seq = ?2, epoch = ?3,
    started_at = max(?4, created_at), deadline_at = null
where ordinal = ?1 and state = 'pending'
returning attempt, batch, version";
const REQUEST_CANCEL: &str =
    "update calls set version = version + 1, seq = ?2, cancel_requested_at = ?3
where ordinal = ?1 and state = 'running' and cancel_requested_at is null
    and not exists (select 1 from ends as e where e.job = ?1)";
/// A callback reaches only a job that is there.
const INSERT_CALLBACK: &str = "insert into callbacks (id, job, url, host, sealed, created_at)
select ?2, j.ordinal, ?3, ?4, ?5, ?6 from calls as j where j.ordinal = ?1";
const HAS_ALL_CALLBACKS: &str =
    "select count(*) >= ?2 from (select 1 from callbacks where job = ?1 limit ?2)";
/// As SQLite counts them.
pub(in crate::store) const CALLBACKS_MAX: i64 = NewCallback::COUNT_MAX as i64;
/// The outbox: a row for each callback of a job that is done and has none yet.
const MAKE_DUE: &str = "insert into deliveries (callback, job, host, state, next_at)
select c.ordinal, c.job, c.host, 'pending', ?2
from callbacks as c join ends as e on e.job = c.job
where c.job = ?1
order by c.ordinal
on conflict (callback) do nothing";
const INSERT_CHUNK: &str = "insert into chunks (payload, number, bytes) values (?, ?, ?)";
const INSERT_UNLINKED: &str =
    "insert into unlinked_payloads (payload) values (?) on conflict do nothing";
const DELETE_UNLINKED: &str = "delete from unlinked_payloads where payload = ?";
const DELETE_CHUNKS: &str = "delete from chunks where payload = ?";

/// [`Held`], but for how long the statements live: what uses them need not be tied to it.
trait Hot: std::fmt::Debug {
    fn insert(&self, arrivals: &[insert::Arrival]) -> Result<()>;
    fn insert_ends(&self, ends: &[ends::EndOfVersion]) -> Result<()>;
    fn insert_unfinished(&self, jobs: &[Ordinal]) -> Result<()>;
    fn leave(&self, values: &[&dyn ToSql]) -> Result<usize>;
}

/// The writer's statements, prepared once for its connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Statements<'a> {
    connection: &'a Connection,
    hot: &'a dyn Hot,
}

impl<'a> Statements<'a> {
    pub(in crate::store) fn new(connection: &'a Connection, held: &'a Held<'_>) -> Self {
        Self { connection, hot: held }
    }

    pub(in crate::store) fn connection(self) -> &'a Connection {
        self.connection
    }

    pub(in crate::store) fn begin(self) -> Result<()> {
        self.run(BEGIN, ()).map(drop)
    }

    /// Durable when this returns.
    pub(in crate::store) fn commit(self) -> Result<()> {
        self.run(COMMIT, ()).map(drop)
    }

    /// Takes back what is open; SQLite may have done so by itself.
    pub(in crate::store) fn roll_back(self) {
        if self.connection.is_autocommit() {
            return;
        }
        if let Err(error) = self.run(ROLL_BACK, ()) {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
    }

    /// Keeps the counters that never go back.
    pub(in crate::store) fn keep(self, counters: Counters) -> Result<()> {
        let Counters { ordinal, seq, payload, .. } = counters;
        self.run(KEEP_COUNTERS, params![ordinal, seq, payload]).map(drop)
    }

    /// Keeps how many commits have changed no job.
    pub(in crate::store) fn keep_quiet(self, quiet: i64) -> Result<()> {
        self.run(KEEP_QUIET, [quiet]).map(drop)
    }

    /// The attempt that the claim begins, the job's batch and its version; none if the job does not wait.
    pub(in crate::store) fn claim_job(
        self,
        ordinal: Ordinal,
        seq: i64,
        epoch: i64,
        now: Timestamp,
    ) -> Result<Option<(u32, Option<Ordinal>, i64)>> {
        let mut statement = self.prepared(CLAIM_JOB)?;
        let claimed = |row: &rusqlite::Row<'_>| {
            Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?.map(Ordinal), row.get(2)?))
        };
        statement.query_row([ordinal.0, seq, epoch, now.0], claimed).optional()
    }

    /// Whether the job runs and had not been asked before.
    pub(in crate::store) fn request_cancel(
        self,
        ordinal: Ordinal,
        seq: i64,
        now: Timestamp,
    ) -> Result<bool> {
        self.run(REQUEST_CANCEL, [ordinal.0, seq, now.0]).map(|rows| rows == 1)
    }

    pub(in crate::store) fn add_callback(self, job: Ordinal, it: &NewCallback) -> Result<()> {
        let id = it.id.0.as_bytes();
        let values = params![job.0, id, it.url, it.host, it.sealed, it.created_at.0];
        self.run(INSERT_CALLBACK, values).map(drop)
    }

    /// Whether a job has as many callbacks as it may have.
    pub(in crate::store) fn has_all_callbacks(self, job: Ordinal) -> Result<bool> {
        self.prepared(HAS_ALL_CALLBACKS)?.query_row(params![job.0, CALLBACKS_MAX], |row| row.get(0))
    }

    /// Makes the deliveries of a job due, if it is done; whether there are any.
    pub(in crate::store) fn make_due(self, job: Ordinal, at: Timestamp) -> Result<bool> {
        self.run(MAKE_DUE, [job.0, at.0]).map(|rows| rows > 0)
    }

    pub(in crate::store) fn insert_chunk(
        self,
        payload: i64,
        number: usize,
        bytes: &[u8],
    ) -> Result<()> {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        self.run(INSERT_CHUNK, params![payload, number, bytes]).map(drop)
    }

    /// Notes that a payload has no owner yet.
    pub(in crate::store) fn mark_unlinked(self, payload: i64) -> Result<()> {
        self.run(INSERT_UNLINKED, [payload]).map(drop)
    }

    /// The payload has an owner now.
    pub(in crate::store) fn link(self, payload: i64) -> Result<()> {
        self.run(DELETE_UNLINKED, [payload]).map(drop)
    }

    /// Deletes a payload that nobody will own.
    pub(in crate::store) fn delete_payload(self, payload: i64) -> Result<()> {
        self.run(DELETE_CHUNKS, [payload])?;
        self.run(DELETE_UNLINKED, [payload]).map(drop)
    }

    fn run(self, sql: &'static str, values: impl Params) -> Result<usize> {
        self.prepared(sql)?.execute(values)
    }

    fn prepared(self, sql: &'static str) -> Result<CachedStatement<'a>> {
        self.connection.prepare_cached(sql)
    }
}
