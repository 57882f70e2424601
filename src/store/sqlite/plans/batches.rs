//! Batches: their counts move by key, and their jobs are found in their runs.

use tempfile::TempDir;

use crate::store::sqlite::connection::open_writer;
use crate::store::sqlite::schema::migrate;

use super::{joined, plan, searches, statement};

const CANCEL_REST: &str = include_str!("../batches/cancel_rest.rs");
const CLOSE: &str = include_str!("../batches/close.rs");
const COUNTS: &str = include_str!("../batches/counts.rs");
const CREATE: &str = include_str!("../batches/create.rs");
const PAGES: &str = include_str!("../batches/pages.rs");
const RETENTION: &str = include_str!("../batches/retention.rs");

#[tokio::test]
async fn the_counts_of_a_batch_move_by_its_place() {
    let by_place = ["SEARCH batches USING INTEGER PRIMARY KEY (rowid=?)"];
    searches(COUNTS, "update batches set total", &by_place).await;
    searches(COUNTS, "update batches set finished_at", &by_place).await;
    searches(CANCEL_REST, "select on_error = 'cancel'", &by_place).await;
    let by_batch = ["SEARCH c USING INDEX callbacks_batch (batch=?)"];
    searches(COUNTS, "insert into deliveries (callback, batch", &by_batch).await;
    let last_run = ["SEARCH batch_runs USING PRIMARY KEY (batch=? AND index_from=?)"];
    searches(CREATE, "update batch_runs set count", &last_run).await;
}

#[tokio::test]
async fn g20_the_end_of_a_batch_looks_through_no_table_of_jobs() {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("plan.db").into();
    migrate(&path).await.expect("a database");
    let connection = open_writer(&path).expect("a connection");
    let jobs = "select rootpage from sqlite_schema where name = 'calls'";
    let jobs: i64 = connection.query_row(jobs, (), |row| row.get(0)).expect("a table");
    let explain = format!("explain {}", statement(RETENTION, "delete from batches"));
    let mut explain = connection.prepare(&explain).expect("a statement");
    let steps = explain.raw_query().mapped(|row| Ok((row.get("opcode")?, row.get("p2")?)));
    let steps: Vec<(String, i64)> = steps.map(|step| step.expect("a step")).collect();
    let opens = |(opcode, page): &(String, i64)| opcode.starts_with("Open") && *page == jobs;
    assert!(!steps.iter().any(opens), "{steps:?}");
}

#[tokio::test]
async fn e5_the_jobs_of_a_batch_are_found_in_either_order_without_those_of_others() {
    let in_order = plan(statement(
        PAGES,
        "select j.id, j.ordinal, j.state, j.finished_seq, j.batch_index\nfrom batch_runs",
    ))
    .await;
    let steps = [
        "SEARCH r USING PRIMARY KEY (batch=? AND index_from>?)",
        "SEARCH c USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)",
    ];
    for step in steps {
        assert!(in_order.iter().any(|line| line.starts_with(step)), "{in_order:#?}");
    }
    assert!(!in_order.iter().any(|line| line.contains("TEMP B-TREE")), "{in_order:#?}");
    let completed =
        "select j.id, j.ordinal, j.state, j.finished_seq, j.batch_index\nfrom batch_ends";
    let completed = plan(statement(PAGES, completed)).await;
    let steps = [
        "SEARCH e USING PRIMARY KEY (batch=? AND seq>?)",
        "SCALAR SUBQUERY 1",
        "SEARCH f USING PRIMARY KEY (batch=? AND seq<?)",
        "SCAN o VIRTUAL TABLE INDEX 1:",
        "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)",
        "SEARCH c USING INTEGER PRIMARY KEY (rowid=?)",
    ];
    assert_eq!(completed, steps);
}

#[tokio::test]
async fn g20_a_batch_that_is_over_is_found_by_its_age_and_its_jobs_in_their_runs() {
    let over = joined(&[
        (RETENTION, "select b.ordinal, b.id, b.going"),
        (RETENTION, "(exists (select 1 from deliveries as d where d.batch"),
        (RETENTION, ") order by b.expires_at limit 1"),
    ]);
    let over = plan(&over).await;
    assert!(over[0].starts_with("SEARCH b USING INDEX batches_expiry (expires_at<?)"), "{over:#?}");
    let unfinished =
        plan(statement(CLOSE, "select ordinal from batches where finished_at is null and closed"))
            .await;
    assert!(unfinished[0].contains("INDEX batches_unfinished"), "{unfinished:#?}");
}
