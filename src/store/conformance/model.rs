//! The lifecycle against a model: whatever is asked in whatever order, with servers that stop and die in between, the
//! store does what a few lines of plain Rust do.
//!
//! `PROPTEST_CASES` sets how many sequences are tried, for a longer run.

mod entry;
mod reference;
mod steps;

use crate::store::SlotChange;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{
    Arc, BTreeMap, Backend, CancelOrder, Completion, Config, Error, Figure, Job, NOW, Ordinal,
    Outcome, Pool, QueueName, QueueSettings, Spec, Submission, TestStore, Timestamp, cancel,
    example, raised, returned, settlement, submission,
};
use crate::domain::{
    Clocks, FunctionName, JobError, OnInterrupt, Options, Priority, Retry, RunAt, State,
};
use crate::store::{Filter, NextTimer, Now, QueueChange, QueueOrder, Refusal, SweepCursor};

use entry::View;
use reference::{Reference, SLOTS, WORKERS};
use steps::{Asked, End, Lane, Limits, Start, Step, a_step};

const QUEUES: [&str; 2] = ["default", "narrow"];
const POOLS: [Pool; 2] = [Pool::Tasks, Pool::Threads];
/// A function for each pool, by which the next server knows where its jobs run.
const FUNCTIONS: [&str; 2] = ["echo", "spin"];
const STEPS_MAX: usize = 40;

proptest! {
    // A quarter of what proptest does unasked: some 15 seconds in a debug build.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]
    #[test]
    fn s3_s5_e2_f19_g1_g5_g12_g19_g20_the_store_does_what_the_model_does(
        steps in prop::collection::vec(a_step(), 1..STEPS_MAX),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let mut it = Pair::new().await;
            for step in steps {
                it = it.after(step).await?;
                it.compare().await?;
            }
            Ok::<(), TestCaseError>(())
        })?;
    }
}

/// The store, and what it should be.
struct Pair {
    shelf: TestStore,
    reference: Reference,
    /// Each job as its submission was answered.
    submitted: Vec<Job>,
    /// Each job as its latest attempt knows it: as it was when that began.
    started: BTreeMap<usize, Job>,
}

impl Pair {
    async fn new() -> Self {
        let backend = Backend::fresh();
        let queue = |max_workers| QueueSettings { max_workers, max_pending: 1_000 };
        let config = Config {
            path: backend.path(),
            queues: (0..2).map(|number| (queue_name(number), queue(WORKERS[number]))).collect(),
            queue_default: queue(1),
            manual_max: 1_000,
            slots: POOLS.into_iter().zip(SLOTS).collect(),
            pools: FUNCTIONS.map(str::to_owned).into_iter().zip(POOLS).collect(),
            delivery_wait_ms_max: 86_400_000,
            accept_data_loss: false,
        };
        let shelf = TestStore::open(backend, config).await;
        let (submitted, started) = (Vec::new(), BTreeMap::new());
        Self { shelf, reference: Reference::new(NOW.0), submitted, started }
    }

    pub async fn after(mut self, step: Step) -> Result<Self, TestCaseError> {
        let now = self.now();
        // A server takes the time from the wall.
        let next_start = Timestamp(self.reference.wall);
        match step {
            Step::Submit(asked) => {
                let job = self.shelf.put(self.submission(asked)).await;
                self.submitted.push(job.expect("an accepted job"));
                self.reference.submit(asked);
            }
            Step::Settle { of, end } => self.settle(of, end).await?,
            Step::Superseded { of, attempt } => self.superseded(of, attempt).await?,
            Step::Cancel { of, terminate, stale } => self.cancel(of, terminate, stale).await?,
            Step::Release => {
                if let Some(Lane { queue, pool }) = self.reference.release() {
                    let (queue, pool) = (queue_name(queue), POOLS[pool]);
                    let change = SlotChange::Release { queue, pool };
                    self.shelf.store.change_slots(change, now).await.expect("an answer");
                }
            }
            Step::Pause { queue, paused } => {
                let change = if paused { QueueChange::Pause } else { QueueChange::Resume };
                self.order(queue, change).await;
                self.reference.pause(queue, paused);
            }
            Step::Workers { queue, workers } => {
                let max_workers = Some(workers);
                self.order(
                    queue,
                    QueueChange::Set { max_workers, max_pending: None, expires_ms: None },
                )
                .await;
                self.reference.employ(queue, workers);
            }
            Step::Pass(ms) => {
                self.reference.now += ms;
                self.reference.wall += ms;
                self.come_due().await?;
            }
            Step::Jump(ms) => {
                self.reference.wall += ms;
                self.come_due().await?;
            }
            Step::Clean => self.clean().await?,
            Step::Stop => {
                self.stop().await;
                self.shelf = self.shelf.closed_and_opened(next_start).await;
                prop_assert_eq!(self.shelf.recovered, 0);
                self.reference.start_again();
            }
            Step::Vanish => {
                self.shelf = self.shelf.reopened_at(next_start).await;
                self.start_again()?;
            }
            Step::Crash => {
                self.shelf = self.shelf.after_kill_nine(next_start).await;
                self.start_again()?;
            }
        }
        Ok(self)
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.reference.now)
    }

    pub async fn come_due(&mut self) -> Result<(), TestCaseError> {
        let moment = Now { now: self.now(), wall: Timestamp(self.reference.wall) };
        let alarm = self.shelf.store.run_timers(moment).await.expect("an answer");
        self.reference.come_due();
        let (deadline, wall) = self.reference.alarm();
        let expected = NextTimer { deadline: deadline.map(Timestamp), wall: wall.map(Timestamp) };
        prop_assert_eq!(alarm, expected);
        Ok(())
    }

    pub async fn clean(&mut self) -> Result<(), TestCaseError> {
        let (mut removed, mut from) = (0, Some(SweepCursor::NOTHING));
        while let Some(next) = from {
            let cleaned = self.shelf.store.sweep(self.now(), next).await.expect("an answer");
            (removed, from) = (removed + cleaned.removed, cleaned.next);
        }
        prop_assert_eq!(removed, self.reference.clean());
        Ok(())
    }

    pub async fn order(&self, queue: usize, change: QueueChange) {
        let order = QueueOrder { queue: queue_name(queue), change, now: self.now() };
        self.shelf.store.change_queue(order).await.expect("a queue");
    }

    fn start_again(&mut self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.shelf.recovered, self.reference.running().count());
        self.reference.start_again();
        Ok(())
    }

    pub async fn settle(&mut self, of: Index, end: End) -> Result<(), TestCaseError> {
        let running: Vec<usize> = self.reference.running().collect();
        if running.is_empty() {
            return Ok(());
        }
        let number = *of.get(&running);
        let settled = self.shelf.record(self.ended(number, end)).await;
        prop_assert!(settled.is_ok(), "job {number} runs: {settled:?}");
        self.reference.settle(number, end);
        Ok(())
    }

    fn ended(&self, number: usize, end: End) -> Completion {
        let outcome = match end {
            End::Returned => returned(),
            End::Raised => raised(),
            End::RaisedForGood => {
                Outcome::Raised(JobError::new("ValueError", "never").retryable(false))
            }
            End::Cancelled | End::GivenUp => Outcome::Cancelled,
            End::Stopped => Outcome::Stopped,
        };
        Completion {
            now: self.now(),
            pool: POOLS[self.reference.lane(number).pool],
            frees_slot: !matches!(end, End::GivenUp),
            ..settlement(&self.started[&number], outcome)
        }
    }

    pub async fn superseded(&self, of: Index, attempt: u32) -> Result<(), TestCaseError> {
        let Some(number) = self.pick(of) else { return Ok(()) };
        let View { state, attempt: latest, .. } = self.reference.view(number);
        if state.is_done() || *latest != attempt {
            let job = Job { attempt, ..self.submitted[number].clone() };
            let late = self.shelf.record(settlement(&job, returned())).await;
            prop_assert!(
                matches!(late, Err(Error::Refused(Refusal::Superseded))),
                "job {number}: {late:?}"
            );
        }
        Ok(())
    }

    pub async fn cancel(
        &mut self,
        of: Index,
        terminate: bool,
        stale: bool,
    ) -> Result<(), TestCaseError> {
        let Some(number) = self.pick(of) else { return Ok(()) };
        let mut job = self.submitted[number].clone();
        if !stale {
            job = self.shelf.job(&job).await;
        }
        let pool = POOLS[self.reference.lane(number).pool];
        let order = CancelOrder { pool, now: self.now(), ..cancel(&job, terminate) };
        let done = self.shelf.store.cancel(order).await.expect("an answer");
        prop_assert_eq!(done, self.reference.cancel(number, terminate), "job {}", number);
        Ok(())
    }

    /// What a server does that was told to stop and has no patience left.
    pub async fn stop(&mut self) {
        self.shelf.change_slots(SlotChange::StopClaiming).await.expect("an answer");
        self.reference.stop();
        let running: Vec<usize> = self.reference.running().collect();
        for number in running {
            let settled = self.shelf.record(self.ended(number, End::Stopped)).await;
            settled.expect("a running job");
            self.reference.settle(number, End::Stopped);
        }
    }

    /// One of the jobs that are still there.
    fn pick(&self, of: Index) -> Option<usize> {
        let there: Vec<usize> = self.reference.views().map(|(number, _)| number).collect();
        (!there.is_empty()).then(|| *of.get(&there))
    }

    /// Holds every job against what it should be.
    pub async fn compare(&mut self) -> Result<(), TestCaseError> {
        self.shelf.everything_so_far_is_committed().await;
        let page = self.shelf.list(&Filter::default(), None, 1_000).await;
        let number = |job: &Job| {
            let place = self.submitted.binary_search_by_key(&job.ordinal, |job| job.ordinal);
            place.expect("a job that was submitted")
        };
        let jobs: BTreeMap<usize, Job> =
            page.jobs.into_iter().map(|job| (number(&job), job)).collect();
        let seen: Vec<(usize, View)> =
            jobs.iter().map(|(number, job)| (*number, view(job))).collect();
        let expected = self.reference.views().map(|(number, view)| (number, view.clone()));
        prop_assert_eq!(seen, expected.collect::<Vec<_>>());
        self.compare_queues().await?;
        let others = self.shelf.number(Figure::JobsOfOtherServers);
        prop_assert_eq!(others, 0, "a job runs of another server");
        for number in self.reference.running() {
            let known = self.started.get(&number).map_or(0, |job| job.attempt);
            if jobs[&number].attempt != known {
                let job = self.shelf.job(&jobs[&number]).await;
                prop_assert_eq!(
                    job.attempts.as_slice().len(),
                    usize::try_from(job.failures).expect("few")
                );
                self.started.insert(number, job);
            }
        }
        Ok(())
    }

    pub async fn compare_queues(&self) -> Result<(), TestCaseError> {
        for queue in 0..QUEUES.len() {
            let found = self.shelf.queue_of(queue_name(queue)).await;
            let (pending, oldest) = self.reference.waiting(queue);
            prop_assert_eq!(found.pending, pending, "jobs that wait in queue {}", queue);
            let oldest = oldest.map(|number| self.submitted[number].ordinal);
            prop_assert_eq!(found.oldest, oldest, "the oldest in queue {}", queue);
        }
        Ok(())
    }

    fn submission(&self, asked: Asked) -> Submission {
        let Asked { priority, lane, once, start, limits } = asked;
        let number = self.submitted.len() as u64 + 1;
        let spec = Spec {
            function: FunctionName::new(FUNCTIONS[lane.pool]).expect("a name"),
            queue: queue_name(lane.queue),
            priority: Priority::new(priority).expect("a priority"),
            on_interrupt: if once { OnInterrupt::Fail } else { OnInterrupt::Rerun },
            options: options(limits),
            created_at: self.now(),
            ..example::spec(number)
        };
        let Reference { now, wall, .. } = &self.reference;
        let run_at = match start {
            Start::AtOnce => None,
            Start::After(wait) => Some(RunAt::Monotonic(Timestamp(now + wait))),
            Start::At(wait) => Some(RunAt::Wall(Timestamp(wall + wait))),
        };
        Submission { pool: POOLS[lane.pool], run_at, ..submission(spec) }
    }
}

impl TestStore {
    /// The next server on the same file, after this one was told to stop.
    pub async fn closed_and_opened(self, now: Timestamp) -> Self {
        let Self { store, events, closed, config, backend, .. } = self;
        drop(events);
        store.close().await;
        closed.await.expect("the writer ends when it is told to");
        Self::open_at(now, backend, config).await
    }

    /// A server on what kill -9 leaves of this one: its files, as they are while it lives.
    pub async fn after_kill_nine(self, now: Timestamp) -> Self {
        let backend = self.backend.copied();
        let config = Config { path: backend.path(), ..self.config };
        drop((self.store, self.events));
        self.closed.await.expect("the writer ends by itself");
        Self::open_at(now, backend, config).await
    }

    /// A change that changes nothing is answered after all that came before it, the claims of a start included.
    pub async fn everything_so_far_is_committed(&self) {
        let nobody = Job::submitted(Arc::new(example::spec(0)), Ordinal(0));
        let refused = self.record(settlement(&nobody, returned())).await;
        assert!(matches!(refused, Err(Error::Refused(Refusal::Superseded))), "{refused:?}");
    }
}

fn queue_name(number: usize) -> QueueName {
    QueueName::new(QUEUES[number]).expect("a name")
}

fn options(limits: Limits) -> Options {
    let Limits { start, total, max_attempts, retention } = limits;
    Options {
        retry: Retry { max_attempts, initial_ms: 10, factor: 2.0, max_ms: 25, jitter: 0.0 },
        clocks: Clocks { start_timeout_ms: start, total_timeout_ms: total, ..Clocks::default() },
        retention_ms: retention.unwrap_or(Options::RETENTION_MS),
        ..Options::default()
    }
}

/// What can be seen of a job as it was read. What goes together is checked on the way.
fn view(job: &Job) -> View {
    assert_eq!(job.finished_at.is_some(), job.is_done(), "{job:?}");
    assert_eq!(job.result.is_some(), job.state == State::Succeeded, "{job:?}");
    assert_eq!(job.expires_at.is_some(), job.is_done(), "{job:?}");
    let names = ["ValueError", "interrupted", "crash_loop", "start_timeout", "total_timeout"];
    let error = job.error.as_ref().map(|error| {
        let known = names.into_iter().find(|name| *name == error.kind().as_str());
        known.unwrap_or("an error that nothing here raises")
    });
    View {
        state: job.state,
        version: job.version,
        attempt: job.attempt,
        failures: job.failures,
        interruptions: job.interruptions,
        crashes: job.crashes,
        scheduled: job.run_at.is_some(),
        asked_to_stop: job.cancel_requested_at.is_some(),
        error,
    }
}
