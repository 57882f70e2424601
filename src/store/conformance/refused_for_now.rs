//! What the database refuses for a moment: whoever asks is told to come again, and nothing that nobody would ask for again is
//! forgotten.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::{
    Error, Job, NOW, Outcome, Pool, QueueName, Shelf, State, example, returned, settlement,
    submission,
};
use crate::domain::Json;
use crate::store::{CancelPortion, Config, Failure, Mark, Moment};

/// Another process that has locked the database, as far as SQLite can tell.
pub(super) struct Lock(Connection);

impl Lock {
    pub(super) fn take(it: &Shelf) -> Self {
        let connection = Connection::open(it.dir.path().join("futurity.db")).expect("a connection");
        connection.busy_timeout(Duration::from_secs(30)).expect("a time-out");
        connection.execute_batch("begin immediate").expect("nobody else has it");
        Self(connection)
    }

    pub(super) fn let_go(self) {
        self.0.execute_batch("rollback").expect("it is let go");
    }
}

/// One whose writer soon says that it is locked.
async fn impatient(max_workers: usize) -> Shelf {
    let Shelf { store, closed, config, dir, .. } = Shelf::of_workers(max_workers).await;
    store.close().await;
    closed.await.expect("the writer ends");
    let mut path = config.path.clone();
    path.busy_timeout = Duration::from_millis(20);
    Shelf::open(dir, Config { path, ..config }).await
}

/// Waits until what is wrong is said so.
async fn until_said(it: &Shelf, what: &str) {
    while !it.store.troubles().iter().any(|trouble| trouble.contains(what)) {
        tokio::task::yield_now().await;
    }
}

async fn until_well(it: &Shelf) {
    while !it.store.troubles().is_empty() {
        tokio::task::yield_now().await;
    }
}

/// Hands an outcome over, as an attempt does.
async fn hand_over(it: &Shelf, job: &Job, outcome: Outcome) {
    let unheard = |error: Error| panic!("it is recorded: {error}");
    it.store.send_settlement(settlement(job, outcome).into(), unheard).await;
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
    let recorded = tokio::spawn(async move { store.settle(Arc::new(its_end)).await });
    until_said(&it, "outcomes that wait to be recorded: 2").await;
    let queue = it.store.queue(QueueName::default_queue()).await.expect("it is known from memory");
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
    assert_eq!(it.store.outcomes_kept(), 0);
}

#[tokio::test]
async fn g5_an_outcome_that_the_database_refuses_for_whatever_reason_is_tried_again() {
    let it = Shelf::of_workers(1).await;
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
async fn no_slot_place_or_mark_is_lost_while_the_database_is_locked() {
    let it = impatient(1).await;
    let job = it.submit(1).await;
    let given_up =
        crate::store::Settlement { frees_slot: false, ..settlement(&job, Outcome::Cancelled) };
    it.record(given_up).await.expect("a running job");
    let second = it.submit(2).await;
    let third = it.submit(3).await;
    let mark = Mark::Jobs([third.ordinal].into());
    let (number, _) = it.store.mark_cancelled(mark).await.expect("a mark");
    let lock = Lock::take(&it);
    // One answers when it is written, and the other has no answer.
    it.store.release(QueueName::default_queue(), Pool::Tasks, NOW).await;
    let store = it.store.clone();
    let unmarked = tokio::spawn(async move { store.unmark_cancelled(number).await });
    let store = it.store.clone();
    let resized = tokio::spawn(async move { store.resize(Pool::Tasks, 2, NOW).await });
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
        it.store.cancel_portion(portion).await.map(drop),
        it.store.come_due(Moment { now: NOW, wall: NOW }).await.map(drop),
    ] {
        assert!(matches!(refused, Err(Error::Failed(Failure::NotNow(_)))), "{refused:?}");
    }
    lock.let_go();
    resized.await.expect("no panic").expect("an answer");
    assert_eq!(unmarked.await.expect("no panic").expect("an answer"), 0);
    until_well(&it).await;
    assert_eq!(it.state(&second).await, State::Running, "the slot came back");
    it.settle(&it.job(&second).await, returned()).await.expect("a running job");
    assert_eq!(it.state(&third).await, State::Running, "the mark is gone");
}

#[tokio::test]
async fn g9_a_server_that_is_told_to_end_while_the_database_is_locked_ends_and_nobody_is_blamed() {
    let it = impatient(1).await;
    let job = it.submit(1).await;
    let lock = Lock::take(&it);
    let lost = |error: Error| assert!(matches!(error, Error::Failed(Failure::Closed)), "{error:?}");
    it.store.send_settlement(settlement(&job, returned()).into(), lost).await;
    until_said(&it, "outcomes that wait to be recorded: 1").await;
    it.store.stop_claiming().await.expect("it needs no database");
    let Shelf { store, closed, config, dir, .. } = it;
    store.close().await;
    closed.await.expect("the writer ends, though the database is locked");
    lock.let_go();
    let mut it = Shelf::open(dir, config).await;
    assert_eq!(it.recovered, 1);
    assert_eq!(it.tells().await, ["claimed [1]"]);
    let job = it.job(&job).await;
    assert_eq!((job.interruptions, job.crashes, job.attempt), (1, 0, 2));
}

#[tokio::test]
async fn g9_an_end_of_our_own_making_blames_no_job() {
    let mut it = Shelf::of_workers(2).await;
    let (innocent, broken) = (it.submit(1).await, it.submit(2).await);
    for deaths in 1..=3 {
        // Whatever it is that ledger and database disagree about.
        it.execute("update calls set state = 'pending' where ordinal = 2");
        let broken = it.job(&broken).await;
        let running = Job { attempt: deaths, ..broken };
        let outcome = it.settle(&running, super::raised()).await;
        assert!(matches!(outcome, Err(Error::Failed(Failure::OutcomeUnknown(_)))), "{outcome:?}");
        it.execute("update calls set state = 'running' where ordinal = 2");
        it = it.reopened().await;
        assert_eq!(it.recovered, 2);
        assert_eq!(it.tells().await, ["claimed [1, 2]"]);
        let innocent = it.job(&innocent).await;
        assert_eq!((innocent.state, innocent.crashes), (State::Running, 0));
        assert_eq!(innocent.interruptions, deaths);
    }
    it = it.reopened().await;
    it.tells().await;
    assert_eq!(it.job(&innocent).await.crashes, 1, "one that says nothing is a death");
}
