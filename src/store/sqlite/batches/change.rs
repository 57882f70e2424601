//! What is asked of a batch: that it takes no more calls, or that none of its jobs starts any more.

use crate::domain::{Ordinal, Timestamp};
use crate::store::contract::{BatchChange, Error};
use crate::store::sqlite::batches::{cancel_rest, close};
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::write::{IfRefused, Ran, Write};

#[derive(Debug)]
struct ChangeBatch {
    batch: Ordinal,
    change: BatchChange,
    now: Timestamp,
}

impl Write for ChangeBatch {
    type Output = bool;

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<bool> {
        txn.now = txn.now.max(self.now);
        Ok(Ok(match self.change {
            BatchChange::Close => close::close_batch(txn, self.batch)?,
            BatchChange::Cancel => cancel_rest::cancel_batch(txn, self.batch)?,
        }))
    }

    fn if_refused(&self) -> IfRefused {
        match self.change {
            BatchChange::Close => IfRefused::RetryIfItPasses,
            BatchChange::Cancel => IfRefused::Answer,
        }
    }
}

impl Sqlite {
    pub async fn change_batch(
        &self,
        batch: Ordinal,
        change: BatchChange,
        now: Timestamp,
    ) -> Result<bool, Error> {
        self.write(ChangeBatch { batch, change, now }).await
    }
}
