//! The ledger: free slots, and who is next. One owner, the writer; a rolled-back group restores it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::domain::{Ordinal, Pool, Priority, QueueName, Timestamp};

use super::{Config, Error, QueueSettings};

/// A waiting job's place: high priority first, then the order of submission. Packed into one number,
/// so that a million waiting jobs cost some 12 MB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place(i64);

impl Place {
    const ORDINAL_BITS: u32 = 48;

    fn new(priority: Priority, ordinal: Ordinal) -> Self {
        let urgency = i64::from(100 - i16::from(priority.get()));
        Self(urgency << Self::ORDINAL_BITS | ordinal.0)
    }

    fn ordinal(self) -> Ordinal {
        Ordinal(self.0 & ((1 << Self::ORDINAL_BITS) - 1))
    }
}

/// A slot that a job took: one in its queue, one in the pool where it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) queue: QueueName,
    pub(super) pool: Pool,
}

/// What the writer knows of a running job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Running {
    /// Which attempt it is; 0 until its claim is written.
    pub(super) attempt: u32,
    /// When it was first asked to stop.
    pub(super) cancel_requested_at: Option<Timestamp>,
    /// Whether its end may make deliveries due; false only where it is known to have no callback.
    pub(super) may_have_callbacks: bool,
}

impl Default for Running {
    fn default() -> Self {
        Self { attempt: 0, cancel_requested_at: None, may_have_callbacks: true }
    }
}

#[derive(Debug)]
struct Queue {
    settings: QueueSettings,
    running: usize,
    pending: usize,
    /// Waiting jobs by the pool that they wait for: those of one pool never block those of another.
    lanes: BTreeMap<Pool, BTreeSet<Place>>,
}

/// How to take one step back.
#[derive(Debug)]
enum Undo {
    Unadmit(QueueName, Pool, Place),
    Readmit(QueueName, Pool, Place),
    GiveBack(Slot),
    TakeAgain(Slot),
    Running(Ordinal, Option<Running>),
    ResumeClaiming,
}

/// Slots, lanes and running jobs.
#[derive(Debug)]
pub(super) struct Ledger {
    queues: BTreeMap<QueueName, Queue>,
    pools: BTreeMap<Pool, (usize, usize)>,
    running: HashMap<Ordinal, Running>,
    claiming: bool,
    undo: Vec<Undo>,
}

impl Ledger {
    /// An empty one: every slot is free.
    pub(super) fn new(config: &Config) -> Self {
        let queue = |settings: &QueueSettings| Queue {
            settings: *settings,
            running: 0,
            pending: 0,
            lanes: BTreeMap::new(),
        };
        Self {
            queues: config.queues.iter().map(|(name, it)| (name.clone(), queue(it))).collect(),
            pools: config.slots.iter().map(|(pool, slots)| (*pool, (*slots, 0))).collect(),
            running: HashMap::new(),
            claiming: true,
            undo: Vec::new(),
        }
    }

    /// Lets a job wait in its queue.
    pub(super) fn admit(
        &mut self,
        slot: Slot,
        priority: Priority,
        ordinal: Ordinal,
    ) -> Result<(), Error> {
        let pool_has_room = self.pools.get(&slot.pool).is_some_and(|(slots, taken)| taken < slots);
        let Some(queue) = self.queues.get_mut(&slot.queue) else {
            return Err(Error::UnknownQueue(slot.queue));
        };
        let max_pending = queue.settings.max_pending;
        let starts_at_once = queue.pending == 0 && queue.has_room() && pool_has_room;
        if queue.pending >= max_pending && !starts_at_once {
            return Err(Error::QueueFull { queue: slot.queue, max_pending });
        }
        let place = Place::new(priority, ordinal);
        queue.insert(slot.pool, place);
        self.undo.push(Undo::Unadmit(slot.queue, slot.pool, place));
        Ok(())
    }

    /// Lets a job wait that was accepted before: after an interruption, or from the last start. A queue
    /// that is gone from the configuration still holds its jobs, and runs none.
    pub(super) fn readmit(&mut self, slot: Slot, priority: Priority, ordinal: Ordinal) {
        let place = Place::new(priority, ordinal);
        let none = QueueSettings { max_workers: 0, max_pending: 0 };
        let empty = || Queue { settings: none, running: 0, pending: 0, lanes: BTreeMap::new() };
        self.queues.entry(slot.queue.clone()).or_insert_with(empty).insert(slot.pool, place);
        self.undo.push(Undo::Unadmit(slot.queue, slot.pool, place));
    }

    /// Takes a waiting job out of its queue; false if it does not wait there.
    pub(super) fn withdraw(&mut self, slot: Slot, priority: Priority, ordinal: Ordinal) -> bool {
        self.withdraw_place(slot, Place::new(priority, ordinal))
    }

    fn withdraw_place(&mut self, slot: Slot, place: Place) -> bool {
        let waited = self.queues.get_mut(&slot.queue).is_some_and(|it| it.remove(slot.pool, place));
        if waited {
            self.undo.push(Undo::Readmit(slot.queue, slot.pool, place));
        }
        waited
    }

    /// Claims the next job that has a free slot in its queue and in its pool: the most urgent, then the
    /// oldest, of all that could run. None when nothing can.
    pub(super) fn claim(&mut self) -> Option<Ordinal> {
        if !self.claiming {
            return None;
        }
        let pools = &self.pools;
        let has_room = |pool: &Pool| pools.get(pool).is_some_and(|(slots, taken)| taken < slots);
        let heads =
            self.queues.iter().filter(|(_, queue)| queue.has_room()).flat_map(|(name, queue)| {
                let heads = queue.lanes.iter().filter(|(pool, _)| has_room(pool));
                heads.filter_map(move |(pool, lane)| Some((*lane.first()?, name, *pool)))
            });
        let (place, queue, pool) = heads.min_by_key(|(place, ..)| *place)?;
        let slot = Slot { queue: queue.clone(), pool };
        self.withdraw_place(slot.clone(), place);
        self.take(&slot);
        self.undo.push(Undo::GiveBack(slot));
        self.set_running(place.ordinal(), Some(Running::default()));
        Some(place.ordinal())
    }

    /// Gives a slot back.
    pub(super) fn release(&mut self, slot: Slot) {
        self.give_back(&slot);
        self.undo.push(Undo::TakeAgain(slot));
    }

    /// What is known of a running job; none if it does not run.
    pub(super) fn running(&self, ordinal: Ordinal) -> Option<Running> {
        self.running.get(&ordinal).copied()
    }

    /// Changes what is known of a job; none when it no longer runs.
    pub(super) fn set_running(&mut self, ordinal: Ordinal, running: Option<Running>) {
        let before = match running {
            Some(running) => self.running.insert(ordinal, running),
            None => self.running.remove(&ordinal),
        };
        self.undo.push(Undo::Running(ordinal, before));
    }

    /// Claims nothing from now on.
    pub(super) fn stop_claiming(&mut self) {
        if self.claiming {
            self.claiming = false;
            self.undo.push(Undo::ResumeClaiming);
        }
    }

    /// The group is committed: what was done stays.
    pub(super) fn commit(&mut self) {
        self.undo.clear();
    }

    /// The group was rolled back: takes every step back, the last first.
    pub(super) fn roll_back(&mut self) {
        while let Some(step) = self.undo.pop() {
            match step {
                Undo::Unadmit(queue, pool, place) => {
                    if let Some(queue) = self.queues.get_mut(&queue) {
                        queue.remove(pool, place);
                    }
                }
                Undo::Readmit(queue, pool, place) => {
                    if let Some(queue) = self.queues.get_mut(&queue) {
                        queue.insert(pool, place);
                    }
                }
                Undo::GiveBack(slot) => self.give_back(&slot),
                Undo::TakeAgain(slot) => self.take(&slot),
                Undo::Running(ordinal, Some(running)) => {
                    self.running.insert(ordinal, running);
                }
                Undo::Running(ordinal, None) => {
                    self.running.remove(&ordinal);
                }
                Undo::ResumeClaiming => self.claiming = true,
            }
        }
    }

    fn take(&mut self, slot: &Slot) {
        if let Some(queue) = self.queues.get_mut(&slot.queue) {
            queue.running += 1;
        }
        if let Some((_, taken)) = self.pools.get_mut(&slot.pool) {
            *taken += 1;
        }
    }

    fn give_back(&mut self, slot: &Slot) {
        if let Some(queue) = self.queues.get_mut(&slot.queue) {
            queue.running = queue.running.saturating_sub(1);
        }
        if let Some((_, taken)) = self.pools.get_mut(&slot.pool) {
            *taken = taken.saturating_sub(1);
        }
    }
}

impl Queue {
    fn has_room(&self) -> bool {
        self.running < self.settings.max_workers
    }

    fn insert(&mut self, pool: Pool, place: Place) {
        if self.lanes.entry(pool).or_default().insert(place) {
            self.pending += 1;
        }
    }

    fn remove(&mut self, pool: Pool, place: Place) -> bool {
        let waited = self.lanes.get_mut(&pool).is_some_and(|lane| lane.remove(&place));
        if waited {
            self.pending -= 1;
        }
        waited
    }
}
