//! What the clocks change: jobs that come due, and attempts that failed.

use rusqlite::{OptionalExtension as _, Row, params};

use crate::domain::{
    FailedAttempt, FunctionName, JobId, Options, Ordinal, Priority, QueueName, RunAt, Timestamp,
};
use crate::store::Error;
use crate::store::sqlite::rows;

use super::Statements;

const SELECT_DUE: &str =
    "select ordinal, id, function, queue, priority, options, attempt, created_at, run_at, run_at_is_wall, seq,
    deadline_at, batch
from calls where deadline_at <= ?1 order by deadline_at limit ?2";
const SELECT_DUE_ON_THE_WALL: &str =
    "select ordinal, id, function, queue, priority, options, attempt, created_at, run_at, run_at_is_wall, seq,
    deadline_at, batch
from calls where run_at_is_wall = 1 and run_at <= ?1 order by run_at limit ?2";
const SELECT_NEXT_DEADLINE: &str =
    "select min(deadline_at) from calls where deadline_at is not null";
const SELECT_NEXT_ON_THE_WALL: &str = "select min(run_at) from calls where run_at_is_wall = 1";
const SELECT_SCHEDULED: &str =
    "select run_at is not null and state = 'pending' from calls where ordinal = ?";
const MAY_START: &str =
    "update calls set run_at = null, run_at_is_wall = 0, deadline_at = ?3, version = version + 1, seq = ?2
where ordinal = ?1 and state = 'pending' and run_at is not null";
const FAIL_WAITING: &str =
    "update calls set state = 'done', version = version + 1, seq = ?2, run_at = null, run_at_is_wall = 0,
    deadline_at = null
where ordinal = ?1 and state = 'pending'";
const KEEP_ATTEMPT: &str = "insert into attempts (job, attempt, started_at, finished_at, error)
values (?, ?, ?, ?, ?)
on conflict (job, attempt) do update set error = excluded.error";

/// What is to be known of a waiting job when its time may have come.
#[derive(Debug)]
pub(in crate::store) struct DueRow {
    pub(in crate::store) ordinal: Ordinal,
    pub(in crate::store) id: JobId,
    pub(in crate::store) function: FunctionName,
    pub(in crate::store) queue: QueueName,
    pub(in crate::store) priority: Priority,
    pub(in crate::store) options: Options,
    pub(in crate::store) attempt: u32,
    pub(in crate::store) created_at: Timestamp,
    pub(in crate::store) run_at: Option<RunAt>,
    pub(in crate::store) seq: i64,
    pub(in crate::store) deadline_at: Option<Timestamp>,
    pub(in crate::store) batch: Option<Ordinal>,
}

impl Statements<'_> {
    /// Jobs whose deadline has come by the server's own clock, the earliest first.
    pub(in crate::store) fn due(self, now: Timestamp, limit: usize) -> Result<Vec<DueRow>, Error> {
        self.due_rows(SELECT_DUE, now, limit)
    }

    /// Jobs whose time has come on the wall, the earliest first.
    pub(in crate::store) fn due_on_the_wall(
        self,
        wall: Timestamp,
        limit: usize,
    ) -> Result<Vec<DueRow>, Error> {
        self.due_rows(SELECT_DUE_ON_THE_WALL, wall, limit)
    }

    fn due_rows(
        self,
        sql: &'static str,
        at: Timestamp,
        limit: usize,
    ) -> Result<Vec<DueRow>, Error> {
        let mut statement = self.prepared(sql)?;
        let mut found = statement.query([at.0, i64::try_from(limit).unwrap_or(i64::MAX)])?;
        let mut due = Vec::new();
        while let Some(row) = found.next()? {
            due.push(due_row(row)?);
        }
        Ok(due)
    }

    /// The earliest deadline.
    pub(in crate::store) fn next_deadline(self) -> rusqlite::Result<Option<Timestamp>> {
        let mut statement = self.prepared(SELECT_NEXT_DEADLINE)?;
        statement.query_row((), |row| Ok(row.get::<_, Option<i64>>(0)?.map(Timestamp)))
    }

    /// The earliest moment on the wall.
    pub(in crate::store) fn next_on_the_wall(self) -> rusqlite::Result<Option<Timestamp>> {
        let mut statement = self.prepared(SELECT_NEXT_ON_THE_WALL)?;
        statement.query_row((), |row| Ok(row.get::<_, Option<i64>>(0)?.map(Timestamp)))
    }

    /// Whether the job waits for its time.
    pub(in crate::store) fn is_scheduled(self, ordinal: Ordinal) -> rusqlite::Result<bool> {
        let mut statement = self.prepared(SELECT_SCHEDULED)?;
        let found = statement.query_row([ordinal.0], |row| row.get(0)).optional()?;
        Ok(found.unwrap_or(false))
    }

    /// Lets a job start whose time has come; false if it does not wait for it.
    pub(in crate::store) fn may_start(
        self,
        ordinal: Ordinal,
        seq: i64,
        deadline: Option<Timestamp>,
    ) -> rusqlite::Result<bool> {
        let values = params![ordinal.0, seq, deadline.map(|at| at.0)];
        self.run(MAY_START, values).map(|rows| rows == 1)
    }

    /// Notes that a job has waited too long, and its end is kept beside it; false if it does not wait.
    pub(in crate::store) fn fail_waiting(
        self,
        ordinal: Ordinal,
        seq: i64,
    ) -> rusqlite::Result<bool> {
        self.run(FAIL_WAITING, [ordinal.0, seq]).map(|rows| rows == 1)
    }

    /// Keeps an attempt that failed, or what is left of its error.
    pub(in crate::store) fn keep_attempt(
        self,
        job: Ordinal,
        failed: &FailedAttempt,
    ) -> rusqlite::Result<()> {
        let FailedAttempt { started_at, finished_at, error } = failed;
        let error_text = rows::error_text(error);
        let values = params![job.0, error.attempt(), started_at.0, finished_at.0, error_text];
        self.run(KEEP_ATTEMPT, values).map(drop)
    }
}

fn due_row(row: &Row<'_>) -> Result<DueRow, Error> {
    let (id, function): (Vec<u8>, String) = (row.get(1)?, row.get(2)?);
    let (queue, options): (String, Option<String>) = (row.get(3)?, row.get(5)?);
    let is_wall: bool = row.get(9)?;
    let run_at = row.get::<_, Option<i64>>(8)?.map(Timestamp);
    Ok(DueRow {
        ordinal: Ordinal(row.get(0)?),
        id: JobId(rows::uuid(&id)?),
        function: FunctionName::new(&function).map_err(rows::damaged)?,
        queue: rows::queue(&queue)?,
        priority: Priority::new(row.get(4)?).map_err(rows::damaged)?,
        options: options.as_deref().map(rows::read_options).transpose()?.unwrap_or_default(),
        attempt: row.get(6)?,
        created_at: Timestamp(row.get(7)?),
        run_at: run_at.map(|at| if is_wall { RunAt::Wall(at) } else { RunAt::Counted(at) }),
        seq: row.get(10)?,
        deadline_at: row.get::<_, Option<i64>>(11)?.map(Timestamp),
        batch: row.get::<_, Option<i64>>(12)?.map(Ordinal),
    })
}
