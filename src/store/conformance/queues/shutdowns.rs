//! Shutdowns of queues: what still runs, what is cancelled, and who hears of it.

use crate::store::{Cancellation, QueueChange, Refusal};

use super::{
    Error, NOW, Ordinal, Outcome, QueueSettings, SHUT_DOWN, State, TestStore, cancel, example, of,
    returned, submission, urgent, workers,
};
use crate::store::conformance::{Damage, Figure, Refused};

/// More jobs than one group cancels.
const MANY: u64 = 3_000;
/// Rows that one group cancels at most.
const PORTION: usize = 1_000;
/// More groups than it takes to cancel [`MANY`], be the portions ever so small.
const GROUPS_MAX: usize = 64;

const CANCEL: QueueChange = QueueChange::ShutDown { cancel_futures: true };

impl TestStore {
    /// Listens until a commit tells that the queue is drained; gives all that was told.
    pub async fn told_until_drained(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        for _ in 0..GROUPS_MAX {
            // A change of its own: its group goes on with what is to be cancelled.
            self.queue("default").await;
            told.extend(self.new_events());
            if told.last().is_some_and(|last: &String| last.starts_with("drained")) {
                return told;
            }
        }
        panic!("the queue is not drained after {GROUPS_MAX} groups: {told:?}");
    }

    pub async fn until_nothing_waits(&mut self) {
        for _ in 0..GROUPS_MAX {
            if self.queue("default").await.pending == 0 {
                return;
            }
        }
        panic!("some still wait after {GROUPS_MAX} groups");
    }
}

/// How many jobs each of these events cancelled at once.
fn portions(told: &[String]) -> Vec<usize> {
    let many = told.iter().filter(|told| told.starts_with("cancelled ["));
    many.map(|told| told.split(',').count()).collect()
}

#[tokio::test]
async fn e3_a_queue_that_is_shut_down_takes_nothing_and_another_does() {
    let it = TestStore::of_workers(2).await;
    it.submit(1).await;
    let shut = it.ask(SHUT_DOWN).await;
    assert_eq!((shut.queue.shutdown, shut.cancelled, shut.queue.running), (true, 0, 1));
    let refused = it.put(of("default", 2)).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::QueueShutdown(_)))), "{refused:?}");
    assert_eq!(it.number(Figure::Jobs), 1, "nothing was written");
    it.asks("other", workers(1)).await.expect("a new queue");
    it.put(of("other", 3)).await.expect("a job");
    assert!(!it.ask(workers(2)).await.queue.shutdown, "it is open again");
    assert_eq!(it.submit(2).await.state, State::Running);
}

#[tokio::test]
async fn e12_what_waits_in_a_queue_that_is_shut_down_still_runs_and_its_end_is_told() {
    let mut it = TestStore::of_workers(1).await;
    let (first, second) = (it.submit(1).await, it.submit(2).await);
    it.ask(SHUT_DOWN).await;
    it.ask(SHUT_DOWN).await;
    it.new_events();
    it.settle(&first, returned()).await.expect("a running job");
    assert_eq!(it.new_events(), ["changed 1 succeeded", "claimed [2]"]);
    it.settle(&it.job(&second).await, returned()).await.expect("a running job");
    assert_eq!(it.new_events(), ["changed 2 succeeded", "drained default"]);
    assert_eq!(it.depth().await, (0, 0));
}

#[tokio::test]
async fn e14_what_has_not_started_is_cancelled_in_one_commit_and_what_runs_goes_on() {
    let mut it = TestStore::of_workers(1).await;
    let jobs = it.submit_many(4).await;
    it.new_events();
    let shut = it.ask(CANCEL).await;
    assert_eq!((shut.cancelled, shut.queue.pending, shut.queue.running), (3, 0, 1));
    assert_eq!(it.new_events(), ["cancelled [2, 3, 4]"], "whoever waits for them hears of it");
    let second = it.job(&jobs[1]).await;
    assert_eq!((second.state, second.version, second.attempt), (State::Cancelled, 2, 0));
    assert_eq!((second.finished_at, second.cancel_requested_at), (Some(NOW), Some(NOW)));
    let kept_until = NOW.plus_millis(second.spec.options.retention_ms);
    assert_eq!(second.expires_at, Some(kept_until));
    assert!(second.finished_seq.is_some());
    it.settle(&jobs[0], returned()).await.expect("a running job");
    assert_eq!(it.new_events(), ["changed 1 succeeded", "drained default"], "nothing more starts");
    assert_eq!(it.ask(CANCEL).await.cancelled, 0, "there is nothing left to cancel");
}

#[tokio::test]
async fn e14_thousands_are_cancelled_in_portions_and_nobody_else_is_held_up() {
    let mut it = TestStore::with(QueueSettings { max_workers: 1, max_pending: 10_000 }).await;
    let jobs = it.submit_many(MANY).await;
    it.asks("other", workers(1)).await.expect("a new queue");
    it.new_events();
    let last = jobs.iter().max_by_key(|job| job.ordinal).expect("the last");
    let (shut, other, cancelled) = tokio::join!(
        biased;
        it.asks("default", CANCEL),
        it.put(of("other", MANY + 1)),
        it.store.cancel(cancel(last, false)),
    );
    let shut = shut.expect("a queue");
    assert_eq!(shut.cancelled as u64, MANY - 1, "all but the one that runs");
    assert!(shut.queue.pending > 0, "they are settled later");
    assert_eq!(other.expect("a job").state, State::Running);
    assert_eq!(
        cancelled.expect("an answer"),
        Cancellation::Cancelled,
        "also of one that is marked"
    );
    let running = jobs.iter().find(|job| job.state == State::Running).expect("the first");
    it.settle(running, returned()).await.expect("a running job");

    let told = it.told_until_drained().await;
    let started = told.iter().position(|told| told.starts_with("started")).expect("the other");
    let cancelled = told.iter().rposition(|told| told.starts_with("cancelled [")).expect("some");
    assert!(started < cancelled, "the other did not wait for all of them");
    assert!(!told.iter().any(|told| told.starts_with("claimed")), "none of them started");
    let portions = portions(&told);
    assert!(portions.iter().all(|portion| *portion <= PORTION), "{portions:?}");
    assert_eq!(portions.iter().sum::<usize>() as u64, MANY - 2, "the others, each once");
    let left = it.number(Figure::JobsNotIn(State::Cancelled));
    assert_eq!(left, 2, "the one that ran, and that of the other queue");
}

#[tokio::test]
async fn e15_a_second_shutdown_does_not_take_the_cancelling_back() {
    let mut it = TestStore::with(QueueSettings { max_workers: 1, max_pending: 10_000 }).await;
    it.ask(QueueChange::Pause).await;
    it.submit_many(MANY).await;
    let (first, second) =
        tokio::join!(biased; it.asks("default", CANCEL), it.asks("default", SHUT_DOWN));
    assert_eq!(first.expect("a queue").cancelled as u64, MANY);
    let second = second.expect("a queue");
    assert!(second.queue.pending > 0, "the first is not through when the second comes");
    assert_eq!(second.cancelled, 0);
    it.told_until_drained().await;
    let left = it.number(Figure::JobsNotIn(State::Cancelled));
    assert_eq!(left, 0);
}

#[tokio::test]
async fn e14_a_queue_that_is_opened_again_runs_what_comes_later_and_cancels_what_was_there() {
    let mut it = TestStore::with(QueueSettings { max_workers: 1, max_pending: 10_000 }).await;
    it.ask(QueueChange::Pause).await;
    it.submit_many(MANY).await;
    let (shut, open, resumed, new) = tokio::join!(
        biased;
        it.asks("default", CANCEL),
        it.asks("default", workers(1)),
        it.asks("default", QueueChange::Resume),
        it.put(submission(example::spec(MANY + 1))),
    );
    assert_eq!(shut.expect("a queue").cancelled as u64, MANY);
    assert!(!open.expect("a queue").queue.shutdown);
    assert_eq!(resumed.expect("a queue").queue.running, 0, "none of those that are marked");
    assert_eq!(new.expect("a job").state, State::Running);
    it.ask(CANCEL).await;
    let refused = it.put(submission(example::spec(MANY + 2))).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::QueueShutdown(_)))), "{refused:?}");
    it.until_nothing_waits().await;
    let started = it.number(Figure::JobsStarted);
    assert_eq!(started, 1, "of the others none has started");
}

#[tokio::test]
async fn e14_a_job_that_ran_at_the_shutdown_runs_again_after_an_interruption() {
    let mut it = TestStore::with(QueueSettings { max_workers: 1, max_pending: 10_000 }).await;
    let jobs = it.submit_many(MANY).await;
    let running = jobs.iter().find(|job| job.state == State::Running).expect("the first");
    let (shut, settled) =
        tokio::join!(biased; it.asks("default", CANCEL), it.settle(running, Outcome::Stopped));
    assert_eq!((shut.expect("a queue").cancelled as u64, settled.is_ok()), (MANY - 1, true));
    it.until_nothing_waits().await;
    let again = it.job(running).await;
    assert_eq!((again.state, again.attempt, again.interruptions), (State::Running, 2, 1));
    it.new_events();
    it.settle(&again, returned()).await.expect("a running job");
    assert!(it.new_events().contains(&"drained default".to_owned()));
}

#[tokio::test]
async fn e14_an_interrupted_job_that_waits_while_its_queue_is_emptied_is_not_meant() {
    let mut it = TestStore::with(QueueSettings { max_workers: 1, max_pending: 10_000 }).await;
    it.ask(QueueChange::Pause).await;
    it.submit_many(MANY).await;
    // Behind all others in the order of submission, so that a portion comes to it last.
    it.put(urgent(MANY + 1, 9)).await.expect("a job");
    it.ask(QueueChange::Resume).await;
    it.ask(QueueChange::Pause).await;
    let last = Ordinal(i64::try_from(MANY + 1).expect("a place"));
    let running = it.jobs_at(&[last]).await.remove(0);
    assert_eq!(running.state, State::Running);
    let (shut, settled) =
        tokio::join!(biased; it.asks("default", CANCEL), it.settle(&running, Outcome::Stopped));
    assert_eq!((shut.expect("a queue").cancelled as u64, settled.is_ok()), (MANY, true));
    while it.number(Figure::JobsIn(State::Pending)) > 1 {
        it.next_events().await;
    }
    let left = it.job(&running).await;
    assert_eq!((left.state, left.interruptions), (State::Pending, 1));
}

#[tokio::test]
async fn e14_a_mark_is_honoured_at_the_next_start() {
    let it = TestStore::of_workers(0).await;
    it.submit_many(3).await;
    let seq = it.number(Figure::LastSeq);
    // As a server leaves it that died right after the commit of the mark.
    it.backend.damage(Damage::ShutDown(seq));
    it.backend.damage(Damage::Seq(Ordinal(2), seq + 1));
    let mut it = it.reopened().await;
    let shown = it.queue("default").await;
    assert!(shown.shutdown);
    it.until_nothing_waits().await;
    let jobs = it.jobs_at(&[1, 2, 3].map(Ordinal)).await;
    let states: Vec<&str> = jobs.iter().map(|job| job.state.as_str()).collect();
    assert_eq!(states, ["cancelled", "running", "cancelled"], "2 has changed since the mark");
    assert_eq!((jobs[0].attempt, jobs[2].attempt), (0, 0), "they never started");
    it.new_events();
    it.settle(&jobs[1], returned()).await.expect("a running job");
    assert_eq!(it.new_events(), ["changed 2 succeeded", "drained default"]);
}

#[tokio::test]
async fn a_group_that_is_rolled_back_restores_queues_and_lanes() {
    let mut it = TestStore::of_workers(1).await;
    let jobs = it.submit_many(3).await;
    it.backend.refuse(Refused::CancelOf(Ordinal(3)));
    it.new_events();
    let before = it.queue("default").await;
    // Both in one group, and then each by itself.
    let (paused, failed) =
        tokio::join!(biased; it.asks("other", workers(1)), it.asks("default", CANCEL));
    paused.expect("a new queue");
    failed.expect_err("the database refuses");
    assert_eq!(it.queue("default").await, before, "neither shut down nor emptied");
    assert_eq!(it.state(&jobs[1]).await, State::Pending);
    it.settle(&jobs[0], returned()).await.expect("a running job");
    assert_eq!(it.new_events(), ["changed 1 succeeded", "claimed [2]"], "and in the same order");
    it.backend.allow();
    assert_eq!(it.ask(CANCEL).await.cancelled, 1);
    assert_eq!(it.state(&jobs[2]).await, State::Cancelled);
}
