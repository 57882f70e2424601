//! Manual jobs: nothing runs them, and the slots only count those that wait. What they are stands in their rows.

use std::borrow::Cow;
use std::sync::Arc;

use crate::domain::{Job, JobError, Json, Ordinal, State, cancel_pending, complete};
use crate::store::contract::{
    CancelOrder, Cancellation, Ended, Error, Event, Failure, ManualResult,
};
use crate::store::sqlite::callbacks::due;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::jobs::end;
use crate::store::sqlite::jobs::end::Guard;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::values::chunks;
use crate::store::sqlite::write::{ROW_BYTES, Ran, Write};

/// Only what is in no queue waits to be completed; all else waits to be run.
const SELECT_AWAITS: &str = "select exists (select 1 from calls as j
where j.ordinal = ? and j.state = 'pending' and j.queue = '')";

/// What waits has made no attempt yet.
const WAITS: Guard = Guard { from: State::Pending, attempt: None };

impl Write for ManualResult {
    type Output = Option<Arc<Job>>;

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<Option<Arc<Job>>> {
        if !awaits_completion(txn.sql, self.job.ordinal)? {
            return Ok(Ok(None));
        }
        txn.slots.withdraw_manual();
        txn.now = txn.now.max(self.now);
        let mut next = complete(&self.job, self.end.clone(), self.now);
        let value = next.result.clone();
        let result = value.as_ref().map(|it| chunks::store(txn, it.as_str()));
        let result = result.transpose()?;
        end::end(txn, &mut next, WAITS, result.as_ref())?;
        due::make_due(txn, &mut next)?;
        let next = Arc::new(next);
        txn.events.push(Event::Changed(Arc::clone(&next)));
        Ok(Ok(Some(next)))
    }

    fn bytes(&self) -> usize {
        ROW_BYTES + self.end.as_ref().map_or_else(JobError::bytes, Json::len)
    }

    fn large_value(&self) -> Option<Cow<'_, str>> {
        self.end.as_ref().ok().map(|result| Cow::Borrowed(result.as_str()))
    }
}

impl Sqlite {
    pub async fn complete_manual(&self, result: ManualResult) -> Result<Option<Arc<Job>>, Error> {
        self.write(result).await
    }
}

/// Cancels a manual job, if it still waits.
pub fn cancel_manual(txn: &mut Txn<'_>, order: &CancelOrder) -> Result<Cancellation, Failure> {
    if !awaits_completion(txn.sql, order.job.ordinal)? {
        return Ok(Cancellation::Done);
    }
    txn.slots.withdraw_manual();
    txn.now = txn.now.max(order.now);
    let mut next = cancel_pending(&order.job, order.now);
    end::end(txn, &mut next, WAITS, None)?;
    due::make_due(txn, &mut next)?;
    txn.events.extend(Ended::of(&next).map(Event::Cancelled));
    Ok(Cancellation::Cancelled)
}

/// Whether the job is a manual one that has no end yet.
pub fn awaits_completion(sql: Statements<'_>, job: Ordinal) -> rusqlite::Result<bool> {
    sql.prepared(SELECT_AWAITS)?.query_row([job.0], |row| row.get(0))
}
