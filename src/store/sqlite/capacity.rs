//! Slots that come and go beside the jobs: sizes of pools, slots that are given back, and the end of claiming.

use crate::domain::{Pool, QueueName, Timestamp};
use crate::store::contract::Error;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::slots::{Slot, Slots};
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::write::{IfRefused, Phase, Ran, Reply, Write, pending};

#[derive(Debug)]
struct Release {
    queue: QueueName,
    pool: Pool,
    now: Timestamp,
}

impl Write for Release {
    type Output = ();

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<()> {
        txn.now = txn.now.max(self.now);
        txn.slots.give_up(&self.queue, false);
        txn.slots.release(Slot { queue: self.queue.clone(), pool: self.pool });
        Ok(Ok(()))
    }

    fn phase(&self) -> Phase {
        Phase::End
    }

    fn if_refused(&self) -> IfRefused {
        IfRefused::Retry
    }
}

#[derive(Debug)]
struct Resize {
    pool: Pool,
    slots: usize,
    now: Timestamp,
}

impl Write for Resize {
    type Output = ();

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<()> {
        txn.now = txn.now.max(self.now);
        txn.slots.resize(self.pool, self.slots);
        Ok(Ok(()))
    }

    fn if_refused(&self) -> IfRefused {
        IfRefused::Retry
    }
}

#[derive(Debug)]
struct ClearSuspects {
    now: Timestamp,
}

impl Write for ClearSuspects {
    type Output = ();

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<()> {
        txn.now = txn.now.max(self.now);
        txn.slots.clear_suspects();
        Ok(Ok(()))
    }

    fn if_refused(&self) -> IfRefused {
        IfRefused::Retry
    }
}

#[derive(Debug)]
pub struct StopClaiming;

impl Write for StopClaiming {
    type Output = ();

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<()> {
        txn.slots.stop_claiming();
        Ok(Ok(()))
    }

    fn run_on_slots(&mut self, slots: &mut Slots) -> Option<()> {
        slots.stop_claiming();
        slots.commit();
        Some(())
    }
}

impl Sqlite {
    pub async fn release(&self, queue: QueueName, pool: Pool, now: Timestamp) {
        // A store that is closed has no slots to give back.
        drop(self.send(pending(Release { queue, pool, now }, Reply::none())).await);
    }

    pub async fn resize(&self, pool: Pool, slots: usize, now: Timestamp) -> Result<(), Error> {
        self.write(Resize { pool, slots, now }).await
    }

    pub async fn clear_suspects(&self, now: Timestamp) -> Result<(), Error> {
        self.write(ClearSuspects { now }).await
    }

    pub async fn stop_claiming(&self) -> Result<(), Error> {
        self.write(StopClaiming).await
    }
}
