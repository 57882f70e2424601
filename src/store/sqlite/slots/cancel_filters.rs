//! Marks: jobs that are being cancelled many at a time, and so must not start.

use crate::domain::Ordinal;

use std::sync::Arc;

use super::{Slots, Undo};
use crate::store::contract::Mark;

/// The marks that stand, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct CancelFilters {
    standing: Vec<Standing>,
    next: u64,
}

#[derive(Clone, Debug)]
struct Standing {
    number: u64,
    mark: Arc<Mark>,
    /// The newest job that it can mean: what is submitted later is not.
    newest: Ordinal,
    /// Jobs that were cancelled for it instead of being started.
    cancelled: usize,
}

impl Slots {
    /// Whether any mark stands; nearly always none does.
    pub fn has_marks(&self) -> bool {
        !self.cancel_filters.standing.is_empty()
    }

    /// Sets a mark; gives its number.
    pub fn mark_cancelled(&mut self, mark: Mark, newest: Ordinal) -> u64 {
        self.remember_marks();
        let number = self.cancel_filters.next;
        self.cancel_filters.next += 1;
        let mark = Arc::new(mark);
        self.cancel_filters.standing.push(Standing { number, mark, newest, cancelled: 0 });
        number
    }

    /// Takes a mark back; gives how many jobs were cancelled for it instead of being started.
    pub fn unmark_cancelled(&mut self, number: u64) -> usize {
        self.remember_marks();
        let place = self.cancel_filters.standing.iter().position(|it| it.number == number);
        place.map_or(0, |place| self.cancel_filters.standing.remove(place).cancelled)
    }

    /// Takes the mark of a batch back: none of its jobs waits any more.
    pub fn unmark_batch(&mut self, batch: Ordinal) {
        let means = |it: &Standing| matches!(*it.mark, Mark::Batch(marked) if marked == batch);
        if self.cancel_filters.standing.iter().any(means) {
            self.remember_marks();
            self.cancel_filters.standing.retain(|it| !means(it));
        }
    }

    /// The marks that can mean this job.
    pub fn marks_up_to(&self, job: Ordinal) -> Vec<(u64, Arc<Mark>)> {
        let standing = self.cancel_filters.standing.iter().filter(|it| job <= it.newest);
        standing.map(|it| (it.number, Arc::clone(&it.mark))).collect()
    }

    /// One more job was cancelled for a mark instead of being started.
    pub fn count_cancelled(&mut self, number: u64) {
        self.remember_marks();
        let mark = self.cancel_filters.standing.iter_mut().find(|it| it.number == number);
        mark.into_iter().for_each(|it| it.cancelled += 1);
    }

    /// Gives back the slot of the job that was claimed last, which does not start.
    pub fn drop_claim(&mut self, job: Ordinal) {
        let taken = self.undo.iter().rev().find_map(|step| match step {
            Undo::GiveBack(slot) => Some(slot.clone()),
            _ => None,
        });
        drop(self.take_cached(job));
        self.set_running(job, None);
        if let Some(slot) = taken {
            self.release(slot);
        }
    }

    /// CancelFilters are few, and their jobs are shared: to take a step back, all of them are kept.
    fn remember_marks(&mut self) {
        self.undo.push(Undo::CancelFilters(self.cancel_filters.clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::{Pool, Priority, QueueName};
    use crate::store::contract::{Config, QueueSettings};
    use crate::store::sqlite::slots::Slot;

    /// One queue with one worker, in which the job at place 1 waits.
    fn slots() -> Slots {
        let queue = QueueName::default_queue();
        let settings = QueueSettings { max_workers: 1, max_pending: 9 };
        let mut slots = Slots::new(&Config {
            path: std::path::PathBuf::new().into(),
            queues: BTreeMap::from([(queue.clone(), settings)]),
            queue_default: settings,
            manual_max: 1_000,
            slots: BTreeMap::from([(Pool::Tasks, 1)]),
            pools: BTreeMap::new(),
            delivery_wait_ms_max: 0,
            accept_data_loss: false,
        });
        let slot = Slot { queue, pool: Pool::Tasks };
        slots.admit(slot, Priority::default(), Ordinal(1)).expect("a place");
        slots.commit();
        slots
    }

    fn mark() -> Mark {
        Mark::Jobs([Ordinal(1)].into())
    }

    #[test]
    fn a_mark_that_is_rolled_back_does_not_stand() {
        let mut slots = slots();
        slots.mark_cancelled(mark(), Ordinal(1));
        slots.roll_back();
        assert!(!slots.has_marks());
        let number = slots.mark_cancelled(mark(), Ordinal(1));
        slots.commit();
        slots.count_cancelled(number);
        assert_eq!(slots.unmark_cancelled(number), 1);
        slots.roll_back();
        assert!(slots.has_marks(), "it stands again");
        assert_eq!(slots.unmark_cancelled(number), 0, "and nothing was counted");
    }

    #[test]
    fn a_mark_means_no_job_that_came_later() {
        let mut slots = slots();
        slots.mark_cancelled(mark(), Ordinal(5));
        assert_eq!(slots.marks_up_to(Ordinal(5)).len(), 1);
        assert!(slots.marks_up_to(Ordinal(6)).is_empty());
    }

    #[test]
    fn a_claim_that_is_dropped_gives_its_slot_back_and_a_roll_back_its_place() {
        let mut slots = slots();
        let slot = Slot { queue: QueueName::default_queue(), pool: Pool::Tasks };
        assert_eq!(slots.claim(), Some(Ordinal(1)));
        slots.drop_claim(Ordinal(1));
        assert_eq!(slots.running(Ordinal(1)), None);
        assert!(!slots.withdraw_anywhere(&slot.queue, Priority::default(), Ordinal(1)), "it left");
        slots.admit(slot, Priority::default(), Ordinal(2)).expect("a place");
        assert_eq!(slots.claim(), Some(Ordinal(2)), "the slot is free");
        slots.roll_back();
        assert_eq!(slots.claim(), Some(Ordinal(1)), "the first waits again");
        assert_eq!(slots.claim(), None);
    }
}
