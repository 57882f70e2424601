//! Who takes a slot, and who gives one back.

use crate::domain::{Ordinal, Pool};

use super::quarantine::Next;
use super::{Queue, ReadyKey, Running, Slot, Slots, Undo};

impl Slots {
    /// Claims the next job that has a free slot in its queue and in its pool: the most urgent, then the
    /// oldest, of all that could run. None when nothing can.
    pub fn claim(&mut self) -> Option<Ordinal> {
        if !self.claiming {
            return None;
        }
        let (place, slot) = match self.next_of_quarantine() {
            Next::Suspect(place, slot) => {
                self.has_its_turn(place, &slot);
                (place, slot)
            }
            Next::Nobody => return None,
            Next::Anybody => self.first_that_can_start()?,
        };
        self.withdraw_place(slot.clone(), place);
        self.take(&slot);
        self.undo.push(Undo::GiveBack(slot));
        self.set_running(place.ordinal(), Some(Running::default()));
        Some(place.ordinal())
    }

    fn first_that_can_start(&self) -> Option<(ReadyKey, Slot)> {
        let heads =
            self.queues.iter().filter(|(_, queue)| queue.may_claim()).flat_map(|(name, queue)| {
                let heads = queue.lanes.iter().filter(|(pool, _)| self.pool_has_room(**pool));
                heads.filter_map(move |(pool, lane)| Some((*lane.first()?, name, *pool)))
            });
        let (place, queue, pool) = heads.min_by_key(|(place, ..)| *place)?;
        Some((place, Slot { queue: queue.clone(), pool }))
    }

    pub fn pool_has_room(&self, pool: Pool) -> bool {
        self.pools.get(&pool).is_some_and(|(slots, taken)| taken < slots)
    }

    /// Takes a slot that is free for a job that is just submitted; false if it must wait. All that waits and could start has
    /// started before, so it overtakes nobody.
    pub fn take_at_once(&mut self, slot: &Slot) -> bool {
        let is_open = |queue: &Queue| queue.kept.is_some_and(|kept| !kept.shutdown);
        let is_free = |queue: &Queue| queue.pending == 0 && queue.has_room() && is_open(queue);
        let may_start = self.claiming
            && matches!(self.next_of_quarantine(), Next::Anybody)
            && self.queues.get(&slot.queue).is_some_and(is_free)
            && self.pool_has_room(slot.pool);
        if may_start {
            self.take(slot);
            self.undo.push(Undo::GiveBack(slot.clone()));
        }
        may_start
    }

    /// Gives a slot back.
    pub fn release(&mut self, slot: Slot) {
        self.give_back(&slot);
        self.undo.push(Undo::TakeAgain(slot));
    }

    pub fn take(&mut self, slot: &Slot) {
        if let Some(queue) = self.queues.get_mut(&slot.queue) {
            queue.is_used = true;
            queue.running += 1;
        }
        if let Some((_, taken)) = self.pools.get_mut(&slot.pool) {
            *taken += 1;
        }
    }

    pub fn give_back(&mut self, slot: &Slot) {
        if let Some(queue) = self.queues.get_mut(&slot.queue) {
            queue.running = queue.running.saturating_sub(1);
        }
        if let Some((_, taken)) = self.pools.get_mut(&slot.pool) {
            *taken = taken.saturating_sub(1);
        }
    }
}
