//! Slots: who starts, in what order, and what a settled job leaves to the next.

use super::{
    Arc, Completion, Damage, Error, Event, Job, Json, Ordinal, Outcome, Pool, QueueName, Spec,
    State, Submission, TestStore, Timestamp, example, raised, returned, settlement, submission,
    urgent,
};
use crate::store::Refusal;
use crate::store::SlotChange;

#[tokio::test]
async fn e1_a_job_that_finds_a_free_slot_is_inserted_as_running() {
    let mut it = TestStore::of_workers(1).await;
    let job = it.submit(1).await;
    assert_eq!((job.state, job.attempt, job.version), (State::Running, 1, 1));
    assert_eq!(job.started_at, Some(Timestamp(3_000)));
    assert_eq!(it.new_events(), ["started 1"]);
    assert_eq!(it.job(&job).await, job, "what was told is what was written");
}

#[tokio::test]
async fn s5_with_one_worker_and_four_jobs_one_runs_and_three_wait() {
    let mut it = TestStore::of_workers(1).await;
    it.submit(1).await;
    it.new_events();
    for number in 2..=4 {
        let job = it.submit(number).await;
        assert_eq!((job.state, job.attempt, job.started_at), (State::Pending, 0, None));
        assert!(it.new_events().is_empty());
        assert_eq!(it.job(&job).await, job);
    }
}

#[tokio::test]
async fn e2_the_most_urgent_then_the_oldest_is_claimed() {
    let mut it = TestStore::of_workers(1).await;
    it.submit(1).await;
    for (number, priority) in [(2, 0), (3, 10), (4, -100), (5, 10), (6, 100), (7, 0)] {
        it.put(urgent(number, priority)).await.expect("a job");
    }
    it.new_events();
    let mut order = Vec::new();
    let mut running = 1;
    while running != 0 {
        let job = it.store.job(example::spec(running).id).await.unwrap().unwrap();
        it.settle(&job, returned()).await.expect("a running job");
        let claimed = it
            .new_events()
            .into_iter()
            .find_map(|told| told.strip_prefix("claimed [")?.strip_suffix(']')?.parse().ok());
        running = claimed.unwrap_or(0);
        order.push(running);
    }
    assert_eq!(order, [6, 3, 5, 2, 7, 4, 0]);
}

#[tokio::test]
async fn e2_a_settled_job_leaves_its_slot_to_the_next_in_the_same_commit() {
    let mut it = TestStore::of_workers(1).await;
    let (first, second) = (it.submit(1).await, it.submit(2).await);
    it.new_events();
    it.settle(&first, returned()).await.expect("a running job");
    assert_eq!(it.new_events(), ["changed 1 succeeded", "claimed [2]"]);
    let second = it.job(&second).await;
    assert_eq!((second.state, second.attempt, second.version), (State::Running, 1, 2));
}

#[tokio::test]
async fn e2_a_job_that_came_a_moment_ago_starts_from_memory_as_it_is_written() {
    let mut it = TestStore::of_workers(1).await;
    let (first, second) = (it.submit(1).await, it.submit(2).await);
    it.settle(&first, returned()).await.expect("a running job");
    let written = it.job(&second).await;
    assert_eq!(known(&mut it), [(written, "{}".to_owned())]);
}

#[tokio::test]
async fn e2_a_job_that_is_not_in_memory_or_was_changed_is_claimed_to_be_read() {
    let mut it = TestStore::of_workers(1).await;
    let (first, changed) = (it.submit(1).await, it.submit(2).await);
    let text = serde_json::to_string(&"x".repeat(3_000)).expect("JSON");
    let args = Some(Json::kept(format!("[{text}]")).expect("JSON"));
    let large = submission(Spec { args, ..example::spec(3) });
    let large = it.put(large).await.expect("a job");
    it.backend.damage(Damage::Version(Ordinal(2), 7));
    it.settle(&first, returned()).await.expect("a running job");
    let changed = it.job(&changed).await;
    assert_eq!((changed.state, changed.version), (State::Running, 8));
    it.settle(&changed, returned()).await.expect("a running job");
    assert_eq!(it.state(&large).await, State::Running);
    assert_eq!(known(&mut it), []);
}

/// Of the jobs that were claimed since the last look, those that need not be read, with their bound arguments.
fn known(it: &mut TestStore) -> Vec<(Job, String)> {
    let mut all = Vec::new();
    while let Ok(events) = it.events.try_recv() {
        all.extend(events);
    }
    let claimed = all.into_iter().filter_map(|event| match event {
        Event::Claimed(claimed) => Some(claimed),
        _ => None,
    });
    let known = claimed.flatten().filter_map(|claimed| claimed.known);
    known.map(|(job, bound)| (Arc::unwrap_or_clone(job), bound.as_str().to_owned())).collect()
}

#[tokio::test]
async fn f4_a_slot_that_code_still_holds_is_free_only_when_it_is_released() {
    let mut it = TestStore::of_workers(1).await;
    let (first, second) = (it.submit(1).await, it.submit(2).await);
    it.new_events();
    let given_up = Completion { frees_slot: false, ..settlement(&first, Outcome::Cancelled) };
    it.record(given_up).await.expect("a running job");
    assert_eq!(it.new_events(), ["changed 1 cancelled"]);
    assert_eq!(it.state(&second).await, State::Pending);
    let change = SlotChange::Release { queue: QueueName::default_queue(), pool: Pool::Tasks };
    it.store.change_slots(change, Timestamp(9_000)).await.expect("an answer");
    assert_eq!(it.next_events().await, ["claimed [2]"]);
    assert_eq!(it.job(&second).await.started_at, Some(Timestamp(9_000)));
}

#[tokio::test]
async fn g6_an_attempt_is_settled_once_and_a_second_outcome_writes_nothing() {
    let mut it = TestStore::of_workers(1).await;
    let job = it.submit(1).await;
    it.settle(&job, returned()).await.expect("a running job");
    it.new_events();
    it.new_events();
    let settled = it.job(&job).await;
    assert_eq!((settled.state, settled.version), (State::Succeeded, 2));
    for outcome in [raised(), returned(), Outcome::Stopped] {
        let refused = it.settle(&job, outcome).await;
        assert!(matches!(refused, Err(Error::Refused(Refusal::Superseded))), "{refused:?}");
        assert!(it.new_events().is_empty());
        assert_eq!(it.job(&job).await, settled);
    }
}

#[tokio::test]
async fn g6_of_two_outcomes_in_one_commit_the_first_stands() {
    let it = TestStore::of_workers(1).await;
    let job = it.submit(1).await;
    let (first, second) =
        tokio::join!(biased; it.settle(&job, returned()), it.settle(&job, raised()));
    assert!(first.is_ok());
    assert!(matches!(second, Err(Error::Refused(Refusal::Superseded))), "{second:?}");
    let job = it.job(&job).await;
    assert_eq!((job.state, job.version), (State::Succeeded, 2));
}

#[tokio::test]
async fn s3_a_job_that_waits_cannot_be_settled() {
    let it = TestStore::of_workers(0).await;
    let job = it.submit(1).await;
    assert!(matches!(it.settle(&job, returned()).await, Err(Error::Refused(Refusal::Superseded))));
    assert_eq!(it.job(&job).await, job);
}

#[tokio::test]
async fn a_job_whose_function_is_absent_waits_and_holds_up_nobody() {
    let mut it = TestStore::of_workers(1).await;
    let absent = Submission { pool: Pool::Absent, ..urgent(1, 100) };
    let absent = it.put(absent).await.expect("a job");
    assert_eq!(absent.state, State::Pending);
    let job = it.submit(2).await;
    assert_eq!(job.state, State::Running);
    it.new_events();
    it.settle(&job, returned()).await.expect("a running job");
    assert_eq!(it.new_events(), ["changed 2 succeeded"]);
}

#[tokio::test]
async fn g21_a_store_that_stops_claims_nothing_more() {
    let mut it = TestStore::of_workers(1).await;
    let (first, second) = (it.submit(1).await, it.submit(2).await);
    it.new_events();
    it.change_slots(SlotChange::StopClaiming).await.expect("an answer");
    it.settle(&first, returned()).await.expect("a running job");
    assert_eq!(it.new_events(), ["changed 1 succeeded"]);
    let third = it.put(submission(example::spec(3))).await.expect("a job");
    assert_eq!((it.state(&second).await, third.state), (State::Pending, State::Pending));
}
