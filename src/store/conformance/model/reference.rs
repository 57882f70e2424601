//! What the store should do, in memory and in the plainest way: every question looks at every job.

use crate::domain::State;
use crate::store::Cancellation;

use super::entry::{Entry, StartAt, View};
use super::steps::{Asked, End, Lane, Start};

/// Jobs of each queue that run at once, until somebody says otherwise.
pub const WORKERS: [usize; 2] = [2, 1];
/// Slots of each pool: fewer than the queues would like.
pub const SLOTS: [usize; 2] = [2, 1];

/// All jobs in the order of their submission.
#[derive(Debug)]
pub struct Reference {
    entries: Vec<Entry>,
    /// Slots of jobs that are over, held by code that was given up.
    held: Vec<Lane>,
    stopping: bool,
    workers: [usize; 2],
    paused: [bool; 2],
    /// Jobs that run first after a start, each with no other beside it.
    suspects: Vec<usize>,
    alone: Option<usize>,
    pub now: i64,
    pub wall: i64,
}

impl Reference {
    pub fn new(now: i64) -> Self {
        let (entries, held, stopping) = (Vec::new(), Vec::new(), false);
        let (workers, paused) = (WORKERS, [false; 2]);
        let (suspects, alone) = (Vec::new(), None);
        Self { entries, held, stopping, workers, paused, suspects, alone, now, wall: now }
    }

    /// Jobs that are still there.
    pub fn views(&self) -> impl Iterator<Item = (usize, &View)> {
        let there = self.entries.iter().enumerate().filter(|(_, entry)| !entry.gone);
        there.map(|(number, entry)| (number, &entry.view))
    }

    pub fn lane(&self, number: usize) -> Lane {
        self.entries[number].asked.lane
    }

    pub fn view(&self, number: usize) -> &View {
        &self.entries[number].view
    }

    pub fn running(&self) -> impl Iterator<Item = usize> {
        self.of_state(State::Running)
    }

    fn of_state(&self, state: State) -> impl Iterator<Item = usize> {
        (0..self.entries.len()).filter(move |number| self.entries[*number].view.state == state)
    }

    /// Jobs of a queue that wait, and the first of those that wait for a slot.
    pub fn waiting(&self, queue: usize) -> (usize, Option<usize>) {
        let here = |number: &usize| self.lane(*number).queue == queue;
        let mut for_a_slot = self.of_state(State::Pending).filter(here);
        let oldest = for_a_slot.find(|number| self.entries[*number].run_at.is_none());
        (self.of_state(State::Pending).filter(here).count(), oldest)
    }

    /// Submit and claim are one change, if there is a slot.
    pub fn submit(&mut self, asked: Asked) {
        let run_at = match asked.start {
            Start::AtOnce => None,
            Start::After(wait) => Some(StartAt::Counted(self.now + wait)),
            Start::At(wait) => Some(StartAt::Wall(self.wall + wait)),
        };
        let view = View {
            state: State::Pending,
            version: 1,
            attempt: 0,
            failures: 0,
            interruptions: 0,
            crashes: 0,
            scheduled: run_at.is_some(),
            asked_to_stop: false,
            error: None,
        };
        let (created_at, waits_since) = (self.now, self.now);
        let (started_at, expires_at, gone) = (None, None, false);
        self.entries.push(Entry {
            asked,
            created_at,
            run_at,
            waits_since,
            started_at,
            expires_at,
            gone,
            view,
        });
        if let Some(number) = self.next() {
            self.start(number);
            self.entries[number].view.version = 1;
        }
        assert_eq!(self.next(), None, "whatever could start had started before");
    }

    /// Ends the running attempt of a job.
    pub fn settle(&mut self, number: usize, end: End) {
        let now = self.now;
        // Whatever it becomes, it has had its turn.
        self.alone = self.alone.filter(|alone| *alone != number);
        let entry = &mut self.entries[number];
        entry.view.version += 1;
        match end {
            End::Returned => entry.done(State::Succeeded, now),
            End::Cancelled | End::GivenUp => entry.done(State::Cancelled, now),
            // A cancel that came before wins over everything but a value.
            End::Raised | End::RaisedForGood | End::Stopped if entry.view.asked_to_stop => {
                entry.done(State::Cancelled, now);
            }
            End::Raised | End::RaisedForGood => {
                entry.raise(now, matches!(end, End::RaisedForGood));
            }
            End::Stopped => entry.interrupt(now),
        }
        if matches!(end, End::GivenUp) {
            self.held.push(self.entries[number].asked.lane);
        }
        self.start_all();
    }

    pub fn cancel(&mut self, number: usize, terminate: bool) -> Cancellation {
        let now = self.now;
        let entry = &mut self.entries[number];
        match entry.view.state {
            State::Pending => {
                entry.done(State::Cancelled, now);
                entry.view.asked_to_stop = true;
                entry.view.version += 1;
                Cancellation::Cancelled
            }
            State::Running if !terminate => Cancellation::Running,
            State::Running => {
                // Asked twice is asked once.
                entry.view.version += i64::from(!entry.view.asked_to_stop);
                entry.view.asked_to_stop = true;
                Cancellation::Requested
            }
            State::Succeeded | State::Failed | State::Cancelled => Cancellation::Done,
        }
    }

    /// Code that was given up first returns; where its slot is, if there is any.
    pub fn release(&mut self) -> Option<Lane> {
        let lane = (!self.held.is_empty()).then(|| self.held.remove(0))?;
        self.start_all();
        Some(lane)
    }

    pub fn pause(&mut self, queue: usize, paused: bool) {
        self.paused[queue] = paused;
        self.start_all();
    }

    /// With fewer workers what runs goes on, and nothing starts until there is room.
    pub fn employ(&mut self, queue: usize, workers: usize) {
        self.workers[queue] = workers;
        self.start_all();
    }

    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Does what is due: by the server's clock first, then by the wall's; the earliest first.
    pub fn come_due(&mut self) {
        let (now, wall) = (self.now, self.wall);
        for number in self.due(now, Entry::deadline) {
            self.comes_due(number, now, wall);
        }
        for number in self.due(wall, Entry::on_the_wall) {
            self.comes_due(number, now, wall);
        }
    }

    fn due(&self, by: i64, moment: impl Fn(&Entry) -> Option<i64>) -> Vec<usize> {
        let waiting = self.of_state(State::Pending);
        let moments = waiting.filter_map(|it| Some((moment(&self.entries[it])?, it)));
        let mut due: Vec<(i64, usize)> = moments.filter(|(at, _)| *at <= by).collect();
        due.sort_unstable();
        due.into_iter().map(|(_, number)| number).collect()
    }

    fn comes_due(&mut self, number: usize, now: i64, wall: i64) {
        let entry = &mut self.entries[number];
        if entry.total_deadline().is_some_and(|at| at <= now) {
            return entry.time_is_over("total_timeout", now);
        }
        let may_start = match entry.run_at {
            Some(StartAt::Counted(at)) => at <= now,
            Some(StartAt::Wall(at)) => at <= wall,
            None => return entry.time_is_over("start_timeout", now),
        };
        if may_start {
            entry.run_at = None;
            entry.waits_since = now;
            entry.view.scheduled = false;
            entry.view.version += 1;
            self.start_all();
        }
    }

    /// The next moment at which something is due, by the server's clock and by the wall's.
    pub fn alarm(&self) -> (Option<i64>, Option<i64>) {
        let waiting = || self.of_state(State::Pending).map(|number| &self.entries[number]);
        (
            waiting().filter_map(Entry::deadline).min(),
            waiting().filter_map(Entry::on_the_wall).min(),
        )
    }

    /// Forgets what is over; how many that are.
    pub fn clean(&mut self) -> usize {
        let now = self.now;
        let over = |entry: &&mut Entry| {
            !entry.gone && entry.expires_at.is_some_and(|expires_at| expires_at <= now)
        };
        self.entries.iter_mut().filter(over).map(|entry| entry.gone = true).count()
    }

    /// The next server: what ran when the last one ended died with it. It takes the time from the wall.
    pub fn start_again(&mut self) {
        self.held.clear();
        self.stopping = false;
        self.now = self.wall;
        let now = self.now;
        let ran: Vec<usize> = self.running().collect();
        let mut has_culprit = false;
        for number in ran {
            let entry = &mut self.entries[number];
            entry.view.version += 1;
            if entry.view.asked_to_stop {
                entry.done(State::Cancelled, now);
                continue;
            }
            entry.view.crashes += 1;
            if entry.view.crashes < 3 {
                entry.interrupt(now);
            } else {
                has_culprit = true;
                entry.fail("crash_loop", now);
            }
        }
        let is_suspect = |number: &usize| {
            let entry = &self.entries[*number];
            !has_culprit && entry.view.crashes == 2 && entry.run_at.is_none()
        };
        self.suspects = self.of_state(State::Pending).filter(is_suspect).collect();
        self.alone = None;
        self.start_all();
    }

    fn start_all(&mut self) {
        while let Some(number) = self.next() {
            self.start(number);
        }
    }

    fn start(&mut self, number: usize) {
        if self.suspects.contains(&number) {
            self.suspects.retain(|it| *it != number);
            self.alone = Some(number);
        }
        let entry = &mut self.entries[number];
        entry.started_at = Some(self.now);
        entry.view.state = State::Running;
        entry.view.attempt += 1;
        entry.view.version += 1;
    }

    /// Of all that wait and have a slot in queue and pool, the most urgent, then the oldest.
    fn next(&self) -> Option<usize> {
        if self.stopping || self.alone.is_some() {
            return None;
        }
        let urgency = |number: &usize| (-self.entries[*number].asked.priority, *number);
        let suspects =
            self.suspects.iter().copied().filter(|number| self.waits_for_a_slot(*number));
        if let Some(suspect) = suspects.min_by_key(urgency) {
            return Some(suspect)
                .filter(|it| self.has_slot(*it) && self.running().next().is_none());
        }
        let all = 0..self.entries.len();
        let waiting = all.filter(|it| self.waits_for_a_slot(*it) && self.has_slot(*it));
        waiting.min_by_key(urgency)
    }

    /// Whether it waits, and its queue would let it start.
    fn waits_for_a_slot(&self, number: usize) -> bool {
        let (entry, queue) = (&self.entries[number], self.lane(number).queue);
        entry.view.state == State::Pending
            && entry.run_at.is_none()
            && !self.paused[queue]
            && self.taken(|lane| lane.queue == queue) < self.workers[queue]
    }

    fn has_slot(&self, number: usize) -> bool {
        let pool = self.lane(number).pool;
        self.taken(|lane| lane.pool == pool) < SLOTS[pool]
    }

    fn taken(&self, here: impl Fn(Lane) -> bool) -> usize {
        let running = self.running().filter(|number| here(self.lane(*number))).count();
        running + self.held.iter().filter(|lane| here(**lane)).count()
    }
}
