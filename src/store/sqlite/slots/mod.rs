//! Free slots, and who is next. One owner, the writer; a rolled-back group restores it.

mod cancel_rules;
mod claims;
mod manual;
mod quarantine;
mod queues;
mod ready_cache;
mod scheduled;

use crate::domain::{Ordinal, Pool, Priority, QueueName, Timestamp};
use foldhash::HashMap;
use std::collections::{BTreeMap, BTreeSet};

use cancel_rules::CancelRules;
use manual::Manual;
use quarantine::Quarantine;
use queues::ReadyQueue;
use ready_cache::CachedJob;

use crate::store::contract::{Config, QueueSettings, Refusal};

pub use cancel_rules::CancelRule;
pub use queues::{CancelCursor, QueueRow};

/// A waiting job's place: high priority first, then the order of submission. Packed into one number,
/// so that a million waiting jobs cost some 12 MB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ReadyKey(i64);

impl ReadyKey {
    const ORDINAL_BITS: u32 = 48;

    fn new(priority: Priority, ordinal: Ordinal) -> Self {
        let urgency = i64::from(100 - i16::from(priority.get()));
        Self(urgency << Self::ORDINAL_BITS | ordinal.0)
    }

    fn ordinal(self) -> Ordinal {
        Ordinal(self.0 & ((1 << Self::ORDINAL_BITS) - 1))
    }

    /// The place before all that are less urgent than this one.
    fn next_urgency(self) -> Self {
        Self(((self.0 >> Self::ORDINAL_BITS) + 1) << Self::ORDINAL_BITS)
    }
}

/// A slot that a job took: one in its queue, one in the pool where it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    pub queue: QueueName,
    pub pool: Pool,
}

/// What the writer knows of a running job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// Which attempt it is; 0 until its claim is written.
    pub attempt: u32,
    /// When it was first asked to stop.
    pub cancel_requested_at: Option<Timestamp>,
    /// Whether its end may make deliveries due; false only where it is known to have no callback.
    pub may_have_callbacks: bool,
    /// Whether it is in the index of those that are not done: if it waited, or has run for long.
    pub indexed: bool,
}

impl Running {
    /// The first attempt of a job that starts as it comes.
    pub fn at_once(may_have_callbacks: bool) -> Self {
        Self { attempt: 1, cancel_requested_at: None, may_have_callbacks, indexed: false }
    }
}

impl Default for Running {
    fn default() -> Self {
        Self { attempt: 0, cancel_requested_at: None, may_have_callbacks: true, indexed: true }
    }
}

#[derive(Debug, Default)]
struct Queue {
    /// None for a queue that is gone from file and database: it holds its jobs, and runs none.
    kept: Option<QueueRow>,
    /// Slots that are taken.
    running: usize,
    /// Slots among them whose job is settled, while code of it that was given up still runs.
    given_up: usize,
    /// Jobs that wait, also those that are to be cancelled.
    pending: usize,
    /// Jobs whose time to start has not come. They stand in the database and nowhere else.
    scheduled: usize,
    /// Waiting jobs by the pool that they wait for: those of one pool never block those of another.
    lanes: ReadyQueue,
    /// ReadyQueue that a shutdown took out of the running: their jobs wait to be cancelled.
    cancelling: Vec<ReadyQueue>,
    /// How far the cancelling of those has come; none when it is done.
    cancel_cursor: Option<CancelCursor>,
    /// Jobs of it that are kept in memory.
    cached: usize,
    /// Whether a job came to it since the last look whether it is empty, and since when it is.
    is_used: bool,
    empty_since: Option<Timestamp>,
}

/// How to take one step back.
#[derive(Debug)]
enum Undo {
    Unadmit(QueueName, Pool, ReadyKey),
    Readmit(QueueName, Pool, ReadyKey),
    GiveBack(Slot),
    TakeAgain(Slot),
    Running(Ordinal, Option<Running>),
    ResumeClaiming,
    Kept(QueueName, Option<QueueRow>),
    CancelWaiting(QueueName),
    WithdrawCancelling(QueueName, Pool, ReadyKey),
    GivenUp(QueueName, usize),
    CancelCursor(QueueName, Option<CancelCursor>),
    Scheduled(QueueName, usize),
    Manual(usize),
    CancelRules(CancelRules),
    Resize(Pool, usize),
    Suspect(ReadyKey, Slot),
    Alone(Option<Ordinal>),
}

/// Slots, lanes and running jobs.
#[derive(Debug)]
pub struct Slots {
    queues: BTreeMap<QueueName, Queue>,
    pools: BTreeMap<Pool, (usize, usize)>,
    running: HashMap<Ordinal, Running>,
    /// Some of those that wait.
    ready_cache: HashMap<Ordinal, CachedJob>,
    claiming: bool,
    /// Queues that were shut down and are not known to be drained; empty nearly always.
    shutting_down: BTreeSet<QueueName>,
    /// What a queue that is made has where nothing else is said.
    queue_default: QueueSettings,
    /// Where each registered function runs.
    homes: BTreeMap<String, Pool>,
    /// Whether lanes that are to be cancelled have changed in this group.
    cancels: bool,
    cancel_rules: CancelRules,
    manual: Manual,
    quarantine: Quarantine,
    undo: Vec<Undo>,
}

impl Slots {
    /// An empty one: every slot is free.
    pub fn new(config: &Config) -> Self {
        let queue = |settings: &QueueSettings| Queue {
            kept: Some(QueueRow::new(*settings)),
            ..Queue::default()
        };
        Self {
            queues: config.queues.iter().map(|(name, it)| (name.clone(), queue(it))).collect(),
            pools: config.slots.iter().map(|(pool, slots)| (*pool, (*slots, 0))).collect(),
            running: HashMap::default(),
            ready_cache: HashMap::default(),
            claiming: true,
            shutting_down: BTreeSet::new(),
            queue_default: config.queue_default,
            homes: config.pools.clone(),
            cancels: false,
            cancel_rules: CancelRules::default(),
            manual: Manual::new(config.manual_max),
            quarantine: Quarantine::default(),
            undo: Vec::new(),
        }
    }

    /// Lets a job wait in its queue, which did not find a slot as it came.
    pub fn admit(
        &mut self,
        slot: Slot,
        priority: Priority,
        ordinal: Ordinal,
    ) -> Result<(), Refusal> {
        let queue = self.queues.get_mut(&slot.queue);
        let Some((kept, queue)) = queue.and_then(|queue| Some((queue.kept?, queue))) else {
            return Err(Refusal::UnknownQueue(slot.queue));
        };
        if kept.shutdown {
            return Err(Refusal::QueueShutdown(slot.queue));
        }
        let max_pending = kept.settings.max_pending;
        if queue.pending + queue.scheduled >= max_pending {
            return Err(Refusal::QueueFull { queue: slot.queue, max_pending });
        }
        let place = ReadyKey::new(priority, ordinal);
        queue.insert(slot.pool, place);
        self.undo.push(Undo::Unadmit(slot.queue, slot.pool, place));
        Ok(())
    }

    /// Lets a job wait that was accepted before: after an interruption, or from the last start. A queue
    /// that is gone from file and database still holds its jobs, and runs none.
    pub fn readmit(&mut self, slot: Slot, priority: Priority, ordinal: Ordinal) {
        let place = ReadyKey::new(priority, ordinal);
        self.queues.entry(slot.queue.clone()).or_default().insert(slot.pool, place);
        self.undo.push(Undo::Unadmit(slot.queue, slot.pool, place));
    }

    /// Takes a waiting job out of its queue; false if it does not wait there.
    pub fn withdraw(&mut self, slot: Slot, priority: Priority, ordinal: Ordinal) -> bool {
        drop(self.take_cached(ordinal));
        let place = ReadyKey::new(priority, ordinal);
        self.withdraw_cancelling(&slot.queue, place) || self.withdraw_place(slot, place)
    }

    fn withdraw_place(&mut self, slot: Slot, place: ReadyKey) -> bool {
        let waited = self.queues.get_mut(&slot.queue).is_some_and(|it| it.remove(slot.pool, place));
        if waited {
            self.undo.push(Undo::Readmit(slot.queue, slot.pool, place));
        }
        waited
    }

    /// Gives a pool so many slots.
    pub fn resize(&mut self, pool: Pool, slots: usize) {
        let (before, _) = self.pools.entry(pool).or_default();
        self.undo.push(Undo::Resize(pool, *before));
        *before = slots;
    }

    /// What is known of a running job; none if it does not run.
    pub fn running(&self, ordinal: Ordinal) -> Option<Running> {
        self.running.get(&ordinal).copied()
    }

    /// Notes of the jobs up to that place that run that they are indexed; gives those that were not.
    pub fn index_running(&mut self, to: Ordinal) -> Vec<Ordinal> {
        let mut indexed = Vec::new();
        for (job, running) in &mut self.running {
            if *job <= to && !running.indexed {
                self.undo.push(Undo::Running(*job, Some(*running)));
                running.indexed = true;
                indexed.push(*job);
            }
        }
        indexed
    }

    /// Changes what is known of a job; none when it no longer runs.
    pub fn set_running(&mut self, ordinal: Ordinal, running: Option<Running>) {
        let before = match running {
            Some(running) => self.running.insert(ordinal, running),
            None => {
                self.is_alone_no_more(ordinal);
                self.running.remove(&ordinal)
            }
        };
        self.undo.push(Undo::Running(ordinal, before));
    }

    /// Claims nothing from now on.
    pub fn stop_claiming(&mut self) {
        if self.claiming {
            self.claiming = false;
            self.undo.push(Undo::ResumeClaiming);
        }
    }

    /// The group is committed: what was done stays.
    pub fn commit(&mut self) {
        self.undo.clear();
        if self.cancels {
            self.forget_empty_lanes();
        }
    }

    /// The group was rolled back: takes every step back.
    pub fn roll_back(&mut self) {
        self.forget_cached();
        self.take_back_to(0);
    }

    /// How many steps this group has made.
    pub fn steps(&self) -> usize {
        self.undo.len()
    }

    /// Takes back what was done since there were so many steps, the last first.
    pub fn take_back_to(&mut self, steps: usize) {
        while self.undo.len() > steps
            && let Some(step) = self.undo.pop()
        {
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
                Undo::CancelRules(rules) => self.cancel_rules = rules,
                Undo::Manual(waiting) => self.manual.waiting = waiting,
                Undo::Resize(pool, slots) => self.pools.entry(pool).or_default().0 = slots,
                Undo::Suspect(..) | Undo::Alone(_) => self.take_back_suspect(step),
                Undo::Kept(..)
                | Undo::CancelWaiting(_)
                | Undo::WithdrawCancelling(..)
                | Undo::GivenUp(..)
                | Undo::CancelCursor(..)
                | Undo::Scheduled(..) => self.take_back_of_queue(step),
            }
        }
    }
}

impl Queue {
    /// Whether a job of it could start, as far as the queue is concerned.
    fn has_room(&self) -> bool {
        self.kept.is_some_and(|kept| !kept.paused && self.running < kept.settings.max_workers)
    }

    fn may_claim(&self) -> bool {
        self.pending > 0 && self.has_room()
    }

    fn insert(&mut self, pool: Pool, place: ReadyKey) {
        if self.lanes.entry(pool).or_default().insert(place) {
            self.is_used = true;
            self.pending += 1;
        }
    }

    fn remove(&mut self, pool: Pool, place: ReadyKey) -> bool {
        let waited = self.lanes.get_mut(&pool).is_some_and(|lane| lane.remove(&place));
        if waited {
            self.pending -= 1;
        }
        waited
    }
}
