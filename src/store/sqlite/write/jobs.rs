//! The statements of nearly every commit: a job comes, started or to wait, and it ends.
//!
//! What a job never has at such a moment is in none of them: each value that is given to a statement, and each
//! column that it reads, is felt at the rate of all jobs.

use std::cell::RefCell;
use std::sync::Arc;

use rusqlite::{Connection, Result, Statement, ToSql, params};

use crate::domain::{Job, RunAt, State, Timestamp};
use crate::store::payload::{self, Stored};
use crate::store::sqlite::rows;

use super::{Hot, Statements};

const INSERT_STARTED: &str =
    "insert into jobs (ordinal, id, function, queue, priority, on_interrupt, labels, state, version, seq, attempt,
    epoch, created_at, started_at, arguments, arguments_payload, arguments_bytes, arguments_sum, options, indexed)
values (?, ?, ?, ?, ?, ?, ?, 'running', 1, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, 0)";
const INSERT_WAITING: &str =
    "insert into jobs (ordinal, id, function, queue, priority, on_interrupt, labels, state, version, seq, attempt,
    created_at, arguments, arguments_payload, arguments_bytes, arguments_sum, options, run_at, run_at_is_wall, deadline_at, indexed)
values (?, ?, ?, ?, ?, ?, ?, 'pending', 1, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)";
/// The same for jobs of batches. Most jobs are of none, and each value that is given is felt.
const INSERT_STARTED_OF_BATCH: &str =
    "insert into jobs (ordinal, id, function, queue, priority, on_interrupt, labels, state, version, seq, attempt,
    epoch, created_at, started_at, arguments, arguments_payload, arguments_bytes, arguments_sum, options, indexed, batch, batch_index)
values (?, ?, ?, ?, ?, ?, ?, 'running', 1, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)";
const INSERT_WAITING_OF_BATCH: &str =
    "insert into jobs (ordinal, id, function, queue, priority, on_interrupt, labels, state, version, seq, attempt,
    created_at, arguments, arguments_payload, arguments_bytes, arguments_sum, options, run_at, run_at_is_wall, deadline_at, indexed,
    batch, batch_index)
values (?, ?, ?, ?, ?, ?, ?, 'pending', 1, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)";
macro_rules! waiting_row {
    () => {
        "(?, ?, ?, ?, ?, ?, ?, 'pending', 1, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)"
    };
}
macro_rules! waiting_rows {
    () => {
        concat!(waiting_row!(), ", ", waiting_row!(), ", ", waiting_row!(), ", ", waiting_row!())
    };
}
/// The same for sixteen jobs that come together: to run a statement costs as much as a quarter of a row.
pub(in crate::store) const INSERT_SIXTEEN: &str = concat!(
    "insert into jobs (ordinal, id, function, queue, priority, on_interrupt, labels, state, version, seq, attempt,
    created_at, arguments, arguments_payload, arguments_bytes, arguments_sum, options, run_at, run_at_is_wall, deadline_at, indexed,
    batch, batch_index)
values ",
    waiting_rows!(),
    ", ",
    waiting_rows!(),
    ", ",
    waiting_rows!(),
    ", ",
    waiting_rows!()
);
/// As many as [`INSERT_SIXTEEN`] has.
pub(in crate::store) const TOGETHER: usize = 16;
const SUCCEED: &str =
    "update jobs set state = 'succeeded', version = ?3, seq = ?4, finished_seq = ?4, finished_at = ?5,
    expires_at = ?6, result = ?7, result_payload = ?8, result_bytes = ?9, indexed = ?10,
    outcome_sum = ?11
where ordinal = ?1 and state = 'running' and attempt = ?2";
/// Of a job that waited only the database knows the version and the counts for sure, since whoever cancels it may have
/// read it long before; of one that ran, its attempt.
const END_JOB: &str =
    "update jobs set state = ?4, version = coalesce(?5, version + 1), seq = ?6,
    finished_seq = case when ?7 is null then null else ?6 end, finished_at = ?7,
    started_at = case when ?4 = 'pending' then null else started_at end,
    result = ?8, result_payload = ?9, result_bytes = ?10, error = ?11,
    interruptions = coalesce(?12, interruptions), crashes = coalesce(?13, crashes),
    cancel_requested_at = ?14, failures = coalesce(?15, failures), expires_at = ?16, run_at = ?17, run_at_is_wall = 0,
    deadline_at = ?18, indexed = ?19, outcome_sum = ?20
where ordinal = ?1 and state = ?2 and (?3 is null or attempt = ?3)";

/// What the end of an attempt, or of the waiting, assumes of the row.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Guard {
    pub(in crate::store) from: State,
    pub(in crate::store) attempt: Option<u32>,
}

/// The statements of this file, ready to run. To look one up among all, and to put it back, takes a tenth of
/// what it does.
#[derive(Debug)]
pub(in crate::store) struct Held<'c> {
    insert_started: RefCell<Statement<'c>>,
    insert_waiting: RefCell<Statement<'c>>,
    insert_started_of_batch: RefCell<Statement<'c>>,
    insert_waiting_of_batch: RefCell<Statement<'c>>,
    insert_sixteen: RefCell<Statement<'c>>,
    succeed: RefCell<Statement<'c>>,
    end: RefCell<Statement<'c>>,
}

impl<'c> Held<'c> {
    pub(in crate::store) fn prepare(connection: &'c Connection) -> Result<Self> {
        let prepare = |sql| connection.prepare(sql).map(RefCell::new);
        Ok(Self {
            insert_started: prepare(INSERT_STARTED)?,
            insert_waiting: prepare(INSERT_WAITING)?,
            insert_started_of_batch: prepare(INSERT_STARTED_OF_BATCH)?,
            insert_waiting_of_batch: prepare(INSERT_WAITING_OF_BATCH)?,
            insert_sixteen: prepare(INSERT_SIXTEEN)?,
            succeed: prepare(SUCCEED)?,
            end: prepare(END_JOB)?,
        })
    }
}

/// One of [`Held`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    InsertStarted,
    InsertWaiting,
    InsertStartedOfBatch,
    InsertWaitingOfBatch,
    Succeed,
    End,
}

impl Hot for Held<'_> {
    fn run(&self, which: Which, values: &[&dyn ToSql]) -> Result<usize> {
        let statement = match which {
            Which::InsertStarted => &self.insert_started,
            Which::InsertWaiting => &self.insert_waiting,
            Which::InsertStartedOfBatch => &self.insert_started_of_batch,
            Which::InsertWaitingOfBatch => &self.insert_waiting_of_batch,
            Which::Succeed => &self.succeed,
            Which::End => &self.end,
        };
        statement.borrow_mut().execute(values)
    }

    fn insert_sixteen(&self, rows: &[Waiting]) -> Result<()> {
        debug_assert_eq!(rows.len(), TOGETHER, "a row for each of the statement's");
        let mut statement = self.insert_sixteen.borrow_mut();
        let mut next = 1;
        for row in rows {
            row.bind(&mut statement, &mut next)?;
        }
        statement.raw_execute().map(drop)
    }
}

/// A job that is inserted together with others.
#[derive(Debug)]
pub(in crate::store) struct Waiting {
    pub(in crate::store) job: Arc<Job>,
    pub(in crate::store) deadline: Option<Timestamp>,
    pub(in crate::store) seq: i64,
    /// Its arguments, or where they are kept.
    pub(in crate::store) arguments: std::result::Result<String, i64>,
    pub(in crate::store) arguments_bytes: i64,
    pub(in crate::store) arguments_sum: i64,
}

impl Waiting {
    /// Gives its values to a statement, from the parameter `next` on.
    fn bind(&self, statement: &mut Statement<'_>, next: &mut usize) -> Result<()> {
        let spec = &self.job.spec;
        let run_at = self.job.run_at;
        let values = params![
            self.job.ordinal.0,
            spec.id.0.as_bytes(),
            spec.function.as_str(),
            spec.queue.as_str(),
            spec.priority.get(),
            spec.on_interrupt.as_str(),
            rows::labels(spec),
            self.seq,
            spec.created_at.0,
            self.arguments.as_ref().ok(),
            self.arguments.as_ref().err(),
            self.arguments_bytes,
            self.arguments_sum,
            rows::options(&spec.options),
            run_at.map(|it| it.at().0),
            matches!(run_at, Some(RunAt::Wall(_))),
            self.deadline.map(|at| at.0),
            spec.batch.map(|it| it.place.0),
            spec.batch.map(|it| it.index),
        ];
        for value in values {
            statement.raw_bind_parameter(*next, value)?;
            *next += 1;
        }
        Ok(())
    }
}

impl Statements<'_> {
    /// Inserts a job whose first attempt has begun.
    pub(in crate::store) fn insert_started(
        self,
        job: &Job,
        (seq, epoch): (i64, i64),
        arguments: &Stored<'_>,
    ) -> Result<()> {
        debug_assert!(job.run_at.is_none() && job.attempt == 1, "it starts at once");
        let spec = &job.spec;
        let values = params![
            job.ordinal.0,
            spec.id.0.as_bytes(),
            spec.function.as_str(),
            spec.queue.as_str(),
            spec.priority.get(),
            spec.on_interrupt.as_str(),
            rows::labels(spec),
            seq,
            epoch,
            spec.created_at.0,
            job.started_at.map(|at| at.0),
            arguments.inline(),
            arguments.payload(),
            arguments.bytes(),
            arguments.sum(),
            rows::options(&spec.options),
            spec.batch.map(|it| it.place.0),
            spec.batch.map(|it| it.index),
        ];
        self.insert((Which::InsertStarted, Which::InsertStartedOfBatch), job, values)
    }

    /// Inserts a job that waits, for a slot, for its time, or for someone to complete it.
    pub(in crate::store) fn insert_waiting(
        self,
        job: &Job,
        deadline: Option<Timestamp>,
        seq: i64,
        arguments: &Stored<'_>,
    ) -> Result<()> {
        let spec = &job.spec;
        let values = params![
            job.ordinal.0,
            spec.id.0.as_bytes(),
            spec.function.as_str(),
            spec.queue.as_str(),
            spec.priority.get(),
            spec.on_interrupt.as_str(),
            rows::labels(spec),
            seq,
            spec.created_at.0,
            arguments.inline(),
            arguments.payload(),
            arguments.bytes(),
            arguments.sum(),
            rows::options(&spec.options),
            job.run_at.map(|it| it.at().0),
            matches!(job.run_at, Some(RunAt::Wall(_))),
            deadline.map(|at| at.0),
            spec.batch.map(|it| it.place.0),
            spec.batch.map(|it| it.index),
        ];
        self.insert((Which::InsertWaiting, Which::InsertWaitingOfBatch), job, values)
    }

    /// Inserts jobs that wait.
    pub(in crate::store) fn insert_many(self, rows: &[Waiting]) -> Result<()> {
        let (together, rest) = rows.as_chunks::<TOGETHER>();
        together.iter().try_for_each(|rows| self.hot.insert_sixteen(rows))?;
        rest.iter().try_for_each(|row| {
            let arguments = match &row.arguments {
                Ok(text) => Stored::Inline(text),
                Err(payload) => Stored::Payload {
                    payload: *payload,
                    bytes: usize::try_from(row.arguments_bytes).unwrap_or(usize::MAX),
                    sum: row.arguments_sum,
                },
            };
            self.insert_waiting(&row.job, row.deadline, row.seq, &arguments)
        })
    }

    /// Inserts a job by the first statement, or, with the last two of `values`, one of a batch by the second.
    fn insert(
        self,
        (alone, of_batch): (Which, Which),
        job: &Job,
        values: &[&dyn ToSql],
    ) -> Result<()> {
        match job.spec.batch {
            None => self.hot.run(alone, &values[..values.len() - 2]).map(drop),
            Some(_) => self.hot.run(of_batch, values).map(drop),
        }
    }

    /// Makes of a job whose attempt gave a value what `next` is; false if that attempt does not run.
    pub(in crate::store) fn succeed(
        self,
        next: &Job,
        (seq, indexed): (i64, bool),
        result: &Stored<'_>,
    ) -> Result<bool> {
        let values = params![
            next.ordinal.0,
            next.attempt,
            next.version,
            seq,
            next.finished_at.map(|at| at.0),
            next.expires_at.map(|at| at.0),
            result.inline(),
            result.payload(),
            result.bytes(),
            indexed,
            result.sum(),
        ];
        self.hot.run(Which::Succeed, values).map(|rows| rows == 1)
    }

    /// Makes of the job what `next` is; false if the guard does not hold.
    pub(in crate::store) fn end_job(
        self,
        next: &Job,
        deadline: Option<Timestamp>,
        (guard, seq, indexed): (Guard, i64, bool),
        result: Option<&Stored<'_>>,
    ) -> Result<bool> {
        let error = next.error.as_ref().map(rows::error_text);
        let sum = result.map(Stored::sum).or_else(|| error.as_deref().map(payload::sum));
        let values = params![
            next.ordinal.0,
            guard.from.as_str(),
            guard.attempt,
            next.state.as_str(),
            guard.attempt.map(|_| next.version),
            seq,
            next.finished_at.map(|at| at.0),
            result.and_then(Stored::inline),
            result.and_then(Stored::payload),
            result.map(Stored::bytes),
            error,
            guard.attempt.map(|_| next.interruptions),
            guard.attempt.map(|_| next.crashes),
            next.cancel_requested_at.map(|at| at.0),
            guard.attempt.map(|_| next.failures),
            next.expires_at.map(|at| at.0),
            next.run_at.map(|it| it.at().0),
            deadline.map(|at| at.0),
            indexed,
            sum,
        ];
        self.hot.run(Which::End, values).map(|rows| rows == 1)
    }
}
