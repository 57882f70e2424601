//! The order of all changes: each in its place, none left out, wherever one who follows goes on.

use crate::domain::{JobId, Spec, State, Tags, example};
use crate::store::BatchChange;
use crate::store::{Left, SweepCursor};

use super::batches::batch;
use super::{
    Damage, Figure, Ordinal, Refused, TestStore, Timestamp, cancel, raised, returned, submission,
};

/// A change as a place and what it left: the job's ordinal and state, or that it is gone.
type Seen = (i64, Option<(i64, State)>);

impl TestStore {
    /// Everything behind `after`, read so many at a time.
    pub async fn changes_after(&self, after: i64, limit: usize) -> Vec<Seen> {
        let (mut seen, mut from) = (Vec::new(), after);
        loop {
            let page = self.store.changes(from, limit).await.expect("it reads");
            if page.to == from {
                return seen;
            }
            from = page.to;
            seen.extend(page.changes.iter().map(|change| {
                let left = match &change.left {
                    Left::Job(job) => Some((job.ordinal.0, job.state)),
                    Left::Gone(_) => None,
                };
                (change.seq, left)
            }));
        }
    }

    /// The same as the rows have it.
    pub fn rows_after(&self, after: i64) -> Vec<Seen> {
        let state = |state: &str| State::parse(state).expect("a state");
        let rows = self.backend.changed_after(after).into_iter();
        rows.map(|(seq, ordinal, word)| (seq, Some((ordinal, state(&word))))).collect()
    }
}

#[tokio::test]
async fn g13_the_log_tells_of_every_job_as_it_stands_wherever_one_goes_on() {
    let it = TestStore::of_workers(2).await;
    let jobs = [it.submit(11).await, it.submit(12).await, it.submit(13).await, it.submit(14).await];
    it.settle(&jobs[0], returned()).await.expect("a running job");
    it.store.cancel(cancel(&jobs[3], true)).await.expect("an answer");
    it.store.cancel(cancel(&jobs[1], true)).await.expect("an answer");
    it.settle(&jobs[1], raised()).await.expect("a running job");
    let made = it.store.submit_batch(batch(4)).await.expect("a batch");
    it.settle(&it.job(&jobs[2]).await, returned()).await.expect("a running job");
    it.store
        .change_batch(made.ordinal, BatchChange::Cancel, Timestamp(3_000))
        .await
        .expect("an answer");
    for job in it.calls(&made).await.iter().filter(|job| job.state == State::Running) {
        it.settle(job, returned()).await.expect("a running job");
    }
    let head = it.known().await.head;
    assert_eq!(head, it.number(Figure::LastSeq));
    for after in 0..=head {
        let rows = it.rows_after(after);
        for limit in [1, 3, 1_000] {
            assert_eq!(
                it.changes_after(after, limit).await,
                rows,
                "after {after}, {limit} at once"
            );
        }
    }
    let it = it.reopened().await;
    let late = it.submit(15).await;
    let rows = it.rows_after(head);
    assert_eq!(it.changes_after(head, 2).await, rows, "over a start");
    assert!(rows.iter().any(|(_, left)| left.is_some_and(|(job, _)| job == late.ordinal.0)));
}

#[tokio::test]
async fn g13_a_job_that_goes_is_told_of_by_its_id() {
    let it = TestStore::of_workers(2).await;
    let (first, second) = (it.submit(1).await, it.submit(2).await);
    it.settle(&first, returned()).await.expect("a running job");
    it.settle(&second, returned()).await.expect("a running job");
    let head = it.known().await.head;
    it.store.delete(first.spec.id, Timestamp(3_000)).await.expect("an answer");
    let much_later = Timestamp(i64::MAX / 2);
    it.store.sweep(much_later, SweepCursor::NOTHING).await.expect("an answer");
    let page = it.store.changes(head, 10).await.expect("it reads");
    let gone = page.changes.iter().map(|change| match &change.left {
        Left::Gone(id) => (change.seq, Some(*id)),
        Left::Job(_) => (change.seq, None),
    });
    let gone: Vec<(i64, Option<JobId>)> = gone.collect();
    assert_eq!(gone, [(head + 1, Some(first.spec.id)), (head + 2, Some(second.spec.id))]);
    assert_eq!(it.changes_after(0, 1).await.len(), 2, "of their lives nothing is left");
}

#[tokio::test]
async fn g13_what_is_not_known_any_more_lies_below_a_floor() {
    let it = TestStore::of_workers(0).await;
    for number in 1..=5 {
        it.submit(number).await;
    }
    let known = it.known().await;
    assert_eq!((known.floor, known.head), (0, 5));
    it.backend.damage(Damage::FeedCutTo(3));
    let known = it.known().await;
    assert_eq!((known.floor, known.head), (3, 5));
    assert_eq!(it.changes_after(3, 9).await.len(), 2);
    // As a database is that an earlier version left.
    it.backend.damage(Damage::NoFeed(5));
    let known = it.known().await;
    assert_eq!((known.floor, known.head), (5, 5));
}

#[tokio::test]
async fn a_group_that_is_rolled_back_leaves_no_change_behind() {
    let it = TestStore::of_workers(1).await;
    it.backend.refuse(Refused::NewJobAt(Ordinal(3)));
    it.store.submit_batch(batch(3)).await.expect_err("the database refuses");
    assert_eq!(it.changes_after(0, 9).await, []);
    it.backend.allow();
    it.store.submit_batch(batch(3)).await.expect("a batch");
    assert_eq!(it.changes_after(0, 9).await, it.rows_after(0));
}

#[tokio::test]
async fn ends_of_a_tag_are_found_behind_any_place_with_the_log_of_changes_and_without() {
    let it = TestStore::of_workers(9).await;
    let tags = |tag: &str| Tags::new(vec!["other".to_owned(), tag.to_owned()]).expect("tags");
    let mut ends = Vec::new();
    for number in 1..=8 {
        let tag = if number % 2 == 0 { "mine" } else { "yours" };
        let job = submission(Spec { tags: tags(tag), ..example::spec(number) });
        let job = it.put(job).await.expect("a job");
        let outcome = if number == 6 { raised() } else { returned() };
        // One of them does not end.
        if number < 8 {
            it.settle(&job, outcome).await.expect("a running job");
        }
        let job = it.job(&job).await;
        if tag == "mine" {
            ends.extend(job.finished_seq.map(|seq| (seq, job.spec.id, job.state)));
        }
    }
    let found = async |after: i64, most: usize| {
        let (mut found, mut from) = (Vec::new(), after);
        loop {
            let page = it.store.tag_ends("mine", from, most).await.expect("it reads");
            found.extend(page.ends.iter().map(|ended| (ended.seq, ended.id, ended.state)));
            if page.to == from {
                return found;
            }
            from = page.to;
        }
    };
    let head = it.known().await.head;
    assert_eq!(ends.len(), 3);
    for is_cut in [false, true] {
        if is_cut {
            it.backend.damage(Damage::FeedCut);
        }
        for after in 0..=head + 1 {
            let rest = ends.iter().copied().filter(|(seq, ..)| *seq > after).collect::<Vec<_>>();
            for most in [1, 2, 1_000] {
                assert_eq!(found(after, most).await, rest, "after {after}, {most} at once");
            }
        }
    }
}
