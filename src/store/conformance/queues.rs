//! Queues: settings that change while jobs run, pauses, and what the next start finds.

mod shutdowns;

use futures_util::future::join_all;

use crate::store::{Ordered, Queue, QueueChange, QueueOrder, Refusal, SweepCursor};

use super::{
    Damage, Error, Job, NOW, Ordinal, Outcome, QueueName, QueueSettings, Spec, State, Submission,
    TestStore, Timestamp, cancel, example, returned, submission, urgent,
};

fn named(name: &str) -> QueueName {
    QueueName::kept(name).expect("a name")
}

fn of(name: &str, number: u64) -> Submission {
    submission(Spec { queue: named(name), ..example::spec(number) })
}

pub fn workers(max_workers: usize) -> QueueChange {
    QueueChange::Set { max_workers: Some(max_workers), max_pending: None, expires_ms: None }
}

const SHUT_DOWN: QueueChange = QueueChange::ShutDown { cancel_futures: false };

impl TestStore {
    pub async fn asks(&self, name: &str, change: QueueChange) -> Result<Ordered, Error> {
        self.store.change_queue(QueueOrder { queue: named(name), change, now: NOW }).await
    }

    pub async fn ask(&self, change: QueueChange) -> Ordered {
        self.asks("default", change).await.expect("a queue")
    }

    pub async fn queue(&self, name: &str) -> Queue {
        self.queue_of(named(name)).await
    }

    /// Pending and running jobs of `default`.
    pub async fn depth(&self) -> (usize, usize) {
        let queue = self.queue("default").await;
        (queue.pending, queue.running)
    }

    /// So many jobs, submitted at once; the first of them runs if there is a slot.
    pub async fn submit_many(&self, count: u64) -> Vec<Job> {
        let submitted = join_all((1..=count).map(|number| self.submit(number))).await;
        assert_eq!(submitted.len() as u64, count);
        submitted
    }
}

#[tokio::test]
async fn e17_more_workers_start_at_once_and_fewer_as_jobs_end() {
    let mut it = TestStore::of_workers(1).await;
    let jobs = it.submit_many(5).await;
    it.new_events();
    let more = it.ask(workers(3)).await.queue;
    assert_eq!((more.settings.max_workers, more.pending, more.running), (3, 2, 3));
    assert_eq!(it.new_events(), ["claimed [2, 3]"], "in the commit that changed it");
    let fewer = it.ask(workers(1)).await.queue;
    assert_eq!((fewer.pending, fewer.running), (2, 3), "what runs goes on");
    for place in [0, 1] {
        it.settle(&it.job(&jobs[place]).await, returned()).await.expect("a running job");
        let told = it.new_events();
        assert!(!told.iter().any(|told| told.starts_with("claimed")), "still too many: {told:?}");
    }
    it.settle(&it.job(&jobs[2]).await, returned()).await.expect("a running job");
    assert_eq!(it.new_events(), ["changed 3 succeeded", "claimed [4]"]);
}

#[tokio::test]
async fn e2_equals_start_in_the_order_of_submission_whatever_ids_and_clocks_say() {
    let mut it = TestStore::of_workers(1).await;
    it.submit(1_000).await;
    // Ids fall, and each is submitted by a clock that stands earlier than the one before.
    for number in (1..=9_u64).rev() {
        let created_at = Timestamp(i64::try_from(number).expect("small"));
        let spec = Spec { created_at, ..example::spec(number) };
        it.put(submission(spec)).await.expect("a job");
    }
    it.new_events();
    let mut running = example::spec(1_000).id;
    let mut order = Vec::new();
    for _ in 0..9 {
        let job = it.store.job(running).await.unwrap().unwrap();
        it.settle(&job, returned()).await.expect("a running job");
        let claimed = it.new_events().into_iter().find_map(|told| {
            told.strip_prefix("claimed [")?.strip_suffix(']')?.parse().ok().map(Ordinal)
        });
        let next = it.jobs_at(&[claimed.expect("the next job")]).await.remove(0);
        running = next.spec.id;
        order.push(running.0.as_u128());
    }
    assert_eq!(order, [9, 8, 7, 6, 5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn a_paused_queue_starts_nothing_and_resumes_at_once() {
    let mut it = TestStore::of_workers(2).await;
    let first = it.submit(1).await;
    let paused = it.ask(QueueChange::Pause).await.queue;
    assert_eq!((paused.paused, paused.running), (true, 1));
    it.new_events();
    let second = it.submit(2).await;
    assert_eq!((first.state, second.state), (State::Running, State::Pending));
    it.settle(&first, returned()).await.expect("a running job");
    it.ask(workers(5)).await;
    assert_eq!(it.new_events(), ["changed 1 succeeded"]);
    assert_eq!(it.ask(QueueChange::Pause).await.queue.pending, 1, "twice is once");
    let resumed = it.ask(QueueChange::Resume).await.queue;
    assert_eq!((resumed.paused, resumed.pending, resumed.running), (false, 0, 1));
    assert_eq!(it.new_events(), ["claimed [2]"]);
}

#[tokio::test]
async fn what_was_asked_over_http_wins_over_the_file_at_the_next_start() {
    let it = TestStore::of_workers(1).await;
    it.ask(QueueChange::Set { max_workers: Some(7), max_pending: Some(70), expires_ms: None })
        .await;
    it.asks("made", workers(3)).await.expect("a new queue");
    it.asks("made", QueueChange::Pause).await.expect("a queue");
    it.asks("shut", SHUT_DOWN).await.expect_err("there is none to shut down");
    it.asks("shut", workers(1)).await.expect("a new queue");
    it.asks("shut", SHUT_DOWN).await.expect("a queue");
    let it = it.reopened().await;
    let default = it.queue("default").await.settings;
    assert_eq!(default, QueueSettings { max_workers: 7, max_pending: 70 });
    let made = it.queue("made").await;
    assert_eq!((made.settings.max_workers, made.settings.max_pending), (3, 1_000));
    assert_eq!((made.paused, made.shutdown), (true, false));
    assert!(it.queue("shut").await.shutdown);
    let names: Vec<String> =
        it.store.queues(None).await.unwrap().iter().map(|queue| queue.name.to_string()).collect();
    assert_eq!(names, ["default", "made", "shut"]);
}

#[tokio::test]
async fn a_queue_that_is_gone_holds_its_jobs_until_it_is_made_again() {
    let it = TestStore::of_workers(1).await;
    it.asks("made", workers(1)).await.expect("a new queue");
    it.asks("made", QueueChange::Pause).await.expect("a queue");
    let job = it.put(of("made", 1)).await.expect("a job");
    it.backend.damage(Damage::NoQueues);
    let it = it.reopened().await;
    for answer in [
        it.store.queues(Some(named("made"))).await.map(drop),
        it.asks("made", QueueChange::Resume).await.map(drop),
        it.asks("made", SHUT_DOWN).await.map(drop),
        it.put(of("made", 2)).await.map(drop),
    ] {
        assert!(matches!(answer, Err(Error::Refused(Refusal::UnknownQueue(_)))), "{answer:?}");
    }
    assert_eq!(it.state(&job).await, State::Pending);
    let made = it.asks("made", workers(1)).await.expect("a new queue").queue;
    assert_eq!((made.pending, made.running), (0, 1));
    assert_eq!(it.state(&job).await, State::Running);
}

#[tokio::test]
async fn the_oldest_is_found_whatever_its_urgency() {
    let it = TestStore::of_workers(1).await;
    assert_eq!(it.queue("default").await.oldest, None);
    it.submit(1).await;
    assert_eq!(it.queue("default").await.oldest, None, "it does not wait");
    for (number, priority) in [(2, -100), (3, 100), (4, 0), (5, 100), (6, -100)] {
        it.put(urgent(number, priority)).await.expect("a job");
        assert_eq!(it.queue("default").await.oldest, Some(Ordinal(2)));
    }
    let second = it.store.job(example::spec(2).id).await.unwrap().unwrap();
    it.store.cancel(cancel(&second, false)).await.expect("an answer");
    let queue = it.queue("default").await;
    assert_eq!((queue.oldest, queue.waits_since), (Some(Ordinal(3)), Some(Timestamp(1_000))));
}

#[tokio::test]
async fn f4_code_that_was_given_up_counts_as_a_slot_and_not_as_a_job() {
    use super::{Completion, settlement};
    let mut it = TestStore::of_workers(1).await;
    let (first, second) = (it.submit(1).await, it.submit(2).await);
    let given_up = Completion { frees_slot: false, ..settlement(&first, Outcome::Cancelled) };
    it.record(given_up).await.expect("a running job");
    assert_eq!(it.depth().await, (1, 0), "nothing runs, and nothing can start");
    it.new_events();
    it.release(named("default")).await;
    assert_eq!(it.next_events().await, ["claimed [2]"]);
    assert_eq!(it.depth().await, (0, 1));
    it.settle(&it.job(&second).await, returned()).await.expect("a running job");
    assert_eq!(it.depth().await, (0, 0));
}

#[tokio::test]
async fn max_pending_changes_while_jobs_wait() {
    let it = TestStore::with(QueueSettings { max_workers: 1, max_pending: 2 }).await;
    it.ask(QueueChange::Pause).await;
    it.submit_many(2).await;
    let third = || it.put(submission(example::spec(3)));
    assert!(matches!(
        third().await,
        Err(Error::Refused(Refusal::QueueFull { max_pending: 2, .. }))
    ));
    it.ask(QueueChange::Set { max_workers: None, max_pending: Some(3), expires_ms: None }).await;
    assert_eq!(third().await.expect("a job").state, State::Pending);
    it.ask(QueueChange::Set { max_workers: None, max_pending: Some(1), expires_ms: None }).await;
    let fourth = it.put(submission(example::spec(4))).await;
    assert!(matches!(fourth, Err(Error::Refused(Refusal::QueueFull { max_pending: 1, .. }))));
    assert_eq!(it.depth().await, (3, 0), "those that wait stay");
}

#[tokio::test]
async fn one_queue_too_many_is_refused() {
    let it = TestStore::of_workers(1).await;
    let names: Vec<String> = (1..1_000).map(|number| format!("q{number}")).collect();
    for made in join_all(names.iter().map(|name| it.asks(name, workers(1)))).await {
        made.expect("a new queue");
    }
    let refused = it.asks("more", workers(1)).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::TooManyQueues(1_000)))), "{refused:?}");
    it.asks("q7", workers(2)).await.expect("one that is there");
    assert_eq!(it.store.queues(None).await.expect("they are there").len(), 1_000);
}

/// No path can name them, so none is made any more. An older server let them be made.
#[tokio::test]
async fn a_queue_that_no_path_can_name_is_kept_with_its_jobs() {
    let it = TestStore::of_workers(1).await;
    it.backend.damage(Damage::Queue(".."));
    let it = it.reopened().await;
    it.put(of("..", 1)).await.expect("a job that waits");
    let queue = it.reopened().await.queue("..").await;
    assert_eq!((queue.pending, queue.settings.max_pending, queue.paused), (1, 5, true));
}

#[tokio::test]
async fn a_queue_that_expires_goes_when_it_was_empty_so_long_and_not_while_it_has_jobs() {
    let mut it = TestStore::of_workers(1).await;
    let expires =
        |expires_ms| QueueChange::Set { max_workers: Some(1), max_pending: None, expires_ms };
    it.asks("brief", expires(Some(1_000))).await.expect("a new queue");
    it.asks("stays", expires(None)).await.expect("a new queue");
    let job = it.put(of("brief", 1)).await.expect("a job");
    let looked = async |it: &TestStore, at| {
        let cleaned = it.store.sweep(Timestamp(at), SweepCursor::NOTHING).await.expect("a look");
        let names = it.store.queues(None).await.expect("queues");
        let names: Vec<String> = names.iter().map(|queue| queue.name.to_string()).collect();
        (names.join(" "), cleaned.due_at)
    };
    // A job runs in it, however long.
    assert_eq!(looked(&it, 10_000).await.0, "brief default stays");
    it.settle(&job, returned()).await.expect("a running job");
    it.new_events();
    // It is empty from the first look on that finds it so.
    assert_eq!(
        looked(&it, 20_000).await,
        ("brief default stays".to_owned(), Some(Timestamp(21_000)))
    );
    assert_eq!(looked(&it, 20_999).await.0, "brief default stays");
    // One that had a job since counts anew.
    let job = it.put(of("brief", 2)).await.expect("a job");
    it.settle(&job, returned()).await.expect("a running job");
    assert_eq!(looked(&it, 21_000).await.0, "brief default stays");
    assert_eq!(looked(&it, 22_000).await.0, "default stays");
    let refused = it.put(of("brief", 3)).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::UnknownQueue(_)))), "{refused:?}");
    let it = it.reopened().await;
    assert_eq!(looked(&it, 30_000).await.0, "default stays");
}
