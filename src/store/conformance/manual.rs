//! Manual jobs: in no queue, run by nobody, completed once.

use crate::domain::{JobError, Json, NewCallback, Options, QueueName};
use crate::store::{
    CancelFilter, CancelMany, Cancellation, Config, Error, ManualResult, Many, Now, Refusal,
};

use super::callbacks::all_due;
use super::{
    Arc, Figure, Job, NOW, Pool, QueueSettings, Refused, Spec, State, Submission, TestStore,
    cancel, example, returned, submission,
};

fn manual(number: u64) -> Submission {
    let options = Options { manual: true, ..Options::default() };
    let spec = Spec { options, queue: QueueName::none(), ..example::spec(number) };
    Submission { pool: Pool::Absent, ..submission(spec) }
}

fn value(text: &str) -> Result<Json, JobError> {
    Ok(Json::trusted(text))
}

fn error() -> Result<Json, JobError> {
    let details = Json::trusted(r#"{"n":1.0}"#);
    Err(JobError::new("ValueError", "no").with_details(details).retryable(true))
}

impl TestStore {
    pub async fn manual(&self, number: u64) -> Job {
        self.put(manual(number)).await.expect("a job")
    }

    /// The job if this is its end now; none if it was done before.
    pub async fn complete(&self, job: &Job, end: Result<Json, JobError>) -> Option<Job> {
        let completion = ManualResult { job: Arc::new(job.clone()), end, now: NOW };
        self.store.complete_manual(completion).await.expect("an answer").map(Arc::unwrap_or_clone)
    }
}

#[tokio::test]
async fn f21_a_manual_job_waits_in_no_queue_takes_no_slot_and_is_never_claimed() {
    let mut it = TestStore::with(QueueSettings { max_workers: 1, max_pending: 1 }).await;
    let job = it.manual(1).await;
    assert_eq!((job.state, job.attempt, job.version), (State::Pending, 0, 1));
    let others = [it.manual(2).await, it.manual(3).await];
    assert!(it.new_events().is_empty(), "nothing is started");
    let (first, second) = (it.submit(4).await, it.submit(5).await);
    assert_eq!((first.state, second.state), (State::Running, State::Pending));
    it.settle(&first, returned()).await.expect("a running job");
    it.settle(&it.job(&second).await, returned()).await.expect("a running job");
    assert_eq!(it.job(&job).await, job);

    let mut it = it.reopened().await;
    assert_eq!(it.recovered, 0);
    assert_eq!(it.submit(6).await.state, State::Running, "the one slot is free");
    assert_eq!(it.new_events(), ["started 6"], "only what can run is started");
    for job in others.iter().chain([&job]) {
        assert_eq!(it.job(job).await, *job, "recovery leaves it alone");
        assert_eq!(it.complete(job, value("1")).await.expect("its end").version, 2);
    }
}

#[tokio::test]
async fn f20_the_first_end_stands() {
    let mut it = TestStore::of_workers(1).await;
    for (number, end) in [(1, value("{\"a\": 1.0}")), (2, error())] {
        let job = it.manual(number).await;
        let done = it.complete(&job, end.clone()).await.expect("its end");
        let state = if end.is_ok() { State::Succeeded } else { State::Failed };
        assert_eq!((done.state, done.version, done.attempt), (state, 2, 0));
        assert_eq!((done.started_at, done.finished_at), (None, Some(NOW)));
        assert_eq!(done.result.as_ref(), end.as_ref().ok());
        assert_eq!(done.error.as_ref(), end.as_ref().err());
        assert_eq!(it.new_events(), [format!("changed {number} {state}")], "whoever waits is told");
        assert_eq!(it.job(&job).await, done, "it reads back as it was told");
        for late in [value("2"), error(), end] {
            // As one who read the job before, and as one who reads it now.
            for seen in [&job, &done] {
                assert_eq!(it.complete(seen, late.clone()).await, None);
            }
        }
        assert_eq!(it.store.cancel(cancel(&job, true)).await.expect("one"), Cancellation::Done);
        assert!(it.new_events().is_empty());
        assert_eq!(it.job(&job).await, done);
    }
}

#[tokio::test]
async fn f20_of_two_ends_in_one_group_the_first_stands() {
    let mut it = TestStore::of_workers(1).await;
    let job = it.manual(1).await;
    let (first, second) =
        tokio::join!(biased; it.complete(&job, value("1")), it.complete(&job, error()));
    assert_eq!((first.map(|job| job.state), second), (Some(State::Succeeded), None));
    assert_eq!(it.new_events(), ["changed 1 succeeded"]);

    let job = it.manual(2).await;
    let (cancelled, late) =
        tokio::join!(biased; it.store.cancel(cancel(&job, false)), it.complete(&job, value("1")));
    assert_eq!((cancelled.expect("one"), late), (Cancellation::Cancelled, None));
    assert_eq!(it.new_events(), ["cancelled 2"]);
    let job = it.job(&job).await;
    assert_eq!((job.state, job.version, job.result), (State::Cancelled, 2, None));
    assert_eq!((job.cancel_requested_at, job.finished_at), (Some(NOW), Some(NOW)));
}

#[tokio::test]
async fn s3_only_a_manual_job_is_completed_from_outside() {
    let it = TestStore::of_workers(1).await;
    let (running, pending) = (it.submit(1).await, it.submit(2).await);
    for job in [running, pending] {
        for end in [value("1"), error()] {
            assert_eq!(it.complete(&job, end).await, None);
        }
        assert_eq!(it.job(&job).await, job);
    }
    let job = it.manual(3).await;
    assert!(it.settle(&job, returned()).await.is_err(), "and no attempt ends it");
    assert_eq!(it.state(&job).await, State::Pending);
}

#[tokio::test]
async fn f21_deliveries_are_due_in_the_commit_that_completes_or_cancels() {
    let mut it = TestStore::of_workers(1).await;
    for number in 1..=3 {
        let callback = NewCallback {
            id: crate::domain::CallbackId(uuid::Uuid::from_u128(number)),
            url: "http://127.0.0.1:9/".to_owned(),
            host: "127.0.0.1:9".to_owned(),
            sealed: None,
            created_at: NOW,
            due_at: NOW,
        };
        let asked = manual(u64::try_from(number).expect("a small one"));
        let asked = Submission { callbacks: vec![callback], ..asked };
        let job = it.put(asked).await.expect("a job");
        it.heard_of_deliveries();
        match number {
            1 => drop(it.complete(&job, value("1")).await.expect("its end")),
            2 => drop(it.complete(&job, error()).await.expect("its end")),
            _ => drop(it.store.cancel(cancel(&job, false)).await.expect("an answer")),
        }
        assert!(it.heard_of_deliveries());
        let due = all_due(&it, NOW).await;
        assert_eq!(due.len(), usize::try_from(number).expect("a small one"));
    }
}

#[tokio::test]
async fn f21_results_of_every_size_read_back_and_a_late_one_leaves_no_piece() {
    let it = TestStore::of_workers(1).await;
    for (number, bytes) in [(1, 1_024), (2, 1_025), (3, 300 * 1_024), (4, 1_024 * 1_024)] {
        let job = it.manual(number).await;
        let end = value(&format!("\"{}\"", "x".repeat(bytes - 2)));
        let done = it.complete(&job, end.clone()).await.expect("its end");
        let chunks = it.number(Figure::ValuePieces);
        assert!(it.job(&job).await == done, "{bytes} bytes");
        assert_eq!(it.complete(&job, end).await, None);
        assert_eq!(it.number(Figure::ValuePieces), chunks, "{bytes} bytes");
        assert_eq!(it.number(Figure::UnownedValues), 0);
    }
}

/// A store in which two manual jobs may wait.
async fn of_two() -> TestStore {
    let TestStore { store, closed, config, backend, .. } = TestStore::of_workers(1).await;
    store.close().await;
    closed.await.expect("the writer ends");
    TestStore::open(backend, Config { manual_max: 2, ..config }).await
}

/// Submits so many; no more than these may wait then.
async fn fills(it: &TestStore, numbers: std::ops::Range<u64>) -> Vec<Job> {
    let mut jobs = Vec::new();
    let one_more = numbers.end;
    for number in numbers {
        jobs.push(it.manual(number).await);
    }
    let refused = it.put(manual(one_more)).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::TooManyManual(2)))), "{refused:?}");
    jobs
}

#[tokio::test]
async fn f21_each_end_of_a_manual_job_gives_its_place_back_once() {
    let it = of_two().await;
    let jobs = fills(&it, 1..3).await;
    it.complete(&jobs[0], value("1")).await.expect("its end");
    assert_eq!(it.complete(&jobs[0], value("1")).await, None);
    assert_eq!(it.store.cancel(cancel(&jobs[0], true)).await.expect("one"), Cancellation::Done);
    let third = fills(&it, 3..4).await.remove(0);
    it.store.cancel(cancel(&third, true)).await.expect("one");
    let fourth = fills(&it, 4..5).await.remove(0);
    let filter = CancelFilter::Jobs(vec![third.spec.id, fourth.spec.id]);
    let asked = CancelMany { filter, terminate: true, grace_seconds: 1.0, dry_run: false };
    let counts = it.store.cancel_matching(asked, || NOW).await;
    assert_eq!(counts.expect("counts").cancelled, 1);

    let mut timed = manual(5);
    let mut spec = Spec::clone(&timed.spec);
    spec.options.clocks.total_timeout_ms = Some(10);
    timed.spec = Arc::new(spec);
    let timed = it.put(timed).await.expect("a job");
    fills(&it, 6..6).await;
    let later = NOW.plus_millis(10);
    it.store.run_timers(Now { now: later, wall: later }).await.expect("an alarm");
    assert_eq!(it.state(&timed).await, State::Failed);
    fills(&it, 6..7).await;
    let it = it.reopened().await;
    fills(&it, 7..7).await;
}

#[tokio::test]
async fn f21_a_group_that_is_rolled_back_gives_the_places_of_manual_jobs_back_and_takes_none() {
    let it = of_two().await;
    it.backend.refuse(Refused::NewJob);
    it.put(manual(1)).await.expect_err("the database refuses");
    let both = Many { calls: vec![manual(1), manual(2)], batch: None };
    it.many(both).await.expect_err("the database refuses");
    it.backend.allow();
    let jobs = fills(&it, 1..3).await;

    it.backend.refuse(Refused::End);
    let completion = ManualResult { job: Arc::new(jobs[0].clone()), end: value("1"), now: NOW };
    it.store.complete_manual(completion).await.expect_err("the database refuses");
    it.store.cancel(cancel(&jobs[1], true)).await.expect_err("the database refuses");
    fills(&it, 3..3).await;
    it.backend.allow();
    it.complete(&jobs[0], value("1")).await.expect("its end");
    fills(&it, 3..4).await;
}
