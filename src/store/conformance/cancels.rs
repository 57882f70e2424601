//! Cancels, decided in one transaction with the state.

use crate::store::Cancellation;
use crate::store::SlotChange;

use super::{NOW, Outcome, State, TestStore, cancel, raised, returned};

#[tokio::test]
async fn f3_a_pending_job_is_cancelled_at_once_and_never_claimed() {
    let mut it = TestStore::of_workers(1).await;
    let (first, second, third) = (it.submit(1).await, it.submit(2).await, it.submit(3).await);
    it.new_events();
    let done = it.store.cancel(cancel(&second, false)).await.expect("an answer");
    assert_eq!(done, Cancellation::Cancelled);
    assert_eq!(it.new_events(), ["cancelled 2"]);
    let second = it.job(&second).await;
    assert_eq!((second.state, second.version), (State::Cancelled, 2));
    assert_eq!((second.finished_at, second.cancel_requested_at), (Some(NOW), Some(NOW)));
    it.settle(&first, returned()).await.expect("a running job");
    assert_eq!(it.new_events(), ["changed 1 succeeded", "claimed [3]"]);
    assert_eq!(it.state(&third).await, State::Running);
}

#[tokio::test]
async fn f3_a_cancel_by_one_who_read_the_job_before_it_was_interrupted_keeps_its_counts() {
    let it = TestStore::of_workers(1).await;
    let read_early = it.submit(1).await;
    it.change_slots(SlotChange::StopClaiming).await.expect("an answer");
    it.settle(&read_early, Outcome::Stopped).await.expect("a running job");
    let done = it.store.cancel(cancel(&read_early, false)).await.expect("an answer");
    assert_eq!(done, Cancellation::Cancelled);
    let job = it.job(&read_early).await;
    assert_eq!((job.state, job.attempt, job.interruptions), (State::Cancelled, 1, 1));
}

#[tokio::test]
async fn f1_a_running_job_is_left_alone_unless_it_is_to_be_terminated() {
    let mut it = TestStore::of_workers(1).await;
    let job = it.submit(1).await;
    it.new_events();
    let left = it.store.cancel(cancel(&job, false)).await.expect("an answer");
    assert_eq!(left, Cancellation::Running);
    assert!(it.new_events().is_empty());
    assert_eq!(it.job(&job).await, job, "nothing changed");
}

#[tokio::test]
async fn f4_a_running_job_is_asked_to_stop_once() {
    let mut it = TestStore::of_workers(1).await;
    let job = it.submit(1).await;
    it.new_events();
    let asked = it.store.cancel(cancel(&job, true)).await.expect("an answer");
    assert_eq!(asked, Cancellation::Requested);
    assert_eq!(it.new_events(), ["cancel requested 1"]);
    let running = it.job(&job).await;
    assert_eq!((running.state, running.version), (State::Running, 2));
    assert_eq!(running.cancel_requested_at, Some(NOW));
    let again = it.store.cancel(cancel(&running, true)).await.expect("an answer");
    assert_eq!(again, Cancellation::Requested);
    assert!(it.new_events().is_empty());
    assert_eq!(it.job(&job).await, running, "the second asking changes nothing");
}

#[tokio::test]
async fn f2_a_job_that_is_done_stays_as_it_is() {
    let it = TestStore::of_workers(1).await;
    let (first, second) = (it.submit(1).await, it.submit(2).await);
    it.store.cancel(cancel(&second, true)).await.expect("an answer");
    it.settle(&first, returned()).await.expect("a running job");
    for job in [first, second] {
        let before = it.job(&job).await;
        for terminate in [false, true] {
            // As one who read the job earlier, and as one who reads it now.
            for seen in [&job, &before] {
                let late = it.store.cancel(cancel(seen, terminate)).await.expect("an answer");
                assert_eq!(late, Cancellation::Done);
            }
        }
        assert_eq!(it.job(&job).await, before);
    }
}

#[tokio::test]
async fn f4_a_cancel_and_then_an_error_in_one_commit_is_cancelled() {
    let mut it = TestStore::of_workers(1).await;
    let job = it.submit(1).await;
    it.new_events();
    let (asked, settled) =
        tokio::join!(biased; it.store.cancel(cancel(&job, true)), it.settle(&job, raised()));
    assert_eq!((asked.expect("an answer"), settled.is_ok()), (Cancellation::Requested, true));
    assert_eq!(it.new_events(), ["cancel requested 1", "changed 1 cancelled"], "one commit");
    let job = it.job(&job).await;
    assert_eq!((job.state, job.version), (State::Cancelled, 3));
    assert_eq!((job.cancel_requested_at, job.error), (Some(NOW), None));
}

#[tokio::test]
async fn f4_a_cancel_and_then_a_value_in_one_commit_is_succeeded() {
    let it = TestStore::of_workers(1).await;
    let job = it.submit(1).await;
    let (asked, settled) =
        tokio::join!(biased; it.store.cancel(cancel(&job, true)), it.settle(&job, returned()));
    assert_eq!((asked.expect("an answer"), settled.is_ok()), (Cancellation::Requested, true));
    let job = it.job(&job).await;
    assert_eq!((job.state, job.cancel_requested_at), (State::Succeeded, Some(NOW)));
}

#[tokio::test]
async fn f4_an_end_and_then_a_cancel_in_one_commit_is_too_late() {
    let it = TestStore::of_workers(1).await;
    let job = it.submit(1).await;
    let (settled, asked) =
        tokio::join!(biased; it.settle(&job, raised()), it.store.cancel(cancel(&job, true)));
    assert_eq!((settled.is_ok(), asked.expect("an answer")), (true, Cancellation::Done));
    let job = it.job(&job).await;
    assert_eq!((job.state, job.cancel_requested_at), (State::Failed, None));
}

#[tokio::test]
async fn f19_a_job_cancelled_in_the_commit_that_frees_its_slot_is_never_started() {
    let mut it = TestStore::of_workers(1).await;
    let (first, second) = (it.submit(1).await, it.submit(2).await);
    it.new_events();
    let (cancelled, settled) = tokio::join!(biased; it.store.cancel(cancel(&second, false)), it.settle(&first, returned()));
    assert_eq!((cancelled.expect("an answer"), settled.is_ok()), (Cancellation::Cancelled, true));
    assert_eq!(it.new_events(), ["cancelled 2", "changed 1 succeeded"]);
    let second = it.job(&second).await;
    assert_eq!((second.state, second.attempt), (State::Cancelled, 0));
}

#[tokio::test]
async fn f4_a_job_claimed_in_the_same_commit_is_asked_to_stop_like_any_that_runs() {
    let mut it = TestStore::of_workers(1).await;
    let (first, second) = (it.submit(1).await, it.submit(2).await);
    it.new_events();
    let (settled, asked) =
        tokio::join!(biased; it.settle(&first, returned()), it.store.cancel(cancel(&second, true)));
    assert_eq!((settled.is_ok(), asked.expect("an answer")), (true, Cancellation::Requested));
    let told = it.new_events();
    assert!(told.contains(&"claimed [2]".to_owned()), "{told:?}");
    let second = it.job(&second).await;
    assert_eq!((second.state, second.cancel_requested_at), (State::Running, Some(NOW)));
    it.settle(&second, raised()).await.expect("a running job");
    assert_eq!(it.state(&second).await, State::Cancelled);
}
