//! What the store should do, in memory and in the plainest way: every question looks at every job.

use crate::domain::State;
use crate::store::Cancellation;

use super::End;

/// Jobs of each queue that run at once, until somebody says otherwise.
pub(super) const WORKERS: [usize; 2] = [2, 1];
/// Slots of each pool: fewer than the queues would like.
pub(super) const SLOTS: [usize; 2] = [2, 1];

/// Where a job waits and where it runs, by number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    pub(super) queue: usize,
    pub(super) pool: usize,
}

/// What can be seen of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) state: State,
    pub(super) version: i64,
    pub(super) attempt: u32,
    pub(super) interruptions: u32,
    pub(super) crashes: u32,
    pub(super) asked_to_stop: bool,
    pub(super) error: Option<&'static str>,
}

#[derive(Debug)]
struct Entry {
    priority: i64,
    lane: Lane,
    /// It asked to run at most once.
    once: bool,
    view: View,
}

/// All jobs in the order of their submission.
#[derive(Debug)]
pub(super) struct Reference {
    entries: Vec<Entry>,
    /// Slots of jobs that are over, held by code that was given up.
    held: Vec<Lane>,
    stopping: bool,
    workers: [usize; 2],
    paused: [bool; 2],
}

impl Reference {
    pub(super) fn new() -> Self {
        let (entries, held) = (Vec::new(), Vec::new());
        Self { entries, held, stopping: false, workers: WORKERS, paused: [false; 2] }
    }

    pub(super) fn views(&self) -> impl Iterator<Item = &View> {
        self.entries.iter().map(|entry| &entry.view)
    }

    pub(super) fn lane(&self, number: usize) -> Lane {
        self.entries[number].lane
    }

    pub(super) fn view(&self, number: usize) -> &View {
        &self.entries[number].view
    }

    pub(super) fn running(&self) -> impl Iterator<Item = usize> {
        (0..self.entries.len()).filter(|number| self.entries[*number].view.state == State::Running)
    }

    /// Submit and claim are one change, if there is a slot.
    pub(super) fn submit(&mut self, priority: i64, lane: Lane, once: bool) {
        let view = View {
            state: State::Pending,
            version: 1,
            attempt: 0,
            interruptions: 0,
            crashes: 0,
            asked_to_stop: false,
            error: None,
        };
        self.entries.push(Entry { priority, lane, once, view });
        if let Some(number) = self.next() {
            self.start(number);
            self.entries[number].view.version = 1;
        }
        assert_eq!(self.next(), None, "whatever could start had started before");
    }

    /// Ends the running attempt of a job.
    pub(super) fn settle(&mut self, number: usize, end: End) {
        let entry = &mut self.entries[number];
        let view = &mut entry.view;
        view.version += 1;
        match end {
            End::Returned => view.state = State::Succeeded,
            End::Cancelled | End::GivenUp => view.state = State::Cancelled,
            // A cancel that came before wins over everything but a value.
            End::Raised | End::Stopped if view.asked_to_stop => view.state = State::Cancelled,
            End::Raised => {
                view.state = State::Failed;
                view.error = Some("ValueError");
            }
            End::Stopped => entry.interrupt(),
        }
        if matches!(end, End::GivenUp) {
            self.held.push(self.entries[number].lane);
        }
        self.start_all();
    }

    pub(super) fn cancel(&mut self, number: usize, terminate: bool) -> Cancellation {
        let view = &mut self.entries[number].view;
        match view.state {
            State::Pending => {
                view.state = State::Cancelled;
                view.asked_to_stop = true;
                view.version += 1;
                Cancellation::Cancelled
            }
            State::Running if !terminate => Cancellation::Running,
            State::Running => {
                // Asked twice is asked once.
                view.version += i64::from(!view.asked_to_stop);
                view.asked_to_stop = true;
                Cancellation::Requested
            }
            State::Succeeded | State::Failed | State::Cancelled => Cancellation::Done,
        }
    }

    /// Code that was given up first returns; where its slot is, if there is any.
    pub(super) fn release(&mut self) -> Option<Lane> {
        let lane = (!self.held.is_empty()).then(|| self.held.remove(0))?;
        self.start_all();
        Some(lane)
    }

    pub(super) fn pause(&mut self, queue: usize, paused: bool) {
        self.paused[queue] = paused;
        self.start_all();
    }

    /// With fewer workers what runs goes on, and nothing starts until there is room.
    pub(super) fn employ(&mut self, queue: usize, workers: usize) {
        self.workers[queue] = workers;
        self.start_all();
    }

    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }

    /// The next server: what ran when the last one ended died with it.
    pub(super) fn start_again(&mut self) {
        self.held.clear();
        self.stopping = false;
        let ran: Vec<usize> = self.running().collect();
        for number in ran {
            let entry = &mut self.entries[number];
            entry.view.version += 1;
            if entry.view.asked_to_stop {
                entry.view.state = State::Cancelled;
                continue;
            }
            entry.view.crashes += 1;
            if entry.view.crashes < 3 {
                entry.interrupt();
            } else {
                entry.view.state = State::Failed;
                entry.view.error = Some("crash_loop");
            }
        }
        self.start_all();
    }

    fn start_all(&mut self) {
        while let Some(number) = self.next() {
            self.start(number);
        }
    }

    fn start(&mut self, number: usize) {
        let view = &mut self.entries[number].view;
        view.state = State::Running;
        view.attempt += 1;
        view.version += 1;
    }

    /// Of all that wait and have a slot in queue and pool, the most urgent, then the oldest.
    fn next(&self) -> Option<usize> {
        let waiting = self.entries.iter().enumerate().filter(|(_, it)| {
            it.view.state == State::Pending
                && !self.paused[it.lane.queue]
                && self.taken(|lane| lane.queue == it.lane.queue) < self.workers[it.lane.queue]
                && self.taken(|lane| lane.pool == it.lane.pool) < SLOTS[it.lane.pool]
        });
        let next = waiting.min_by_key(|(number, it)| (-it.priority, *number));
        next.filter(|_| !self.stopping).map(|(number, _)| number)
    }

    fn taken(&self, here: impl Fn(Lane) -> bool) -> usize {
        let running = self.running().filter(|number| here(self.entries[*number].lane)).count();
        running + self.held.iter().filter(|lane| here(**lane)).count()
    }
}

impl Entry {
    /// The attempt is over and counts for nothing: it runs again, unless it asked not to.
    fn interrupt(&mut self) {
        self.view.interruptions += 1;
        if self.once {
            self.view.state = State::Failed;
            self.view.error = Some("interrupted");
        } else {
            self.view.state = State::Pending;
        }
    }
}
