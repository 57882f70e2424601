//! Jobs that wait, and are cancelled many at a time.

use rusqlite::{OptionalExtension as _, params};
use uuid::Uuid;

use crate::domain::{FunctionName, JobId, Options, Ordinal, Priority, QueueName, State, Timestamp};
use crate::store::cancel_many::meant;
use crate::store::sqlite::rows;
use crate::store::{Error, Filter};

use super::Statements;

/// What [`crate::domain::cancel_pending`] makes of a job, without reading it first.
const CANCEL_UNSTARTED: &str =
    "update jobs set state = 'cancelled', version = version + 1, seq = ?2, finished_seq = ?2, finished_at = ?3,
    expires_at = iif(batch is null, ?3 + coalesce(options ->> '$.retention_ms', ?4), null),
    cancel_requested_at = coalesce(cancel_requested_at, ?3), run_at = null, run_at_is_wall = 0, deadline_at = null
where ordinal = ?1 and state = 'pending'
returning id, queue, priority, batch";
const ASK_TO_STOP: &str =
    "update jobs set version = version + 1, seq = ?2, cancel_requested_at = ?3
where ordinal = ?1 and state = 'running' and cancel_requested_at is null
returning id";
const SELECT_MEANT: &str =
    concat!("select exists (select 1 from jobs where ordinal = ?1 and ", meant!(), ")");

/// A job that waited and is cancelled.
#[derive(Debug)]
pub(in crate::store) struct UnstartedRow {
    pub(in crate::store) id: JobId,
    pub(in crate::store) queue: QueueName,
    pub(in crate::store) priority: Priority,
    pub(in crate::store) batch: Option<Ordinal>,
}

impl Statements<'_> {
    /// Cancels a job that waits; none if it does not.
    pub(in crate::store) fn cancel_unstarted(
        self,
        job: Ordinal,
        seq: i64,
        now: Timestamp,
    ) -> Result<Option<UnstartedRow>, Error> {
        let mut statement = self.prepared(CANCEL_UNSTARTED)?;
        let values = [job.0, seq, now.0, Options::RETENTION_MS];
        let row = statement.query_row(values, |row| {
            let (id, queue): ([u8; 16], String) = (row.get(0)?, row.get(1)?);
            let batch: Option<i64> = row.get(3)?;
            Ok((id, queue, row.get::<_, i64>(2)?, batch.map(Ordinal)))
        });
        let Some((id, queue, priority, batch)) = row.optional()? else { return Ok(None) };
        Ok(Some(UnstartedRow {
            id: JobId(Uuid::from_bytes(id)),
            queue: rows::queue(&queue)?,
            priority: Priority::new(priority).map_err(rows::damaged)?,
            batch,
        }))
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
