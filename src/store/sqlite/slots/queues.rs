//! What is known of queues: their settings, and which jobs a shutdown has marked.

use crate::domain::{Ordinal, Pool, Priority, QueueName, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

use super::{Queue, ReadyKey, Slot, Slots, Undo};
use crate::store::contract;
use crate::store::contract::{QueueSettings, Refusal};

/// Places by pool.
pub type ReadyQueue = BTreeMap<Pool, BTreeSet<ReadyKey>>;

/// Most queues: every claim looks at those that have jobs.
const QUEUES_MAX: usize = 1_000;

/// What is kept of a queue beside its jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueRow {
    pub settings: QueueSettings,
    pub paused: bool,
    pub shutdown: bool,
    /// Jobs that have waited without a change since this `seq` are cancelled: a shutdown asked for it. A
    /// job that ran then, and waits again after an interruption, has changed since and is not meant. It
    /// only rises, so no later shutdown takes it back (E15).
    pub cancel_to: Option<i64>,
    /// It goes when it has been empty so long.
    pub expires_ms: Option<i64>,
}

impl QueueRow {
    pub fn new(settings: QueueSettings) -> Self {
        Self { settings, paused: false, shutdown: false, cancel_to: None, expires_ms: None }
    }
}

/// How far the jobs that a shutdown has marked are cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelCursor {
    /// Those up to here are.
    pub after: Ordinal,
    /// The last that can be meant.
    pub to: Ordinal,
}

impl Slots {
    /// What is kept of the queue; none if there is no such queue.
    pub fn kept(&self, name: &QueueName) -> Option<QueueRow> {
        self.queues.get(name)?.kept
    }

    /// What a queue of that name is made with.
    pub fn new_queue(&self) -> Result<QueueRow, Refusal> {
        if self.queues.values().filter(|queue| queue.kept.is_some()).count() >= QUEUES_MAX {
            return Err(Refusal::TooManyQueues(QUEUES_MAX));
        }
        Ok(QueueRow::new(self.queue_default))
    }

    /// Changes what is kept of a queue, or makes it.
    pub fn keep_queue(&mut self, name: &QueueName, kept: QueueRow) {
        if kept.shutdown {
            self.shutting_down.insert(name.clone());
        }
        let before = self.queues.entry(name.clone()).or_default().kept.replace(kept);
        self.undo.push(Undo::Kept(name.clone(), before));
    }

    /// Queues that have been empty as long as they may be; and when the next one will have been.
    pub fn expired_queues(&mut self, now: Timestamp) -> (Vec<QueueName>, Option<Timestamp>) {
        let (mut expired, mut next) = (Vec::new(), None);
        for (name, queue) in &mut self.queues {
            let Some(expires_ms) = queue.kept.and_then(|kept| kept.expires_ms) else { continue };
            // It may have had jobs since the last look, and be empty again.
            if std::mem::take(&mut queue.is_used) {
                queue.empty_since = None;
            }
            if !queue.is_drained() || queue.cancel_cursor.is_some() {
                continue;
            }
            let at = queue.empty_since.get_or_insert(now).plus_millis(expires_ms);
            if at <= now {
                expired.push(name.clone());
            } else {
                next = Some(next.map_or(at, |next: Timestamp| next.min(at)));
            }
        }
        (expired, next)
    }

    /// There is no such queue any more.
    pub fn drop_queue(&mut self, name: &QueueName) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        queue.empty_since = None;
        let before = queue.kept.take();
        self.undo.push(Undo::Kept(name.clone(), before));
    }

    /// Takes all jobs that wait in the queue out of the running, however many they are: those submitted
    /// up to `to`. Gives how many.
    pub fn cancel_waiting(&mut self, name: &QueueName, to: Ordinal) -> usize {
        let Some(queue) = self.queues.get_mut(name) else { return 0 };
        let lanes = std::mem::take(&mut queue.lanes);
        let count = lanes.values().map(BTreeSet::len).sum::<usize>() + queue.scheduled;
        queue.cancelling.push(lanes);
        self.cancels = true;
        self.undo.push(Undo::CancelWaiting(name.clone()));
        let after = self.cancel_cursor_of(name).map_or(Ordinal(0), |cancelling| cancelling.after);
        self.set_cancel_cursor(name, Some(CancelCursor { after, to }));
        count
    }

    /// Whether a job that waits, and last changed at `seq`, was marked before the server started.
    pub fn is_marked(&self, name: &QueueName, seq: i64) -> bool {
        self.kept(name).is_some_and(|kept| kept.cancel_to.is_some_and(|cancel_to| seq <= cancel_to))
    }

    /// Lets a job wait to be cancelled, which an earlier server did not come to.
    pub fn readmit_marked(&mut self, slot: &Slot, priority: Priority, ordinal: Ordinal) {
        let Some(queue) = self.queues.get_mut(&slot.queue) else { return };
        queue.insert_cancelling(slot.pool, ReadyKey::new(priority, ordinal));
        let to = queue.cancel_cursor.map_or(ordinal, |cancelling| cancelling.to.max(ordinal));
        queue.cancel_cursor = Some(CancelCursor { after: Ordinal(0), to });
    }

    /// Takes a job out of its queue, wherever it waits there; false if it does not.
    pub fn withdraw_anywhere(
        &mut self,
        name: &QueueName,
        priority: Priority,
        ordinal: Ordinal,
    ) -> bool {
        drop(self.take_cached(ordinal));
        let place = ReadyKey::new(priority, ordinal);
        if self.withdraw_cancelling(name, place) {
            return true;
        }
        let lanes = self.queues.get(name).map(|queue| &queue.lanes).into_iter().flatten();
        let pools: Vec<Pool> = lanes.map(|(pool, _)| *pool).collect();
        let mut slots = pools.into_iter().map(|pool| Slot { queue: name.clone(), pool });
        slots.any(|slot| self.withdraw_place(slot, place))
    }

    pub(super) fn withdraw_cancelling(&mut self, name: &QueueName, place: ReadyKey) -> bool {
        let Some(queue) = self.queues.get_mut(name) else { return false };
        let mut lanes = queue.cancelling.iter_mut().flatten();
        let Some((pool, _)) =
            lanes.find_map(|(pool, lane)| lane.take(&place).map(|it| (*pool, it)))
        else {
            return false;
        };
        queue.pending -= 1;
        self.cancels = true;
        self.undo.push(Undo::WithdrawCancelling(name.clone(), pool, place));
        true
    }

    /// A queue with jobs that are marked and not yet cancelled, and how far that has come.
    pub fn next_cancelling(&self) -> Option<(&QueueName, CancelCursor)> {
        self.queues.iter().find_map(|(name, queue)| Some((name, queue.cancel_cursor?)))
    }

    pub fn cancel_cursor_of(&self, name: &QueueName) -> Option<CancelCursor> {
        self.queues.get(name)?.cancel_cursor
    }

    pub fn set_cancel_cursor(&mut self, name: &QueueName, cancelling: Option<CancelCursor>) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        let before = std::mem::replace(&mut queue.cancel_cursor, cancelling);
        self.undo.push(Undo::CancelCursor(name.clone(), before));
    }

    /// Notes that a slot stays taken by code whose job is settled, or that it is so no longer.
    pub fn give_up(&mut self, name: &QueueName, given_up: bool) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        let before = queue.given_up;
        queue.given_up = if given_up { before + 1 } else { before.saturating_sub(1) };
        self.undo.push(Undo::GivenUp(name.clone(), before));
    }

    /// Queues that were shut down and have become drained, or were opened again, since the last look.
    pub fn take_drained(&mut self) -> Vec<QueueName> {
        if self.shutting_down.is_empty() {
            return Vec::new();
        }
        let queues = &self.queues;
        let is_open = |name: &QueueName| {
            queues.get(name).is_none_or(|queue| queue.is_drained() || !queue.is_shut_down())
        };
        self.shutting_down.extract_if(.., |name| is_open(name)).collect()
    }

    /// The queue of that name, or all of them, as they stand.
    pub fn queues(&self, name: Option<&QueueName>) -> Vec<contract::Queue> {
        let shown = |(name, queue): (&QueueName, &Queue)| Some(queue.shown(name, queue.kept?));
        match name {
            Some(name) => self.queues.get_key_value(name).and_then(shown).into_iter().collect(),
            None => self.queues.iter().filter_map(shown).collect(),
        }
    }

    /// Once a group is committed, nothing is put back into lanes that have become empty.
    pub fn forget_empty_lanes(&mut self) {
        self.cancels = false;
        for queue in self.queues.values_mut() {
            queue.cancelling.retain(|lanes| lanes.values().any(|lane| !lane.is_empty()));
        }
    }

    pub(super) fn take_back_of_queue(&mut self, step: Undo) {
        match step {
            Undo::Kept(name, kept) => {
                if kept.is_none_or(|kept| !kept.shutdown) {
                    self.shutting_down.remove(&name);
                }
                self.queues.entry(name).or_default().kept = kept;
            }
            Undo::CancelWaiting(name) => {
                if let Some(queue) = self.queues.get_mut(&name) {
                    queue.lanes = queue.cancelling.pop().unwrap_or_default();
                }
            }
            Undo::WithdrawCancelling(name, pool, place) => {
                if let Some(queue) = self.queues.get_mut(&name) {
                    queue.insert_cancelling(pool, place);
                }
            }
            Undo::GivenUp(name, given_up) => {
                self.queues.entry(name).or_default().given_up = given_up;
            }
            Undo::CancelCursor(name, cancelling) => {
                self.queues.entry(name).or_default().cancel_cursor = cancelling;
            }
            Undo::Scheduled(name, scheduled) => {
                self.queues.entry(name).or_default().scheduled = scheduled;
            }
            Undo::Unadmit(..)
            | Undo::Readmit(..)
            | Undo::GiveBack(_)
            | Undo::TakeAgain(_)
            | Undo::Running(..)
            | Undo::ResumeClaiming
            | Undo::Resize(..)
            | Undo::Suspect(..)
            | Undo::Alone(_)
            | Undo::Manual(_)
            | Undo::CancelRules(_) => {}
        }
    }
}

impl Queue {
    fn insert_cancelling(&mut self, pool: Pool, place: ReadyKey) {
        if self.cancelling.is_empty() {
            self.cancelling.push(ReadyQueue::new());
        }
        let lanes = self.cancelling.last_mut();
        if lanes.is_some_and(|lanes| lanes.entry(pool).or_default().insert(place)) {
            self.pending += 1;
        }
    }

    fn is_shut_down(&self) -> bool {
        self.kept.is_some_and(|kept| kept.shutdown)
    }

    /// Whether every job of it is done.
    fn is_drained(&self) -> bool {
        self.pending + self.scheduled == 0 && self.jobs_running() == 0
    }

    fn jobs_running(&self) -> usize {
        self.running.saturating_sub(self.given_up)
    }

    fn shown(&self, name: &QueueName, kept: QueueRow) -> contract::Queue {
        contract::Queue {
            name: name.clone(),
            settings: kept.settings,
            paused: kept.paused,
            shutdown: kept.shutdown,
            pending: self.pending + self.scheduled,
            expires_ms: kept.expires_ms,
            running: self.jobs_running(),
            oldest: self.oldest(),
            waits_since: None,
        }
    }

    /// The job that was submitted first of those that wait: one look for each urgency and pool, however
    /// many jobs wait.
    fn oldest(&self) -> Option<Ordinal> {
        self.lanes.values().flat_map(firsts).min()
    }
}

/// The first job of each urgency in `lane`.
fn firsts(lane: &BTreeSet<ReadyKey>) -> impl Iterator<Item = Ordinal> {
    let next = |place: &ReadyKey| lane.range(place.next_urgency()..).next().copied();
    std::iter::successors(lane.first().copied(), next).map(ReadyKey::ordinal)
}
