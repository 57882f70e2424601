//! Most jobs are done before any index knows them: all the same they are found, and go.

use crate::domain::{CallbackId, Options};
use crate::store::SlotChange;
use crate::store::{Filter, SweepCursor};
use uuid::Uuid;

use crate::store::conformance::callbacks::{new, with_callbacks};
use crate::store::conformance::{
    Job, NOW, Ordinal, Outcome, State, TestStore, Timestamp, example, returned, submission,
};

/// So many jobs take the indexes past the first ones.
const MANY: u64 = 4_200;
/// When a job goes that says nothing of its retention.
const OVER: Timestamp = Timestamp(NOW.0 + Options::RETENTION_MS);

const UNFINISHED: &str = "select count(*) from unfinished";

impl TestStore {
    /// A queue on which `count` jobs have been done, with examples numbered from 1,000 on.
    async fn after_many(&self, count: u64) {
        for first in (0..count).step_by(600) {
            let some = first..count.min(first + 600);
            let done = some.map(|number| self.run(1_000 + number));
            futures_util::future::join_all(done).await;
        }
    }

    async fn run(&self, number: u64) {
        let job = self.submit(number).await;
        self.settle(&job, returned()).await.expect("a running job");
    }

    /// The ordinals of all jobs that are not done, two at a time.
    async fn unfinished(&self) -> Vec<(i64, State)> {
        let filter = Filter::default();
        let (mut all, mut after) = (Vec::new(), Some(Ordinal(0)));
        while let Some(from) = after {
            let to = Ordinal(i64::MAX);
            let found = self.sqlite().unfinished(&filter, from, to, 2).await.expect("they read");
            all.extend(found.0.into_iter().map(|(ordinal, state)| (ordinal.0, state)));
            after = found.1;
        }
        all
    }

    async fn cleaned(&self, now: Timestamp) -> usize {
        let (mut removed, mut from) = (0, Some(SweepCursor::NOTHING));
        while let Some(next) = from {
            let cleaned = self.store.sweep(now, next).await.expect("an answer");
            (removed, from) = (removed + cleaned.removed, cleaned.next);
        }
        removed
    }
}

#[tokio::test]
async fn g24_a_job_that_thousands_have_overtaken_is_found_by_the_next_server_too() {
    let mut it = TestStore::of_workers(700).await;
    let old = it.submit(1).await;
    assert_eq!(it.select(UNFINISHED), 0, "most never have to be");
    it.after_many(MANY).await;
    let young = it.submit(2).await;
    assert!(it.select("select indexed_to from counters") >= old.ordinal.0);
    assert_eq!(it.select(UNFINISHED), 1, "the old one");
    it = it.reopened().await;
    assert_eq!(it.recovered, 2);
    assert_eq!(it.next_events().await, [format!("claimed [1, {}]", young.ordinal.0)]);
    for job in [&old, &young] {
        assert_eq!(it.job(job).await.attempt, 2);
        let again = it.job(job).await;
        it.settle(&again, returned()).await.expect("a running job");
    }
    assert_eq!(it.cleaned(OVER).await, usize::try_from(MANY).expect("few") + 2);
}

#[tokio::test]
async fn jobs_that_are_not_done_are_found_on_both_sides_of_the_end_of_the_index() {
    let it = TestStore::of_workers(601).await;
    it.submit(1).await;
    it.after_many(MANY).await;
    let mut expected = vec![(1, State::Running)];
    for number in 2..=603 {
        let job = it.submit(number).await;
        expected.push((job.ordinal.0, job.state));
    }
    assert!(expected.iter().any(|(_, state)| *state == State::Pending));
    assert_eq!(it.unfinished().await, expected);
}

#[tokio::test]
async fn g20_jobs_of_no_index_go_when_they_are_over_and_one_that_is_held_back_goes_later() {
    let it = TestStore::of_workers(700).await;
    let late = it.submit(1).await;
    let told = it.put(with_callbacks(2, vec![new(1)])).await.expect("a job");
    it.settle(&told, returned()).await.expect("a running job");
    it.after_many(MANY).await;
    it.settle(&late, returned()).await.expect("a running job");
    assert_eq!(it.select("select count(*) from expiry_ranges"), 1);

    assert_eq!(it.cleaned(Timestamp(OVER.0 - 1)).await, 0);
    let all_but_one = usize::try_from(MANY).expect("few") + 1;
    assert_eq!(it.cleaned(OVER).await, all_but_one, "also those behind the end of the index");
    assert_eq!(it.cleaned(OVER).await, 0, "the range is looked through once a minute");
    assert!(it.store.remove_callback(CallbackId(Uuid::from_u128(1)), OVER).await.expect("one"));
    assert_eq!(it.select("select count(*) from jobs"), 0, "it goes with what held it");
    it.cleaned(Timestamp(OVER.0 + 60_000)).await;
    assert_eq!(it.select("select count(*) from expiry_ranges"), 0);
}

#[tokio::test]
async fn a_job_that_waits_again_is_in_the_index() {
    let it = TestStore::of_workers(1).await;
    let job = it.submit(1).await;
    it.change_slots(SlotChange::StopClaiming).await.expect("an answer");
    it.settle(&job, Outcome::Stopped).await.expect("a running job");
    assert_eq!(it.state(&job).await, State::Pending);
    assert_eq!(it.select(UNFINISHED), 1);
}

#[tokio::test]
async fn a_group_that_fails_leaves_the_indexes_where_they_were() {
    let it = TestStore::of_workers(1).await;
    let job: Job = it.put(submission(example::spec(1))).await.expect("a job");
    it.settle(&job, returned()).await.expect("a running job");
    let aside = it.aside();
    aside
        .execute_batch(
            "create table foreign_rows (job integer references calls (ordinal));
             insert into foreign_rows select ordinal from jobs",
        )
        .expect("a table");
    assert!(it.store.sweep(OVER, SweepCursor::NOTHING).await.is_err());
    assert_eq!(it.select("select indexed_to from counters"), 0);
    aside.execute_batch("drop table foreign_rows").expect("gone");
    assert_eq!(it.cleaned(OVER).await, 1);
}
