//! Queues: settings that change while jobs run, pauses, shutdowns, and what the next start finds.

use futures_util::future::join_all;

use crate::store::{Cancellation, Ordered, Queue, QueueChange, QueueOrder};

use super::{
    Error, Job, NOW, Ordinal, Outcome, QueueName, QueueSettings, Shelf, Spec, State, Submission,
    Timestamp, cancel, example, returned, submission, urgent,
};

/// More jobs than one group cancels.
const MANY: u64 = 3_000;
/// Rows that one group cancels at most.
const PORTION: usize = 1_000;

fn named(name: &str) -> QueueName {
    QueueName::new(name).expect("a name")
}

fn of(name: &str, number: u64) -> Submission {
    submission(Spec { queue: named(name), ..example::spec(number) })
}

fn workers(max_workers: usize) -> QueueChange {
    QueueChange::Set { max_workers: Some(max_workers), max_pending: None }
}

const CANCEL: QueueChange = QueueChange::ShutDown { cancel_futures: true };
const SHUT_DOWN: QueueChange = QueueChange::ShutDown { cancel_futures: false };

impl Shelf {
    async fn asks(&self, name: &str, change: QueueChange) -> Result<Ordered, Error> {
        self.store.order_queue(QueueOrder { queue: named(name), change, now: NOW }).await
    }

    async fn ask(&self, change: QueueChange) -> Ordered {
        self.asks("default", change).await.expect("a queue")
    }

    async fn queue(&self, name: &str) -> Queue {
        self.store.queue(named(name)).await.expect("a queue")
    }

    /// Pending and running jobs of `default`.
    async fn depth(&self) -> (usize, usize) {
        let queue = self.queue("default").await;
        (queue.pending, queue.running)
    }

    /// So many jobs, submitted at once; the first of them runs if there is a slot.
    async fn submit_many(&self, count: u64) -> Vec<Job> {
        let submitted = join_all((1..=count).map(|number| self.submit(number))).await;
        assert_eq!(submitted.len() as u64, count);
        submitted
    }

    /// Listens until a commit tells that the queue is drained; gives all that was told.
    async fn told_until_drained(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while told.last().is_none_or(|last: &String| !last.starts_with("drained")) {
            told.extend(self.tells().await);
        }
        told
    }

    async fn until_nothing_waits(&mut self) {
        while self.queue("default").await.pending > 0 {
            self.tells().await;
        }
    }

    fn execute(&self, sql: &str) {
        let path = self.dir.path().join("futurity.db");
        let connection = rusqlite::Connection::open(path).expect("a connection");
        connection.busy_timeout(std::time::Duration::from_secs(30)).expect("a time-out");
        connection.execute_batch(sql).expect("it is done");
    }
}

/// How many jobs each of these events cancelled at once.
fn portions(told: &[String]) -> Vec<usize> {
    let many = told.iter().filter(|told| told.starts_with("cancelled ["));
    many.map(|told| told.split(',').count()).collect()
}

#[tokio::test]
async fn e17_more_workers_start_at_once_and_fewer_as_jobs_end() {
    let mut it = Shelf::of_workers(1).await;
    let jobs = it.submit_many(5).await;
    it.told();
    let more = it.ask(workers(3)).await.queue;
    assert_eq!((more.settings.max_workers, more.pending, more.running), (3, 2, 3));
    assert_eq!(it.told(), ["claimed [2, 3]"], "in the commit that changed it");
    let fewer = it.ask(workers(1)).await.queue;
    assert_eq!((fewer.pending, fewer.running), (2, 3), "what runs goes on");
    for place in [0, 1] {
        it.settle(&it.job(&jobs[place]).await, returned()).await.expect("a running job");
        let told = it.told();
        assert!(!told.iter().any(|told| told.starts_with("claimed")), "still too many: {told:?}");
    }
    it.settle(&it.job(&jobs[2]).await, returned()).await.expect("a running job");
    assert_eq!(it.told(), ["changed 3 succeeded", "claimed [4]"]);
}

#[tokio::test]
async fn e2_equals_start_in_the_order_of_submission_whatever_ids_and_clocks_say() {
    let mut it = Shelf::of_workers(1).await;
    it.submit(1_000).await;
    // Ids fall, and each is submitted by a clock that stands earlier than the one before.
    for number in (1..=9_u64).rev() {
        let created_at = Timestamp(i64::try_from(number).expect("small"));
        let spec = Spec { created_at, ..example::spec(number) };
        it.store.submit(submission(spec)).await.expect("a job");
    }
    it.told();
    let mut running = example::spec(1_000).id;
    let mut order = Vec::new();
    for _ in 0..9 {
        let job = it.store.job(running).await.unwrap().unwrap();
        it.settle(&job, returned()).await.expect("a running job");
        let claimed = it.told().into_iter().find_map(|told| {
            told.strip_prefix("claimed [")?.strip_suffix(']')?.parse().ok().map(Ordinal)
        });
        let next = it.store.jobs_at(&[claimed.expect("the next job")]).await.unwrap().remove(0);
        running = next.spec.id;
        order.push(running.0.as_u128());
    }
    assert_eq!(order, [9, 8, 7, 6, 5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn a_paused_queue_starts_nothing_and_resumes_at_once() {
    let mut it = Shelf::of_workers(2).await;
    let first = it.submit(1).await;
    let paused = it.ask(QueueChange::Pause).await.queue;
    assert_eq!((paused.paused, paused.running), (true, 1));
    it.told();
    let second = it.submit(2).await;
    assert_eq!((first.state, second.state), (State::Running, State::Pending));
    it.settle(&first, returned()).await.expect("a running job");
    it.ask(workers(5)).await;
    assert_eq!(it.told(), ["changed 1 succeeded"]);
    assert_eq!(it.ask(QueueChange::Pause).await.queue.pending, 1, "twice is once");
    let resumed = it.ask(QueueChange::Resume).await.queue;
    assert_eq!((resumed.paused, resumed.pending, resumed.running), (false, 0, 1));
    assert_eq!(it.told(), ["claimed [2]"]);
}

#[tokio::test]
async fn e3_a_queue_that_is_shut_down_takes_nothing_and_another_does() {
    let it = Shelf::of_workers(2).await;
    it.submit(1).await;
    let shut = it.ask(SHUT_DOWN).await;
    assert_eq!((shut.queue.shutdown, shut.cancelled, shut.queue.running), (true, 0, 1));
    let refused = it.store.submit(of("default", 2)).await;
    assert!(matches!(refused, Err(Error::QueueShutdown(_))), "{refused:?}");
    assert_eq!(it.number("select count(*) from jobs").await, 1, "nothing was written");
    it.asks("other", workers(1)).await.expect("a new queue");
    it.store.submit(of("other", 3)).await.expect("a job");
    assert!(!it.ask(workers(2)).await.queue.shutdown, "it is open again");
    assert_eq!(it.submit(2).await.state, State::Running);
}

#[tokio::test]
async fn e12_what_waits_in_a_queue_that_is_shut_down_still_runs_and_its_end_is_told() {
    let mut it = Shelf::of_workers(1).await;
    let (first, second) = (it.submit(1).await, it.submit(2).await);
    it.ask(SHUT_DOWN).await;
    it.ask(SHUT_DOWN).await;
    it.told();
    it.settle(&first, returned()).await.expect("a running job");
    assert_eq!(it.told(), ["changed 1 succeeded", "claimed [2]"]);
    it.settle(&it.job(&second).await, returned()).await.expect("a running job");
    assert_eq!(it.told(), ["changed 2 succeeded", "drained default"]);
    assert_eq!(it.depth().await, (0, 0));
}

#[tokio::test]
async fn e14_what_has_not_started_is_cancelled_in_one_commit_and_what_runs_goes_on() {
    let mut it = Shelf::of_workers(1).await;
    let jobs = it.submit_many(4).await;
    it.told();
    let shut = it.ask(CANCEL).await;
    assert_eq!((shut.cancelled, shut.queue.pending, shut.queue.running), (3, 0, 1));
    assert_eq!(it.told(), ["cancelled [2, 3, 4]"], "whoever waits for them hears of it");
    let second = it.job(&jobs[1]).await;
    assert_eq!((second.state, second.version, second.attempt), (State::Cancelled, 2, 0));
    assert_eq!((second.finished_at, second.cancel_requested_at), (Some(NOW), Some(NOW)));
    let kept_until = NOW.plus_millis(second.spec.options.retention_ms);
    assert_eq!(second.expires_at, Some(kept_until));
    assert!(second.finished_seq.is_some());
    it.settle(&jobs[0], returned()).await.expect("a running job");
    assert_eq!(it.told(), ["changed 1 succeeded", "drained default"], "nothing more starts");
    assert_eq!(it.ask(CANCEL).await.cancelled, 0, "there is nothing left to cancel");
}

#[tokio::test]
async fn e14_thousands_are_cancelled_in_portions_and_nobody_else_is_held_up() {
    let mut it = Shelf::with(QueueSettings { max_workers: 1, max_pending: 10_000 }).await;
    let jobs = it.submit_many(MANY).await;
    it.asks("other", workers(1)).await.expect("a new queue");
    it.told();
    let last = jobs.iter().max_by_key(|job| job.ordinal).expect("the last");
    let (shut, other, cancelled) = tokio::join!(
        it.asks("default", CANCEL),
        it.store.submit(of("other", MANY + 1)),
        it.store.cancel(cancel(last, false)),
    );
    let shut = shut.expect("a queue");
    assert_eq!(shut.cancelled as u64, MANY - 1, "all but the one that runs");
    assert!(shut.queue.pending > 0, "they are settled later");
    assert_eq!(other.expect("a job").state, State::Running);
    assert_eq!(
        cancelled.expect("an answer"),
        Cancellation::Cancelled,
        "also of one that is marked"
    );
    let running = jobs.iter().find(|job| job.state == State::Running).expect("the first");
    it.settle(running, returned()).await.expect("a running job");

    let told = it.told_until_drained().await;
    let started = told.iter().position(|told| told.starts_with("started")).expect("the other");
    let cancelled = told.iter().rposition(|told| told.starts_with("cancelled [")).expect("some");
    assert!(started < cancelled, "the other did not wait for all of them");
    assert!(!told.iter().any(|told| told.starts_with("claimed")), "none of them started");
    let portions = portions(&told);
    assert!(portions.iter().all(|portion| *portion <= PORTION), "{portions:?}");
    assert_eq!(portions.iter().sum::<usize>() as u64, MANY - 2, "the others, each once");
    let left = it.number("select count(*) from jobs where state != 'cancelled'").await;
    assert_eq!(left, 2, "the one that ran, and that of the other queue");
}

#[tokio::test]
async fn e15_a_second_shutdown_does_not_take_the_cancelling_back() {
    let mut it = Shelf::with(QueueSettings { max_workers: 1, max_pending: 10_000 }).await;
    it.ask(QueueChange::Pause).await;
    it.submit_many(MANY).await;
    let (first, second) = tokio::join!(it.asks("default", CANCEL), it.asks("default", SHUT_DOWN));
    assert_eq!(first.expect("a queue").cancelled as u64, MANY);
    let second = second.expect("a queue");
    assert!(second.queue.pending > 0, "the first is not through when the second comes");
    assert_eq!(second.cancelled, 0);
    it.told_until_drained().await;
    let left = it.number("select count(*) from jobs where state != 'cancelled'").await;
    assert_eq!(left, 0);
}

#[tokio::test]
async fn e14_a_queue_that_is_opened_again_runs_what_comes_later_and_cancels_what_was_there() {
    let mut it = Shelf::with(QueueSettings { max_workers: 1, max_pending: 10_000 }).await;
    it.ask(QueueChange::Pause).await;
    it.submit_many(MANY).await;
    let (shut, open, resumed, new) = tokio::join!(
        it.asks("default", CANCEL),
        it.asks("default", workers(1)),
        it.asks("default", QueueChange::Resume),
        it.store.submit(submission(example::spec(MANY + 1))),
    );
    assert_eq!(shut.expect("a queue").cancelled as u64, MANY);
    assert!(!open.expect("a queue").queue.shutdown);
    assert_eq!(resumed.expect("a queue").queue.running, 0, "none of those that are marked");
    assert_eq!(new.expect("a job").state, State::Running);
    it.ask(CANCEL).await;
    let refused = it.store.submit(submission(example::spec(MANY + 2))).await;
    assert!(matches!(refused, Err(Error::QueueShutdown(_))), "{refused:?}");
    it.until_nothing_waits().await;
    let started = it.number("select count(*) from jobs where attempt > 0").await;
    assert_eq!(started, 1, "of the others none has started");
}

#[tokio::test]
async fn e14_a_job_that_ran_at_the_shutdown_runs_again_after_an_interruption() {
    let mut it = Shelf::with(QueueSettings { max_workers: 1, max_pending: 10_000 }).await;
    let jobs = it.submit_many(MANY).await;
    let running = jobs.iter().find(|job| job.state == State::Running).expect("the first");
    let (shut, settled) =
        tokio::join!(it.asks("default", CANCEL), it.settle(running, Outcome::Stopped));
    assert_eq!((shut.expect("a queue").cancelled as u64, settled.is_ok()), (MANY - 1, true));
    it.until_nothing_waits().await;
    let again = it.job(running).await;
    assert_eq!((again.state, again.attempt, again.interruptions), (State::Running, 2, 1));
    it.told();
    it.settle(&again, returned()).await.expect("a running job");
    assert!(it.told().contains(&"drained default".to_owned()));
}

#[tokio::test]
async fn e14_a_mark_is_honoured_at_the_next_start() {
    let it = Shelf::of_workers(0).await;
    it.submit_many(3).await;
    let seq = it.number("select max(seq) from jobs").await;
    // As a server leaves it that died right after the commit of the mark.
    it.execute(&format!("insert into queues values ('default', 5, 1000, 0, 1, {seq})"));
    it.execute(&format!("update jobs set seq = {seq} + 1 where ordinal = 2"));
    let mut it = it.reopened().await;
    let shown = it.queue("default").await;
    assert!(shown.shutdown);
    it.until_nothing_waits().await;
    let jobs = it.store.jobs_at(&[1, 2, 3].map(Ordinal)).await.expect("they read");
    let states: Vec<&str> = jobs.iter().map(|job| job.state.as_str()).collect();
    assert_eq!(states, ["cancelled", "running", "cancelled"], "2 has changed since the mark");
    assert_eq!((jobs[0].attempt, jobs[2].attempt), (0, 0), "they never started");
    it.told();
    it.settle(&jobs[1], returned()).await.expect("a running job");
    assert_eq!(it.told(), ["changed 2 succeeded", "drained default"]);
}

#[tokio::test]
async fn what_was_asked_over_http_wins_over_the_file_at_the_next_start() {
    let it = Shelf::of_workers(1).await;
    it.ask(QueueChange::Set { max_workers: Some(7), max_pending: Some(70) }).await;
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
        it.store.queues().await.unwrap().iter().map(|queue| queue.name.to_string()).collect();
    assert_eq!(names, ["default", "made", "shut"]);
}

#[tokio::test]
async fn a_queue_that_is_gone_holds_its_jobs_until_it_is_made_again() {
    let it = Shelf::of_workers(1).await;
    it.asks("made", workers(1)).await.expect("a new queue");
    it.asks("made", QueueChange::Pause).await.expect("a queue");
    let job = it.store.submit(of("made", 1)).await.expect("a job");
    it.execute("delete from queues");
    let it = it.reopened().await;
    for answer in [
        it.store.queue(named("made")).await.map(drop),
        it.asks("made", QueueChange::Resume).await.map(drop),
        it.asks("made", CANCEL).await.map(drop),
        it.store.submit(of("made", 2)).await.map(drop),
    ] {
        assert!(matches!(answer, Err(Error::UnknownQueue(_))), "{answer:?}");
    }
    assert_eq!(it.state(&job).await, State::Pending);
    let made = it.asks("made", workers(1)).await.expect("a new queue").queue;
    assert_eq!((made.pending, made.running), (0, 1));
    assert_eq!(it.state(&job).await, State::Running);
}

#[tokio::test]
async fn a_group_that_is_rolled_back_restores_queues_and_lanes() {
    let mut it = Shelf::of_workers(1).await;
    let jobs = it.submit_many(3).await;
    it.execute(
        "create trigger no before update on jobs when old.ordinal = 3 and new.state = 'cancelled'
        begin select raise(abort, 'no'); end;",
    );
    it.told();
    let before = it.queue("default").await;
    // Both in one group, and then each by itself.
    let (paused, failed) = tokio::join!(it.asks("other", workers(1)), it.asks("default", CANCEL));
    paused.expect("a new queue");
    failed.expect_err("the database refuses");
    assert_eq!(it.queue("default").await, before, "neither shut down nor emptied");
    assert_eq!(it.state(&jobs[1]).await, State::Pending);
    it.settle(&jobs[0], returned()).await.expect("a running job");
    assert_eq!(it.told(), ["changed 1 succeeded", "claimed [2]"], "and in the same order");
    it.execute("drop trigger no");
    assert_eq!(it.ask(CANCEL).await.cancelled, 1);
    assert_eq!(it.state(&jobs[2]).await, State::Cancelled);
}

#[tokio::test]
async fn the_oldest_is_found_whatever_its_urgency() {
    let it = Shelf::of_workers(1).await;
    assert_eq!(it.queue("default").await.oldest, None);
    it.submit(1).await;
    assert_eq!(it.queue("default").await.oldest, None, "it does not wait");
    for (number, priority) in [(2, -100), (3, 100), (4, 0), (5, 100), (6, -100)] {
        it.store.submit(urgent(number, priority)).await.expect("a job");
        assert_eq!(it.queue("default").await.oldest, Some(Ordinal(2)));
    }
    let second = it.store.job(example::spec(2).id).await.unwrap().unwrap();
    it.store.cancel(cancel(&second, false)).await.expect("an answer");
    assert_eq!(it.queue("default").await.oldest, Some(Ordinal(3)));
    let since = it.store.waiting_since(&[Ordinal(3), Ordinal(99)]).await.expect("they read");
    assert_eq!(since.into_iter().collect::<Vec<_>>(), [(Ordinal(3), Timestamp(1_000))]);
}

#[tokio::test]
async fn f4_code_that_was_given_up_counts_as_a_slot_and_not_as_a_job() {
    use super::{Pool, Settlement, settlement};
    let mut it = Shelf::of_workers(1).await;
    let (first, second) = (it.submit(1).await, it.submit(2).await);
    let given_up = Settlement { frees_slot: false, ..settlement(&first, Outcome::Cancelled) };
    it.store.settle(given_up).await.expect("a running job");
    assert_eq!(it.depth().await, (1, 0), "nothing runs, and nothing can start");
    it.told();
    it.store.release(named("default"), Pool::Tasks, NOW).await;
    assert_eq!(it.tells().await, ["claimed [2]"]);
    assert_eq!(it.depth().await, (0, 1));
    it.settle(&it.job(&second).await, returned()).await.expect("a running job");
    assert_eq!(it.depth().await, (0, 0));
}

#[tokio::test]
async fn max_pending_changes_while_jobs_wait() {
    let it = Shelf::with(QueueSettings { max_workers: 1, max_pending: 2 }).await;
    it.ask(QueueChange::Pause).await;
    it.submit_many(2).await;
    let third = || it.store.submit(submission(example::spec(3)));
    assert!(matches!(third().await, Err(Error::QueueFull { max_pending: 2, .. })));
    it.ask(QueueChange::Set { max_workers: None, max_pending: Some(3) }).await;
    assert_eq!(third().await.expect("a job").state, State::Pending);
    it.ask(QueueChange::Set { max_workers: None, max_pending: Some(1) }).await;
    let fourth = it.store.submit(submission(example::spec(4))).await;
    assert!(matches!(fourth, Err(Error::QueueFull { max_pending: 1, .. })));
    assert_eq!(it.depth().await, (3, 0), "those that wait stay");
}

#[tokio::test]
async fn one_queue_too_many_is_refused() {
    let it = Shelf::of_workers(1).await;
    let names: Vec<String> = (1..1_000).map(|number| format!("q{number}")).collect();
    for made in join_all(names.iter().map(|name| it.asks(name, workers(1)))).await {
        made.expect("a new queue");
    }
    let refused = it.asks("more", workers(1)).await;
    assert!(matches!(refused, Err(Error::TooManyQueues(1_000))), "{refused:?}");
    it.asks("q7", workers(2)).await.expect("one that is there");
    assert_eq!(it.store.queues().await.expect("they are there").len(), 1_000);
}
