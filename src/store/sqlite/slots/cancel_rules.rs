//! Jobs that are being cancelled many at a time, and so must not start.

use std::collections::HashSet;
use std::sync::Arc;

use crate::domain::Ordinal;

use super::{Slots, Undo};
use crate::store::contract::Filter;

/// Jobs that must not start any more.
#[derive(Clone, Debug)]
pub enum CancelRule {
    /// These.
    Jobs(HashSet<Ordinal>),
    /// Those that pass a filter.
    Matching(Filter),
    /// Those of the batch at that place. It stands until the batch is done.
    Batch(Ordinal),
}

/// What stands of that, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct CancelRules {
    standing: Vec<Standing>,
    next: u64,
}

#[derive(Clone, Debug)]
struct Standing {
    number: u64,
    rule: Arc<CancelRule>,
    /// The newest job that it can mean: what is submitted later is not.
    newest: Ordinal,
    /// Jobs that were cancelled for it instead of being started.
    cancelled: usize,
}

impl Slots {
    /// Whether any stands; nearly always none does.
    pub fn has_cancel_rules(&self) -> bool {
        !self.cancel_rules.standing.is_empty()
    }

    /// Keeps jobs from starting; gives the number of the rule.
    pub fn add_cancel_rule(&mut self, rule: CancelRule, newest: Ordinal) -> u64 {
        self.remember_cancel_rules();
        let number = self.cancel_rules.next;
        self.cancel_rules.next += 1;
        let rule = Arc::new(rule);
        self.cancel_rules.standing.push(Standing { number, rule, newest, cancelled: 0 });
        number
    }

    /// Takes a rule back; gives how many jobs were cancelled by it instead of being started.
    pub fn drop_cancel_rule(&mut self, number: u64) -> usize {
        self.remember_cancel_rules();
        let place = self.cancel_rules.standing.iter().position(|it| it.number == number);
        place.map_or(0, |place| self.cancel_rules.standing.remove(place).cancelled)
    }

    /// Takes the rule of a batch back: none of its jobs waits any more.
    pub fn drop_cancel_rule_of(&mut self, batch: Ordinal) {
        let means = |it: &Standing| matches!(*it.rule, CancelRule::Batch(of) if of == batch);
        if self.cancel_rules.standing.iter().any(means) {
            self.remember_cancel_rules();
            self.cancel_rules.standing.retain(|it| !means(it));
        }
    }

    /// The rules that can mean this job.
    pub fn cancel_rules_for(&self, job: Ordinal) -> Vec<(u64, Arc<CancelRule>)> {
        let standing = self.cancel_rules.standing.iter().filter(|it| job <= it.newest);
        standing.map(|it| (it.number, Arc::clone(&it.rule))).collect()
    }

    /// One more job was cancelled instead of being started.
    pub fn count_cancelled(&mut self, number: u64) {
        self.remember_cancel_rules();
        let found = self.cancel_rules.standing.iter_mut().find(|it| it.number == number);
        found.into_iter().for_each(|it| it.cancelled += 1);
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

    /// They are few, and their jobs are shared: to take a step back, all of them are kept.
    fn remember_cancel_rules(&mut self) {
        self.undo.push(Undo::CancelRules(self.cancel_rules.clone()));
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

    fn rule() -> CancelRule {
        CancelRule::Jobs([Ordinal(1)].into())
    }

    #[test]
    fn a_cancel_rule_that_is_rolled_back_does_not_stand() {
        let mut slots = slots();
        slots.add_cancel_rule(rule(), Ordinal(1));
        slots.roll_back();
        assert!(!slots.has_cancel_rules());
        let number = slots.add_cancel_rule(rule(), Ordinal(1));
        slots.commit();
        slots.count_cancelled(number);
        assert_eq!(slots.drop_cancel_rule(number), 1);
        slots.roll_back();
        assert!(slots.has_cancel_rules(), "it stands again");
        assert_eq!(slots.drop_cancel_rule(number), 0, "and nothing was counted");
    }

    #[test]
    fn a_cancel_rule_means_no_job_that_came_later() {
        let mut slots = slots();
        slots.add_cancel_rule(rule(), Ordinal(5));
        assert_eq!(slots.cancel_rules_for(Ordinal(5)).len(), 1);
        assert!(slots.cancel_rules_for(Ordinal(6)).is_empty());
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
