//! What goes again: with all that belongs to it, in portions, and not before its time.

use crate::domain::{CallbackId, DeliveryState, Json, Options};
use crate::store::contract::DAY_MS;
use crate::store::{Deletion, Removed, Submission, SweepCursor};
use uuid::Uuid;

use super::callbacks::{all_due, new, only_due, report, with_callbacks};
use super::{
    Arc, Damage, Figure, Job, NOW, Outcome, Spec, TestStore, Timestamp, example, raised, returned,
    submission,
};

/// Of every job here that does not say anything else.
const RETENTION_MS: i64 = 5_000;
/// When it goes.
pub const OVER: Timestamp = Timestamp(NOW.0 + RETENTION_MS);

fn kept_for(retention_ms: i64, it: Submission) -> Submission {
    let options = Options { retention_ms, ..Options::default() };
    Submission { spec: Arc::new(Spec { options, ..(*it.spec).clone() }), ..it }
}

pub fn short(number: u64) -> Submission {
    kept_for(RETENTION_MS, submission(example::spec(number)))
}

impl TestStore {
    pub async fn finish(&self, it: Submission, outcome: Outcome) -> Job {
        let job = self.put(it).await.expect("a job");
        self.settle(&job, outcome).await.expect("a running job");
        self.job(&job).await
    }

    pub async fn clean(&self, now: Timestamp) -> Removed {
        self.store.sweep(now, SweepCursor::NOTHING).await.expect("an answer")
    }

    /// What each portion of one pass removes.
    pub async fn pass(&self, now: Timestamp) -> Vec<usize> {
        let (mut removed, mut from) = (Vec::new(), Some(SweepCursor::NOTHING));
        while let Some(next) = from {
            let cleaned = self.store.sweep(now, next).await.expect("an answer");
            removed.push(cleaned.removed);
            from = cleaned.next;
        }
        removed
    }

    pub async fn is_there(&self, job: &Job) -> bool {
        self.store.job(job.spec.id).await.expect("it reads").is_some()
    }

    pub async fn is_gone(&self, job: &Job, now: i64) -> bool {
        self.store.is_gone(job.spec.id.0, Timestamp(now)).await.expect("it reads")
    }

    pub async fn forget(&self, job: &Job) -> Deletion {
        self.store.delete(job.spec.id, NOW).await.expect("an answer")
    }
}

/// A large result, as JSON.
pub fn large(bytes: usize) -> Outcome {
    Outcome::Returned(Json::trusted(format!("\"{}\"", "x".repeat(bytes))))
}

#[tokio::test]
async fn g20_a_done_job_goes_when_its_time_is_over_with_all_that_belongs_to_it() {
    let mut it = TestStore::of_workers(2).await;
    let told = with_callbacks(1, vec![new(1)]);
    let job = it.finish(kept_for(RETENTION_MS, told), large(600_000)).await;
    assert_eq!(job.expires_at, Some(OVER));
    let delivered = report(&only_due(&it).await, DeliveryState::Delivered, None);
    it.store.record_delivery(delivered).await.expect("recorded");
    let running = it.submit(2).await;
    it.backend.damage(Damage::FailedAttempt(job.ordinal));

    let early = it.clean(Timestamp(OVER.0 - 1)).await;
    assert_eq!((early.removed, early.next, early.due_at), (0, None, Some(OVER)));
    assert!(it.is_there(&job).await);
    it.new_events();
    let late = it.clean(OVER).await;
    assert_eq!((late.removed, late.next), (1, None));
    assert_eq!(late.due_at, Some(Timestamp(OVER.0 + DAY_MS)), "then the tombstone goes");
    assert_eq!(it.new_events(), ["gone 1"]);
    assert!(!it.is_there(&job).await);
    for empty in [
        Figure::Callbacks,
        Figure::Deliveries,
        Figure::DeliveryAttempts,
        Figure::FailedAttempts,
        Figure::ValuePieces,
    ] {
        assert_eq!(it.number(empty), 0, "{empty:?}");
    }
    assert!(it.is_there(&running).await, "what is not done does not go");
    assert_eq!(it.pass(Timestamp(i64::MAX)).await.iter().sum::<usize>(), 0, "not ever");
}

#[tokio::test]
async fn f22_an_id_that_is_gone_is_told_of_for_a_day() {
    let mut it = TestStore::of_workers(1).await;
    let job = it.finish(short(1), raised()).await;
    assert!(!it.is_gone(&job, OVER.0).await, "it is there");
    it.clean(OVER).await;
    it = it.reopened().await;
    assert!(it.is_gone(&job, OVER.0).await);
    assert!(it.is_gone(&job, OVER.0 + DAY_MS - 1).await);
    assert!(!it.is_gone(&job, OVER.0 + DAY_MS).await, "also when it is not purged yet");
    it.clean(Timestamp(OVER.0 + DAY_MS - 1)).await;
    assert_eq!(it.number(Figure::Tombstones), 1);
    let last = it.clean(Timestamp(OVER.0 + DAY_MS)).await;
    assert_eq!(it.number(Figure::Tombstones), 0);
    assert_eq!((last.due_at, last.next), (None, None), "there is nothing more to do, ever");
}

#[tokio::test]
async fn g20_a_job_stays_until_its_last_delivery_has_ended_and_goes_in_that_commit() {
    let mut it = TestStore::of_workers(1).await;
    let told = with_callbacks(1, vec![new(1)]);
    let job = it.finish(kept_for(RETENTION_MS, told), returned()).await;
    let held = it.clean(OVER).await;
    assert_eq!((held.removed, held.holds, held.due_at), (0, true, None));
    let retry = report(&only_due(&it).await, DeliveryState::Pending, Some(Timestamp(NOW.0 + 1)));
    it.store.record_delivery(retry).await.expect("recorded");
    assert!(it.is_there(&job).await, "it is tried again");
    it.new_events();
    let due = all_due(&it, OVER).await.remove(0);
    let last = report(&due, DeliveryState::Failed, None);
    it.store.record_delivery(last).await.expect("recorded");
    assert_eq!(it.new_events(), ["gone 1"]);
    assert!(!it.is_there(&job).await);
    assert!(it.is_gone(&job, OVER.0).await);
}

#[tokio::test]
async fn g20_a_job_that_was_held_back_goes_with_the_callback_that_held_it() {
    let it = TestStore::of_workers(1).await;
    let told = with_callbacks(1, vec![new(1), new(2)]);
    let job = it.finish(kept_for(RETENTION_MS, told), returned()).await;
    it.clean(OVER).await;
    for (number, is_there) in [(1, true), (2, false)] {
        let id = CallbackId(Uuid::from_u128(number));
        assert!(it.store.remove_callback(id, OVER).await.expect("an answer"));
        assert_eq!(it.is_there(&job).await, is_there, "after callback {number}");
    }
}

#[tokio::test]
async fn g20_jobs_go_in_portions_and_those_that_are_held_back_do_not_stand_in_the_way() {
    let it = TestStore::of_workers(2_000).await;
    let held = (1..=600).map(|number| {
        let callbacks = vec![new(u128::from(number))];
        it.finish(kept_for(1_000, with_callbacks(number, callbacks)), returned())
    });
    futures_util::future::join_all(held).await;
    let over = (1_001..=1_720).map(|number| it.finish(short(number), returned()));
    futures_util::future::join_all(over).await;
    // The first 600 that it looks at stay; of 500 in a portion, 400 of the second can go.
    assert_eq!(it.pass(OVER).await, [0, 400, 320]);
    assert_eq!(it.number(Figure::Jobs), 600);
    assert_eq!(it.number(Figure::Tombstones), 720);
    let day = Timestamp(OVER.0 + DAY_MS);
    it.clean(day).await;
    assert_eq!(it.number(Figure::Tombstones), 220, "they too in portions");
    it.pass(day).await;
    assert_eq!(it.number(Figure::Tombstones), 0);
}

#[tokio::test]
async fn g20_a_portion_is_bounded_by_bytes_too_and_one_that_is_larger_goes_alone() {
    let it = TestStore::of_workers(10).await;
    for (number, bytes) in [(1, 5_000_000), (2, 1_500_000), (3, 1_500_000), (4, 1_500_000), (5, 1)]
    {
        it.finish(short(number), large(bytes)).await;
    }
    assert_eq!(it.pass(OVER).await, [1, 2, 2]);
    assert_eq!(it.number(Figure::ValuePieces), 0);
}

#[tokio::test]
async fn a_job_is_forgotten_only_when_it_is_done_and_told_of() {
    let mut it = TestStore::of_workers(1).await;
    let job = it.put(with_callbacks(1, vec![new(1)])).await.expect("a job");
    let waiting = it.submit(2).await;
    assert_eq!(it.forget(&job).await, Deletion::NotDone);
    assert_eq!(it.forget(&waiting).await, Deletion::NotDone);
    it.settle(&job, large(300_000)).await.expect("a running job");
    assert_eq!(it.forget(&job).await, Deletion::DeliveryOpen);
    let delivered = report(&only_due(&it).await, DeliveryState::Delivered, None);
    it.store.record_delivery(delivered).await.expect("recorded");
    it.new_events();
    assert_eq!(it.forget(&job).await, Deletion::Deleted);
    assert_eq!(it.new_events(), ["gone 1"]);
    assert_eq!(it.number(Figure::ValuePieces), 0);
    assert!(!it.is_gone(&job, NOW.0).await, "nothing is left to tell of it");
    assert_eq!(it.forget(&job).await, Deletion::Missing);
    assert!(it.is_there(&waiting).await);
}

#[tokio::test]
async fn an_idempotency_key_stays_as_long_as_its_job_and_at_least_a_day() {
    let it = TestStore::of_workers(3).await;
    let day = NOW.0 + DAY_MS;
    let kept = it.finish(kept_for(3 * DAY_MS, submission(example::spec(1))), returned()).await;
    let brief = it.finish(short(2), returned()).await;
    let forgotten = it.finish(short(3), returned()).await;
    for job in [&kept, &brief, &forgotten] {
        it.backend.damage(Damage::Key(job.spec.id, NOW));
    }
    assert_eq!(it.forget(&forgotten).await, Deletion::Deleted);
    it.clean(OVER).await;
    assert!(!it.is_there(&brief).await);
    let keys = Figure::IdempotencyKeys;
    let early = it.clean(Timestamp(day - 1)).await;
    assert_eq!((it.number(keys), early.due_at), (3, Some(Timestamp(day))));
    let swept = it.clean(Timestamp(day)).await;
    assert_eq!(it.number(keys), 1, "only the one whose job is there");
    assert_eq!(swept.keys, NOW);
    let from = SweepCursor { keys: swept.keys, ..SweepCursor::NOTHING };
    let over = Timestamp(NOW.0 + 3 * DAY_MS);
    assert_eq!(it.store.sweep(over, from).await.expect("an answer").removed, 1);
    assert_eq!(it.number(keys), 0, "it goes with its job");
}
