//! One decision about each job that comes: it starts, waits, or is refused. Whatever else stands or happens, no request makes
//! slots and database disagree, and a batch is there whole or not at all.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use proptest::prelude::*;
use uuid::Uuid;

use super::refused_for_now::Lock;
use crate::domain::{BatchId, OnError, Options, RunAt};
use crate::store::Error::Refused;
use crate::store::conformance::batches::{ID, batch};
use crate::store::conformance::{
    BTreeMap, Backend, CancelOrder, Config, Error, Job, NOW, Ordinal, Outcome, Pool, QueueName,
    QueueSettings, Spec, State, Submission, TestStore, Timestamp, cancel, example, returned,
    settlement, submission,
};
use crate::store::sqlite::jobs::cancel_many::{AddCancelRule, CancelPortion, DropCancelRule};
use crate::store::sqlite::slots::CancelRule;
use crate::store::{
    BatchChange, BatchKey, Filter, Many, NewBatch, Now, QueueChange, QueueOrder, Refusal,
    SlotChange, SweepCursor, fsck,
};

const MAX_PENDING: usize = 3;
const QUEUES: [&str; 2] = ["default", "other"];

#[tokio::test]
async fn f22_a_batch_without_calls_may_come_and_go_in_one_group() {
    let it = TestStore::of_workers(1).await;
    // While the writer waits for the lock, what comes is gathered for its next group.
    let lock = Lock::take(&it);
    let gone = NewBatch { retention_ms: 0, ..batch(0) };
    let (first, made, cleaned, ()) = tokio::join!(
        biased;
        it.put(submission(example::spec(1))),
        it.store.submit_batch(gone),
        it.store.sweep(NOW, SweepCursor::NOTHING),
        async { lock.let_go() },
    );
    first.expect("a job");
    assert_eq!(made.expect("a batch").finished_at, Some(NOW));
    cleaned.expect("it is not what slots and database disagree about");
    let gone = it.store.batch(BatchKey::Id(ID)).await.expect("it reads");
    assert!(gone.is_none(), "it is gone");
    it.submit(2).await;
}

/// What is asked of a store, or happens to it.
#[derive(Clone, Copy, Debug)]
enum Step {
    Submit { queue: usize, later: bool },
    Batch { queue: usize, calls: u64, later: bool, cancels: bool },
    Many { queue: usize, calls: u64 },
    End { nth: usize, fails: bool },
    Cancel { nth: usize },
    CancelBatch { nth: usize },
    AddRule { queue: usize },
    DropRule,
    Portion { nth: usize },
    Queue { queue: usize, change: QueueChange },
    Workers(usize),
    Pass,
    Clean,
    Together,
    Dies,
}

fn a_step() -> impl Strategy<Value = Step> {
    let queue = 0..QUEUES.len();
    let change = prop_oneof![
        1 => Just(QueueChange::Pause),
        3 => Just(QueueChange::Resume),
        1 => any::<bool>().prop_map(|cancel_futures| QueueChange::ShutDown { cancel_futures }),
        3 => (0..4_usize, 0..6_usize).prop_map(|(workers, pending)| {
            let (max_workers, max_pending) = (Some(workers.max(1)), Some(pending));
            QueueChange::Set { max_workers, max_pending, expires_ms: None }
        }),
    ];
    prop_oneof![
        4 => (queue.clone(), prop::bool::weighted(0.2))
            .prop_map(|(queue, later)| Step::Submit { queue, later }),
        8 => (queue.clone(), 0..9_u64, prop::bool::weighted(0.2), any::<bool>()).prop_map(
            |(queue, calls, later, cancels)| Step::Batch { queue, calls, later, cancels }
        ),
        2 => (queue.clone(), 1..5_u64).prop_map(|(queue, calls)| Step::Many { queue, calls }),
        6 => (any::<usize>(), prop::bool::weighted(0.3))
            .prop_map(|(nth, fails)| Step::End { nth, fails }),
        2 => any::<usize>().prop_map(|nth| Step::Cancel { nth }),
        2 => any::<usize>().prop_map(|nth| Step::CancelBatch { nth }),
        2 => queue.clone().prop_map(|queue| Step::AddRule { queue }),
        1 => Just(Step::DropRule),
        2 => any::<usize>().prop_map(|nth| Step::Portion { nth }),
        3 => (queue, change).prop_map(|(queue, change)| Step::Queue { queue, change }),
        1 => (0..4_usize).prop_map(Step::Workers),
        2 => Just(Step::Pass),
        1 => Just(Step::Clean),
        1 => Just(Step::Together),
        3 => Just(Step::Dies),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 8))]
    #[test]
    fn e4_g9_no_request_in_whatever_order_makes_ledger_and_database_disagree(
        groups in prop::collection::vec(prop::collection::vec(a_step(), 1..6), 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let mut it = Asked::new().await;
            for steps in groups {
                it = it.after(steps).await;
                it.is_whole().await;
            }
            it.looked_through().await;
        });
    }
}

/// What came of it that is asked about later.
enum Made {
    Batch(BatchId, Ordinal, u64),
    Rule(u64),
}

type Asking = BoxFuture<'static, Result<Option<Made>, Error>>;

fn asking(asked: impl Future<Output = Result<Option<Made>, Error>> + Send + 'static) -> Asking {
    asked.boxed()
}

/// A store of which anything is asked.
struct Asked {
    shelf: TestStore,
    number: u64,
    now: Timestamp,
    /// Batches that were taken, and how many calls each has.
    batches: Vec<(BatchId, Ordinal, u64)>,
    rules: Vec<u64>,
}

impl Asked {
    async fn new() -> Self {
        let backend = Backend::fresh();
        let settings = QueueSettings { max_workers: 2, max_pending: MAX_PENDING };
        let queues = QUEUES.map(|name| (QueueName::new(name).expect("a name"), settings));
        let config = Config {
            path: backend.path(),
            queues: BTreeMap::from(queues),
            queue_default: settings,
            manual_max: 1_000,
            slots: BTreeMap::from([(Pool::Tasks, 3)]),
            pools: BTreeMap::from([("echo".to_owned(), Pool::Tasks)]),
            delivery_wait_ms_max: 86_400_000,
            accept_data_loss: false,
        };
        let shelf = TestStore::open(backend, config).await;
        Self { shelf, number: 0, now: NOW, batches: Vec::new(), rules: Vec::new() }
    }

    /// What may be answered to anybody: anything but that nobody knows.
    #[track_caller]
    fn known<T>(answer: Result<T, Error>) -> Option<T> {
        let error = match answer {
            Ok(done) => return Some(done),
            Err(error) => error,
        };
        let Refused(refusal) = &error else { panic!("{error:?}") };
        let is_expected = |it: &_| matches!(it, Refusal::QueueFull { .. } | Refusal::BatchClosed);
        let is_over = matches!(refusal, Refusal::QueueShutdown(_) | Refusal::Superseded);
        assert!(is_expected(refusal) || is_over, "{error:?}");
        None
    }

    fn call(&mut self, queue: usize, later: bool) -> Submission {
        self.number += 1;
        let queue = QueueName::new(QUEUES[queue]).expect("a name");
        let options = Options { retention_ms: 20, ..Options::default() };
        let spec = Spec { queue, created_at: self.now, options, ..example::spec(self.number) };
        let run_at = later.then(|| RunAt::Monotonic(self.now.plus_millis(15)));
        Submission { run_at, ..submission(spec) }
    }

    async fn running(&self) -> Vec<Job> {
        let filter = Filter { state: Some(State::Running), ..Filter::default() };
        self.shelf.list(&filter, None, 1_000).await.jobs
    }

    async fn jobs(&self) -> Vec<Job> {
        self.shelf.list(&Filter::default(), None, 1_000).await.jobs
    }

    /// What is asked of the store, to be sent with others.
    async fn asks(&mut self, step: Step) -> Option<Asking> {
        let (store, now) = (self.shelf.store.clone(), self.now);
        Some(match step {
            Step::Submit { queue, later } => {
                let call = self.call(queue, later);
                asking(async move { store.submit(call, None).await?.get().await.map(|_job| None) })
            }
            Step::Batch { queue, calls, later, cancels } => {
                let new = self.batch(queue, (calls, later), cancels);
                let id = new.id;
                asking(async move {
                    let made = store.submit_batch(new).await?;
                    Ok(Some(Made::Batch(id, made.ordinal, calls)))
                })
            }
            Step::Many { queue, calls } => {
                let calls = (0..calls).map(|_| self.call(queue, false)).collect();
                let many = Many { calls, batch: None };
                asking(async move {
                    let each = store.submit_many(many).await?.get().await?;
                    each.into_iter().for_each(|one| drop(Self::known(one)));
                    Ok(None)
                })
            }
            Step::End { nth, fails } => {
                let job = self.shelf.job(&nth_of(self.running().await, nth)?).await;
                let error = crate::domain::JobError::new("ValueError", "no");
                let outcome = if fails { Outcome::Raised(error) } else { returned() };
                let its_end = std::sync::Arc::new(settlement(&job, outcome));
                asking(async move { store.complete(its_end, None).await.map(|()| None) })
            }
            Step::Cancel { nth } => {
                let order = cancel(&nth_of(self.jobs().await, nth)?, true);
                let order = CancelOrder { now, ..order };
                asking(async move { store.cancel(order).await.map(|_done| None) })
            }
            other => return self.asks_of_many(other).await,
        })
    }

    fn batch(&mut self, queue: usize, (calls, later): (u64, bool), cancels: bool) -> NewBatch {
        let on_error = if cancels { OnError::Cancel } else { OnError::Continue };
        let id = BatchId(Uuid::from_u128(1 << 80 | u128::from(self.number)));
        self.number += 1;
        let jobs = (0..calls).map(|_| self.call(queue, later)).collect();
        let created_at = self.now;
        NewBatch { id, calls: jobs, on_error, created_at, retention_ms: 0, ..batch(0) }
    }

    async fn asks_of_many(&mut self, step: Step) -> Option<Asking> {
        let (store, sqlite, now) = (self.shelf.store.clone(), self.shelf.sqlite(), self.now);
        Some(match step {
            Step::CancelBatch { nth } => {
                let (_, place, _) = nth_of(self.batches.clone(), nth)?;
                asking(async move {
                    store.change_batch(place, BatchChange::Cancel, now).await.map(|_| None)
                })
            }
            Step::AddRule { queue } => {
                let queue = QueueName::new(QUEUES[queue]).ok();
                let rule = CancelRule::Matching(Filter { queue, ..Filter::default() });
                asking(async move {
                    let (number, _) = sqlite.write(AddCancelRule(rule)).await?;
                    Ok(Some(Made::Rule(number)))
                })
            }
            Step::DropRule => {
                let number = self.rules.pop()?;
                asking(async move { sqlite.write(DropCancelRule(number)).await.map(|_| None) })
            }
            Step::Portion { nth } => {
                let jobs = vec![nth_of(self.jobs().await, nth)?.ordinal];
                let (pending, running, terminate) = (true, true, true);
                let grace_seconds = 1.0;
                let portion =
                    CancelPortion { jobs, pending, running, terminate, grace_seconds, now };
                asking(async move { sqlite.write(portion).await.map(|_| None) })
            }
            Step::Queue { queue, change } => {
                let queue = QueueName::new(QUEUES[queue]).expect("a name");
                let order = QueueOrder { queue, change, now };
                asking(async move { store.change_queue(order).await.map(|_| None) })
            }
            other => self.asks_of_time(other),
        })
    }

    fn asks_of_time(&mut self, step: Step) -> Asking {
        let store = self.shelf.store.clone();
        match step {
            Step::Workers(slots) => {
                let now = self.now;
                asking(async move {
                    store
                        .change_slots(SlotChange::Resize { pool: Pool::Tasks, slots }, now)
                        .await
                        .map(|()| None)
                })
            }
            Step::Pass => {
                self.now = self.now.plus_millis(10);
                let moment = Now { now: self.now, wall: self.now };
                asking(async move { store.run_timers(moment).await.map(|_| None) })
            }
            Step::Clean => {
                let now = self.now;
                asking(async move {
                    let mut from = Some(SweepCursor::NOTHING);
                    while let Some(next) = from {
                        from = store.sweep(now, next).await?.next;
                    }
                    Ok(None)
                })
            }
            _ => {
                let now = self.now;
                asking(async move {
                    store.change_slots(SlotChange::ClearSuspects, now).await.map(|()| None)
                })
            }
        }
    }

    /// Asks all of it at once: while the writer waits for a lock, what comes is gathered for its next group.
    async fn after(mut self, steps: Vec<Step>) -> Self {
        let mut asked = Vec::new();
        let dies = steps.iter().any(|step| matches!(step, Step::Dies));
        for step in steps.into_iter().filter(|step| !matches!(step, Step::Dies)) {
            asked.extend(self.asks(step).await);
        }
        let lock = Lock::take(&self.shelf);
        let all = futures_util::future::join_all(asked);
        let (answers, ()) = tokio::join!(biased; all, async { lock.let_go() });
        for answer in answers {
            match Self::known(answer).flatten() {
                Some(Made::Batch(id, place, calls)) => self.batches.push((id, place, calls)),
                Some(Made::Rule(number)) => self.rules.push(number),
                None => {}
            }
        }
        if dies { self.dies().await } else { self }
    }

    async fn dies(self) -> Self {
        // Rules of cancels of many go with their server.
        Self { shelf: self.shelf.reopened_at(self.now).await, rules: Vec::new(), ..self }
    }

    /// Each batch has as many jobs as it was taken with, as long as it is there.
    async fn is_whole(&self) {
        for (id, _, calls) in &self.batches {
            if let Some(found) = self.shelf.store.batch(BatchKey::Id(*id)).await.expect("it reads")
            {
                assert_eq!(u64::try_from(found.counts.total), Ok(*calls));
            }
        }
    }

    async fn looked_through(self) {
        let TestStore { store, closed, backend, .. } = self.shelf;
        store.close().await;
        closed.await.expect("the writer ends when it is told to");
        let found = fsck(&backend.path().file, |_, _| true).await;
        assert_eq!(found.expect("it reads").findings, Vec::<String>::new());
    }
}

fn nth_of<T>(all: Vec<T>, nth: usize) -> Option<T> {
    let count = all.len();
    (count > 0).then(|| all.into_iter().nth(nth % count)).flatten()
}
