//! Callbacks after their delivery: told once more, and taken away.

use crate::domain::callback::CallbackState;
use crate::domain::{CallbackId, DeliveryState};
use uuid::Uuid;

use super::callbacks::{callbacks, due, keep_body, new, only_due, report, with_callbacks};
use super::{Figure, NOW, TestStore, Timestamp, returned};

fn id(number: u128) -> CallbackId {
    CallbackId(Uuid::from_u128(number))
}

#[tokio::test]
async fn f16_a_delivery_that_is_over_is_made_once_more_with_the_same_bytes_and_a_new_schedule() {
    let mut it = TestStore::of_workers(1).await;
    let job = it.put(with_callbacks(1, vec![new(1)])).await.expect("a job");
    assert_eq!(it.redelivers(id(1)).await, 0, "there is nothing to tell yet");
    it.settle(&job, returned()).await.expect("a running job");
    let before = it.job(&job).await;
    assert_eq!(it.redelivers(id(1)).await, 0, "it is to be made");
    let first = only_due(&it).await;
    keep_body(&it, first.callback, "{}").await;
    it.store.record_delivery(report(&first, DeliveryState::Failed, None)).await.expect("recorded");
    assert!(due(&it, Timestamp(i64::MAX)).await.is_empty());
    it.heard_of_deliveries();

    assert_eq!(it.redelivers(id(1)).await, 1);
    assert!(it.heard_of_deliveries());
    let second = only_due(&it).await;
    assert_eq!((second.attempts, second.schedule_from), (1, 1), "numbered on, and begun anew");
    assert_eq!((second.id, second.body.as_deref()), (first.id, Some("{}")));
    assert_eq!(it.redelivers(id(1)).await, 0, "it is to be made");
    let done = report(&second, DeliveryState::Delivered, None);
    it.store.record_delivery(done).await.expect("recorded");
    let made = callbacks(&it, &job).await.remove(0);
    assert_eq!(made.state(), CallbackState::Delivered);
    assert_eq!(made.delivery.expect("a delivery").attempts.len(), 2, "both stay in the log");
    assert_eq!(it.job(&job).await, before, "the future is not touched");
    assert_eq!(it.redelivers(id(9)).await, 0, "there is none");
}

#[tokio::test]
async fn f13_a_callback_that_is_taken_away_holds_no_later_one_up() {
    let mut it = TestStore::of_workers(1).await;
    let job = it.put(with_callbacks(1, vec![new(1), new(2)])).await.expect("a job");
    it.settle(&job, returned()).await.expect("a running job");
    assert_eq!(due(&it, NOW).await, [1]);
    it.heard_of_deliveries();
    assert!(it.store.remove_callback(id(1), NOW).await.expect("an answer"));
    assert!(it.heard_of_deliveries());
    assert_eq!(due(&it, NOW).await, [2]);
    assert_eq!(callbacks(&it, &job).await.len(), 1);
    assert!(!it.store.remove_callback(id(1), NOW).await.expect("an answer"), "it is gone");
}

#[tokio::test]
async fn f15_what_came_of_a_post_whose_callback_is_gone_is_nobodys_business() {
    let it = TestStore::of_workers(1).await;
    let job = it.put(with_callbacks(1, vec![new(1)])).await.expect("a job");
    it.settle(&job, returned()).await.expect("a running job");
    let on_its_way = only_due(&it).await;
    assert!(it.store.remove_callback(id(1), NOW).await.expect("an answer"));
    let late = report(&on_its_way, DeliveryState::Delivered, None);
    it.store.record_delivery(late).await.expect("no failure");
    assert_eq!(it.number(Figure::DeliveryAttempts), 0);
    assert!(callbacks(&it, &job).await.is_empty());
}

#[tokio::test]
async fn a_callback_of_a_job_that_waits_can_be_taken_away_too() {
    let it = TestStore::of_workers(1).await;
    let job = it.put(with_callbacks(1, vec![new(1)])).await.expect("a job");
    assert!(it.store.remove_callback(id(1), NOW).await.expect("an answer"));
    it.settle(&job, returned()).await.expect("a running job");
    assert!(due(&it, Timestamp(i64::MAX)).await.is_empty());
}
