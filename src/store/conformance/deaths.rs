//! Deliveries during which servers die: counted, suspected, and in the end taken for the cause (G9).

use std::collections::BTreeMap;

use crate::domain::callback::CallbackState;
use crate::domain::{CallbackId, Delivery, DeliveryState, State};
use uuid::Uuid;

use super::callbacks::{all_due, callbacks, keep_body, new, only_due, report, with_callbacks};
use super::{Figure, Job, NOW, TestStore, returned};

const ID: CallbackId = CallbackId(Uuid::from_u128(1));

/// A job that is done, and whose one callback is to be told.
async fn to_be_told() -> (TestStore, Job) {
    let it = TestStore::of_workers(2).await;
    let job = it.put(with_callbacks(1, vec![new(1)])).await.expect("a job");
    it.settle(&job, returned()).await.expect("a running job");
    (it, job)
}

async fn delivery(it: &TestStore, job: &Job) -> Delivery {
    callbacks(it, job).await.remove(0).delivery.expect("a delivery")
}

/// Says that what is due is about to be sent.
async fn begin(it: &TestStore) {
    let due = only_due(it).await;
    match due.body {
        None => keep_body(it, due.callback, "{}").await,
        Some(_) => {
            let begun = it.store.begin_deliveries(BTreeMap::new().into(), vec![due.callback]);
            begun.await.expect("an answer");
        }
    }
}

#[tokio::test]
async fn g9_a_delivery_during_which_three_servers_died_has_failed_and_can_be_made_once_more() {
    let (mut it, job) = to_be_told().await;
    for deaths in 1..=2_u32 {
        begin(&it).await;
        it = it.reopened().await;
        assert_eq!(delivery(&it, &job).await.deaths, deaths);
        let suspects: Vec<i64> = it.suspect_deliveries.iter().map(|it| it.0).collect();
        assert_eq!(suspects, if deaths == 2 { vec![1] } else { vec![] });
        assert_eq!(it.due_at(only_due(&it).await.callback).await.map(|it| it.id), Some(ID));
    }
    let running = it.submit(2).await;
    begin(&it).await;
    it = it.reopened().await;
    let told = callbacks(&it, &job).await.remove(0);
    assert_eq!(told.state(), CallbackState::Failed);
    let Delivery { deaths, attempts, next_at, .. } = told.delivery.expect("a delivery");
    assert_eq!((deaths, attempts.len(), next_at), (3, 1, None));
    let error = "the server died 3 times while this was being sent";
    assert_eq!(attempts[0].error.as_deref(), Some(error));
    assert!(it.suspect_deliveries.is_empty() && all_due(&it, NOW).await.is_empty());
    let running = it.job(&running).await;
    assert_eq!((running.interruptions, running.crashes), (1, 0), "the cause is known");
    let counts = it.store.callback_states(None).await.expect("they read");
    assert_eq!((counts.of(CallbackState::Failed), counts.of(CallbackState::Pending)), (1, 0));

    assert_eq!(it.redelivers(ID).await, 1);
    let again = delivery(&it, &job).await;
    assert_eq!((again.deaths, again.state), (0, DeliveryState::Pending));
    begin(&it).await;
    let due = only_due(&it).await;
    let done = report(&due, DeliveryState::Delivered, None);
    it.store.record_delivery(done).await.expect("recorded");
    assert_eq!(it.number(Figure::DeliveriesBegun), 0);
}

#[tokio::test]
async fn g9_what_was_recorded_or_not_begun_is_not_blamed_nor_is_anything_if_the_server_ends_by_itself()
 {
    let (mut it, job) = to_be_told().await;
    it = it.reopened().await;
    assert_eq!(delivery(&it, &job).await.deaths, 0, "it was not begun");
    begin(&it).await;
    let again = report(&only_due(&it).await, DeliveryState::Pending, Some(NOW));
    it.store.record_delivery(again).await.expect("recorded");
    it = it.reopened().await;
    assert_eq!(delivery(&it, &job).await.deaths, 0, "what came of it was recorded");
    begin(&it).await;
    let TestStore { store, closed, config, backend, .. } = it;
    store.close().await;
    closed.await.expect("the writer ends when it is told to");
    let it = TestStore::open(backend, config).await;
    assert_eq!(delivery(&it, &job).await.deaths, 0, "nobody died");
    assert_eq!(it.number(Figure::DeliveriesBegun), 0);
}

#[tokio::test]
async fn g9_a_job_that_runs_alone_is_known_before_anything_is_sent() {
    let (mut it, _told) = to_be_told().await;
    let job = it.submit(2).await;
    assert!(!it.store.health().runs_alone);
    for _death in 0..2 {
        it = it.reopened().await;
        it.next_events().await;
    }
    assert!(it.store.health().runs_alone);
    let alone = it.job(&job).await;
    assert_eq!(alone.state, State::Running);
    it.settle(&alone, returned()).await.expect("a running job");
    assert!(!it.store.health().runs_alone);
}
