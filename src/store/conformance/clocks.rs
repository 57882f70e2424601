//! What time brings: at once as much as a group may, in the order of the moments, and nothing by halves.

use futures_util::future::join_all;

use crate::domain::{Clocks, Options, RunAt};
use crate::store::{Failure, NextTimer, Now, QueueChange, QueueOrder};

use super::{
    Error, Figure, Job, NOW, Ordinal, QueueSettings, Refused, Spec, State, Submission, TestStore,
    Timestamp, example, submission,
};

/// Two and a half groups of jobs that come due.
const MANY: u64 = 2_500;
const LATER: Timestamp = Timestamp(NOW.0 + 10);

/// Example number `number`, to start when the server's clock shows `at`.
fn counted(number: u64, at: Timestamp) -> Submission {
    Submission { run_at: Some(RunAt::Monotonic(at)), ..submission(example::spec(number)) }
}

fn at(now: Timestamp) -> Now {
    Now { now, wall: now }
}

impl TestStore {
    pub async fn submit_all(&self, all: impl Iterator<Item = Submission>) -> Vec<Job> {
        let jobs = join_all(all.map(|it| self.put(it))).await;
        jobs.into_iter().map(|job| job.expect("a job")).collect()
    }

    pub async fn due(&self, moment: Now) -> NextTimer {
        self.store.run_timers(moment).await.expect("an answer")
    }
}

#[tokio::test]
async fn thousands_that_come_due_at_once_start_in_several_groups_and_in_the_order_of_submission() {
    let mut it = TestStore::with(QueueSettings { max_workers: 1, max_pending: 10_000 }).await;
    let jobs = it.submit_all((1..=MANY).map(|number| counted(number, LATER))).await;
    assert_eq!(it.due(at(Timestamp(LATER.0 - 1))).await.deadline, Some(LATER));
    it.new_events();
    for waiting in [1_500, 500, 0] {
        let alarm = it.due(at(LATER)).await;
        assert_eq!(alarm.deadline.is_some(), waiting > 0, "there is more to do at once");
        let scheduled = it.number(Figure::JobsScheduled);
        assert_eq!(scheduled, waiting);
    }
    let first = format!("claimed [{}]", jobs[0].ordinal.0);
    assert_eq!(it.new_events(), [&first, "may start 1000", "may start 1000", "may start 500"]);
    let queue = it.queue_of(jobs[0].spec.queue.clone()).await;
    assert_eq!((queue.pending, queue.oldest), (2_499, Some(jobs[1].ordinal)));
}

#[tokio::test]
async fn thousands_that_waited_too_long_end_and_whoever_waits_is_told_of_each() {
    let mut it = TestStore::with(QueueSettings { max_workers: 1, max_pending: 10_000 }).await;
    it.submit(1).await;
    let clocks = Clocks { start_timeout_ms: Some(10), ..Clocks::default() };
    let options = Options { clocks, ..Options::default() };
    let all = (2..=MANY).map(|number| submission(Spec { options, ..example::spec(number) }));
    let jobs = it.submit_all(all).await;
    it.new_events();
    let mut told = 0;
    while it.due(at(LATER)).await.deadline.is_some() {
        told += it.new_events().iter().map(|words| words.matches(',').count() + 1).sum::<usize>();
    }
    told += it.new_events().iter().map(|words| words.matches(',').count() + 1).sum::<usize>();
    assert_eq!(told, jobs.len());
    assert_eq!(it.number(Figure::JobsIn(State::Failed)), 2_499);
    let queue = it.queue_of(jobs[0].spec.queue.clone()).await;
    assert_eq!((queue.pending, queue.running, queue.oldest), (0, 1, None));
}

#[tokio::test]
async fn g24_what_comes_due_in_a_group_that_fails_waits_as_before_and_comes_due_again() {
    let it = TestStore::of_workers(1).await;
    let jobs = it.submit_all((1..=2).map(|number| counted(number, LATER))).await;
    // The first has its slot already when the second one fails.
    it.backend.refuse(Refused::TimerOf(Ordinal(2)));
    let refused = it.store.run_timers(at(LATER)).await;
    assert!(matches!(refused, Err(Error::Failed(Failure::Sql(_)))), "{refused:?}");
    for job in &jobs {
        assert_eq!(it.job(job).await, *job);
    }
    let queue = it.queue_of(jobs[0].spec.queue.clone()).await;
    assert_eq!((queue.pending, queue.running, queue.oldest), (2, 0, None));

    it.backend.allow();
    assert_eq!(it.due(at(LATER)).await, NextTimer::default());
    assert_eq!(it.state(&jobs[0]).await, State::Running);
    let queue = it.queue_of(jobs[0].spec.queue.clone()).await;
    assert_eq!((queue.pending, queue.running, queue.oldest), (1, 1, Some(jobs[1].ordinal)));
}

#[tokio::test]
async fn e14_a_job_whose_time_comes_while_its_queue_is_being_cancelled_never_starts() {
    let it = TestStore::with(QueueSettings { max_workers: 1, max_pending: 10_000 }).await;
    let jobs = it.submit_all((1..=MANY).map(|number| counted(number, LATER))).await;
    let change = QueueChange::ShutDown { cancel_futures: true };
    let order = QueueOrder { queue: jobs[0].spec.queue.clone(), change, now: NOW };
    // One group cancels some of them, and the time of the others comes in the same one.
    let (shut, _) =
        tokio::join!(biased; it.store.change_queue(order), it.store.run_timers(at(LATER)));
    assert_eq!(shut.expect("a queue").cancelled, 2_500);
    for _ in 0..10 {
        it.due(at(LATER)).await;
    }
    assert_eq!(it.number(Figure::JobsStarted), 0, "none was ever started");
    assert_eq!(it.number(Figure::JobsIn(State::Cancelled)), 2_500);
}
