//! Slots that come and go beside the jobs: sizes of pools, slots that are given back, and the end of claiming.

use crate::domain::Timestamp;
use crate::store::contract::{Error, SlotChange};
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::slots::{Slot, Slots};
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::write::{IfRefused, Phase, Ran, Write};

#[derive(Debug)]
struct ChangeSlots {
    change: SlotChange,
    now: Timestamp,
}

impl Write for ChangeSlots {
    type Output = ();

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<()> {
        txn.now = txn.now.max(self.now);
        match &self.change {
            SlotChange::Release { queue, pool } => {
                txn.slots.give_up(queue, false);
                txn.slots.release(Slot { queue: queue.clone(), pool: *pool });
            }
            SlotChange::Resize { pool, slots } => txn.slots.resize(*pool, *slots),
            SlotChange::ClearSuspects => txn.slots.clear_suspects(),
            SlotChange::StopClaiming => txn.slots.stop_claiming(),
        }
        Ok(Ok(()))
    }

    fn phase(&self) -> Phase {
        match self.change {
            SlotChange::Release { .. } => Phase::End,
            _ => Phase::Change,
        }
    }

    fn if_refused(&self) -> IfRefused {
        match self.change {
            SlotChange::StopClaiming => IfRefused::Answer,
            _ => IfRefused::Retry,
        }
    }

    fn run_on_slots(&mut self, slots: &mut Slots) -> Option<()> {
        (self.change == SlotChange::StopClaiming).then(|| {
            slots.stop_claiming();
            slots.commit();
        })
    }
}

impl Sqlite {
    pub async fn change_slots(&self, change: SlotChange, now: Timestamp) -> Result<(), Error> {
        self.write(ChangeSlots { change, now }).await
    }
}
