//! Jobs during which the server has died so often that the next time would be taken for their fault (G9): after a start they run
//! first, and each with no other job beside it, so that the innocent are not blamed.

use crate::domain::{Ordinal, Pool, Priority};
use std::collections::BTreeMap;

use super::{ReadyKey, Slot, Slots, Undo};

/// Those that wait for their turn, and the one that has it.
#[derive(Debug, Default)]
pub struct Quarantine {
    waiting: BTreeMap<ReadyKey, Slot>,
    alone: Option<Ordinal>,
}

/// Who may start.
pub(super) enum Next {
    /// This one, alone.
    Suspect(ReadyKey, Slot),
    /// Nobody yet.
    Nobody,
    /// Anybody.
    Anybody,
}

impl Slots {
    /// Has a job that waits run with no other beside it.
    pub fn suspect(&mut self, slot: Slot, priority: Priority, ordinal: Ordinal) {
        self.quarantine.waiting.insert(ReadyKey::new(priority, ordinal), slot);
    }

    /// How many wait for that.
    pub fn suspects(&self) -> usize {
        self.quarantine.waiting.len()
    }

    /// Nobody is suspected any more: all may run beside each other.
    pub fn clear_suspects(&mut self) {
        let Quarantine { waiting, alone } = std::mem::take(&mut self.quarantine);
        let again = waiting.into_iter().map(|(place, slot)| Undo::Suspect(place, slot));
        self.undo.extend(again);
        self.undo.push(Undo::Alone(alone));
    }

    /// It is the turn of this one: nothing else starts until it is over.
    pub(super) fn has_its_turn(&mut self, place: ReadyKey, slot: &Slot) {
        self.quarantine.waiting.remove(&place);
        self.undo.push(Undo::Suspect(place, slot.clone()));
        self.undo.push(Undo::Alone(self.quarantine.alone.replace(place.ordinal())));
    }

    /// A job runs no more.
    pub fn is_alone_no_more(&mut self, ordinal: Ordinal) {
        if self.quarantine.alone == Some(ordinal) {
            self.undo.push(Undo::Alone(self.quarantine.alone.take()));
        }
    }

    pub(super) fn take_back_suspect(&mut self, step: Undo) {
        match step {
            Undo::Suspect(place, slot) => drop(self.quarantine.waiting.insert(place, slot)),
            Undo::Alone(alone) => self.quarantine.alone = alone,
            _ => {}
        }
    }

    /// Whether a job runs with no other beside it, or will as soon as it can.
    pub fn runs_alone(&self) -> bool {
        !matches!(self.next_of_quarantine(), Next::Anybody)
    }

    /// Whose turn it is.
    pub(super) fn next_of_quarantine(&self) -> Next {
        if self.quarantine.alone.is_some() {
            return Next::Nobody;
        }
        for (place, slot) in &self.quarantine.waiting {
            let queue = self.queues.get(&slot.queue);
            let waits = queue.is_some_and(|queue| {
                queue.has_room()
                    && queue.lanes.get(&slot.pool).is_some_and(|lane| lane.contains(place))
            });
            // One that was cancelled, or whose queue is paused, or that nobody can run, holds nobody up.
            if !waits || slot.pool == Pool::Absent {
                continue;
            }
            return if self.pool_has_room(slot.pool) && self.running.is_empty() {
                Next::Suspect(*place, slot.clone())
            } else {
                Next::Nobody
            };
        }
        Next::Anybody
    }
}
