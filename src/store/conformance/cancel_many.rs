//! Cancels of many: each in one commit with its deliveries, and none started meanwhile.

use crate::domain::Tags;
use crate::store::{CancelCounts, CancelFilter, CancelMany};

use super::callbacks::{due, new, with_callbacks};
use super::{
    Arc, Filter, Job, NOW, Spec, State, TestStore, cancel, example, raised, returned, submission,
    urgent,
};

fn these(jobs: &[&Job]) -> CancelMany {
    let filter = CancelFilter::Jobs(jobs.iter().map(|job| job.spec.id).collect());
    CancelMany { filter, terminate: false, grace_seconds: 1.0, dry_run: false }
}

fn counts(matched: usize, cancelled: usize, terminating: usize) -> CancelCounts {
    CancelCounts { matched, cancelled, terminating }
}

impl TestStore {
    pub async fn cancels(&self, asked: CancelMany) -> CancelCounts {
        self.store.cancel_matching(asked, || NOW).await.expect("an answer")
    }
}

#[tokio::test]
async fn s4_many_are_cancelled_in_one_commit_with_their_deliveries() {
    let mut it = TestStore::of_workers(1).await;
    let running = it.submit(1).await;
    let second = it.put(with_callbacks(2, vec![new(2)])).await.expect("a job");
    let third = it.put(with_callbacks(3, vec![new(3)])).await.expect("a job");
    let urgent = it.put(urgent(4, 7)).await.expect("a job");
    it.heard_of_deliveries();
    let all = these(&[&running, &second, &third, &urgent]);
    assert_eq!(it.cancels(all.clone()).await, counts(4, 3, 0));
    let commits = std::iter::from_fn(|| it.events.try_recv().ok());
    let told: Vec<_> = commits.filter(|events| !super::of_jobs(events).is_empty()).collect();
    assert_eq!(told.len(), 1, "one commit");
    assert_eq!(super::of_jobs(&told[0]), ["cancelled [2, 3, 4]"]);
    assert!(told[0].iter().any(|event| matches!(event, super::Event::DeliveriesDue)));
    let mut told = due(&it, NOW).await;
    told.sort_unstable();
    assert_eq!(told, [2, 3]);
    assert_eq!(it.cancels(all).await, counts(1, 0, 0), "those that are done count no more");
    it.new_events();
    it.settle(&running, returned()).await.expect("a running job");
    assert_eq!(it.new_events(), ["changed 1 succeeded"], "none of them starts");
}

#[tokio::test]
async fn f3_one_of_many_becomes_what_one_alone_does() {
    let it = TestStore::of_workers(1).await;
    it.submit(1).await;
    let (alone, among) = (it.submit(2).await, it.submit(3).await);
    it.store.cancel(cancel(&alone, false)).await.expect("an answer");
    assert_eq!(it.cancels(these(&[&among])).await, counts(1, 1, 0));
    let (alone, among) = (it.job(&alone).await, it.job(&among).await);
    let seq = alone.finished_seq.map(|seq| seq + 1);
    let expected =
        Job { spec: Arc::clone(&among.spec), ordinal: among.ordinal, finished_seq: seq, ..alone };
    assert_eq!(among, expected);
}

#[tokio::test]
async fn f4_those_that_run_are_asked_to_stop_once_or_left_alone() {
    let mut it = TestStore::of_workers(2).await;
    let (first, second) = (it.submit(1).await, it.submit(2).await);
    it.submit(3).await;
    it.new_events();
    let waits = Filter { state: Some(State::Pending), ..Filter::default() };
    let filter = CancelFilter::Matching(waits);
    let only_pending = CancelMany { filter, terminate: true, ..these(&[]) };
    assert_eq!(it.cancels(only_pending).await, counts(1, 1, 0));
    assert_eq!(it.new_events(), ["cancelled [3]"]);
    let one = CancelMany { terminate: true, ..these(&[&first]) };
    assert_eq!(it.cancels(one).await, counts(1, 0, 1));
    assert_eq!(it.new_events(), ["cancel requested [1]"]);
    let both = CancelMany { terminate: true, ..these(&[&first, &second]) };
    assert_eq!(it.cancels(both).await, counts(2, 0, 2));
    assert_eq!(it.new_events(), ["cancel requested [2]"], "the first was asked before");
    it.settle(&first, raised()).await.expect("a running job");
    assert_eq!(it.state(&first).await, State::Cancelled);
}

#[tokio::test]
async fn what_a_cancel_would_do_is_counted_and_not_done() {
    let mut it = TestStore::of_workers(1).await;
    let tags = Tags::new(vec!["red".to_owned()]).expect("a tag");
    for number in 1..=3 {
        let spec = Spec { tags: tags.clone(), ..example::spec(number) };
        it.put(submission(spec)).await.expect("a job");
    }
    it.submit(4).await;
    it.new_events();
    let red = Filter { tag: Some("red".to_owned()), ..Filter::default() };
    let asked = CancelMany {
        filter: CancelFilter::Matching(red),
        terminate: true,
        dry_run: true,
        ..these(&[])
    };
    assert_eq!(it.cancels(asked.clone()).await, counts(3, 2, 1));
    assert_eq!(it.new_events(), [""; 0]);
    assert_eq!(it.cancels(CancelMany { dry_run: false, ..asked }).await, counts(3, 2, 1));
    assert_eq!(it.new_events(), ["cancel requested [1]", "cancelled [2, 3]"]);
}
