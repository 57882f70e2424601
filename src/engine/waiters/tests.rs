//! Who is told of what, and that nobody's place is lost.

use uuid::Uuid;

use super::*;
use crate::domain::{Json, Outcome, State, Timestamp, example, settle};

const WATCHED_MAX: usize = 1_000_000;

fn done() -> Arc<Job> {
    let outcome = Outcome::Returned(Json::trusted("1"));
    let done = settle(&example::running(), outcome, Timestamp(3_000), 0.5);
    Arc::new(Job { finished_seq: Some(1), ..done })
}

/// Jobs that are waited for, and how many wait for them, all told.
fn size(waiters: &Waiters) -> (usize, usize) {
    let table = lock(&waiters.shared);
    (table.jobs.len(), table.watched)
}

#[tokio::test]
async fn f7_ten_thousand_waiters_each_get_the_job_and_leave_an_empty_table() {
    let waiters = Waiters::new(10_000, WATCHED_MAX);
    let job = done();
    let subscribed: Vec<Waiter<Arc<Job>>> =
        (0..10_000).map(|_| waiters.subscribe(job.spec.id).expect("a place")).collect();
    assert_eq!(size(&waiters), (1, 10_000));
    waiters.done(&job);
    assert_eq!(size(&waiters), (0, 0), "places are free before anyone has looked");
    waiters.done(&job);
    for waiter in subscribed {
        assert_eq!(waiter.done().await.as_ref(), Some(&job));
    }
    assert_eq!(size(&waiters), (0, 0));
}

#[tokio::test]
async fn a_waiter_hears_of_its_own_job_only() {
    let waiters = Waiters::new(2, WATCHED_MAX);
    let job = done();
    let other = JobId(Uuid::from_u128(7));
    let (mine, theirs) = (waiters.subscribe(job.spec.id), waiters.subscribe(other));
    waiters.done(&job);
    assert!(mine.expect("a place").done().await.is_some());
    assert_eq!(size(&waiters), (1, 1));
    drop(theirs);
    assert_eq!(size(&waiters), (0, 0));
}

#[test]
fn one_waiter_too_many_is_refused_and_a_place_given_back_is_taken_again() {
    let waiters = Waiters::new(2, WATCHED_MAX);
    let id = done().spec.id;
    let first = waiters.subscribe(id).expect("a place");
    let _second = waiters.subscribe(id).expect("a place");
    for _ in 0..3 {
        let refused = waiters.subscribe(id).expect_err("no place");
        assert!(matches!(refused, Error::TooManyWaiters(2)));
    }
    assert_eq!(size(&waiters), (1, 2), "a refused waiter takes no place");
    drop(first);
    assert_eq!(size(&waiters), (1, 1));
    let _third = waiters.subscribe(id).expect("the place that was given back");
    assert!(waiters.subscribe(id).is_err());
}

#[tokio::test]
async fn w1_one_who_watches_many_hears_of_each_once_in_the_order_of_their_ends() {
    let waiters = Waiters::new(2, WATCHED_MAX);
    let ids: Vec<JobId> = (1..=4).map(|id| JobId(Uuid::from_u128(id))).collect();
    let mut watch = waiters.watch(ids.clone().into()).expect("a place");
    assert_eq!(size(&waiters), (4, 4));
    let ended = |place: usize, seq| Ended {
        id: ids[place],
        seq,
        state: State::Cancelled,
        ..Ended::of(&done()).expect("it is done")
    };
    for (place, seq) in [(2, 7), (0, 8), (2, 7)] {
        waiters.ended(ended(place, seq));
    }
    assert_eq!(watch.next().await, ended(2, 7));
    assert_eq!(watch.try_next(), Some(ended(0, 8)));
    assert_eq!(watch.try_next(), None, "a job is told once");
    assert_eq!(size(&waiters), (2, 2));
    drop(watch);
    assert_eq!(size(&waiters), (0, 0));
    assert_eq!(lock(&waiters.shared).requests, 0);
}

#[tokio::test]
async fn a_change_wakes_whoever_waits_for_a_change_and_leaves_the_others_waiting() {
    let waiters = Waiters::new(3, WATCHED_MAX);
    let job = done();
    let change = waiters.subscribe_to_change(job.spec.id).expect("a place");
    let end = waiters.subscribe(job.spec.id).expect("a place");
    waiters.changed(job.spec.id);
    assert_eq!(change.done().await, Some(()));
    assert_eq!(size(&waiters), (1, 1));
    let change = waiters.subscribe_to_change(job.spec.id).expect("a place");
    waiters.done(&job);
    assert_eq!((change.done().await, end.done().await.as_ref()), (Some(()), Some(&job)));
    assert_eq!(size(&waiters), (0, 0));
}

#[test]
fn a_wait_for_more_jobs_than_may_be_watched_is_refused_whole() {
    let waiters = Waiters::new(200, WATCHED_MAX);
    let ids: Arc<[JobId]> = (0..10_000).map(|id| JobId(Uuid::from_u128(id))).collect();
    let watches: Vec<Watch> = (0..WATCHED_MAX / ids.len())
        .map(|_| waiters.watch(Arc::clone(&ids)).expect("a place"))
        .collect();
    let refused = waiters.watch(Arc::from([ids[0]])).expect_err("no place");
    assert!(matches!(refused, Error::TooManyWatched(WATCHED_MAX)), "{refused:?}");
    drop(watches);
    assert_eq!(size(&waiters), (0, 0));
}

#[test]
fn a_waiter_dropped_after_the_end_takes_nobody_elses_place_away() {
    let waiters = Waiters::new(3, WATCHED_MAX);
    let job = done();
    let late = waiters.subscribe(job.spec.id).expect("a place");
    waiters.done(&job);
    let _next = waiters.subscribe(job.spec.id).expect("a place");
    drop(late);
    assert_eq!(size(&waiters), (1, 1));
}
