//! Arguments and results of every size come back as they were given, byte by byte.

use crate::store::Filter;

use super::{
    Damage, Figure, Job, Json, NOW, Ordinal, Outcome, Spec, TestStore, example, returned,
    submission,
};

const KIB: usize = 1_024;
/// Around each size at which a value is kept in another way.
const SIZES: [usize; 10] = [
    16,
    KIB - 1,
    KIB,
    KIB + 1,
    256 * KIB - 1,
    256 * KIB,
    256 * KIB + 1,
    512 * KIB + 1,
    1_024 * KIB + 1,
    5 * 1_024 * KIB,
];

/// A JSON string of exactly so many bytes, of letters that a cut may fall into.
fn text_of(bytes: usize) -> String {
    let inner = bytes - 2;
    format!("\"{}{}\"", "x".repeat(inner % 2), "é".repeat(inner / 2))
}

/// Arguments that are kept as a text of exactly so many bytes: `[[…],{}]`.
fn spec_of(number: u64, bytes: usize) -> Spec {
    let args = Json::trusted(format!("[{}]", text_of(bytes - "[[],{}]".len())));
    Spec { args: Some(args), ..example::spec(number) }
}

#[tokio::test]
async fn arguments_and_results_of_every_size_read_back_byte_by_byte() {
    let it = TestStore::of_workers(100).await;
    for (number, bytes) in (1..).zip(SIZES) {
        let job = it.put(submission(spec_of(number, bytes))).await.expect("a job");
        assert_eq!(it.job(&job).await, job, "arguments of {bytes} bytes");
        let result = Json::trusted(text_of(bytes));
        it.settle(&job, Outcome::Returned(result.clone())).await.expect("a running job");
        let read = it.job(&job).await;
        assert!(read.result == Some(result), "a result of {bytes} bytes");
        assert!(read.spec.args == job.spec.args, "{bytes} bytes");
    }
    let unlinked = it.number(Figure::UnownedValues);
    assert_eq!(unlinked, 0, "every payload has its owner");
}

#[tokio::test]
async fn large_and_small_ones_at_once_do_not_mix() {
    let it = TestStore::of_workers(100).await;
    let submit = |number, bytes| it.put(submission(spec_of(number, bytes)));
    let (a, b, c, d) = tokio::join!(
        biased;
        submit(1, 3 * 1_024 * KIB),
        submit(2, 100),
        submit(3, 2_000),
        submit(4, 2 * 1_024 * KIB)
    );
    let jobs: Vec<Job> = [a, b, c, d].into_iter().map(|job| job.expect("a job")).collect();
    for job in &jobs {
        assert!(it.job(job).await == *job, "job {}", job.ordinal.0);
    }
    assert!(jobs[1].ordinal < jobs[0].ordinal, "a small one does not wait for a large one");
    let ordinals: Vec<_> = jobs.iter().map(|job| job.ordinal).collect();
    let mut read = it.jobs_at(&ordinals).await;
    read.sort_by_key(|job| job.spec.id);
    assert!(read == jobs);
}

#[tokio::test]
async fn a_list_leaves_out_values_above_16_kib() {
    let it = TestStore::of_workers(100).await;
    for (number, bytes) in [(1, 16 * KIB), (2, 16 * KIB + 1)] {
        let job = it.put(submission(spec_of(number, bytes))).await.expect("a job");
        let result = Outcome::Returned(Json::trusted(text_of(bytes)));
        it.settle(&job, result).await.expect("a running job");
    }
    let page = it.list(&Filter::default(), None, 10).await;
    let [large, small] = page.jobs.as_slice() else { panic!("{} jobs", page.jobs.len()) };
    assert!(small.spec.args.is_some() && small.result.is_some() && !small.result_omitted);
    assert!(large.spec.args.is_none() && large.spec.kwargs.is_none());
    assert!(large.result.is_none() && large.result_omitted);
}

#[tokio::test]
async fn closing_writes_what_is_being_written_ahead() {
    let it = TestStore::of_workers(100).await;
    let (kept, ()) = tokio::join!(
        biased;
        it.put(submission(spec_of(1, 5 * 1_024 * KIB))),
        it.store.clone().close()
    );
    let kept = kept.expect("a job that was sent before the close");
    let it = it.reopened().await;
    assert!(it.job(&kept).await.spec.args == kept.spec.args);
}

#[tokio::test]
async fn what_was_written_ahead_for_a_job_that_never_was_is_swept_at_the_next_start() {
    let it = TestStore::of_workers(100).await;
    let whole = it.put(submission(spec_of(1, 2 * 1_024 * KIB))).await.expect("a job");
    let TestStore { closed, config, backend, store, .. } = it;
    store.close().await;
    closed.await.expect("the writer ends");

    // What a server leaves that dies between a piece and the commit of its job.
    backend.damage(Damage::UnownedValue);

    let it = TestStore::open(backend, config).await;
    assert_eq!(it.number(Figure::Values), 1);
    assert_eq!(it.number(Figure::UnownedValues), 0);
    assert!(it.job(&whole).await.spec.args == whole.spec.args);
    let next = it.put(submission(spec_of(3, 300 * KIB))).await.expect("a job");
    assert!(it.job(&next).await.spec.args == next.spec.args, "its number is taken by nobody else");
    it.settle(&next, returned()).await.expect("a running job");
}

/// A job is several rows, and whoever reads it while it goes finds all of them or none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_goes_while_it_is_read_is_whole_or_gone() {
    let it = TestStore::of_workers(400).await;
    let mut jobs = Vec::new();
    for number in 1..=400 {
        let job = it.put(submission(spec_of(number, 2_000))).await.expect("a job");
        it.settle(&job, Outcome::Returned(Json::trusted(text_of(2_000)))).await.expect("it runs");
        jobs.push(job);
    }
    let (store, ids) = (it.store.clone(), jobs.iter().map(|job| job.spec.id).collect::<Vec<_>>());
    let forgetting = tokio::spawn(async move {
        for id in ids {
            store.delete(id, NOW).await.expect("an answer");
        }
    });
    let mut left = jobs.len();
    while left > 0 {
        let page = it.list(&Filter::default(), None, 1_000).await;
        assert!(page.jobs.len() <= left);
        left = page.jobs.len();
        for job in &jobs {
            let read = it.store.job(job.spec.id).await.expect("it is whole or gone");
            assert!(read.is_none_or(|read| read.result.is_some()));
        }
        let places: Vec<Ordinal> = jobs.iter().map(|job| job.ordinal).collect();
        it.jobs_at(&places).await;
    }
    forgetting.await.expect("all are gone");
}
