//! Jobs that wait, and are cancelled many at a time.

use rusqlite::{OptionalExtension as _, Row, params};
use uuid::Uuid;

use crate::domain::{FunctionName, JobId, Options, Ordinal, Priority, QueueName, State, Timestamp};
use crate::store::cancel_many::meant;
use crate::store::sqlite::rows;
use crate::store::{Error, Filter};

use super::Statements;

/// What [`crate::domain::cancel_pending`] makes of a job, without reading it first.
const CANCEL_UNSTARTED: &str =
    "update calls set state = 'done', version = version + 1, seq = ?2,
    cancel_requested_at = coalesce(cancel_requested_at, ?3), run_at = null, run_at_is_wall = 0, deadline_at = null
where ordinal = ?1 and state = 'pending'
returning id, queue, priority, batch, coalesce(options ->> '$.retention_ms', ?4), version,
    exists (select 1 from callbacks as k where k.job = ?1)";
const ASK_TO_STOP: &str =
    "update calls set version = version + 1, seq = ?2, cancel_requested_at = ?3
where ordinal = ?1 and state = 'running' and cancel_requested_at is null
    and not exists (select 1 from ends as e where e.job = ?1)
returning id";
const SELECT_MEANT: &str =
    concat!("select exists (select 1 from calls where ordinal = ?1 and ", meant!(), ")");

/// A job that waited and is cancelled.
#[derive(Debug)]
pub(in crate::store) struct UnstartedRow {
    pub(in crate::store) id: JobId,
    pub(in crate::store) queue: QueueName,
    pub(in crate::store) priority: Priority,
    pub(in crate::store) batch: Option<Ordinal>,
    pub(in crate::store) retention_ms: i64,
    pub(in crate::store) version: i64,
    pub(in crate::store) has_callbacks: bool,
}

impl Statements<'_> {
    /// Notes that a job that waits is cancelled, and its end is kept beside it; none if it does not wait.
    pub(in crate::store) fn cancel_unstarted(
        self,
        job: Ordinal,
        seq: i64,
        now: Timestamp,
    ) -> Result<Option<UnstartedRow>, Error> {
        let mut statement = self.prepared(CANCEL_UNSTARTED)?;
        let values = [job.0, seq, now.0, Options::RETENTION_MS];
        let mut found = statement.query(values)?;
        found.next()?.map(unstarted).transpose()
    }

    /// Notes that a job that runs is asked to stop; none if it does not, or was asked before.
    pub(in crate::store) fn ask_to_stop(
        self,
        job: Ordinal,
        seq: i64,
        now: Timestamp,
    ) -> Result<Option<JobId>, Error> {
        let mut statement = self.prepared(ASK_TO_STOP)?;
        let id = statement.query_row([job.0, seq, now.0], |row| row.get(0)).optional()?;
        Ok(id.map(|id| JobId(Uuid::from_bytes(id))))
    }

    /// Whether a job passes a filter.
    pub(in crate::store) fn is_meant(self, job: Ordinal, filter: &Filter) -> Result<bool, Error> {
        let values = params![
            job.0,
            filter.state.map(State::as_str),
            filter.function.as_ref().map(FunctionName::as_str),
            filter.queue.as_ref().map(QueueName::as_str),
            filter.tag,
            filter.created_after.map(|at| at.0),
            filter.created_before.map(|at| at.0),
            filter.batch.map(|it| it.0.into_bytes()),
        ];
        Ok(self.prepared(SELECT_MEANT)?.query_row(values, |row| row.get(0))?)
    }
}

fn unstarted(row: &Row<'_>) -> Result<UnstartedRow, Error> {
    let (id, queue): ([u8; 16], String) = (row.get(0)?, row.get(1)?);
    Ok(UnstartedRow {
        id: JobId(Uuid::from_bytes(id)),
        queue: rows::queue(&queue)?,
        priority: Priority::new(row.get(2)?).map_err(rows::damaged)?,
        batch: row.get::<_, Option<i64>>(3)?.map(Ordinal),
        retention_ms: row.get(4)?,
        version: row.get(5)?,
        has_callbacks: row.get(6)?,
    })
}
