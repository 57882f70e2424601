//! Many jobs come, each for itself.

use rusqlite::OptionalExtension as _;

use crate::domain::{BatchSlot, Ordinal};
use crate::store::contract::{Error, Many, Refusal, Submitted};
use crate::store::sqlite::batches::create;
use crate::store::sqlite::batches::create::Run;
use crate::store::sqlite::handle::{Answer, Sqlite};
use crate::store::sqlite::jobs::submit;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::write::{Phase, Ran, Write};

const SELECT_TAKES: &str =
    "select closed = 0 and cancel_requested_at is null from batches where ordinal = ?";

/// The refusal of the whole is of all of them.
impl Write for Many {
    type Output = Submitted;

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<Submitted> {
        if let Some(batch) = self.batch
            && !takes_calls(txn.sql, batch)?
        {
            return Ok(Err(Refusal::BatchClosed));
        }
        let mut submitted = Vec::with_capacity(self.calls.len());
        let mut run: Option<Run> = None;
        for call in &mut self.calls {
            let job = submit::submit(txn, call)?.map_err(Error::Refused);
            if let Ok(job) = &job
                && let Some(BatchSlot { place, index, .. }) = job.spec.batch
            {
                run = match run {
                    Some(run) if run.index_from + run.count == index => {
                        Some(Run { count: run.count + 1, ..run })
                    }
                    ended => {
                        ended.map_or(Ok(()), |ended| create::keep_run(txn.sql, place, ended))?;
                        Some(Run { index_from: index, ordinal_from: job.ordinal, count: 1 })
                    }
                };
            }
            submitted.push(job);
        }
        if let (Some(batch), Some(run)) = (self.batch, run) {
            create::keep_run(txn.sql, batch, run)?;
        }
        Ok(Ok(submitted))
    }

    fn bytes(&self) -> usize {
        submit::bytes_of(&self.calls)
    }

    fn phase(&self) -> Phase {
        Phase::Submission
    }
}

impl Sqlite {
    pub async fn submit_many(&self, many: Many) -> Result<Answer<Submitted>, Error> {
        self.ask(many, None).await
    }
}

/// Whether more calls may come to a batch.
pub fn takes_calls(sql: Statements<'_>, batch: Ordinal) -> rusqlite::Result<bool> {
    Ok(sql
        .prepared(SELECT_TAKES)?
        .query_row([batch.0], |row| row.get(0))
        .optional()?
        .unwrap_or(false))
}
