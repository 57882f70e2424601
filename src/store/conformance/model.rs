//! The lifecycle against a model: whatever is asked in whatever order, with servers that stop and die in between, the
//! store does what a few lines of plain Rust do.
//!
//! `PROPTEST_CASES` sets how many sequences are tried, for a longer run.

mod reference;

use proptest::prelude::*;
use proptest::sample::Index;

use super::{
    Arc, BTreeMap, CancelOrder, Config, Error, Job, NOW, Ordinal, Outcome, Pool, QueueName,
    QueueSettings, Settlement, Shelf, Spec, Submission, TempDir, cancel, example, raised, returned,
    settlement, submission,
};
use crate::domain::{FunctionName, OnInterrupt, Priority, State};
use crate::store::{Filter, QueueChange, QueueOrder};

use reference::{Lane, Reference, SLOTS, View, WORKERS};

const QUEUES: [&str; 2] = ["default", "narrow"];
const POOLS: [Pool; 2] = [Pool::Tasks, Pool::Threads];
/// A function for each pool, by which the next server knows where its jobs run.
const FUNCTIONS: [&str; 2] = ["echo", "spin"];
const STEPS_MAX: usize = 40;

/// One thing that is asked of the store, or that happens to it. An [`Index`] picks among the jobs that there are.
#[derive(Clone, Debug)]
enum Step {
    Submit {
        priority: i64,
        lane: Lane,
        once: bool,
    },
    Settle {
        of: Index,
        end: End,
    },
    /// An outcome of an attempt that is over, or that never was.
    Superseded {
        of: Index,
        attempt: u32,
    },
    /// By one who read the job now, or when it was submitted.
    Cancel {
        of: Index,
        terminate: bool,
        stale: bool,
    },
    /// Code that was given up returns: its slot is free.
    Release,
    /// A queue is paused or not; that outlives its server.
    Pause {
        queue: usize,
        paused: bool,
    },
    /// So do its workers.
    Workers {
        queue: usize,
        workers: usize,
    },
    /// SIGTERM: nothing is claimed, what runs is put back, the store is closed.
    Stop,
    /// The store is dropped, so that its writer ends by itself.
    Vanish,
    /// kill -9: the next server finds the files as they are.
    Crash,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Returned,
    Raised,
    Cancelled,
    /// Cancelled, and the code still holds its slot.
    GivenUp,
    Stopped,
}

fn a_step() -> impl Strategy<Value = Step> {
    let lane = (0..2_usize, 0..2_usize).prop_map(|(queue, pool)| Lane { queue, pool });
    let end = prop_oneof![
        3 => Just(End::Returned),
        2 => Just(End::Raised),
        1 => Just(End::Cancelled),
        1 => Just(End::GivenUp),
        2 => Just(End::Stopped),
    ];
    prop_oneof![
        12 => (-1..=1_i64, lane, prop::bool::weighted(0.2))
            .prop_map(|(priority, lane, once)| Step::Submit { priority, lane, once }),
        10 => (any::<Index>(), end).prop_map(|(of, end)| Step::Settle { of, end }),
        2 => (any::<Index>(), 0..3_u32).prop_map(|(of, attempt)| Step::Superseded { of, attempt }),
        6 => (any::<Index>(), any::<bool>(), any::<bool>())
            .prop_map(|(of, terminate, stale)| Step::Cancel { of, terminate, stale }),
        3 => Just(Step::Release),
        2 => (0..2_usize, any::<bool>()).prop_map(|(queue, paused)| Step::Pause { queue, paused }),
        2 => (0..2_usize, 1..4_usize)
            .prop_map(|(queue, workers)| Step::Workers { queue, workers }),
        1 => Just(Step::Stop),
        1 => Just(Step::Vanish),
        2 => Just(Step::Crash),
    ]
}

proptest! {
    // A quarter of what proptest does unasked: some 15 seconds in a debug build.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]
    #[test]
    fn s3_s5_e2_f19_g1_g5_g12_the_store_does_what_the_model_does(
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
    shelf: Shelf,
    reference: Reference,
    /// Each job as its submission was answered.
    submitted: Vec<Job>,
    /// Each job as its latest attempt knows it: as it was when that began.
    started: BTreeMap<usize, Job>,
}

impl Pair {
    async fn new() -> Self {
        let dir = TempDir::new().expect("a directory");
        let queue = |max_workers| QueueSettings { max_workers, max_pending: 1_000 };
        let config = Config {
            path: dir.path().join("futurity.db").into(),
            queues: (0..2).map(|number| (queue_name(number), queue(WORKERS[number]))).collect(),
            queue_default: queue(1),
            slots: POOLS.into_iter().zip(SLOTS).collect(),
            pools: FUNCTIONS.map(str::to_owned).into_iter().zip(POOLS).collect(),
        };
        let shelf = Shelf::open(dir, config).await;
        let (submitted, started) = (Vec::new(), BTreeMap::new());
        Self { shelf, reference: Reference::new(), submitted, started }
    }

    async fn after(mut self, step: Step) -> Result<Self, TestCaseError> {
        match step {
            Step::Submit { priority, lane, once } => {
                let number = self.submitted.len() as u64 + 1;
                let job = self.shelf.store.submit(asked(number, priority, lane, once)).await;
                self.submitted.push(job.expect("an accepted job"));
                self.reference.submit(priority, lane, once);
            }
            Step::Settle { of, end } => self.settle(of, end).await?,
            Step::Superseded { of, attempt } => self.superseded(of, attempt).await?,
            Step::Cancel { of, terminate, stale } => self.cancel(of, terminate, stale).await?,
            Step::Release => {
                if let Some(Lane { queue, pool }) = self.reference.release() {
                    self.shelf.store.release(queue_name(queue), POOLS[pool], NOW).await;
                }
            }
            Step::Pause { queue, paused } => {
                let change = if paused { QueueChange::Pause } else { QueueChange::Resume };
                self.order(queue, change).await;
                self.reference.pause(queue, paused);
            }
            Step::Workers { queue, workers } => {
                let max_workers = Some(workers);
                self.order(queue, QueueChange::Set { max_workers, max_pending: None }).await;
                self.reference.employ(queue, workers);
            }
            Step::Stop => {
                self.stop().await;
                self.shelf = self.shelf.closed_and_opened().await;
                prop_assert_eq!(self.shelf.recovered, 0);
                self.reference.start_again();
            }
            Step::Vanish => {
                self.shelf = self.shelf.reopened().await;
                self.start_again()?;
            }
            Step::Crash => {
                self.shelf = self.shelf.after_kill_nine().await;
                self.start_again()?;
            }
        }
        Ok(self)
    }

    async fn order(&self, queue: usize, change: QueueChange) {
        let order = QueueOrder { queue: queue_name(queue), change, now: NOW };
        self.shelf.store.order_queue(order).await.expect("a queue");
    }

    fn start_again(&mut self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.shelf.recovered, self.reference.running().count());
        self.reference.start_again();
        Ok(())
    }

    async fn settle(&mut self, of: Index, end: End) -> Result<(), TestCaseError> {
        let running: Vec<usize> = self.reference.running().collect();
        if running.is_empty() {
            return Ok(());
        }
        let number = *of.get(&running);
        let settled = self.shelf.store.settle(self.ended(number, end)).await;
        prop_assert!(settled.is_ok(), "job {number} runs: {settled:?}");
        self.reference.settle(number, end);
        Ok(())
    }

    fn ended(&self, number: usize, end: End) -> Settlement {
        let outcome = match end {
            End::Returned => returned(),
            End::Raised => raised(),
            End::Cancelled | End::GivenUp => Outcome::Cancelled,
            End::Stopped => Outcome::Stopped,
        };
        Settlement {
            pool: POOLS[self.reference.lane(number).pool],
            frees_slot: !matches!(end, End::GivenUp),
            ..settlement(&self.started[&number], outcome)
        }
    }

    async fn superseded(&self, of: Index, attempt: u32) -> Result<(), TestCaseError> {
        let Some(number) = self.pick(of) else { return Ok(()) };
        let View { state, attempt: latest, .. } = self.reference.view(number);
        if state.is_done() || *latest != attempt {
            let job = Job { attempt, ..self.submitted[number].clone() };
            let late = self.shelf.store.settle(settlement(&job, returned())).await;
            prop_assert!(matches!(late, Err(Error::Superseded)), "job {number}: {late:?}");
        }
        Ok(())
    }

    async fn cancel(
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
        let order = CancelOrder { pool, ..cancel(&job, terminate) };
        let done = self.shelf.store.cancel(order).await.expect("an answer");
        prop_assert_eq!(done, self.reference.cancel(number, terminate), "job {}", number);
        Ok(())
    }

    /// What a server does that was told to stop and has no patience left.
    async fn stop(&mut self) {
        self.shelf.store.stop_claiming().await.expect("an answer");
        self.reference.stop();
        let running: Vec<usize> = self.reference.running().collect();
        for number in running {
            let settled = self.shelf.store.settle(self.ended(number, End::Stopped)).await;
            settled.expect("a running job");
            self.reference.settle(number, End::Stopped);
        }
    }

    fn pick(&self, of: Index) -> Option<usize> {
        let there_are = self.submitted.len();
        (there_are > 0).then(|| of.index(there_are))
    }

    /// Holds every job against what it should be.
    async fn compare(&mut self) -> Result<(), TestCaseError> {
        self.shelf.everything_so_far_is_committed().await;
        let page = self.shelf.store.list(&Filter::default(), None, 1_000).await.expect("a page");
        let mut jobs = page.jobs;
        jobs.reverse();
        let seen: Vec<View> = jobs.iter().map(view).collect();
        let expected: Vec<View> = self.reference.views().cloned().collect();
        prop_assert_eq!(seen, expected);
        let others = "select count(*) from jobs, counters
            where state = 'running' and jobs.epoch <> counters.epoch";
        prop_assert_eq!(self.shelf.number(others).await, 0, "a job runs of another server");
        for number in self.reference.running() {
            let known = self.started.get(&number).map_or(0, |job| job.attempt);
            if jobs[number].attempt != known {
                self.started.insert(number, jobs[number].clone());
            }
        }
        Ok(())
    }
}

impl Shelf {
    /// The next server on the same file, after this one was told to stop.
    async fn closed_and_opened(self) -> Self {
        let Self { store, events, closed, config, dir, .. } = self;
        drop(events);
        store.close().await;
        closed.await.expect("the writer ends when it is told to");
        Self::open(dir, config).await
    }

    /// A server on what kill -9 leaves of this one: its files, as they are while it lives.
    async fn after_kill_nine(self) -> Self {
        let left = TempDir::new().expect("a directory");
        // The log first: a checkpoint that runs meanwhile takes pages from it into the database, never back.
        for name in ["futurity.db-wal", "futurity.db"] {
            std::fs::copy(self.dir.path().join(name), left.path().join(name)).expect("a copy");
        }
        let config = Config { path: left.path().join("futurity.db").into(), ..self.config };
        drop((self.store, self.events));
        self.closed.await.expect("the writer ends by itself");
        Self::open(left, config).await
    }

    /// A change that changes nothing is answered after all that came before it, the claims of a start included.
    async fn everything_so_far_is_committed(&self) {
        let nobody = Job::submitted(Arc::new(example::spec(0)), Ordinal(0));
        let refused = self.store.settle(settlement(&nobody, returned())).await;
        assert!(matches!(refused, Err(Error::Superseded)), "{refused:?}");
    }
}

fn queue_name(number: usize) -> QueueName {
    QueueName::new(QUEUES[number]).expect("a name")
}

fn asked(number: u64, priority: i64, lane: Lane, once: bool) -> Submission {
    let spec = Spec {
        function: FunctionName::new(FUNCTIONS[lane.pool]).expect("a name"),
        queue: queue_name(lane.queue),
        priority: Priority::new(priority).expect("a priority"),
        on_interrupt: if once { OnInterrupt::Fail } else { OnInterrupt::Rerun },
        ..example::spec(number)
    };
    Submission { pool: POOLS[lane.pool], ..submission(spec) }
}

/// What can be seen of a job as it was read. What goes together is checked on the way.
fn view(job: &Job) -> View {
    assert_eq!(job.finished_at.is_some(), job.is_done(), "{job:?}");
    assert_eq!(job.result.is_some(), job.state == State::Succeeded, "{job:?}");
    let names = ["ValueError", "interrupted", "crash_loop"];
    let error = job.error.as_ref().map(|error| {
        let known = names.into_iter().find(|name| *name == error.kind.as_str());
        known.unwrap_or("an error that nothing here raises")
    });
    View {
        state: job.state,
        version: job.version,
        attempt: job.attempt,
        interruptions: job.interruptions,
        crashes: job.crashes,
        asked_to_stop: job.cancel_requested_at.is_some(),
        error,
    }
}
