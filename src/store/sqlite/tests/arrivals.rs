//! Jobs that come together, each with what it has and the one before it has not.

use uuid::Uuid;

use crate::domain::{
    Batch, BatchSlot, FunctionName, JobId, Json, Metadata, OnInterrupt, Options, Priority, Retry,
    RunAt, Tags,
};
use crate::store::{Many, NewBatch};

use crate::store::conformance::{
    Arc, NOW, Spec, State, Submission, TestStore, batches, example, submission,
};

/// The job of that number: most are plain, and the others differ from those in one thing each.
fn call(number: u64, batch: &Batch) -> Submission {
    let index = i64::try_from(number).expect("a number");
    let of = BatchSlot { batch: batch.id, place: batch.ordinal, index };
    let text = |length: usize| Json::trusted(format!("[\"{}\"]", "x".repeat(length)));
    let plain = example::spec(number);
    let spec = match number % 29 {
        2 => Spec { function: FunctionName::new("sleep").expect("a name"), ..plain },
        5 => Spec { priority: Priority::new(5).expect("a priority"), ..plain },
        6 => Spec { on_interrupt: OnInterrupt::Fail, ..plain },
        9 => Spec { tags: Tags::new(vec!["red".to_owned()]).expect("a tag"), ..plain },
        10 => {
            let metadata = Metadata::new(vec![("who".to_owned(), "me".to_owned())]);
            Spec { metadata: metadata.expect("a note"), ..plain }
        }
        13 => {
            let retry = Retry { max_attempts: 3, ..Retry::default() };
            Spec { options: Options { retry, ..Options::default() }, ..plain }
        }
        17 | 18 => Spec { batch: Some(of), ..plain },
        21 => Spec { args: Some(text(900)), ..plain },
        22 => Spec { args: Some(text(9_000)), ..plain },
        _ => plain,
    };
    let run_at = (number % 29 == 25).then_some(RunAt::Wall(NOW.plus_millis(60_000)));
    Submission { run_at, ..submission(spec) }
}

impl TestStore {
    /// A batch that is open and has no calls.
    async fn open_batch(&self) -> Batch {
        let id = crate::domain::BatchId(Uuid::from_u128(0x0be7));
        let open = NewBatch { id, is_open: true, ..batches::batch(0) };
        self.store.submit_batch(open).await.expect("a batch")
    }
}

#[tokio::test]
async fn each_of_many_jobs_that_come_together_reads_back_as_it_was_sent() {
    let it = TestStore::of_workers(50).await;
    let batch = it.open_batch().await;
    for (from, to) in [(1, 1), (2, 70), (71, 74), (75, 97), (98, 150)] {
        let calls: Vec<Submission> = (from..=to).map(|number| call(number, &batch)).collect();
        let many = Many { calls: calls.clone(), batch: None };
        let submitted = it.many(many).await.expect("a commit");
        for (call, job) in calls.iter().zip(submitted) {
            let job = job.expect("there is room");
            let read = it.job(&job).await;
            assert_eq!(read, *job);
            assert_eq!((&read.spec, read.run_at), (&call.spec, call.run_at));
        }
    }
    let running = "select count(*) from jobs where state = 'running' and epoch is not null";
    assert_eq!(it.select(running), 50);
    let waiting = "select count(*) from calls join unfinished on job = ordinal where state = 'pending' and epoch is null";
    assert_eq!(it.select(waiting), 100);
}

#[tokio::test]
async fn a_row_that_is_refused_leaves_nothing_to_the_next() {
    let it = TestStore::of_workers(1_000).await;
    let labelled = |number| {
        let tags = Tags::new(vec![format!("tag {number}")]).expect("a tag");
        submission(Spec { tags, ..example::spec(number) })
    };
    let many =
        |from: u64, to: u64| Many { calls: (from..=to).map(labelled).collect(), batch: None };
    it.execute(
        "create trigger no before insert on calls when new.ordinal = 9
        begin select raise(abort, 'no'); end;",
    );
    it.many(many(1, 16)).await.expect_err("the database refuses the ninth");
    it.execute("drop trigger no");
    let plain =
        Many { calls: (1..=16).map(|it| submission(example::spec(it))).collect(), batch: None };
    for job in it.many(plain).await.expect("a commit") {
        let job = job.expect("there is room");
        assert_eq!((it.job(&job).await.spec.tags.as_slice(), job.state), (&[][..], State::Running));
    }
    let last = it.store.job(JobId(Uuid::from_u128(16))).await.expect("it reads");
    assert_eq!(last.map(|it| Arc::clone(&it.spec)), Some(Arc::new(example::spec(16))));
}
