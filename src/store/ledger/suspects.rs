//! Jobs during which the server has died so often that the next time would be taken for their fault (G9): after a start they run
//! first, and each with no other job beside it, so that the innocent are not blamed.

use std::collections::BTreeMap;

use crate::domain::{Ordinal, Pool, Priority};

use super::{Ledger, Place, Slot, Undo};

/// Those that wait for their turn, and the one that has it.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    waiting: BTreeMap<Place, Slot>,
    alone: Option<Ordinal>,
}

/// Who may start.
pub(super) enum Next {
    /// This one, alone.
    Suspect(Place, Slot),
    /// Nobody yet.
    Nobody,
    /// Anybody.
    Anybody,
}

impl Ledger {
    /// Has a job that waits run with no other beside it.
    pub(in crate::store) fn suspect(&mut self, slot: Slot, priority: Priority, ordinal: Ordinal) {
        self.suspects.waiting.insert(Place::new(priority, ordinal), slot);
    }

    /// How many wait for that.
    pub(in crate::store) fn suspects(&self) -> usize {
        self.suspects.waiting.len()
    }

    /// Nobody is suspected any more: all may run beside each other.
    pub(in crate::store) fn clear_suspects(&mut self) {
        let Suspects { waiting, alone } = std::mem::take(&mut self.suspects);
        let again = waiting.into_iter().map(|(place, slot)| Undo::Suspect(place, slot));
        self.undo.extend(again);
        self.undo.push(Undo::Alone(alone));
    }

    /// It is the turn of this one: nothing else starts until it is over.
    pub(super) fn has_its_turn(&mut self, place: Place, slot: &Slot) {
        self.suspects.waiting.remove(&place);
        self.undo.push(Undo::Suspect(place, slot.clone()));
        self.undo.push(Undo::Alone(self.suspects.alone.replace(place.ordinal())));
    }

    /// A job runs no more.
    pub(super) fn is_alone_no_more(&mut self, ordinal: Ordinal) {
        if self.suspects.alone == Some(ordinal) {
            self.undo.push(Undo::Alone(self.suspects.alone.take()));
        }
    }

    pub(super) fn take_back_suspect(&mut self, step: Undo) {
        match step {
            Undo::Suspect(place, slot) => drop(self.suspects.waiting.insert(place, slot)),
            Undo::Alone(alone) => self.suspects.alone = alone,
            _ => {}
        }
    }

    /// Whether a job runs with no other beside it, or will as soon as it can.
    pub(in crate::store) fn runs_alone(&self) -> bool {
        !matches!(self.next_of_suspects(), Next::Anybody)
    }

    /// Whose turn it is.
    pub(super) fn next_of_suspects(&self) -> Next {
        if self.suspects.alone.is_some() {
            return Next::Nobody;
        }
        for (place, slot) in &self.suspects.waiting {
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
