//! What is refused fails alone, whatever else is in its group.

use crate::store::{Failure, Refusal};
use futures_util::future::join_all;

use tokio::sync::oneshot;

use super::{
    Error, Figure, Outcome, QueueName, QueueSettings, Spec, State, TestStore, example, returned,
    settlement, submission,
};
use crate::domain::Json;

#[tokio::test]
async fn of_a_hundred_at_once_only_those_beyond_the_queues_limit_are_refused() {
    let it = TestStore::with(QueueSettings { max_workers: 1, max_pending: 10 }).await;
    let mut specs: Vec<Spec> = (1..=100).map(example::spec).collect();
    for spec in specs.iter_mut().step_by(10) {
        spec.queue = QueueName::new("nowhere").expect("a name");
    }
    let sent = specs.iter().cloned().map(|spec| it.put(submission(spec)));
    let answers = join_all(sent).await;
    let mut states = Vec::new();
    for (spec, answer) in specs.iter().zip(answers) {
        match answer {
            Ok(job) => {
                assert_eq!(job.spec.id, spec.id);
                assert_eq!(it.job(&job).await, job);
                states.push(job.state);
            }
            Err(Error::Refused(Refusal::UnknownQueue(queue))) => {
                assert_eq!(queue.as_str(), "nowhere")
            }
            Err(Error::Refused(Refusal::QueueFull { max_pending, .. })) => {
                assert_eq!((max_pending, states.len()), (10, 11), "only when it is full");
                assert!(it.store.job(spec.id).await.expect("it reads").is_none());
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(states[0], State::Running);
    assert_eq!(states[1..], [State::Pending; 10]);
    assert_eq!(it.number(Figure::Jobs), 11);
    assert_eq!(it.number(Figure::LastOrdinal), 11, "no ordinal is lost");
}

#[tokio::test]
async fn a_full_queue_has_room_again_when_a_job_has_started() {
    let it = TestStore::with(QueueSettings { max_workers: 1, max_pending: 1 }).await;
    let first = it.submit(1).await;
    it.submit(2).await;
    let third = || it.put(submission(example::spec(3)));
    assert!(matches!(
        third().await,
        Err(Error::Refused(Refusal::QueueFull { max_pending: 1, .. }))
    ));
    it.settle(&first, returned()).await.expect("a running job");
    assert_eq!(third().await.expect("room").state, State::Pending);
}

#[tokio::test]
async fn a_queue_that_may_not_hold_any_still_starts_what_finds_a_slot() {
    let it = TestStore::with(QueueSettings { max_workers: 1, max_pending: 0 }).await;
    assert_eq!(it.submit(1).await.state, State::Running);
    let second = it.put(submission(example::spec(2))).await;
    assert!(matches!(second, Err(Error::Refused(Refusal::QueueFull { max_pending: 0, .. }))));
}

#[tokio::test]
async fn a_closed_store_takes_nothing_more() {
    let it = TestStore::of_workers(1).await;
    let job = it.submit(1).await;
    let store = it.store.clone();
    it.store.close().await;
    it.closed.await.expect("the writer ends");
    let late = store.submit(submission(example::spec(2)), None).await;
    assert!(matches!(late, Err(Error::Failed(Failure::Closed))), "{late:?}");
    assert!(store.job(job.spec.id).await.is_err());
}

#[tokio::test]
async fn whoever_waits_for_more_than_the_answer_hears_that_nothing_came_of_it() {
    let it = TestStore::with(QueueSettings { max_workers: 1, max_pending: 0 }).await;
    it.submit(1).await;
    let (failed, heard) = oneshot::channel();
    let failed = move |_why| failed.send(()).expect("someone listens");
    let sent = it.store.submit(submission(example::spec(2)), Some(Box::new(failed))).await;
    heard.await.expect("it is called");
    let answer = sent.expect("it was sent").get().await;
    assert!(matches!(answer, Err(Error::Refused(Refusal::QueueFull { .. }))), "{answer:?}");
}

#[tokio::test]
async fn an_outcome_that_is_handed_over_is_recorded_and_one_that_cannot_be_is_told() {
    let it = TestStore::of_workers(2).await;
    let (small, large) = (it.submit(1).await, it.submit(2).await);
    let unheard = |error: Error| panic!("it is recorded: {error}");
    it.hands_over(settlement(&small, returned()), unheard).await;
    it.store.queues(None).await.expect("an answer, after all that was sent before");
    assert_eq!(it.state(&small).await, State::Succeeded);
    let text = Outcome::Returned(Json::trusted(format!("\"{}\"", "x".repeat(600 * 1_024))));
    it.hands_over(settlement(&large, text), unheard).await;
    assert_eq!(it.state(&large).await, State::Succeeded, "a large one is waited for");
    let (failed, heard) = oneshot::channel();
    let failed = move |error| failed.send(error).expect("someone listens");
    it.hands_over(settlement(&small, returned()), failed).await;
    assert!(matches!(heard.await, Ok(Error::Refused(Refusal::Superseded))));
}
