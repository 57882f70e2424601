//! Batches that are over go with their jobs.

use crate::domain::{DeliveryState, OnError, When};
use crate::store::{BatchKey, DeliverySubject};
use crate::store::{Deletion, NewBatch, SweepCursor};

use super::batches::{ID, batch, told_of};
use super::callbacks::{all_due, new, report};
use super::{Figure, Job, NOW, TestStore, Timestamp, returned};

/// When a batch that ended at [`NOW`] is over.
const OVER: Timestamp = Timestamp(NOW.0 + 60_000);

impl TestStore {
    /// A batch of so many calls, all of which have returned.
    pub async fn done_batch(&self, new: NewBatch) -> Vec<Job> {
        let made = self.store.submit_batch(new).await.expect("a batch");
        let mut jobs = Vec::new();
        while !self.batch().await.is_done() {
            let all = self.calls(&made).await;
            for job in all.iter().filter(|job| job.attempt > 0 && !job.is_done()) {
                self.settle(job, returned()).await.expect("a running job");
            }
            jobs = all;
        }
        jobs
    }

    /// A whole pass; how many jobs it removed, and whether anything is held back.
    pub async fn clean_at(&self, now: Timestamp) -> (usize, bool) {
        let (mut removed, mut holds, mut from) = (0, false, Some(SweepCursor::NOTHING));
        while let Some(next) = from {
            let cleaned = self.store.sweep(now, next).await.expect("an answer");
            (removed, holds, from) = (removed + cleaned.removed, cleaned.holds, cleaned.next);
        }
        (removed, holds)
    }

    fn rows_left(&self) -> i64 {
        self.number(Figure::RowsOfBatches)
    }
}

#[tokio::test]
async fn g20_f22_the_jobs_of_a_batch_go_with_it_and_leave_a_word() {
    let it = TestStore::of_workers(2).await;
    let jobs = it.done_batch(batch(5)).await;
    let early =
        it.store.sweep(Timestamp(OVER.0 - 1), SweepCursor::NOTHING).await.expect("an answer");
    assert_eq!((early.removed, early.due_at), (0, Some(OVER)), "and it says when");
    assert_eq!(it.clean_at(OVER).await, (5, false));
    assert_eq!(it.rows_left(), 0);
    assert!(it.store.batch(BatchKey::Id(ID)).await.expect("it reads").is_none());
    assert!(it.store.is_gone(ID.0, OVER).await.expect("it reads"));
    assert!(it.store.is_gone(jobs[3].spec.id.0, OVER).await.expect("it reads"));
}

#[tokio::test]
async fn g20_a_batch_larger_than_a_portion_goes_in_many_and_is_shown_to_nobody_meanwhile() {
    let it = TestStore::of_workers(1_000).await;
    it.done_batch(batch(900)).await;
    let first = it.store.sweep(OVER, SweepCursor::NOTHING).await.expect("an answer");
    assert_eq!((first.removed, first.next.is_some()), (500, true));
    assert!(it.store.batch(BatchKey::Id(ID)).await.expect("it reads").is_none());
    assert!(it.store.is_gone(ID.0, OVER).await.expect("it reads"), "not: it never was");
    assert_eq!(it.clean_at(OVER).await, (400, false));
    assert_eq!(it.rows_left(), 0);
}

#[tokio::test]
async fn g20_an_open_delivery_of_a_batch_or_of_a_job_of_it_holds_all_of_it() {
    let it = TestStore::of_workers(2).await;
    let callbacks = vec![told_of(1, When::AllCompleted)];
    let jobs = it.done_batch(NewBatch { callbacks, ..batch(2) }).await;
    it.store.add_callback(DeliverySubject::Job(jobs[0].ordinal), new(2)).await.expect("a callback");
    for number in 1..=2 {
        assert_eq!(it.clean_at(OVER).await, (0, true));
        let due = all_due(&it, OVER).await;
        let next = due.iter().find(|it| it.id.0.as_u128() == number).expect("it is due");
        let report = report(next, DeliveryState::Delivered, None);
        it.store.record_delivery(report).await.expect("an answer");
    }
    assert_eq!(it.clean_at(OVER).await, (2, false));
    assert_eq!(it.rows_left(), 0);
}

#[tokio::test]
async fn a_job_of_a_batch_is_not_forgotten_by_itself() {
    let it = TestStore::of_workers(2).await;
    let jobs = it.done_batch(NewBatch { on_error: OnError::Cancel, ..batch(1) }).await;
    let forgetting = it.store.delete(jobs[0].spec.id, NOW).await.expect("an answer");
    assert_eq!(forgetting, Deletion::OfBatch);
}
