//! Reading without the writer: pages, filters, and what is not there.

use crate::store::CallbackQuery;
use crate::store::Filter;

use super::{
    Job, Ordinal, QueueName, QueueSettings, Spec, State, TestStore, cancel, example, submission,
};

fn ordinals(jobs: &[Job]) -> Vec<i64> {
    jobs.iter().map(|job| job.ordinal.0).collect()
}

/// Every page of so many jobs, and where each ended.
async fn pages(it: &TestStore, filter: &Filter, page_size: usize) -> Vec<Vec<i64>> {
    let mut pages = Vec::new();
    let mut below = None;
    loop {
        let page = it.list(filter, below, page_size).await;
        pages.push(ordinals(&page.jobs));
        below = page.next;
        if below.is_none() {
            return pages;
        }
    }
}

#[tokio::test]
async fn a_list_goes_from_the_newest_to_the_oldest_without_a_gap() {
    let it = TestStore::of_workers(2).await;
    assert_eq!(pages(&it, &Filter::default(), 3).await, [Vec::<i64>::new()]);
    for number in 1..=6 {
        it.submit(number).await;
    }
    let all = Filter::default();
    assert_eq!(pages(&it, &all, 6).await, [[6, 5, 4, 3, 2, 1]]);
    assert_eq!(pages(&it, &all, 4).await, [vec![6, 5, 4, 3], vec![2, 1]]);
    assert_eq!(pages(&it, &all, 3).await, [[6, 5, 4], [3, 2, 1]]);
    let page = it.list(&all, Some(Ordinal(4)), 2).await;
    it.submit(7).await;
    assert_eq!(ordinals(&page.jobs), [3, 2]);
    let next = it.list(&all, page.next, 2).await;
    assert_eq!(ordinals(&next.jobs), [1], "what came meanwhile moves nothing");
}

#[tokio::test]
async fn a_filter_keeps_what_passes_all_of_it() {
    let it = TestStore::of_workers(1).await;
    it.submit(1).await;
    let second = it.submit(2).await;
    it.submit(3).await;
    it.store.cancel(cancel(&second, false)).await.expect("an answer");
    let of = |state| Filter { state: Some(state), ..Filter::default() };
    assert_eq!(pages(&it, &of(State::Running), 9).await, [[1]]);
    assert_eq!(pages(&it, &of(State::Cancelled), 9).await, [[2]]);
    assert_eq!(pages(&it, &of(State::Pending), 9).await, [[3]]);
    assert_eq!(pages(&it, &of(State::Failed), 9).await, [Vec::<i64>::new()]);
    let spec = example::spec(1);
    let (function, queue) = (Some(spec.function), Some(spec.queue));
    let both = Filter { function, queue, ..of(State::Pending) };
    assert_eq!(pages(&it, &both, 9).await, [[3]]);
    let other = Filter { queue: Some(QueueName::new("other").unwrap()), ..both };
    assert_eq!(pages(&it, &other, 9).await, [Vec::<i64>::new()]);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let it = TestStore::with(QueueSettings { max_workers: 1, max_pending: 1 }).await;
    let job = it.submit(1).await;
    assert!(it.store.job(example::spec(2).id).await.expect("it reads").is_none());
    let found = it.jobs_at(&[Ordinal(7), job.ordinal, Ordinal(-1)]).await;
    assert_eq!(found, [job]);
    assert!(it.callbacks_of(&CallbackQuery::OfJob(Ordinal(7))).await.is_empty());
}

#[tokio::test]
async fn everything_that_was_asked_for_is_read_back() {
    use crate::domain::{FunctionName, Json, Metadata, OnInterrupt, Priority, Tags};
    let it = TestStore::of_workers(0).await;
    let spec = Spec {
        function: FunctionName::new("echo").unwrap(),
        args: Some(Json::trusted(r#"[1e999,"é",null,{"a":"\u0001"}]"#)),
        kwargs: Some(Json::trusted(r#"{"a\"b":'x'}"#.replace('\'', "\""))),
        priority: Priority::new(-7).unwrap(),
        on_interrupt: OnInterrupt::Fail,
        tags: Tags::new(vec!["b".into(), "a,\"'".into()]).unwrap(),
        metadata: Metadata::new(vec![("ключ".into(), "\\ \n".into())]).unwrap(),
        ..example::spec(1)
    };
    let job = it.put(submission(spec.clone())).await.expect("a job");
    assert_eq!(*it.job(&job).await.spec, spec);
}
