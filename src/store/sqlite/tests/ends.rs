//! Jobs that end together, each in its way: every end is kept beside what was written before, once.

use crate::domain::{Options, Retry};
use crate::store::Refusal;

use crate::store::conformance::callbacks::{new, with_callbacks};
use crate::store::conformance::{
    Error, Job, Json, NOW, Outcome, Spec, State, TestStore, Timestamp, cancel, example, raised,
    returned, settlement, submission,
};

/// How many of each kind end together.
const EACH: u64 = 9;

fn long() -> Outcome {
    Outcome::Returned(Json::trusted(format!("\"{}\"", "x".repeat(9_000))))
}

/// The job of that number, and how it ends.
fn of(number: u64) -> (Spec, Outcome) {
    let plain = example::spec(number);
    let brief = Options { retention_ms: 60_000, ..Options::default() };
    let retry = Retry { max_attempts: 2, ..Retry::default() };
    match number % 5 {
        0 => (plain, raised()),
        1 => (plain, long()),
        2 => (Spec { options: brief, ..plain }, returned()),
        3 => (Spec { options: Options { retry, ..Options::default() }, ..plain }, raised()),
        _ => (plain, returned()),
    }
}

impl TestStore {
    async fn all_settled(&self, jobs: &[(Job, Outcome)]) {
        let settle = jobs.iter().map(|(job, outcome)| self.settle(job, outcome.clone()));
        for settled in futures_util::future::join_all(settle).await {
            settled.expect("a running job");
        }
    }
}

#[tokio::test]
async fn each_of_many_jobs_that_end_together_reads_back_as_it_ended() {
    let it = TestStore::of_workers(100).await;
    let mut jobs = Vec::new();
    for number in 1..=EACH * 5 {
        let (spec, outcome) = of(number);
        jobs.push((it.put(submission(spec)).await.expect("a job"), outcome));
    }
    it.all_settled(&jobs).await;
    for (job, outcome) in &jobs {
        let read = it.job(job).await;
        let state = match outcome {
            Outcome::Returned(_) => State::Succeeded,
            _ if job.spec.options.retry.max_attempts > 1 => State::Pending,
            _ => State::Failed,
        };
        assert_eq!(read.state, state);
        assert_eq!(read.is_done(), read.finished_seq.is_some() && read.finished_at == Some(NOW));
        assert_eq!((read.attempt, read.version), (1, job.version + 1));
        match outcome {
            Outcome::Returned(value) => assert_eq!(read.result.as_ref(), Some(value)),
            _ => assert_eq!(read.error.is_some(), state == State::Failed),
        }
        let expires_at = NOW.plus_millis(job.spec.options.retention_ms);
        assert_eq!(read.expires_at, read.is_done().then_some(expires_at));
    }
    let ends = i64::try_from(EACH * 4).expect("a number");
    assert_eq!(it.select("select count(*) from ends"), ends);
    // What ended with a value is as it ran; of the others it stands that they are done.
    let done = "select count(*) from calls where state = 'done'";
    assert_eq!(it.select(done), i64::try_from(EACH).expect("a number"));
}

#[tokio::test]
async fn a_job_that_has_ended_is_none_that_runs_to_whoever_comes_with_it() {
    let it = TestStore::of_workers(10).await;
    let job = it.submit(1).await;
    // One group has both: what is done is neither asked to stop nor settled once more.
    let (settled, asked, again) = tokio::join!(
        it.settle(&job, returned()),
        it.store.cancel(cancel(&job, true)),
        it.settle(&job, raised())
    );
    settled.expect("a running job");
    assert_eq!(asked.expect("an answer"), crate::store::Cancellation::Done);
    assert!(matches!(again, Err(Error::Refused(Refusal::Superseded))), "{again:?}");
    assert_eq!(it.state(&job).await, State::Succeeded);
    assert_eq!(it.select("select count(*) from ends"), 1);
}

#[tokio::test]
async fn g5_a_callback_of_a_job_that_ends_with_others_is_due_with_its_end() {
    let mut it = TestStore::of_workers(100).await;
    let mut jobs = Vec::new();
    for number in 1..=20 {
        let callbacks = if number == 13 { vec![new(1)] } else { Vec::new() };
        let job = it.put(with_callbacks(number, callbacks)).await.expect("a job");
        jobs.push((job, returned()));
    }
    it.all_settled(&jobs).await;
    assert_eq!(it.select("select job from deliveries"), jobs[12].0.ordinal.0);
    assert!(it.heard_of_deliveries());
}

#[tokio::test]
async fn an_end_that_is_refused_takes_its_group_back_and_nothing_else_and_is_tried_again() {
    let it = TestStore::of_workers(100).await;
    let mut jobs = Vec::new();
    for number in 1..=20 {
        jobs.push(it.submit(number).await);
    }
    it.execute(
        "create trigger no before insert on ends when new.job = 9
        begin select raise(abort, 'no'); end;",
    );
    let refused = jobs.remove(8);
    let store = it.store.clone();
    let its_end = std::sync::Arc::new(settlement(&refused, returned()));
    let recorded = tokio::spawn(async move { store.complete(its_end, None).await });
    let settle = jobs.iter().map(|job| it.record(settlement(job, returned())));
    for settled in futures_util::future::join_all(settle).await {
        settled.expect("the others are settled one by one");
    }
    assert_eq!(it.state(&refused).await, State::Running);
    it.execute("drop trigger no");
    recorded.await.expect("no panic").expect("it is tried again until it is recorded");
    let ends = "select count(*) from ends as e join calls as c on c.ordinal = e.job";
    assert_eq!(it.select(ends), 20);
}

#[tokio::test]
async fn g24_a_job_that_has_ended_is_not_run_by_the_next_server_though_its_call_is_as_it_ran() {
    let it = TestStore::of_workers(10).await;
    let (done, runs) = (it.submit(1).await, it.submit(2).await);
    it.settle(&done, returned()).await.expect("a running job");
    assert_eq!(it.select("select count(*) from calls where state = 'running'"), 2);
    let mut it = it.reopened_at(Timestamp(NOW.0 + 1)).await;
    assert_eq!(it.recovered, 1);
    assert_eq!(it.next_events().await, [format!("claimed [{}]", runs.ordinal.0)]);
    assert_eq!((it.state(&done).await, it.job(&runs).await.attempt), (State::Succeeded, 2));
    assert_eq!(it.select("select job from unfinished"), runs.ordinal.0);
}
