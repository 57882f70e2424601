//! The logs of jobs: each line once, in order, and of a long one the tail.

use crate::domain::log::LOG_BYTES_MAX;
use crate::domain::{LogLine, LogPlace, LogStream};
use crate::store::Completion;

use super::{Figure, NOW, Ordinal, TestStore, returned, settlement};

fn line(attempt: u32, number: i64, text: impl Into<String>) -> LogLine {
    let place = LogPlace { attempt, number };
    LogLine { place, stream: LogStream::Log, text: text.into() }
}

fn lines(attempt: u32, numbers: std::ops::RangeInclusive<i64>) -> Vec<LogLine> {
    numbers.map(|number| line(attempt, number, format!("\"{number}\"\\ ö"))).collect()
}

impl TestStore {
    pub async fn log(&self, job: Ordinal, after: LogPlace) -> Vec<LogLine> {
        self.store.log(job, after).await.expect("it reads")
    }
}

#[tokio::test]
async fn lines_are_kept_once_in_order_and_read_from_behind_any_of_them() {
    let it = TestStore::of_workers(1).await;
    let job = it.submit(1).await;
    let at = job.ordinal;
    it.store.append_log(at, lines(1, 1..=3)).await.expect("an answer");
    it.store.append_log(at, lines(1, 4..=4)).await.expect("an answer");
    // Nobody heard that 3 and 4 are kept.
    it.store.append_log(at, lines(1, 3..=5)).await.expect("an answer");
    assert_eq!(it.log(at, LogPlace::default()).await, lines(1, 1..=5));
    assert_eq!(it.number(Figure::LogPieces), 1, "one piece grows");
    // A flood has cut some, and the next attempt begins anew.
    it.store.append_log(at, lines(1, 9..=9)).await.expect("an answer");
    it.store.append_log(at, lines(2, 1..=2)).await.expect("an answer");
    let all = [lines(1, 1..=5), lines(1, 9..=9), lines(2, 1..=2)].concat();
    for (index, seen) in all.iter().enumerate() {
        assert_eq!(it.log(at, seen.place).await, all[index + 1..]);
    }
    let other = it.submit(2).await;
    assert_eq!(it.log(other.ordinal, LogPlace::default()).await, []);
}

#[tokio::test]
async fn what_was_not_kept_before_is_kept_with_the_end_and_goes_with_the_job() {
    let it = TestStore::of_workers(1).await;
    let job = it.submit(1).await;
    it.store.append_log(job.ordinal, lines(1, 1..=2)).await.expect("an answer");
    let end = Completion { log: lines(1, 2..=4), ..settlement(&job, returned()) };
    it.record(end).await.expect("a running job");
    let it = it.reopened().await;
    assert_eq!(it.log(job.ordinal, LogPlace::default()).await, lines(1, 1..=4));
    it.store.delete(job.spec.id, NOW).await.expect("an answer");
    assert_eq!(it.number(Figure::LogPieces), 0);
}

#[tokio::test]
async fn g14_of_a_long_log_the_last_mebibyte_is_kept() {
    let it = TestStore::of_workers(1).await;
    let job = it.submit(1).await;
    let text = "x".repeat(1_000);
    for portion in 0..30_i64 {
        let lines = (1..=100).map(|it| line(1, 100 * portion + it, text.as_str()));
        it.store.append_log(job.ordinal, lines.collect()).await.expect("an answer");
    }
    let kept = it.log(job.ordinal, LogPlace::default()).await;
    let bytes: usize = kept.iter().map(|line| line.text.len()).sum();
    assert!(bytes <= LOG_BYTES_MAX && bytes > LOG_BYTES_MAX - 160 * 1024, "{bytes}");
    assert_eq!(kept.last().map(|line| line.place.number), Some(3_000));
    let first = kept[0].place.number;
    assert!(kept.iter().map(|line| line.place.number).eq(first..=3_000), "without a gap");
    assert_eq!(kept[0].cut_since(LogPlace::default()), first - 1, "and it shows what is missing");
}
