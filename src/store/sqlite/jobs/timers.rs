//! What time brings to jobs that wait.

use rusqlite::{OptionalExtension as _, Row, params};

use crate::domain::{
    Due, FunctionName, Job, JobError, JobId, Options, Ordinal, Priority, QueueName, RunAt, State,
    Timestamp,
};
use crate::store::codec;
use crate::store::contract::{Ended, Error, Failure, NextTimer, Now};
use crate::store::sqlite::batches::counts;
use crate::store::sqlite::callbacks::due;
use crate::store::sqlite::error::disagree;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::hot::result_row::ResultRow;
use crate::store::sqlite::jobs::{cancel_waiting, claim, end};
use crate::store::sqlite::slots::Slot;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::write::{Ran, Write};

/// Jobs that come due in one group.
const PORTION: usize = 1_000;

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

/// What is to be known of a waiting job when its time may have come.
#[derive(Debug)]
pub struct DueRow {
    pub ordinal: Ordinal,
    pub id: JobId,
    pub function: FunctionName,
    pub queue: QueueName,
    pub priority: Priority,
    pub options: Options,
    pub attempt: u32,
    pub created_at: Timestamp,
    pub run_at: Option<RunAt>,
    pub seq: i64,
    pub deadline_at: Option<Timestamp>,
    pub batch: Option<Ordinal>,
}

/// Does what is due, and says when there is something to do next. What may start is claimed with everything else.
impl Write for Now {
    type Output = NextTimer;

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<NextTimer> {
        txn.now = txn.now.max(self.now);
        let rows = due(txn.sql, self.now, PORTION)?;
        let left = PORTION - rows.len();
        for row in rows {
            comes_due(txn, &row, *self)?;
        }
        for row in due_on_the_wall(txn.sql, self.wall, left)? {
            comes_due(txn, &row, *self)?;
        }
        Ok(Ok(NextTimer { deadline: next_deadline(txn.sql)?, wall: next_on_the_wall(txn.sql)? }))
    }
}

impl Sqlite {
    pub async fn run_timers(&self, now: Now) -> Result<NextTimer, Error> {
        self.write(now).await
    }
}

pub fn comes_due(txn: &mut Txn<'_>, row: &DueRow, moment: Now) -> Result<(), Failure> {
    let moment = (moment.now, moment.wall);
    let clocks = row.options.clocks;
    if txn.slots.is_marked(&row.queue, row.seq) {
        return cancel_due(txn, row);
    }
    match clocks.due(row.created_at, row.run_at, row.deadline_at, moment) {
        Due::Start => may_start(txn, row),
        Due::Fail(error) => time_is_over(txn, row, error),
        Due::Nothing => Ok(()),
    }
}

/// A shutdown has marked it, and its time comes before the portion that it belongs to.
pub fn cancel_due(txn: &mut Txn<'_>, row: &DueRow) -> Result<(), Failure> {
    withdraw_due(txn, row)?;
    cancel_waiting::cancel_withdrawn(txn, row.ordinal)
}

pub fn withdraw_due(txn: &mut Txn<'_>, row: &DueRow) -> Result<(), Failure> {
    if row.options.manual {
        // It is in no queue.
        txn.slots.withdraw_manual();
        return Ok(());
    }
    if row.run_at.is_some() {
        txn.slots.unschedule(&row.queue);
    } else if !txn.slots.withdraw_anywhere(&row.queue, row.priority, row.ordinal) {
        return Err(disagree(format!("job {} waits nowhere", row.ordinal.0)));
    }
    Ok(())
}

pub fn may_start(txn: &mut Txn<'_>, row: &DueRow) -> Result<(), Failure> {
    let seq = txn.change_of(row.ordinal);
    let clocks = row.options.clocks;
    let deadline = clocks.deadline(row.created_at, None, txn.now, row.attempt > 0);
    if !write_startable(txn.sql, row.ordinal, seq, deadline)? {
        return Err(disagree(format!("job {} does not wait for its time", row.ordinal.0)));
    }
    txn.startable.push(row.id);
    txn.slots.unschedule(&row.queue);
    let slot = Slot { queue: row.queue.clone(), pool: txn.slots.home(&row.function) };
    txn.slots.readmit(slot, row.priority, row.ordinal);
    claim::claim(txn)
}

pub fn time_is_over(txn: &mut Txn<'_>, row: &DueRow, error: JobError) -> Result<(), Failure> {
    withdraw_due(txn, row)?;
    let seq = txn.change_of(row.ordinal);
    let error = error.of_attempt(row.attempt);
    let retention_ms = row.options.retention_ms;
    let expires_at = row.batch.is_none().then(|| txn.now.plus_millis(retention_ms));
    if !fail_waiting(txn.sql, row.ordinal, seq)? {
        return Err(disagree(format!("job {} does not wait", row.ordinal.0)));
    }
    end::end_waiting(
        txn,
        ResultRow::of_failed(row.ordinal, seq, (txn.now, expires_at), &error),
        None,
    )?;
    due::make_due_of(txn, row.ordinal, txn.now)?;
    let (id, ordinal) = (row.id, row.ordinal);
    txn.cancelled.push(Ended { id, ordinal, state: State::Failed, seq });
    counts::move_between(txn, row.batch, (ordinal, seq), (State::Pending, State::Failed))
}

/// Whether the job waits for its time; then it is no longer counted.
pub fn unscheduled(txn: &mut Txn<'_>, job: &Job) -> Result<bool, Failure> {
    if txn.slots.running(job.ordinal).is_some() || !is_scheduled(txn.sql, job.ordinal)? {
        return Ok(false);
    }
    txn.slots.unschedule(&job.spec.queue);
    Ok(true)
}

/// Jobs whose deadline has come by the server's own clock, the earliest first.
pub fn due(sql: Statements<'_>, now: Timestamp, limit: usize) -> Result<Vec<DueRow>, Failure> {
    due_rows(sql, SELECT_DUE, now, limit)
}

/// Jobs whose time has come on the wall, the earliest first.
pub fn due_on_the_wall(
    sql: Statements<'_>,
    wall: Timestamp,
    limit: usize,
) -> Result<Vec<DueRow>, Failure> {
    due_rows(sql, SELECT_DUE_ON_THE_WALL, wall, limit)
}

pub fn due_rows(
    sql: Statements<'_>,
    select: &'static str,
    at: Timestamp,
    limit: usize,
) -> Result<Vec<DueRow>, Failure> {
    let mut statement = sql.prepared(select)?;
    let mut found = statement.query([at.0, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut due = Vec::new();
    while let Some(row) = found.next()? {
        due.push(due_row(row)?);
    }
    Ok(due)
}

/// The earliest deadline.
pub fn next_deadline(sql: Statements<'_>) -> rusqlite::Result<Option<Timestamp>> {
    let mut statement = sql.prepared(SELECT_NEXT_DEADLINE)?;
    statement.query_row((), |row| Ok(row.get::<_, Option<i64>>(0)?.map(Timestamp)))
}

/// The earliest moment on the wall.
pub fn next_on_the_wall(sql: Statements<'_>) -> rusqlite::Result<Option<Timestamp>> {
    let mut statement = sql.prepared(SELECT_NEXT_ON_THE_WALL)?;
    statement.query_row((), |row| Ok(row.get::<_, Option<i64>>(0)?.map(Timestamp)))
}

/// Whether the job waits for its time.
pub fn is_scheduled(sql: Statements<'_>, ordinal: Ordinal) -> rusqlite::Result<bool> {
    let mut statement = sql.prepared(SELECT_SCHEDULED)?;
    let found = statement.query_row([ordinal.0], |row| row.get(0)).optional()?;
    Ok(found.unwrap_or(false))
}

/// Lets a job start whose time has come; false if it does not wait for it.
pub fn write_startable(
    sql: Statements<'_>,
    ordinal: Ordinal,
    seq: i64,
    deadline: Option<Timestamp>,
) -> rusqlite::Result<bool> {
    let values = params![ordinal.0, seq, deadline.map(|at| at.0)];
    sql.run(MAY_START, values).map(|rows| rows == 1)
}

/// Notes that a job has waited too long, and its end is kept beside it; false if it does not wait.
pub fn fail_waiting(sql: Statements<'_>, ordinal: Ordinal, seq: i64) -> rusqlite::Result<bool> {
    sql.run(FAIL_WAITING, [ordinal.0, seq]).map(|rows| rows == 1)
}

fn due_row(row: &Row<'_>) -> Result<DueRow, Failure> {
    let (id, function): (Vec<u8>, String) = (row.get(1)?, row.get(2)?);
    let (queue, options): (String, Option<String>) = (row.get(3)?, row.get(5)?);
    let is_wall: bool = row.get(9)?;
    let run_at = row.get::<_, Option<i64>>(8)?.map(Timestamp);
    Ok(DueRow {
        ordinal: Ordinal(row.get(0)?),
        id: JobId(codec::uuid(&id)?),
        function: FunctionName::new(&function).map_err(codec::damaged)?,
        queue: codec::queue(&queue)?,
        priority: Priority::new(row.get(4)?).map_err(codec::damaged)?,
        options: options.as_deref().map(codec::read_options).transpose()?.unwrap_or_default(),
        attempt: row.get(6)?,
        created_at: Timestamp(row.get(7)?),
        run_at: run_at.map(|at| if is_wall { RunAt::Wall(at) } else { RunAt::Monotonic(at) }),
        seq: row.get(10)?,
        deadline_at: row.get::<_, Option<i64>>(11)?.map(Timestamp),
        batch: row.get::<_, Option<i64>>(12)?.map(Ordinal),
    })
}
