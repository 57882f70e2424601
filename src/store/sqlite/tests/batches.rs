//! Batches as SQLite keeps them: many ends, and many calls, in a row of a table.

use futures_util::future::join_all;

use crate::store::conformance::batches::{batch, member};
use crate::store::conformance::{TestStore, returned};
use crate::store::{Many, NewBatch};

#[tokio::test]
async fn ends_that_come_together_stand_in_few_rows() {
    let it = TestStore::of_workers(1_000).await;
    let made = it.store.submit_batch(batch(200)).await.expect("a batch");
    let jobs = it.calls(&made).await;
    for settled in join_all(jobs.iter().map(|job| it.settle(job, returned()))).await {
        settled.expect("a running job");
    }
    assert!(it.select("select count(*) from batch_ends") < 100, "many stand in a row");
}

#[tokio::test]
async fn calls_that_go_on_where_the_last_ones_ended_are_of_their_run() {
    let it = TestStore::of_workers(1_000).await;
    let open = NewBatch { is_open: true, ..batch(0) };
    let made = it.store.submit_batch(open).await.expect("a batch");
    for (first, another_follows) in [(0_i64, true), (2, false), (4, true)] {
        let calls = (first..first + 2).map(|it| member(&made, 100 + it.unsigned_abs(), it));
        let many = Many { calls: calls.collect(), batch: Some(made.ordinal) };
        it.many(many).await.expect("an answer");
        if another_follows {
            it.submit(1 + first.unsigned_abs()).await;
        }
    }
    assert_eq!(it.select("select count(*) from batch_runs"), 2);
}
