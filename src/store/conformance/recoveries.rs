//! What the next server makes of what the last one left.

use crate::domain::OnInterrupt;
use crate::store::SlotChange;

use super::{Figure, NOW, Outcome, Spec, State, TestStore, cancel, example, returned, submission};

#[tokio::test]
async fn g5_what_ran_when_a_server_died_runs_again_or_fails_with_a_name() {
    let mut it = TestStore::of_workers(2).await;
    let again = it.submit(1).await;
    let once = Spec { on_interrupt: OnInterrupt::Fail, ..example::spec(2) };
    let once = it.put(submission(once)).await.expect("a job");
    let waiting = it.submit(3).await;
    it = it.reopened().await;
    assert_eq!(it.recovered, 2);
    assert_eq!(it.next_events().await, ["claimed [1, 3]"]);

    let again = it.job(&again).await;
    assert_eq!((again.state, again.attempt, again.version), (State::Running, 2, 3));
    assert_eq!((again.interruptions, again.crashes), (1, 1));
    let once = it.job(&once).await;
    assert_eq!((once.state, once.attempt, once.finished_at), (State::Failed, 1, Some(NOW)));
    let error = once.error.expect("an error");
    assert_eq!((error.kind().as_str(), error.attempt()), ("interrupted", 1));
    let waiting = it.job(&waiting).await;
    assert_eq!((waiting.attempt, waiting.interruptions), (1, 0));
}

#[tokio::test]
async fn g9_a_job_during_which_three_servers_died_is_a_crash_loop() {
    let mut it = TestStore::of_workers(1).await;
    let job = it.submit(1).await;
    for attempt in 2..=3 {
        it = it.reopened().await;
        assert_eq!(it.next_events().await, ["claimed [1]"]);
        assert_eq!(it.job(&job).await.attempt, attempt);
    }
    it = it.reopened().await;
    let job = it.job(&job).await;
    assert_eq!((job.state, job.crashes, job.attempt), (State::Failed, 3, 3));
    assert_eq!(job.error.expect("an error").kind().as_str(), "crash_loop");
}

#[tokio::test]
async fn f4_a_job_that_was_asked_to_stop_when_its_server_died_is_cancelled() {
    let mut it = TestStore::of_workers(1).await;
    let job = it.submit(1).await;
    it.store.cancel(cancel(&job, true)).await.expect("an answer");
    it = it.reopened().await;
    let job = it.job(&job).await;
    assert_eq!((job.state, job.attempt, job.version), (State::Cancelled, 1, 3));
}

#[tokio::test]
async fn g21_an_interrupted_job_takes_its_old_place_again() {
    let mut it = TestStore::of_workers(1).await;
    let (first, second) = (it.submit(1).await, it.submit(2).await);
    it.new_events();
    it.change_slots(SlotChange::StopClaiming).await.expect("an answer");
    it.settle(&first, Outcome::Stopped).await.expect("a running job");
    assert_eq!(it.new_events(), ["changed 1 pending"]);
    let waiting = it.job(&first).await;
    assert_eq!((waiting.state, waiting.attempt, waiting.started_at), (State::Pending, 1, None));
    assert_eq!((waiting.interruptions, waiting.crashes), (1, 0), "a stop is no crash");

    it = it.reopened().await;
    assert_eq!(it.recovered, 0);
    assert_eq!(it.next_events().await, ["claimed [1]"], "before the one that was submitted later");
    let again = it.job(&first).await;
    assert_eq!(again.attempt, 2);
    it.settle(&again, returned()).await.expect("a running job");
    assert_eq!(it.new_events(), ["changed 1 succeeded", "claimed [2]"]);
    assert_eq!(it.state(&second).await, State::Running);
}

#[tokio::test]
async fn g1_what_was_answered_is_there_after_the_store_was_dropped() {
    let mut it = TestStore::of_workers(1).await;
    let (first, second) = (it.submit(1).await, it.submit(2).await);
    it.store.cancel(cancel(&second, false)).await.expect("an answer");
    it.settle(&first, returned()).await.expect("a running job");
    let before = (it.job(&first).await, it.job(&second).await);
    it = it.reopened().await;
    assert_eq!((it.job(&first).await, it.job(&second).await), before);
    assert_eq!(it.recovered, 0);
}

#[tokio::test]
async fn g13_no_counter_ever_goes_back_and_every_server_has_its_own_epoch() {
    let mut it = TestStore::of_workers(1).await;
    let mut before = [0; 3];
    for number in 1..=3 {
        let job = it.submit(number).await;
        assert_eq!(u64::try_from(job.ordinal.0), Ok(number), "ordinals go on");
        let now =
            [it.number(Figure::Epoch), it.number(Figure::LastOrdinal), it.number(Figure::LastSeq)];
        assert!(before.iter().zip(now).all(|(before, now)| *before < now), "{before:?} {now:?}");
        let reserved = Figure::JobsBeyondCounters;
        assert_eq!(it.number(reserved), 0, "no number is given that is not reserved");
        before = now;
        it = it.reopened().await;
    }
    let running = Figure::JobsOfOtherServers;
    it.settle(&it.submit(4).await, returned()).await.expect_err("it waits");
    assert_eq!(it.number(running), 0, "whatever runs belongs to the epoch of its server");
}

/// A server that has died twice with these jobs running; it starts as the third time.
async fn died_twice(count: u64) -> TestStore {
    let mut it = TestStore::of_workers(3).await;
    for number in 1..=count {
        it.submit(number).await;
    }
    it = it.reopened().await;
    it.next_events().await;
    it.reopened().await
}

#[tokio::test]
async fn g9_a_job_during_which_two_servers_died_runs_first_and_alone() {
    let mut it = died_twice(2).await;
    let urgent = it.put(super::urgent(3, 100)).await.expect("a job");
    assert_eq!(it.next_events().await, ["claimed [1]"]);
    assert_eq!(it.state(&urgent).await, State::Pending, "not even what is urgent runs beside it");
    for (number, then) in [
        (1, vec!["changed 1 succeeded", "claimed [2]"]),
        (2, vec!["changed 2 succeeded", "claimed [3]"]),
    ] {
        let running = &it.jobs_at(&[super::Ordinal(number)]).await[0];
        it.new_events();
        it.settle(running, returned()).await.expect("a running job");
        assert_eq!(it.new_events(), then);
    }
}

#[tokio::test]
async fn g9_once_the_cause_is_known_nobody_else_is_suspected() {
    let mut it = died_twice(2).await;
    assert_eq!(it.next_events().await, ["claimed [1]"]);
    it = it.reopened().await;
    assert_eq!(it.next_events().await, ["claimed [2]"]);
    let first = &it.jobs_at(&[super::Ordinal(1)]).await[0];
    assert_eq!(first.error.as_ref().map(|error| error.kind().as_str()), Some("crash_loop"));
    assert_eq!(it.submit(3).await.state, State::Running, "beside the other one");
}

#[tokio::test]
async fn g9_those_that_cannot_run_hold_nobody_up_and_in_the_end_all_run_together() {
    let mut it = died_twice(2).await;
    assert_eq!(it.next_events().await, ["claimed [1]"]);
    let first = &it.jobs_at(&[super::Ordinal(1)]).await[0];
    let second = &it.jobs_at(&[super::Ordinal(2)]).await[0];
    let third = it.submit(3).await;
    it.store.cancel(cancel(second, false)).await.expect("an answer");
    it.new_events();
    it.change_slots(SlotChange::ClearSuspects).await.expect("an answer");
    assert_eq!(it.new_events(), ["claimed [3]"], "beside the one that was alone");
    assert_eq!((it.state(first).await, it.state(&third).await), (State::Running, State::Running));
}
