//! The rows of jobs that come, one or many at a time, started or to wait.
//!
//! Each value that is given to a statement is felt at the rate of all jobs. So what no job has at such a moment is in
//! neither of them, and what the job before had too is not given again: a statement keeps its values.

use std::sync::Arc;

use rusqlite::{Statement, ToSql, params};

use crate::domain::{
    FunctionName, Job, OnInterrupt, Options, Ordinal, Priority, QueueName, RunAt, Timestamp,
};
use crate::store::codec;
use crate::store::sqlite::hot::multi_row_insert::{Numbers, Rows, bind};

/// The first are each job's own; the others most jobs have in common with the one before, numbers one by one. What fails here rolls its
/// group back whatever it says, and so need not keep a copy of each page to take back itself alone.
pub const INSERT: Rows = Rows {
    into: "insert or rollback into calls (ordinal, id, seq, arguments, arguments_sum, batch_index,
    created_at, started_at, arguments_bytes, function, queue, priority, on_interrupt, labels, options, batch, state, attempt, epoch,
    arguments_payload, run_at, run_at_is_wall, deadline_at, version)
values ",
    row: "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
};

/// Of its values, those that are its own, and numbers that may be.
const OWN_VALUES: usize = 6;

const NUMBERS: usize = 3;

/// A job as it comes.
#[derive(Debug)]
pub struct NewRow {
    pub job: Arc<Job>,
    pub deadline: Option<Timestamp>,
    pub seq: i64,
    /// Whose job it is, once it runs.
    pub epoch: i64,
    /// Its arguments, or where they are kept.
    pub arguments: Result<String, i64>,
    pub arguments_bytes: i64,
    pub arguments_sum: i64,
}

/// What a row has still.
#[derive(Debug, Default)]
pub struct LastRow {
    numbers: Numbers<NUMBERS>,
    common: Option<Common>,
}

/// What jobs that follow each other mostly have in common.
#[derive(Debug)]
struct Common {
    function: FunctionName,
    queue: QueueName,
    priority: Priority,
    on_interrupt: OnInterrupt,
    options: Options,
    batch: Option<Ordinal>,
    epoch: Option<i64>,
}

impl NewRow {
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

    fn bind_rest(&self, statement: &mut Statement<'_>, first: usize) -> rusqlite::Result<()> {
        let Job { spec, run_at, state, attempt, .. } = &*self.job;
        let rest = params![
            spec.function.as_str(),
            spec.queue.as_str(),
            spec.priority.get(),
            spec.on_interrupt.as_str(),
            codec::labels(spec),
            codec::options(&spec.options),
            spec.batch.map(|it| it.place.0),
            state.as_str(),
            attempt,
            self.epoch(),
            self.arguments.as_ref().err(),
            run_at.map(|it| it.at().0),
            matches!(run_at, Some(RunAt::Wall(_))),
            self.deadline.map(|at| at.0),
        ];
        bind(statement, first, rest)
    }
}

impl NewRow {
    /// See [`super::together::Bind`].
    pub fn bind(
        &self,
        statement: &mut Statement<'_>,
        first: usize,
        kept: &mut LastRow,
    ) -> rusqlite::Result<()> {
        let spec = &self.job.spec;
        let own: [&dyn ToSql; OWN_VALUES] = [
            &self.job.ordinal.0,
            spec.id.0.as_bytes(),
            &self.seq,
            &self.arguments.as_ref().ok(),
            &self.arguments_sum,
            &spec.batch.map(|it| it.index),
        ];
        bind(statement, first, &own)?;
        let started_at = self.job.started_at.map(|at| at.0);
        let numbers = [Some(spec.created_at.0), started_at, Some(self.arguments_bytes)];
        kept.numbers.bind(statement, first + OWN_VALUES, numbers)?;
        if self.is_plain() && kept.common.as_ref().is_some_and(|common| self.has(common)) {
            return Ok(());
        }
        kept.common = None;
        self.bind_rest(statement, first + OWN_VALUES + NUMBERS)?;
        kept.common = self.is_plain().then(|| self.common());
        Ok(())
    }
}
