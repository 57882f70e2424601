//! The order within a group: what looks at an end finds it, and what is submitted comes last.

use tokio::task::JoinHandle;

use super::refused_for_now::Lock;
use crate::domain::{Clocks, Options, Timestamp};
use crate::store::conformance::{
    NOW, Pool, Spec, State, TestStore, cancel, example, returned, submission,
};
use crate::store::{Deletion, Error, Now, SlotChange};

/// Another process has the database, and the writer waits for it with a group: what is sent now is the next one.
async fn held(it: &TestStore) -> (Lock, JoinHandle<Result<(), Error>>) {
    let (lock, store) = (Lock::take(it), it.store.clone());
    let first = tokio::spawn(async move {
        store.change_slots(SlotChange::Resize { pool: Pool::Tasks, slots: 1_000 }, NOW).await
    });
    it.until_taken().await;
    (lock, first)
}

#[tokio::test]
async fn e2_what_is_submitted_takes_the_slot_that_its_group_gives_back_after_it() {
    let mut it = TestStore::of_workers(1).await;
    let runs = it.submit(1).await;
    it.new_events();
    let (lock, first) = held(&it).await;
    let next = it.put(submission(example::spec(2)));
    let (next, settled, ()) =
        tokio::join!(biased; next, it.settle(&runs, returned()), async { lock.let_go() });
    first.await.expect("no panic").expect("slots");
    settled.expect("a running job");
    assert_eq!(next.expect("a job").state, State::Running, "it came first, and runs at once");
    assert_eq!(it.new_events(), ["changed 1 succeeded", "started 2"]);
}

#[tokio::test]
async fn what_looks_at_a_job_finds_the_end_that_its_group_has_brought() {
    let it = TestStore::of_workers(1).await;
    let runs = it.submit(1).await;
    let (lock, first) = held(&it).await;
    let forget = it.store.delete(runs.spec.id, NOW);
    let (settled, forgotten, ()) =
        tokio::join!(biased; it.settle(&runs, returned()), forget, async { lock.let_go() });
    first.await.expect("no panic").expect("slots");
    settled.expect("a running job");
    assert_eq!(forgotten.expect("an answer"), Deletion::Deleted);
}

#[tokio::test]
async fn ends_of_a_group_are_told_in_the_order_of_their_places() {
    let mut it = TestStore::of_workers(1).await;
    let clocks = Clocks { start_timeout_ms: Some(10), ..Clocks::default() };
    let options = Options { clocks, ..Options::default() };
    let runs = it.submit(1).await;
    for number in [2, 3] {
        it.put(submission(Spec { options, ..example::spec(number) })).await.expect("a job");
    }
    let waits = it.submit(4).await;
    it.new_events();
    let (lock, first) = held(&it).await;
    let late = Timestamp(NOW.0 + 10);
    let (due, cancelled, settled, ()) = tokio::join!(
        biased;
        it.store.run_timers(Now { now: late, wall: late }),
        it.store.cancel(cancel(&waits, false)),
        it.settle(&runs, returned()),
        async { lock.let_go() }
    );
    first.await.expect("no panic").expect("slots");
    due.expect("an answer");
    cancelled.expect("an answer");
    settled.expect("a running job");
    let told = it.new_events();
    let ends: Vec<&String> = told.iter().filter(|it| it.starts_with("c")).collect();
    assert_eq!(ends, ["cancelled [2, 3]", "cancelled 4", "changed 1 succeeded"]);
}
