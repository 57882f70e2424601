//! The statements by which jobs come, one or many at a time, started or to wait.
//!
//! Each value that is given to a statement is felt at the rate of all jobs. So what no job has at such a moment is in
//! neither of them, and what the job before had too is not given again: a statement keeps its values.

use std::cell::RefCell;
use std::sync::Arc;

use rusqlite::{Connection, Result, Statement, ToSql, params};

use crate::domain::{
    FunctionName, Job, OnInterrupt, Options, Ordinal, Priority, QueueName, RunAt, Timestamp,
};
use crate::store::sqlite::rows;

use super::Statements;

/// The first are each job's own; the others most jobs have in common with the one before. What fails here rolls its
/// group back whatever it says, and so need not keep a copy of each page to take back itself alone.
macro_rules! columns {
    () => {
        "insert or rollback into jobs (ordinal, id, seq, created_at, started_at, arguments, arguments_bytes, arguments_sum, batch_index,
    function, queue, priority, on_interrupt, labels, options, batch, state, attempt, epoch, indexed,
    arguments_payload, run_at, run_at_is_wall, deadline_at, version)
values "
    };
}
macro_rules! row {
    () => {
        "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)"
    };
}
macro_rules! four_rows {
    () => {
        concat!(row!(), ", ", row!(), ", ", row!(), ", ", row!())
    };
}
pub(in crate::store) const INSERT: &str = concat!(columns!(), row!());
/// To run a statement costs as much as a quarter of a row.
pub(in crate::store) const INSERT_FOUR: &str = concat!(columns!(), four_rows!());
pub(in crate::store) const INSERT_SIXTEEN: &str =
    concat!(columns!(), four_rows!(), ", ", four_rows!(), ", ", four_rows!(), ", ", four_rows!());
/// As many as [`INSERT_FOUR`] and [`INSERT_SIXTEEN`] have.
const FOUR: usize = 4;
pub(in crate::store) const SIXTEEN: usize = 16;
/// Values of a row, and those among them that are its own.
const VALUES: usize = 24;
const OWN_VALUES: usize = 9;

/// A job as it comes.
#[derive(Debug)]
pub(in crate::store) struct Arrival {
    pub(in crate::store) job: Arc<Job>,
    pub(in crate::store) deadline: Option<Timestamp>,
    pub(in crate::store) seq: i64,
    /// Whose job it is, once it runs.
    pub(in crate::store) epoch: i64,
    /// Its arguments, or where they are kept.
    pub(in crate::store) arguments: std::result::Result<String, i64>,
    pub(in crate::store) arguments_bytes: i64,
    pub(in crate::store) arguments_sum: i64,
}

/// What jobs that follow each other mostly have in common.
#[derive(Clone, Debug)]
struct Common {
    function: FunctionName,
    queue: QueueName,
    priority: Priority,
    on_interrupt: OnInterrupt,
    options: Options,
    batch: Option<Ordinal>,
    epoch: Option<i64>,
}

impl Arrival {
    /// The epoch of a job that has started.
    fn epoch(&self) -> Option<i64> {
        (self.job.attempt > 0).then_some(self.epoch)
    }

    /// Whether it has none of what most jobs do not have.
    fn is_plain(&self) -> bool {
        let Job { spec, run_at, .. } = &*self.job;
        let is_labelled = !spec.tags.as_slice().is_empty() || !spec.metadata.as_slice().is_empty();
        !is_labelled && run_at.is_none() && self.deadline.is_none() && self.arguments.is_ok()
    }

    fn common(&self) -> Common {
        let spec = &self.job.spec;
        Common {
            function: spec.function.clone(),
            queue: spec.queue.clone(),
            priority: spec.priority,
            on_interrupt: spec.on_interrupt,
            options: spec.options,
            batch: spec.batch.map(|it| it.place),
            epoch: self.epoch(),
        }
    }

    fn has(&self, common: &Common) -> bool {
        let spec = &self.job.spec;
        spec.function == common.function
            && spec.queue == common.queue
            && spec.priority == common.priority
            && spec.on_interrupt == common.on_interrupt
            && spec.options == common.options
            && spec.batch.map(|it| it.place) == common.batch
            && self.epoch() == common.epoch
    }

    /// Gives its values to a statement, those of its row from the parameter `first` on. What the row has of `common` it
    /// has still.
    fn bind(
        &self,
        statement: &mut Statement<'_>,
        first: usize,
        common: &mut Option<Common>,
    ) -> Result<()> {
        let spec = &self.job.spec;
        let own: [&dyn ToSql; OWN_VALUES] = [
            &self.job.ordinal.0,
            spec.id.0.as_bytes(),
            &self.seq,
            &spec.created_at.0,
            &self.job.started_at.map(|at| at.0),
            &self.arguments.as_ref().ok(),
            &self.arguments_bytes,
            &self.arguments_sum,
            &spec.batch.map(|it| it.index),
        ];
        bind(statement, first, &own)?;
        if self.is_plain() && common.as_ref().is_some_and(|common| self.has(common)) {
            return Ok(());
        }
        *common = None;
        self.bind_rest(statement, first + OWN_VALUES)?;
        *common = self.is_plain().then(|| self.common());
        Ok(())
    }

    fn bind_rest(&self, statement: &mut Statement<'_>, first: usize) -> Result<()> {
        let Job { spec, run_at, state, attempt, .. } = &*self.job;
        let rest = params![
            spec.function.as_str(),
            spec.queue.as_str(),
            spec.priority.get(),
            spec.on_interrupt.as_str(),
            rows::labels(spec),
            rows::options(&spec.options),
            spec.batch.map(|it| it.place.0),
            state.as_str(),
            attempt,
            self.epoch(),
            *attempt == 0,
            self.arguments.as_ref().err(),
            run_at.map(|it| it.at().0),
            matches!(run_at, Some(RunAt::Wall(_))),
            self.deadline.map(|at| at.0),
        ];
        bind(statement, first, rest)
    }
}

fn bind(statement: &mut Statement<'_>, first: usize, values: &[&dyn ToSql]) -> Result<()> {
    (first..).zip(values).try_for_each(|(place, value)| statement.raw_bind_parameter(place, value))
}

/// One of the statements, and what each of its rows has still.
#[derive(Debug)]
struct Insert<'c> {
    statement: Statement<'c>,
    commons: Vec<Option<Common>>,
}

impl<'c> Insert<'c> {
    fn prepare(connection: &'c Connection, sql: &str, rows: usize) -> Result<RefCell<Self>> {
        let statement = connection.prepare(sql)?;
        Ok(RefCell::new(Self { statement, commons: vec![None; rows] }))
    }

    fn run(&mut self, arrivals: &[Arrival]) -> Result<()> {
        debug_assert_eq!(arrivals.len(), self.commons.len(), "a job for each row of the statement");
        for (place, (arrival, common)) in arrivals.iter().zip(&mut self.commons).enumerate() {
            arrival.bind(&mut self.statement, place * VALUES + 1, common)?;
        }
        self.statement.raw_execute().map(drop)
    }
}

/// All of them, ready to run.
#[derive(Debug)]
pub(super) struct Inserts<'c> {
    one: RefCell<Insert<'c>>,
    four: RefCell<Insert<'c>>,
    sixteen: RefCell<Insert<'c>>,
}

impl<'c> Inserts<'c> {
    pub(super) fn prepare(connection: &'c Connection) -> Result<Self> {
        Ok(Self {
            one: Insert::prepare(connection, INSERT, 1)?,
            four: Insert::prepare(connection, INSERT_FOUR, FOUR)?,
            sixteen: Insert::prepare(connection, INSERT_SIXTEEN, SIXTEEN)?,
        })
    }

    /// Inserts jobs as they come.
    pub(super) fn insert(&self, arrivals: &[Arrival]) -> Result<()> {
        let (sixteens, rest) = arrivals.as_chunks::<SIXTEEN>();
        let (fours, ones) = rest.as_chunks::<FOUR>();
        sixteens.iter().try_for_each(|arrivals| self.sixteen.borrow_mut().run(arrivals))?;
        fours.iter().try_for_each(|arrivals| self.four.borrow_mut().run(arrivals))?;
        ones.chunks(1).try_for_each(|arrival| self.one.borrow_mut().run(arrival))
    }
}

impl Statements<'_> {
    /// Inserts jobs as they come.
    pub(in crate::store) fn insert(self, arrivals: &[Arrival]) -> Result<()> {
        self.hot.insert(arrivals)
    }
}
