//! Batches: all or nothing, counts that follow the jobs, and callbacks of their own.

use futures_util::future::join_all;
use uuid::Uuid;

use crate::domain::{Batch, BatchId, BatchSlot, Counts, DeliveryState, NewCallback, OnError, When};
use crate::store::{
    BatchChange, BatchJob, BatchKey, CallbackQuery, DeliverySubject, DueDelivery, Many, NewBatch,
    Order, Refusal,
};

use super::callbacks::{all_due, new};
use super::{
    Arc, Error, Figure, Job, NOW, Ordinal, Outcome, Refused, Spec, State, Submission, TestStore,
    example, raised, returned, submission,
};

pub const ID: BatchId = BatchId(Uuid::from_u128(0xba7c));

/// A batch of so many calls, with ids of jobs from 1.
pub fn batch(calls: u64) -> NewBatch {
    NewBatch {
        id: ID,
        function: example::spec(1).function,
        on_error: OnError::Continue,
        is_open: false,
        retention_ms: 60_000,
        created_at: NOW,
        wall_ahead_ms: 0,
        callbacks: Vec::new(),
        identity: None,
        calls: (1..=calls).map(|number| submission(example::spec(number))).collect(),
    }
}

pub fn told_of(number: u128, when: When) -> (NewCallback, When) {
    (new(number), when)
}

/// A job of a batch that is there, as its streaming map brings it.
pub fn member(batch: &Batch, number: u64, index: i64) -> Submission {
    let of = BatchSlot { batch: batch.id, place: batch.ordinal, index };
    submission(Spec { batch: Some(of), ..example::spec(number) })
}

impl TestStore {
    pub async fn batch(&self) -> Batch {
        let read =
            async || self.store.batch(BatchKey::Id(ID)).await.expect("it reads").expect("a batch");
        let mut batch = read().await;
        // What was counted step by step is what is there. Jobs may start between two looks.
        loop {
            let recounted = self.recounted(batch.ordinal);
            let again = read().await;
            if again == batch {
                assert_eq!(batch.counts, recounted, "the counts in the row, and of the rows");
                return batch;
            }
            batch = again;
        }
    }

    fn recounted(&self, batch: Ordinal) -> Counts {
        let mut counts = Counts::default();
        self.backend.states_of(batch).into_iter().for_each(|state| counts.add(state));
        counts
    }

    pub async fn calls(&self, batch: &Batch) -> Vec<Job> {
        let places = self.store.batch_jobs(batch.ordinal, Order::Input, -1, 1_000).await;
        let places: Vec<Ordinal> = places.expect("they read").iter().map(|it| it.ordinal).collect();
        self.jobs_at(&places).await
    }

    pub async fn told_due(&self) -> Vec<(u128, DeliverySubject)> {
        let due: Vec<DueDelivery> = all_due(self, NOW).await;
        due.iter().map(|it| (it.id.0.as_u128(), it.of)).collect()
    }
}

fn states(jobs: &[Job]) -> Vec<&'static str> {
    jobs.iter().map(|job| job.state.as_str()).collect()
}

#[tokio::test]
async fn e4_a_batch_is_there_whole_in_one_commit_and_its_first_jobs_run() {
    let mut it = TestStore::of_workers(2).await;
    let made = it.store.submit_batch(batch(5)).await.expect("a batch");
    assert_eq!(made.counts, Counts { total: 5, running: 2, ..Counts::default() });
    assert_eq!(it.batch().await, made, "as it was answered");
    let told = it.new_events();
    assert_eq!(told, ["started 2", "started 3", "batch"], "behind the batch's own place, 1");
    let jobs = it.calls(&made).await;
    assert_eq!(states(&jobs), ["running", "running", "pending", "pending", "pending"]);
    for (index, job) in (0..).zip(&jobs) {
        let of = BatchSlot { batch: ID, place: made.ordinal, index };
        assert_eq!(job.spec.batch, Some(of));
    }
}

#[tokio::test]
async fn e4_a_batch_that_cannot_be_taken_whole_leaves_nothing() {
    let it = TestStore::of_workers(2).await;
    let many = NewBatch {
        calls: (1..=1_003).map(|number| submission(example::spec(number))).collect(),
        ..batch(0)
    };
    let full = it.store.submit_batch(many).await;
    assert!(
        matches!(full, Err(Error::Refused(Refusal::QueueFull { max_pending: 1_000, .. }))),
        "{full:?}"
    );
    it.backend.refuse(Refused::NewJobAt(Ordinal(4)));
    it.store.submit_batch(batch(5)).await.expect_err("the database refuses the third call");
    assert_eq!(it.number(Figure::RowsOfBatches), 0);
    it.backend.allow();
    let fits = NewBatch {
        calls: (1..=1_002).map(|number| submission(example::spec(number))).collect(),
        ..batch(0)
    };
    let made = it.store.submit_batch(fits).await.expect("as many as may run and wait");
    assert_eq!((made.counts.running, made.counts.pending()), (2, 1_000));
}

#[tokio::test]
async fn a_batch_is_done_with_its_last_job_however_each_of_them_ends() {
    let it = TestStore::of_workers(2).await;
    let made = it.store.submit_batch(batch(4)).await.expect("a batch");
    let jobs = it.calls(&made).await;
    it.settle(&jobs[0], returned()).await.expect("a running job");
    it.settle(&jobs[1], raised()).await.expect("a running job");
    let batch = it.batch().await;
    assert_eq!((batch.counts.running, batch.counts.pending(), batch.is_done()), (2, 0, false));
    let third = it.job(&jobs[2]).await;
    it.settle(&third, Outcome::Stopped).await.expect("a running job");
    assert_eq!(it.batch().await.counts.running, 2, "interrupted, and claimed again");
    let fourth = it.job(&jobs[3]).await;
    it.settle(&fourth, Outcome::Cancelled).await.expect("a running job");
    let third = it.job(&third).await;
    it.settle(&third, returned()).await.expect("a running job");
    let batch = it.batch().await;
    let ended = Counts { total: 4, running: 0, succeeded: 2, failed: 1, cancelled: 1 };
    assert_eq!((batch.counts, batch.finished_at), (ended, Some(NOW)));
    assert_eq!(batch.expires_at, Some(NOW.plus_millis(60_000)));
    assert_eq!(it.job(&third).await.expires_at, None, "it goes with the batch");
    let completed =
        it.store.batch_jobs(made.ordinal, Order::Completed, 0, 9).await.expect("places");
    let indexes = |places: &[BatchJob]| places.iter().map(|it| it.index).collect::<Vec<i64>>();
    assert_eq!(indexes(&completed), [0, 1, 3, 2]);
    let after = completed[1].ended.expect("it is done").seq;
    let rest = it.store.batch_jobs(made.ordinal, Order::Completed, after, 1).await.expect("places");
    assert_eq!(indexes(&rest), [3]);
}

#[tokio::test]
async fn the_order_of_many_ends_is_kept_from_any_place_on() {
    let it = TestStore::of_workers(1_000).await;
    let made = it.store.submit_batch(batch(500)).await.expect("a batch");
    let jobs = it.calls(&made).await;
    join_all(jobs.iter().map(|job| it.settle(job, returned()))).await;
    assert!(it.batch().await.is_done());
    let in_order = it.backend.in_order_of_ends();
    for page in [1, 7, 129, 500] {
        let (mut ended, mut after) = (Vec::new(), 0);
        loop {
            let places = it.store.batch_jobs(made.ordinal, Order::Completed, after, page).await;
            let places = places.expect("they read");
            let Some(last) = places.last() else { break };
            assert!(places.len() <= page);
            after = last.ended.expect("it is done").seq;
            ended.extend(places.iter().map(|it| it.ordinal.0));
        }
        assert_eq!(ended, in_order);
    }
}

#[tokio::test]
async fn a_batch_without_calls_is_done_at_once_and_tells_all_its_callbacks() {
    let it = TestStore::of_workers(1).await;
    let callbacks = vec![told_of(1, When::FirstException), told_of(2, When::AllCompleted)];
    let made = it.store.submit_batch(NewBatch { callbacks, ..batch(0) }).await.expect("a batch");
    assert!(made.is_done());
    assert_eq!(it.batch().await, made);
    let first = DeliverySubject::Batch(made.ordinal, When::FirstException);
    assert_eq!(it.told_due().await, [(1, first)], "the other one after it");
}

#[tokio::test]
async fn w5_w6_callbacks_of_a_batch_are_due_in_the_commit_that_brings_what_they_wait_for() {
    let mut it = TestStore::of_workers(3).await;
    let callbacks = vec![
        told_of(1, When::AllCompleted),
        told_of(2, When::FirstException),
        told_of(3, When::FirstCompleted),
    ];
    let made = it.store.submit_batch(NewBatch { callbacks, ..batch(3) }).await.expect("a batch");
    let told = |when| DeliverySubject::Batch(made.ordinal, when);
    let jobs = it.calls(&made).await;
    it.new_events();
    it.settle(&jobs[1], returned()).await.expect("a running job");
    assert!(it.new_events().contains(&"batch".to_owned()));
    assert_eq!(it.told_due().await, [(3, told(When::FirstCompleted))]);
    it.settle(&jobs[0], raised()).await.expect("a running job");
    let due = it.told_due().await;
    assert_eq!(due, [(2, told(When::FirstException))], "3 comes after it");
    let (late, when) = told_of(4, When::FirstException);
    it.store
        .add_callback(DeliverySubject::Batch(made.ordinal, when), late)
        .await
        .expect("a callback");
    let (late, when) = told_of(5, When::AllCompleted);
    it.store
        .add_callback(DeliverySubject::Batch(made.ordinal, when), late)
        .await
        .expect("a callback");
    let deliveries = Figure::Deliveries;
    assert_eq!(it.number(deliveries), 3, "4 has come about already, 5 has not");
    it.settle(&jobs[2], returned()).await.expect("a running job");
    assert_eq!(it.number(deliveries), 5);
    let callbacks = it.callbacks_of(&CallbackQuery::OfBatch(made.ordinal)).await;
    let pending = |delivery: &crate::domain::Delivery| delivery.state == DeliveryState::Pending;
    assert!(callbacks.iter().all(|it| it.delivery.as_ref().is_some_and(pending)));
    assert_eq!(callbacks.last().and_then(|it| it.when), Some(When::AllCompleted));
}

#[tokio::test]
async fn e8_the_failure_of_a_job_keeps_the_rest_of_its_batch_from_starting() {
    let mut it = TestStore::of_workers(1).await;
    let batch = NewBatch { on_error: OnError::Cancel, ..batch(4) };
    let made = it.store.submit_batch(batch).await.expect("a batch");
    let other = it.submit(9).await;
    let jobs = it.calls(&made).await;
    it.new_events();
    it.settle(&jobs[0], raised()).await.expect("a running job");
    let told = it.new_events();
    assert_eq!(told[0], format!("batch cancelling {}", made.ordinal.0));
    assert!(told.contains(&format!("claimed [{}]", other.ordinal.0)), "{told:?}");
    let batch = it.batch().await;
    let ended = Counts { total: 4, running: 0, succeeded: 0, failed: 1, cancelled: 3 };
    assert_eq!((batch.counts, batch.is_done()), (ended, true));
    assert_eq!(batch.cancel_requested_at, Some(NOW));
    assert!(it.calls(&made).await[1..].iter().all(|job| job.attempt == 0), "none has started");
    let refused =
        it.store.change_batch(made.ordinal, BatchChange::Cancel, NOW).await.expect("an answer");
    assert!(!refused, "it is done");
}

#[tokio::test]
async fn a_batch_that_is_being_cancelled_starts_nothing_at_the_next_start_either() {
    let it = TestStore::of_workers(0).await;
    let made = it.store.submit_batch(batch(3)).await.expect("a batch");
    assert!(
        it.store.change_batch(made.ordinal, BatchChange::Cancel, NOW).await.expect("an answer")
    );
    assert!(
        !it.store.change_batch(made.ordinal, BatchChange::Cancel, NOW).await.expect("an answer"),
        "the second time"
    );
    let mut it = it.reopened().await;
    assert_eq!(it.cancelling, [made.ordinal]);
    it.asks("default", super::queues::workers(1)).await.expect("a queue");
    let told = it.new_events();
    assert!(!told.iter().any(|told| told.starts_with("claimed")), "{told:?}");
    let batch = it.batch().await;
    assert_eq!((batch.counts.cancelled, batch.is_done()), (3, true));
}

#[tokio::test]
async fn a_batch_that_is_left_open_by_a_server_that_died_is_closed_at_the_next_start() {
    let it = TestStore::of_workers(2).await;
    let open = NewBatch { is_open: true, ..batch(0) };
    let made = it.store.submit_batch(open).await.expect("a batch");
    assert!(!made.is_done(), "more may come");
    let many = |calls| Many { calls, batch: Some(made.ordinal) };
    let calls = vec![member(&made, 1, 0), member(&made, 2, 1)];
    let jobs = it.many(many(calls)).await.expect("an answer");
    it.settle(jobs[0].as_ref().expect("a job"), returned()).await.expect("a running job");
    assert_eq!(it.batch().await.counts.total, 2);
    let it = it.reopened().await;
    let batch = it.batch().await;
    assert!(batch.is_closed);
    let late = it.many(many(vec![member(&made, 3, 2)])).await;
    assert!(matches!(late, Err(Error::Refused(Refusal::BatchClosed))), "{late:?}");
    let second = it.job(jobs[1].as_ref().expect("a job")).await;
    assert_eq!((second.attempt, second.crashes), (2, 1), "it runs again");
    it.settle(&second, returned()).await.expect("a running job");
    assert!(it.batch().await.is_done());
}

#[tokio::test]
async fn e5_jobs_that_come_between_those_of_others_are_found_in_the_order_of_their_calls() {
    let it = TestStore::of_workers(1_000).await;
    let open = NewBatch { is_open: true, ..batch(0) };
    let made = it.store.submit_batch(open).await.expect("a batch");
    let mut index: i64 = 0;
    for (portion, count) in [3, 1, 5, 2, 4].into_iter().enumerate() {
        let calls = (index..index + count).map(|it| member(&made, 100 + it.unsigned_abs(), it));
        let many = Many { calls: calls.collect(), batch: Some(made.ordinal) };
        it.many(many).await.expect("an answer");
        index += count;
        // The third portion goes on where the second ended.
        if portion != 1 {
            it.submit(portion as u64).await;
        }
    }
    it.store.change_batch(made.ordinal, BatchChange::Close, NOW).await.expect("an answer");
    for after in -1..index {
        for limit in [1, 4, 100] {
            let places = it.store.batch_jobs(made.ordinal, Order::Input, after, limit).await;
            let found: Vec<i64> = places.expect("they read").iter().map(|it| it.index).collect();
            let expected: Vec<i64> = (after + 1..index).take(limit).collect();
            assert_eq!(found, expected, "after {after}, at most {limit}");
        }
    }
    let jobs = it.store.batch_jobs(made.ordinal, Order::Input, -1, 100).await.expect("they read");
    let numbers: Vec<u128> = jobs.iter().map(|job| job.id.0.as_u128()).collect();
    assert_eq!(numbers, (100..115).collect::<Vec<u128>>());
    let filter = crate::store::Filter { batch: Some(ID), ..Default::default() };
    let page = it.list(&filter, None, 4).await;
    let shown: Vec<u128> = page.jobs.iter().map(|job| job.spec.id.0.as_u128()).collect();
    assert_eq!(shown, [114, 113, 112, 111]);
    let mut below = page.next;
    let mut rest = Vec::new();
    while let Some(next) = below {
        let page = it.list(&filter, Some(next), 4).await;
        rest.extend(page.jobs.iter().map(|job| job.spec.id.0.as_u128()));
        below = page.next;
    }
    assert_eq!(rest, (100..111).rev().collect::<Vec<u128>>());
}

#[tokio::test]
async fn many_that_are_submitted_together_are_refused_one_by_one() {
    let it = TestStore::of_workers(1).await;
    let mut calls: Vec<Submission> = (1..=3).map(|it| submission(example::spec(it))).collect();
    let elsewhere = crate::domain::QueueName::new("nowhere").expect("a name");
    calls[1].spec = Arc::new(Spec { queue: elsewhere, ..example::spec(2) });
    let answers = it.many(Many { calls, batch: None }).await.expect("answers");
    let [Ok(first), Err(Error::Refused(Refusal::UnknownQueue(_))), Ok(third)] = &answers[..] else {
        panic!("{answers:?}");
    };
    assert_eq!((first.state, third.state), (State::Running, State::Pending));
    assert_eq!(third.ordinal.0, first.ordinal.0 + 1);
}
