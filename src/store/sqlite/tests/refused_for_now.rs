//! What the database refuses for a moment: whoever asks is told to come again, and nothing that nobody would ask for again is
//! forgotten.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use crate::domain::Json;
use crate::store::conformance::{
    Error, Job, NOW, Outcome, Pool, QueueName, State, TestStore, example, returned, settlement,
    submission,
};
use crate::store::sqlite::jobs::cancel_many::{AddCancelRule, CancelPortion, DropCancelRule};
use crate::store::sqlite::slots::CancelRule;
use crate::store::{Config, Failure, Now, SlotChange};

/// Another process that has locked the database, as far as SQLite can tell.
pub struct Lock(Connection);

impl Lock {
    pub fn take(it: &TestStore) -> Self {
        let connection = it.aside();
        connection.execute_batch("begin immediate").expect("nobody else has it");
        Self(connection)
    }

    pub fn let_go(self) {
        self.0.execute_batch("rollback").expect("it is let go");
    }
}

/// One whose writer soon says that it is locked.
async fn impatient(max_workers: usize) -> TestStore {
    let TestStore { store, closed, config, backend, .. } = TestStore::of_workers(max_workers).await;
    store.close().await;
    closed.await.expect("the writer ends");
    let mut path = config.path.clone();
    path.busy_timeout = Duration::from_millis(20);
    TestStore::open(backend, Config { path, ..config }).await
}

/// Waits until what is wrong is said so.
async fn until_said(it: &TestStore, what: &str) {
    while !it.store.health().troubles.iter().any(|trouble| trouble.contains(what)) {
        tokio::task::yield_now().await;
    }
}

async fn until_well(it: &TestStore) {
    while !it.store.health().troubles.is_empty() {
        tokio::task::yield_now().await;
    }
}

/// Hands an outcome over, as an attempt does.
async fn hand_over(it: &TestStore, job: &Job, outcome: Outcome) {
    let unheard = |error: Error| panic!("it is recorded: {error}");
    it.hands_over(settlement(job, outcome), unheard).await;
}

#[tokio::test]
async fn g5_an_outcome_that_finds_the_database_locked_is_recorded_once_it_is_free() {
    let it = impatient(2).await;
    let (small, large) = (it.submit(1).await, it.submit(2).await);
    let lock = Lock::take(&it);
    hand_over(&it, &small, returned()).await;
    until_said(&it, "outcomes that wait to be recorded: 1").await;
    until_said(&it, "another process has locked the database").await;
    let refused = it.put(submission(example::spec(3))).await;
    assert!(
        matches!(&refused, Err(error @ Error::Failed(Failure::NotNow(_))) if error.passes()),
        "{refused:?}"
    );
    let text = Json::trusted(format!("\"{}\"", "x".repeat(600 * 1_024)));
    let (store, its_end) = (it.store.clone(), settlement(&large, Outcome::Returned(text)));
    let recorded = tokio::spawn(async move { store.complete(Arc::new(its_end), None).await });
    until_said(&it, "outcomes that wait to be recorded: 2").await;
    let queue = it.queue_of(QueueName::default_queue()).await;
    assert_eq!(queue.running, 2);
    assert_eq!(it.state(&small).await, State::Running, "readers are not kept from reading");
    lock.let_go();
    recorded.await.expect("no panic").expect("a running job");
    until_well(&it).await;
    assert_eq!(
        (it.state(&small).await, it.state(&large).await),
        (State::Succeeded, State::Succeeded)
    );
    assert_eq!(it.submit(3).await.state, State::Running, "their slots are free");
    assert_eq!(it.store.health().outcomes_kept, 0);
}

#[tokio::test]
async fn g5_an_outcome_that_the_database_refuses_for_whatever_reason_is_tried_again() {
    let it = TestStore::of_workers(1).await;
    let job = it.submit(1).await;
    it.execute(
        "create trigger no before insert on ends when new.job = 1
        begin select raise(abort, 'no'); end;",
    );
    hand_over(&it, &job, returned()).await;
    until_said(&it, "outcomes that wait to be recorded: 1").await;
    let second = it.submit(2).await;
    assert_eq!(second.state, State::Pending, "others are served meanwhile");
    it.execute("drop trigger no");
    until_well(&it).await;
    assert_eq!((it.state(&job).await, it.state(&second).await), (State::Succeeded, State::Running));
}

#[tokio::test]
async fn no_slot_place_or_rule_is_lost_while_the_database_is_locked() {
    let it = impatient(1).await;
    let job = it.submit(1).await;
    let given_up =
        crate::store::Completion { frees_slot: false, ..settlement(&job, Outcome::Cancelled) };
    it.record(given_up).await.expect("a running job");
    let second = it.submit(2).await;
    let third = it.submit(3).await;
    let rule = CancelRule::Jobs([third.ordinal].into());
    let sqlite = it.sqlite();
    let (number, _) = sqlite.write(AddCancelRule(rule)).await.expect("a rule");
    let lock = Lock::take(&it);
    // Each answers when it is written.
    let change = SlotChange::Release { queue: QueueName::default_queue(), pool: Pool::Tasks };
    let store = it.store.clone();
    let released = tokio::spawn(async move { store.change_slots(change, NOW).await });
    let unmarked = tokio::spawn(async move { sqlite.write(DropCancelRule(number)).await });
    let store = it.store.clone();
    let resized = tokio::spawn(async move {
        store.change_slots(SlotChange::Resize { pool: Pool::Tasks, slots: 2 }, NOW).await
    });
    until_said(&it, "another process has locked the database").await;
    let portion = CancelPortion {
        jobs: vec![third.ordinal],
        pending: true,
        running: true,
        terminate: true,
        grace_seconds: 1.0,
        now: NOW,
    };
    for refused in [
        it.sqlite().write(portion).await.map(drop),
        it.store.run_timers(Now { now: NOW, wall: NOW }).await.map(drop),
    ] {
        assert!(matches!(refused, Err(Error::Failed(Failure::NotNow(_)))), "{refused:?}");
    }
    lock.let_go();
    released.await.expect("no panic").expect("an answer");
    resized.await.expect("no panic").expect("an answer");
    assert_eq!(unmarked.await.expect("no panic").expect("an answer"), 0);
    until_well(&it).await;
    assert_eq!(it.state(&second).await, State::Running, "the slot came back");
    it.settle(&it.job(&second).await, returned()).await.expect("a running job");
    assert_eq!(it.state(&third).await, State::Running, "the rule is gone");
}

#[tokio::test]
async fn g9_a_server_that_is_told_to_end_while_the_database_is_locked_ends_and_nobody_is_blamed() {
    let it = impatient(1).await;
    let job = it.submit(1).await;
    let lock = Lock::take(&it);
    let lost = |error: Error| assert!(matches!(error, Error::Failed(Failure::Closed)), "{error:?}");
    it.hands_over(settlement(&job, returned()), lost).await;
    until_said(&it, "outcomes that wait to be recorded: 1").await;
    it.change_slots(SlotChange::StopClaiming).await.expect("it needs no database");
    let TestStore { store, closed, config, backend, .. } = it;
    store.close().await;
    closed.await.expect("the writer ends, though the database is locked");
    lock.let_go();
    let mut it = TestStore::open(backend, config).await;
    assert_eq!(it.recovered, 1);
    assert_eq!(it.next_events().await, ["claimed [1]"]);
    let job = it.job(&job).await;
    assert_eq!((job.interruptions, job.crashes, job.attempt), (1, 0, 2));
}

#[tokio::test]
async fn g9_an_end_of_our_own_making_blames_no_job() {
    let mut it = TestStore::of_workers(2).await;
    let (innocent, broken) = (it.submit(1).await, it.submit(2).await);
    for deaths in 1..=3 {
        // Whatever it is that ledger and database disagree about.
        it.execute("update calls set state = 'pending' where ordinal = 2");
        let broken = it.job(&broken).await;
        let running = Job { attempt: deaths, ..broken };
        let outcome = it.settle(&running, crate::store::conformance::raised()).await;
        assert!(matches!(outcome, Err(Error::Failed(Failure::OutcomeUnknown(_)))), "{outcome:?}");
        it.execute("update calls set state = 'running' where ordinal = 2");
        it = it.reopened().await;
        assert_eq!(it.recovered, 2);
        assert_eq!(it.next_events().await, ["claimed [1, 2]"]);
        let innocent = it.job(&innocent).await;
        assert_eq!((innocent.state, innocent.crashes), (State::Running, 0));
        assert_eq!(innocent.interruptions, deaths);
    }
    it = it.reopened().await;
    it.next_events().await;
    assert_eq!(it.job(&innocent).await.crashes, 1, "one that says nothing is a death");
}
