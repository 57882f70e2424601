//! One decision about each job that comes: it starts, waits, or is refused; a batch is there whole or not at all.

use crate::domain::RunAt;
use crate::store::Error::Refused;
use crate::store::{NewBatch, Refusal};

use super::batches::batch;
use super::{Figure, NOW, QueueSettings, Submission, TestStore, Timestamp, example, submission};

const MAX_PENDING: usize = 3;

/// Calls of a batch that has room for so many starts and so many that wait.
fn calls(count: u64) -> NewBatch {
    let calls = (100..100 + count).map(|number| submission(example::spec(number)));
    NewBatch { calls: calls.collect(), ..batch(0) }
}

/// Three workers and three places, and a job that runs alone because two servers died of it.
async fn with_one_alone() -> TestStore {
    let mut it = TestStore::with(QueueSettings { max_workers: 3, max_pending: MAX_PENDING }).await;
    it.submit(1).await;
    for _death in 0..2 {
        it = it.reopened().await;
        assert_eq!(it.next_events().await, ["claimed [1]"]);
    }
    it
}

#[tokio::test]
async fn g9_a_batch_that_comes_while_one_runs_alone_waits_or_is_refused_as_a_whole() {
    let it = with_one_alone().await;
    let refused = it.store.submit_batch(calls(4)).await;
    assert!(
        matches!(refused, Err(Refused(Refusal::QueueFull { max_pending: 3, .. }))),
        "{refused:?}"
    );
    let left = (it.number(Figure::Batches), it.number(Figure::Jobs));
    assert_eq!(left, (0, 1), "nothing is there of it");
    let taken = it.store.submit_batch(calls(3)).await.expect("as many as may wait");
    assert_eq!((taken.counts.pending(), taken.counts.running), (3, 0));
    let one_more = it.put(submission(example::spec(2))).await;
    assert!(matches!(one_more, Err(Refused(Refusal::QueueFull { .. }))), "{one_more:?}");
}

#[tokio::test]
async fn g9_what_is_to_start_later_leaves_no_room_beside_one_that_runs_alone() {
    let it = with_one_alone().await;
    for number in 2..=4 {
        let run_at = Some(RunAt::Monotonic(Timestamp(NOW.0 + 60_000)));
        let later = Submission { run_at, ..submission(example::spec(number)) };
        it.put(later).await.expect("a place");
    }
    let one_more = it.put(submission(example::spec(5))).await;
    assert!(
        matches!(one_more, Err(Refused(Refusal::QueueFull { .. }))),
        "it would not start: {one_more:?}"
    );
}
