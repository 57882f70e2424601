//! Rules of cancels of many: what they mean never starts, and what they do not mean does.

use crate::domain::{FunctionName, QueueName, Tags};
use crate::store::conformance::{
    Filter, Job, Ordinal, Spec, State, Submission, TestStore, Timestamp, cancel, example, returned,
    submission,
};
use crate::store::sqlite::jobs::cancel_many::{AddCancelRule, DropCancelRule};
use crate::store::sqlite::slots::CancelRule;

fn tagged(number: u64, tag: &str) -> Submission {
    let tags = Tags::new(vec!["other".to_owned(), tag.to_owned()]).expect("tags");
    submission(Spec { tags, ..example::spec(number) })
}

fn of_tag(tag: &str) -> Filter {
    Filter { tag: Some(tag.to_owned()), ..Filter::default() }
}

impl TestStore {
    async fn add_rule(&self, rule: CancelRule) -> (u64, Ordinal) {
        self.sqlite().write(AddCancelRule(rule)).await.expect("a rule")
    }

    async fn drop_rule(&self, number: u64) -> usize {
        self.sqlite().write(DropCancelRule(number)).await.expect("an answer")
    }
}

#[tokio::test]
async fn f19_what_a_rule_means_never_starts_and_what_came_later_does() {
    let mut it = TestStore::of_workers(1).await;
    let running = it.submit(1).await;
    it.put(tagged(2, "doomed")).await.expect("a job");
    it.put(tagged(3, "doomed")).await.expect("a job");
    it.put(tagged(4, "spared")).await.expect("a job");
    let (number, newest) = it.add_rule(CancelRule::Matching(of_tag("doomed"))).await;
    assert_eq!(newest, Ordinal(4));
    let late = it.put(tagged(5, "doomed")).await.expect("a job");
    it.new_events();
    it.settle(&running, returned()).await.expect("a running job");
    assert_eq!(it.new_events(), ["changed 1 succeeded", "claimed [4]", "cancelled [2, 3]"]);
    let spared = it.jobs_at(&[Ordinal(4)]).await.remove(0);
    it.settle(&spared, returned()).await.expect("a running job");
    assert_eq!(it.new_events(), ["changed 4 succeeded", "claimed [5]"], "it was submitted later");
    assert_eq!(it.state(&late).await, State::Running);
    assert_eq!(it.drop_rule(number).await, 2);
    assert_eq!(it.drop_rule(number).await, 0, "it is taken back once");
}

#[tokio::test]
async fn f19_a_rule_of_certain_jobs_means_these_and_ends() {
    let mut it = TestStore::of_workers(1).await;
    let (running, second, third) = (it.submit(1).await, it.submit(2).await, it.submit(3).await);
    let (number, _) = it.add_rule(CancelRule::Jobs([second.ordinal].into())).await;
    it.new_events();
    it.settle(&running, returned()).await.expect("a running job");
    assert_eq!(it.new_events(), ["changed 1 succeeded", "claimed [3]", "cancelled [2]"]);
    assert_eq!(it.drop_rule(number).await, 1);
    let fourth = it.submit(4).await;
    let (number, _) = it.add_rule(CancelRule::Jobs([fourth.ordinal].into())).await;
    assert_eq!(it.drop_rule(number).await, 0);
    it.new_events();
    let third = it.job(&third).await;
    it.settle(&third, returned()).await.expect("a running job");
    assert_eq!(
        it.new_events(),
        ["changed 3 succeeded", "claimed [4]"],
        "no rule means it any more"
    );
}

#[tokio::test]
async fn f19_a_rule_and_the_end_that_frees_a_slot_in_one_commit_agree() {
    let mut it = TestStore::of_workers(1).await;
    let (running, second) = (it.submit(1).await, it.submit(2).await);
    it.new_events();
    let rule = CancelRule::Jobs([second.ordinal].into());
    let sqlite = it.sqlite();
    let (added, settled) =
        tokio::join!(biased; sqlite.write(AddCancelRule(rule)), it.settle(&running, returned()));
    assert!(added.is_ok() && settled.is_ok());
    assert_eq!(it.new_events(), ["changed 1 succeeded", "cancelled [2]"]);
    let second = it.job(&second).await;
    assert_eq!((second.state, second.attempt), (State::Cancelled, 0));
    let next = it.submit(3).await;
    assert_eq!(next.state, State::Running, "the slot is free");
}

/// One job runs, 900 wait that are to be cancelled, and one behind them that is not.
async fn with_many_doomed() -> (TestStore, Job, Job) {
    let it = TestStore::of_workers(1).await;
    let running = it.submit(1).await;
    let doomed = (2..=901).map(|number| it.put(tagged(number, "doomed")));
    futures_util::future::try_join_all(doomed).await.expect("jobs");
    let spared = it.put(tagged(902, "spared")).await.expect("a job");
    (it, running, spared)
}

const CANCELLED: &str = "select count(*) from jobs where state = 'cancelled'";

#[tokio::test]
async fn f19_one_group_cancels_only_so_many_at_claims_and_the_next_one_goes_on() {
    let (it, running, spared) = with_many_doomed().await;
    let (number, _) = it.add_rule(CancelRule::Matching(of_tag("doomed"))).await;
    it.settle(&running, returned()).await.expect("a running job");
    assert_eq!(it.select(CANCELLED), 500);
    assert_eq!(it.state(&spared).await, State::Pending);
    assert_eq!(it.drop_rule(u64::MAX).await, 0, "any change will do");
    assert_eq!(it.select(CANCELLED), 900);
    assert_eq!(it.state(&spared).await, State::Running);
    assert_eq!(it.drop_rule(number).await, 900);
}

#[tokio::test]
async fn f19_a_submit_in_a_group_that_has_cancelled_enough_takes_nobodys_slot() {
    let (it, running, spared) = with_many_doomed().await;
    let (number, _) = it.add_rule(CancelRule::Matching(of_tag("doomed"))).await;
    // In one group or in several: what is submitted waits behind the others.
    let more = (903..=950).map(|number| it.submit(number));
    let (settled, submitted) =
        tokio::join!(biased; it.settle(&running, returned()), futures_util::future::join_all(more));
    assert!(settled.is_ok());
    assert!(submitted.iter().all(|job| job.state == State::Pending));
    assert_eq!(it.drop_rule(number).await, 900);
    assert_eq!((it.select(CANCELLED), it.state(&spared).await), (900, State::Running));
    assert_eq!(it.select("select count(*) from jobs where state = 'running'"), 1);
}

#[tokio::test]
async fn unfinished_jobs_are_found_by_every_filter() {
    let it = TestStore::of_workers(1).await;
    let running = it.submit(1).await;
    it.put(tagged(2, "red")).await.expect("a job");
    let late = Spec { created_at: Timestamp(9_000), ..example::spec(3) };
    it.put(submission(late)).await.expect("a job");
    let function = FunctionName::new("other").expect("a name");
    let other = Spec { function: function.clone(), ..example::spec(4) };
    it.put(submission(other)).await.expect("a job");
    let cancelled = it.submit(5).await;
    it.store.cancel(cancel(&cancelled, false)).await.expect("an answer");

    let created_at = running.spec.created_at;
    let all = Filter::default();
    let nothing: [i64; 0] = [];
    for (filter, expected) in [
        (all.clone(), &[1, 2, 3, 4][..]),
        (Filter { state: Some(State::Running), ..all.clone() }, &[1]),
        (Filter { state: Some(State::Pending), ..all.clone() }, &[2, 3, 4]),
        (Filter { state: Some(State::Cancelled), ..all.clone() }, &nothing),
        (Filter { function: Some(function), ..all.clone() }, &[4]),
        (Filter { queue: Some(QueueName::default_queue()), ..all.clone() }, &[1, 2, 3, 4]),
        (Filter { queue: QueueName::new("none").ok(), ..all.clone() }, &nothing),
        (of_tag("red"), &[2]),
        (of_tag("re"), &nothing),
        (Filter { created_after: Some(created_at), ..all.clone() }, &[3]),
        (Filter { created_before: Some(Timestamp(9_000)), ..all.clone() }, &[1, 2, 4]),
        (Filter { created_before: Some(created_at), ..all.clone() }, &nothing),
    ] {
        let (mut found, mut after) = (Vec::new(), Some(Ordinal(0)));
        while let Some(from) = after {
            // Two at a time, so that pages are joined as well.
            let page =
                it.sqlite().unfinished(&filter, from, Ordinal(99), 2).await.expect("they read");
            found.extend(page.0.into_iter().map(|(job, _)| job.0));
            after = page.1;
        }
        assert_eq!(found, expected, "{filter:?}");
    }
    let ids = [running.spec.id, cancelled.spec.id, example::spec(77).id, running.spec.id];
    let found = it.sqlite().unfinished_of(&ids).await.expect("they read");
    assert_eq!(found, [(Ordinal(1), State::Running)]);
}

#[tokio::test]
async fn f19_a_claim_honours_every_filter() {
    let function = FunctionName::new("other").expect("a name");
    let all = Filter::default();
    for (filter, is_meant) in [
        (Filter { state: Some(State::Pending), ..all.clone() }, true),
        (Filter { state: Some(State::Running), ..all.clone() }, false),
        (Filter { function: Some(function.clone()), ..all.clone() }, true),
        (Filter { function: FunctionName::new("echo").ok(), ..all.clone() }, false),
        (Filter { queue: Some(QueueName::default_queue()), ..all.clone() }, true),
        (Filter { queue: QueueName::new("none").ok(), ..all.clone() }, false),
        (of_tag("red"), true),
        (of_tag("blue"), false),
        (Filter { created_after: Some(Timestamp(999)), ..all.clone() }, true),
        (Filter { created_after: Some(Timestamp(1_000)), ..all.clone() }, false),
        (Filter { created_before: Some(Timestamp(1_001)), ..all.clone() }, true),
        (Filter { created_before: Some(Timestamp(1_000)), ..all.clone() }, false),
        (Filter { function: Some(function.clone()), ..of_tag("blue") }, false),
    ] {
        let it = TestStore::of_workers(1).await;
        let running = it.submit(1).await;
        let tags = Tags::new(vec!["red".to_owned()]).expect("tags");
        let spec = Spec { function: function.clone(), tags, ..example::spec(2) };
        let next = it.put(submission(spec)).await.expect("a job");
        it.add_rule(CancelRule::Matching(filter.clone())).await;
        it.settle(&running, returned()).await.expect("a running job");
        let expected = if is_meant { State::Cancelled } else { State::Running };
        assert_eq!(it.state(&next).await, expected, "{filter:?}");
    }
}
