//! Jobs that came a moment ago and wait. They are kept in memory, so that most need not be read when they start.

use crate::domain::{Job, Json, Ordinal, Spec};

use std::sync::Arc;

use super::Slots;

/// Jobs of all queues, and of one: a queue whose jobs wait for long leaves room for the others.
const JOBS_MAX: usize = 8_192;
const OF_QUEUE_MAX: usize = 4_096;
/// Arguments, as they were sent and as they were bound, with tags and metadata: with what else a job is, all of them together
/// take some 20 MiB at most.
const BYTES_MAX: usize = 1_024;

/// A job as it was submitted, and its arguments as its function takes them.
#[derive(Clone, Debug)]
pub struct CachedJob {
    pub job: Arc<Job>,
    pub bound: Json,
}

impl Slots {
    /// Keeps a job that waits for a slot, if there is room.
    pub fn cache_ready(&mut self, job: &Arc<Job>, bound: &Json) {
        self.forget_all_but_last_of(job);
        let Some(queue) = self.queues.get_mut(&job.spec.queue) else { return };
        // What is paused may wait for days.
        let is_paused = queue.kept.is_none_or(|kept| kept.paused);
        let is_full = self.ready_cache.len() >= JOBS_MAX || queue.cached >= OF_QUEUE_MAX;
        if is_paused || is_full || bytes(&job.spec) + bound.len() > BYTES_MAX {
            return;
        }
        queue.cached += 1;
        self.ready_cache
            .insert(job.ordinal, CachedJob { job: Arc::clone(job), bound: bound.clone() });
    }

    /// Gives a job that starts, or does not wait any more for another reason.
    pub fn take_cached(&mut self, ordinal: Ordinal) -> Option<CachedJob> {
        let fresh = self.ready_cache.remove(&ordinal)?;
        if let Some(queue) = self.queues.get_mut(&fresh.job.spec.queue) {
            queue.cached -= 1;
        }
        Some(fresh)
    }

    /// A group was rolled back: another job may get the ordinal of one that it brought.
    pub fn forget_cached(&mut self) {
        self.ready_cache.clear();
        self.queues.values_mut().for_each(|queue| queue.cached = 0);
    }

    /// If nobody but `job` waits in its queue, whoever else is kept of it has gone without being taken.
    fn forget_all_but_last_of(&mut self, job: &Job) {
        let name = &job.spec.queue;
        if let Some(queue) = self.queues.get_mut(name)
            && queue.pending <= 1
            && queue.cached > 0
        {
            queue.cached = 0;
            self.ready_cache.retain(|_, other| other.job.spec.queue != *name);
        }
    }
}

fn bytes(spec: &Spec) -> usize {
    let tags: usize = spec.tags.as_slice().iter().map(String::len).sum();
    let metadata = spec.metadata.as_slice().iter().map(|(name, value)| name.len() + value.len());
    spec.arguments_bytes() + tags + metadata.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;
    use crate::domain::{Pool, Priority, QueueName, example};
    use crate::store::contract::{Config, QueueSettings};
    use crate::store::sqlite::slots::{QueueRow, ReadyKey, Slot};

    const SETTINGS: QueueSettings = QueueSettings { max_workers: 1, max_pending: 9_000 };

    fn slots() -> Slots {
        Slots::new(&Config {
            path: PathBuf::new().into(),
            queues: BTreeMap::from([(QueueName::default_queue(), SETTINGS)]),
            queue_default: SETTINGS,
            manual_max: 1_000,
            slots: BTreeMap::new(),
            pools: BTreeMap::new(),
            delivery_wait_ms_max: 0,
            accept_data_loss: false,
        })
    }

    /// A job comes and waits.
    fn comes(slots: &mut Slots, place: i64) {
        let spec = example::spec(u64::try_from(place).expect("a place"));
        let slot = Slot { queue: spec.queue.clone(), pool: Pool::Tasks };
        slots.admit(slot, Priority::default(), Ordinal(place)).expect("room");
        let job = Job::submitted(Arc::new(spec), Ordinal(place));
        slots.cache_ready(&Arc::new(job), &Json::empty_object());
    }

    /// It goes by a way that does not look at what is kept.
    fn slips_away(slots: &mut Slots, place: i64) {
        let slot = Slot { queue: QueueName::default_queue(), pool: Pool::Tasks };
        assert!(slots.withdraw_place(slot, ReadyKey::new(Priority::default(), Ordinal(place))));
    }

    #[test]
    fn a_queue_keeps_its_share_and_those_that_came_first() {
        let mut slots = slots();
        (1..=5_000).for_each(|place| comes(&mut slots, place));
        assert_eq!(slots.ready_cache.len(), OF_QUEUE_MAX);
        assert!(slots.take_cached(Ordinal(1)).is_some() && slots.take_cached(Ordinal(1)).is_none());
        comes(&mut slots, 5_001);
        assert!(slots.take_cached(Ordinal(5_000)).is_none(), "there was no room");
        assert!(slots.take_cached(Ordinal(5_001)).is_some(), "there was room again");
    }

    #[test]
    fn a_paused_queue_keeps_none() {
        let mut slots = slots();
        let paused = QueueRow { paused: true, ..QueueRow::new(SETTINGS) };
        slots.keep_queue(&QueueName::default_queue(), paused);
        comes(&mut slots, 1);
        assert!(slots.take_cached(Ordinal(1)).is_none());
    }

    #[test]
    fn what_is_rolled_back_is_forgotten() {
        let mut slots = slots();
        comes(&mut slots, 1);
        slots.roll_back();
        comes(&mut slots, 1);
        slips_away(&mut slots, 1);
        slots.roll_back();
        assert!(slots.take_cached(Ordinal(1)).is_none());
    }

    #[test]
    fn those_that_went_another_way_are_forgotten_once_nobody_else_waits() {
        let mut slots = slots();
        (1..=3).for_each(|place| comes(&mut slots, place));
        (1..=2).for_each(|place| slips_away(&mut slots, place));
        comes(&mut slots, 4);
        assert_eq!(slots.ready_cache.len(), 4, "the third still waits");
        (3..=4).for_each(|place| slips_away(&mut slots, place));
        comes(&mut slots, 5);
        assert_eq!(slots.ready_cache.keys().copied().collect::<Vec<_>>(), [Ordinal(5)]);
    }
}
