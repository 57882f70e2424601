//! The outbox: which deliveries there are, and when each is due.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::domain::callback::CallbackState;
use crate::domain::callback::DeliveryAttempt;
use crate::domain::{Callback, CallbackId, DeliveryState, NewCallback, ReceiverHealth, Tier};
use crate::store::{CallbackQuery, DeliveryReport, DeliverySubject, DueDelivery};

use super::{
    Figure, Job, NOW, Ordinal, Submission, TestStore, Timestamp, cancel, example, raised, returned,
    submission,
};

/// Later than everything that a test plans.
const MUCH_LATER: Timestamp = Timestamp(i64::MAX);

pub fn new(number: u128) -> NewCallback {
    NewCallback {
        id: CallbackId(Uuid::from_u128(number)),
        url: format!("http://127.0.0.1:9/{number}"),
        host: "127.0.0.1:9".to_owned(),
        sealed: None,
        created_at: NOW,
        due_at: NOW,
    }
}

pub fn with_callbacks(number: u64, callbacks: Vec<NewCallback>) -> Submission {
    Submission { callbacks, ..submission(example::spec(number)) }
}

/// What is due at `now`: of each receiver whose turn it is, the quick ones first.
pub async fn all_due(it: &TestStore, now: Timestamp) -> Vec<DueDelivery> {
    let mut outbox = it.store.outbox(now).await.expect("a look");
    let held_from = Timestamp(now.0.saturating_sub(1_000));
    let mut due = Vec::new();
    for tier in Tier::ALL {
        for turn in outbox.receivers(tier, 100).await.expect("they read") {
            due.extend(outbox.due(&turn.host, held_from, 100).await.expect("they read"));
        }
    }
    due
}

/// Keeps one body.
pub async fn keep_body(it: &TestStore, callback: Ordinal, body: &str) {
    let bodies = BTreeMap::from([(callback, body.to_owned())]);
    it.store.begin_deliveries(bodies.into(), Vec::new()).await.expect("an answer");
}

/// The numbers of the callbacks whose delivery is due.
pub async fn due(it: &TestStore, now: Timestamp) -> Vec<u128> {
    all_due(it, now).await.iter().map(|due| due.id.0.as_u128()).collect()
}

pub async fn only_due(it: &TestStore) -> DueDelivery {
    let mut due = all_due(it, NOW).await;
    assert_eq!(due.len(), 1, "{due:?}");
    due.remove(0)
}

pub async fn callbacks(it: &TestStore, job: &Job) -> Vec<Callback> {
    it.callbacks_of(&CallbackQuery::OfJob(job.ordinal)).await
}

pub fn report(
    due: &DueDelivery,
    state: DeliveryState,
    next_at: Option<Timestamp>,
) -> DeliveryReport {
    let attempt = DeliveryAttempt {
        at: NOW,
        status: Some(500),
        error: None,
        body: Some("no".to_owned()),
        duration_ms: 0,
    };
    DeliveryReport {
        callback: due.callback,
        host: due.host.clone(),
        health: ReceiverHealth::Quick,
        number: due.attempts + 1,
        now: NOW,
        attempt,
        state,
        next_at,
    }
}

#[tokio::test]
async fn f3_deliveries_are_made_in_the_commit_that_ends_the_job() {
    let mut it = TestStore::of_workers(1).await;
    let first = it.put(with_callbacks(1, vec![new(1)])).await.expect("a job");
    let second = it.put(with_callbacks(2, vec![new(2)])).await.expect("a job");
    assert_eq!(callbacks(&it, &first).await[0].state(), CallbackState::Waiting);
    assert!(due(&it, MUCH_LATER).await.is_empty());

    it.store.cancel(cancel(&second, false)).await.expect("an answer");
    assert_eq!(due(&it, NOW).await, [2], "a cancelled job is told of as any other");
    assert!(it.heard_of_deliveries());
    it.settle(&first, raised()).await.expect("a running job");
    assert!(it.heard_of_deliveries());
    let mut both = due(&it, NOW).await;
    both.sort_unstable();
    assert_eq!(both, [1, 2]);
    let made = callbacks(&it, &first).await;
    assert_eq!(made[0].state(), CallbackState::Pending);
    assert_eq!(made[0].delivery.as_ref().expect("a delivery").next_at, Some(NOW));
}

#[tokio::test]
async fn f14_a_callback_added_to_a_done_job_is_due_at_once() {
    let mut it = TestStore::of_workers(1).await;
    let (first, second) = (it.submit(1).await, it.submit(2).await);
    for (job, number) in [(&first, 1), (&second, 2)] {
        it.store
            .add_callback(DeliverySubject::Job(job.ordinal), new(number))
            .await
            .expect("a callback");
    }
    assert!(due(&it, MUCH_LATER).await.is_empty(), "neither is done");
    it.settle(&first, returned()).await.expect("a running job");
    assert_eq!(due(&it, NOW).await, [1]);
    assert!(it.heard_of_deliveries());
    let late = NewCallback { due_at: Timestamp(9_000), ..new(3) };
    it.store.add_callback(DeliverySubject::Job(first.ordinal), late).await.expect("a callback");
    assert!(it.heard_of_deliveries());
    let last = callbacks(&it, &first).await.pop().expect("two");
    assert_eq!(last.delivery.expect("a delivery").next_at, Some(Timestamp(9_000)));
    assert_eq!(callbacks(&it, &second).await[0].state(), CallbackState::Waiting);
}

#[tokio::test]
async fn f14_a_callback_added_in_the_very_commit_of_the_end_is_not_lost() {
    let it = TestStore::of_workers(2).await;
    let (first, second) = (it.submit(1).await, it.submit(2).await);
    let (added, settled) = tokio::join!(biased; it.store.add_callback(DeliverySubject::Job(first.ordinal), new(1)), it.settle(&first, returned()));
    assert!(added.is_ok() && settled.is_ok());
    let (settled, added) = tokio::join!(biased; it.settle(&second, returned()), it.store.add_callback(DeliverySubject::Job(second.ordinal), new(2)));
    assert!(added.is_ok() && settled.is_ok());
    let mut both = due(&it, NOW).await;
    both.sort_unstable();
    assert_eq!(both, [1, 2]);
    assert_eq!(it.number(Figure::Deliveries), 2, "one each");
}

#[tokio::test]
async fn f13_a_first_attempt_waits_for_those_of_earlier_callbacks() {
    let it = TestStore::of_workers(1).await;
    // The same receiver twice is told twice.
    let same = NewCallback { url: new(1).url, ..new(2) };
    let job = it.put(with_callbacks(1, vec![new(1), same])).await.expect("a job");
    it.store.add_callback(DeliverySubject::Job(job.ordinal), new(3)).await.expect("a callback");
    it.settle(&job, returned()).await.expect("a running job");

    assert_eq!(due(&it, MUCH_LATER).await, [1]);
    let retry = report(&only_due(&it).await, DeliveryState::Pending, Some(Timestamp(5_000)));
    it.store.record_delivery(retry).await.expect("recorded");
    assert_eq!(due(&it, NOW).await, [2], "it waits for the first attempt, not for its success");
    let done = report(&only_due(&it).await, DeliveryState::Delivered, None);
    it.store.record_delivery(done).await.expect("recorded");
    assert_eq!(due(&it, NOW).await, [3]);
    assert_eq!(due(&it, Timestamp(5_000)).await, [3, 1]);
}

#[tokio::test]
async fn f13_the_first_attempts_of_one_job_never_wait_for_another_job() {
    let it = TestStore::of_workers(2).await;
    for number in 1..=2 {
        let callbacks = vec![new(u128::from(number))];
        let job = it.put(with_callbacks(number, callbacks)).await.expect("a job");
        it.settle(&job, returned()).await.expect("a running job");
    }
    assert_eq!(due(&it, NOW).await.len(), 2);
}

#[tokio::test]
async fn f15_an_attempt_is_recorded_once() {
    let it = TestStore::of_workers(1).await;
    let job = it.put(with_callbacks(1, vec![new(1)])).await.expect("a job");
    it.settle(&job, returned()).await.expect("a running job");
    let before = it.job(&job).await;
    let first = only_due(&it).await;
    let retry = report(&first, DeliveryState::Pending, Some(Timestamp(5_000)));
    it.store.record_delivery(retry.clone()).await.expect("recorded");
    let recorded = callbacks(&it, &job).await;
    let delivery = recorded[0].delivery.clone().expect("a delivery");
    assert_eq!(delivery.attempts, [retry.attempt]);
    assert_eq!(
        (delivery.state, delivery.next_at),
        (DeliveryState::Pending, Some(Timestamp(5_000)))
    );

    let again = report(&first, DeliveryState::Delivered, None);
    it.store.record_delivery(again).await.expect("an answer");
    assert_eq!(callbacks(&it, &job).await, recorded, "the same number twice changes nothing");

    let mut second = all_due(&it, MUCH_LATER).await.remove(0);
    assert_eq!((second.attempts, second.id), (1, first.id));
    it.store.record_delivery(report(&second, DeliveryState::Failed, None)).await.expect("recorded");
    second.attempts = 2;
    let late = report(&second, DeliveryState::Pending, Some(NOW));
    it.store.record_delivery(late).await.expect("an answer");
    assert_eq!(
        callbacks(&it, &job).await[0].state(),
        CallbackState::Failed,
        "what is over is over"
    );
    assert!(due(&it, MUCH_LATER).await.is_empty());
    assert_eq!(it.job(&job).await, before, "the future is not touched");
}

#[tokio::test]
async fn g11_a_deliverys_body_is_kept_once_and_is_there_after_a_restart() {
    let mut it = TestStore::of_workers(1).await;
    let sealed = NewCallback { sealed: Some(vec![0, 255, 39]), ..new(1) };
    let job = it.put(with_callbacks(1, vec![sealed])).await.expect("a job");
    it.settle(&job, returned()).await.expect("a running job");
    let callback = only_due(&it).await.callback;
    for body in ["{\"first\":\"é\"}", "{\"second\":1}"] {
        keep_body(&it, callback, body).await;
    }
    keep_body(&it, Ordinal(99), "nobody's").await;
    it = it.reopened().await;
    let due = only_due(&it).await;
    assert_eq!(due.body.as_deref(), Some("{\"first\":\"é\"}"));
    assert_eq!(
        (due.callback, due.id.0.as_u128(), due.of),
        (callback, 1, DeliverySubject::Job(job.ordinal))
    );
    assert_eq!((due.url.as_str(), due.host.as_str()), ("http://127.0.0.1:9/1", "127.0.0.1:9"));
    assert_eq!(due.sealed, Some(vec![0, 255, 39]));
}

#[tokio::test]
async fn f16_a_job_that_a_dead_server_left_is_told_of_when_recovery_ends_it() {
    let mut it = TestStore::of_workers(1).await;
    let job = it.put(with_callbacks(1, vec![new(1)])).await.expect("a job");
    it.store.cancel(cancel(&job, true)).await.expect("an answer");
    it = it.reopened().await;
    assert_eq!(due(&it, NOW).await, [1]);
}
