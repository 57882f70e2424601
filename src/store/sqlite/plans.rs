//! How SQLite runs the hot statements: by key, never through the whole table.

mod batches;

use rusqlite::Connection;
use tempfile::TempDir;

use crate::store::sqlite::connection::open_writer;
use crate::store::sqlite::hot::multi_row_insert::Rows;
use crate::store::sqlite::hot::{new_row, result_row, statements};
use crate::store::sqlite::schema::migrate;

/// The statements stand in the source as they are sent; only what is between quotes is SQL.
const ADD_CALLBACK: &str = include_str!("callbacks/add.rs");
const ASK_TO_STOP: &str = include_str!("jobs/ask_to_stop.rs");
const CANCEL_WAITING: &str = include_str!("jobs/cancel_waiting.rs");
const CLAIM: &str = include_str!("jobs/claim.rs");
const DELIVER: &str = include_str!("callbacks/deliver.rs");
const DRAIN: &str = include_str!("queues/drain.rs");
const DUE: &str = include_str!("callbacks/due.rs");
const FILTER: &str = include_str!("jobs/filter.rs");
const HOT: &str = include_str!("hot/statements.rs");
const IDEMPOTENCY: &str = include_str!("jobs/idempotency.rs");
const MANUAL: &str = include_str!("jobs/manual.rs");
const OUTBOX: &str = include_str!("callbacks/outbox.rs");
const PAGES: &str = include_str!("callbacks/pages.rs");
const READ: &str = include_str!("jobs/read.rs");
const RECOVERY: &str = include_str!("durability/recovery.rs");
const REMOVE: &str = include_str!("jobs/remove.rs");
const REPEATS: &str = include_str!("jobs/repeats.rs");
const RETENTION: &str = include_str!("jobs/retention.rs");
const UNFINISHED: &str = include_str!("jobs/unfinished.rs");
const WAITING_SINCE: &str = include_str!("queues/waiting_since.rs");

/// The one statement of `source` that begins so, up to its end.
fn statement<'a>(source: &'a str, begin: &str) -> &'a str {
    let mut places = source.match_indices(begin).map(|(place, _)| place);
    let start = places.next().unwrap_or_else(|| panic!("there is no statement: {begin}"));
    let rest = &source[start..];
    &rest[..rest.find('"').expect("a statement ends")]
}

/// What SQLite says it does, a line for each step.
async fn plan(statement: &str) -> Vec<String> {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("plan.db").into();
    migrate(&path).await.expect("a database");
    explained(&open_writer(&path).expect("a connection"), statement).expect("a plan")
}

fn explained(connection: &Connection, statement: &str) -> rusqlite::Result<Vec<String>> {
    let mut explain = connection.prepare(&format!("explain query plan {statement}"))?;
    // What is not bound is null, and a plan does not look at values.
    explain.raw_query().mapped(|row| row.get("detail")).collect::<rusqlite::Result<_>>()
}

async fn searches(source: &str, begin: &str, expected: &[&str]) {
    let plan = plan(statement(source, begin)).await;
    for step in expected {
        assert!(plan.iter().any(|line| line.starts_with(step)), "no {step:?} in {plan:#?}");
    }
    let tables = [
        "calls",
        "ends",
        "e",
        "j",
        "c",
        "d",
        "callbacks",
        "deliveries",
        "delivery_attempts",
        "attempts",
        "tombstones",
        "t",
        "idempotency_keys",
        "batches",
        "b",
        "r",
        "batch_runs",
    ];
    let scans = plan.iter().filter_map(|line| line.strip_prefix("SCAN "));
    let whole: Vec<&str> = scans.filter(|scanned| tables.contains(scanned)).collect();
    assert!(whole.is_empty(), "{begin}: goes through {whole:?}\n{plan:#?}");
}

#[tokio::test]
async fn a_group_finds_its_jobs_by_their_place() {
    const ENDS: &str = include_str!("jobs/end.rs");
    const INDEXING: &str = include_str!("jobs/indexing.rs");
    let by_place = ["SEARCH calls USING INTEGER PRIMARY KEY (rowid=?)"];
    searches(CLAIM, "update calls set state = 'running'", &by_place).await;
    searches(ASK_TO_STOP, "update calls set version = version + 1", &by_place).await;
    searches(HOT, "update calls set state = ?4", &by_place).await;
    searches(ENDS, "insert into ends", &by_place).await;
    let by_job = ["SEARCH unfinished USING INTEGER PRIMARY KEY (rowid=?)"];
    searches(INDEXING, "delete from unfinished", &by_job).await;
    let left = [
        "SEARCH c USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)",
    ];
    searches(INDEXING, "insert into unfinished (job)\nselect", &left).await;
    searches(
        ADD_CALLBACK,
        "insert into callbacks",
        &["SEARCH j USING INTEGER PRIMARY KEY (rowid=?)"],
    )
    .await;
}

#[tokio::test]
async fn a_group_finds_deliveries_by_their_job_and_their_callback() {
    let by_job = [
        "SEARCH c USING INDEX callbacks_job (job=?)",
        "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)",
    ];
    searches(DUE, "insert into deliveries (", &by_job).await;
    let by_callback = ["SEARCH deliveries USING INTEGER PRIMARY KEY (rowid=?)"];
    searches(DELIVER, "update deliveries set body", &by_callback).await;
    searches(DELIVER, "update deliveries set attempts", &by_callback).await;
}

#[tokio::test]
async fn what_is_to_be_cancelled_is_found_among_what_is_not_done() {
    let steps = [
        "SEARCH u USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        "SEARCH c USING INTEGER PRIMARY KEY (rowid=?)",
    ];
    searches(DRAIN, "select c.ordinal, c.priority", &steps).await;
    let by_place = ["SEARCH calls USING INTEGER PRIMARY KEY (rowid=?)"];
    searches(WAITING_SINCE, "select ordinal, max", &by_place).await;
}

/// A table of its own for each run of a statement costs more than all the rest of it.
#[tokio::test]
async fn no_write_of_a_job_fills_a_table_of_its_own() {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("plan.db").into();
    migrate(&path).await.expect("a database");
    let connection = open_writer(&path).expect("a connection");
    let mut hot: Vec<_> =
        HOT.split('"').filter(|text| text.starts_with("update calls set")).collect();
    assert_eq!(hot.len(), 1);
    let together =
        [new_row::INSERT, result_row::INSERT, statements::INSERT_UNFINISHED].map(Rows::statements);
    hot.extend(together.as_flattened().iter().map(String::as_str));
    hot.push(statement(CLAIM, "update calls set state = 'running'"));
    for sql in hot {
        let explain = format!("explain {sql}");
        let mut explain = connection.prepare(&explain).expect("it is a statement");
        let steps: Vec<String> = explain
            .raw_query()
            .mapped(|row| row.get("opcode"))
            .map(|it| it.expect("a step"))
            .collect();
        let returns = sql.contains("returning");
        let fills = steps.iter().filter(|step| *step == "OpenEphemeral").count();
        // `returning` keeps its rows until the statement is done.
        assert_eq!(fills, usize::from(returns), "{sql}: {steps:?}");
    }
}

#[tokio::test]
async fn one_job_is_found_by_its_id() {
    let select = "select ordinal from jobs where id = ?";
    assert!(READ.contains(r#"" from jobs where id = ?""#), "the statement that this stands for");
    let plan = plan(select).await;
    assert_eq!(plan, ["SEARCH c USING COVERING INDEX sqlite_autoindex_calls_1 (id=?)"]);
}

#[tokio::test]
async fn g8_a_repeated_request_is_found_by_its_key_and_by_its_id() {
    let by_key = ["SEARCH idempotency_keys USING PRIMARY KEY (owner=? AND idempotency_key=?)"];
    searches(IDEMPOTENCY, "select fingerprint, job from", &by_key).await;
    let by_id = ["SEARCH calls USING INDEX sqlite_autoindex_calls_1 (id=?)"];
    searches(IDEMPOTENCY, "select fingerprint from calls", &by_id).await;
    let by_id = ["SEARCH calls USING COVERING INDEX sqlite_autoindex_calls_1 (id=?)"];
    searches(IDEMPOTENCY, "select exists (select 1 from calls", &by_id).await;
    let by_id = ["SEARCH tombstones USING PRIMARY KEY (id=?)"];
    searches(IDEMPOTENCY, "select exists (select 1 from tombstones", &by_id).await;
    let by_place = ["SEARCH calls USING INTEGER PRIMARY KEY (rowid=?)"];
    searches(IDEMPOTENCY, "update calls set fingerprint", &by_place).await;
}

#[tokio::test]
async fn g8_a_reader_finds_a_repeated_request_by_its_key_and_by_its_id() {
    let by_key = [
        "SEARCH k USING PRIMARY KEY (owner=? AND idempotency_key=?)",
        "SEARCH j USING COVERING INDEX sqlite_autoindex_calls_1 (id=?)",
    ];
    searches(REPEATS, "select j.id from idempotency_keys", &by_key).await;
    let by_id = ["SEARCH j USING INDEX sqlite_autoindex_calls_1 (id=?)"];
    searches(REPEATS, "select j.id from calls", &by_id).await;
}

#[tokio::test]
async fn a_manual_job_is_found_by_its_place() {
    let by_place = ["SEARCH j USING INTEGER PRIMARY KEY (rowid=?)"];
    searches(MANUAL, "select exists (select 1 from calls as j", &by_place).await;
}

#[tokio::test]
async fn due_deliveries_are_found_by_their_receiver_and_their_time() {
    let steps = [
        "SEARCH d USING INDEX deliveries_due (host=? AND next_at<?)",
        "SEARCH c USING INTEGER PRIMARY KEY (rowid=?)",
        "SEARCH earlier USING INDEX deliveries_job (job=?",
    ];
    searches(OUTBOX, "select d.callback, c.id", &steps).await;
    let turns = ["SEARCH receivers USING INDEX receivers_turn (share=? AND turn_at<?)"];
    searches(OUTBOX, "select host, pace from receivers", &turns).await;
    let next = ["SEARCH receivers USING INDEX receivers_turn (share=? AND turn_at>?)"];
    searches(OUTBOX, "select min(it.turn_at) from", &next).await;
    let kept = ["SEARCH receivers USING PRIMARY KEY (host=?)"];
    searches(DELIVER, "update receivers set pace", &kept).await;
    // What the trigger asks after each change of a delivery.
    let earliest =
        "select min(d.next_at) from deliveries as d where d.host = ? and d.state = 'pending'";
    let plan = plan(earliest).await;
    assert_eq!(plan, ["SEARCH d USING COVERING INDEX deliveries_due (host=?)"]);
}

#[tokio::test]
async fn failed_deliveries_are_found_among_all_others() {
    let steps = [
        "SEARCH deliveries USING COVERING INDEX deliveries_failed (callback<?)",
        "SEARCH c USING INTEGER PRIMARY KEY (rowid=?)",
    ];
    searches(PAGES, "select c.ordinal\nfrom (select callback", &steps).await;
    let by_id = ["SEARCH callbacks USING COVERING INDEX sqlite_autoindex_callbacks_1 (id=?"];
    searches(PAGES, "select ordinal from callbacks where id", &by_id).await;
    let of_job = ["SEARCH callbacks USING COVERING INDEX callbacks_job (job=? AND rowid>?)"];
    searches(PAGES, "select ordinal from callbacks where job", &of_job).await;
    let of_batch = ["SEARCH callbacks USING COVERING INDEX callbacks_batch (batch=? AND rowid>?)"];
    searches(PAGES, "select ordinal from callbacks where batch", &of_batch).await;
    let all = ["SEARCH callbacks USING COVERING INDEX callbacks_job (job=?)"];
    searches(ADD_CALLBACK, "select count(*) >= ?2 from (select 1 from callbacks", &all).await;
    let states = ["SEARCH c USING COVERING INDEX callbacks_job (job=?)"];
    searches(PAGES, "select coalesce(d.state, 'waiting'), count(*)", &states).await;
    let idle = ["SEARCH receivers USING INDEX receivers_idle (used_at<?)"];
    searches(RETENTION, "delete from receivers where host in", &idle).await;
}

#[tokio::test]
async fn g24_a_start_reads_only_what_is_not_done() {
    // Every job that is not done is among those by then.
    for begin in ["select c.ordinal, c.function", "select u.job"] {
        let plan = plan(statement(RECOVERY, begin)).await;
        assert_eq!(plan, ["SCAN u", "SEARCH c USING INTEGER PRIMARY KEY (rowid=?)"], "{begin}");
    }
}

#[tokio::test]
async fn w1_ten_thousand_jobs_are_found_by_their_ids_in_one_statement() {
    const ENDS: &str = include_str!("jobs/standings.rs");
    let by_id =
        ["SEARCH c USING INDEX sqlite_autoindex_calls", "SEARCH e USING INTEGER PRIMARY KEY"];
    searches(ENDS, "select j.id, j.ordinal, j.state", &by_id).await;
}

/// Statements that are put together stand in pieces between quotes.
fn joined(pieces: &[(&str, &str)]) -> String {
    pieces.iter().map(|(source, begin)| statement(source, begin)).collect()
}

#[tokio::test]
async fn g20_a_job_that_is_over_is_found_by_its_time_its_place_or_its_id() {
    let columns = "select j.ordinal, j.id, e.job is not null";
    let open = "SEARCH d USING INDEX deliveries_job (job=?)";
    for (source, condition, step) in [
        (
            RETENTION,
            "where e.indexed = 1 and e.expires_at <= ?1",
            "SEARCH e USING INDEX ends_expiry (expires_at>? AND expires_at<?)",
        ),
        (RETENTION, "where e.job > ?1", "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (REMOVE, "where j.ordinal = ?1", "SEARCH j USING INTEGER PRIMARY KEY (rowid=?)"),
        (REMOVE, "where j.id = ?1", "SEARCH j USING INDEX sqlite_autoindex_calls"),
    ] {
        let plan = plan(&joined(&[(REMOVE, columns), (source, condition)])).await;
        for step in [step, open] {
            assert!(plan.iter().any(|line| line.starts_with(step)), "no {step:?} in {plan:#?}");
        }
        assert!(!plan.iter().any(|line| line.contains("TEMP B-TREE")), "{plan:#?}");
    }
}

#[tokio::test]
async fn g20_what_belongs_to_a_job_is_found_by_it_and_what_is_left_of_it_by_its_age() {
    for (begin, steps) in [
        (
            "delete from delivery_attempts\nwhere callback in",
            &[
                "SEARCH delivery_attempts USING PRIMARY KEY (callback=?)",
                "SEARCH c USING COVERING INDEX callbacks_job (job=?)",
            ][..],
        ),
        (
            "delete from deliveries where job",
            &["SEARCH deliveries USING COVERING INDEX deliveries_job (job=?)"],
        ),
        (
            "delete from callbacks where job",
            &["SEARCH callbacks USING COVERING INDEX callbacks_job (job=?)"],
        ),
        ("delete from attempts", &["SEARCH attempts USING PRIMARY KEY (job=?)"]),
        ("delete from ends", &["SEARCH ends USING INTEGER PRIMARY KEY (rowid=?)"]),
        ("delete from calls", &["SEARCH calls USING INTEGER PRIMARY KEY (rowid=?)"]),
        (
            "delete from idempotency_keys where job",
            &["SEARCH idempotency_keys USING INDEX idempotency_keys_job (job=?)"],
        ),
        ("delete from tombstones", &["SEARCH t USING COVERING INDEX tombstones_gone (gone_at<?)"]),
        (
            "select max(k.created_at)",
            &[
                "SEARCH idempotency_keys USING COVERING INDEX idempotency_keys_age (created_at>? AND created_at<?)",
            ],
        ),
        (
            "delete from idempotency_keys where created_at",
            &[
                "SEARCH idempotency_keys USING INDEX idempotency_keys_age (created_at>? AND created_at<?)",
                "SEARCH j USING COVERING INDEX sqlite_autoindex_calls",
            ],
        ),
        (
            "select min(expires_at)",
            &["SEARCH ends USING COVERING INDEX ends_expiry (expires_at>?)"],
        ),
        ("select min(gone_at)", &["SEARCH tombstones USING COVERING INDEX tombstones_gone"]),
        (
            "select min(created_at)",
            &["SEARCH idempotency_keys USING COVERING INDEX idempotency_keys_age (created_at>?)"],
        ),
    ] {
        let source = if REMOVE.contains(begin) { REMOVE } else { RETENTION };
        searches(source, begin, steps).await;
    }
}

#[tokio::test]
async fn many_are_cancelled_by_their_place_and_found_among_those_that_are_not_done() {
    let by_place = ["SEARCH calls USING INTEGER PRIMARY KEY (rowid=?)"];
    searches(CANCEL_WAITING, "update calls set state = 'done'", &by_place).await;
    let range = "USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)";
    for (begin, pieces, examines, table) in [
        (
            "select c.ordinal, c.state from unfinished",
            ["(?2 is null or state = ?2)", " order by u.job limit ?11"],
            "select max(job), count(*)",
            ["u", "unfinished"],
        ),
        (
            "select ordinal, state from (select * from jobs",
            ["(?2 is null or state = ?2)", " order by ordinal limit ?11"],
            "select max(ordinal), count(*)",
            ["c", "c"],
        ),
    ] {
        let found =
            plan(&joined(&[(UNFINISHED, begin), (FILTER, pieces[0]), (UNFINISHED, pieces[1])]))
                .await;
        let examined = plan(statement(UNFINISHED, examines)).await;
        for (plan, table) in [&found, &examined].into_iter().zip(table) {
            let step = format!("SEARCH {table} {range}");
            assert!(plan.contains(&step), "no {step} in {plan:#?}");
        }
        assert!(!found.iter().any(|line| line.contains("TEMP B-TREE")), "{found:#?}");
    }
    let by_id = plan(statement(UNFINISHED, "select ordinal, state from jobs\nwhere id in")).await;
    assert!(
        by_id.iter().any(|line| line.starts_with("SEARCH c USING INDEX sqlite_autoindex_calls")),
        "{by_id:#?}"
    );
}

#[tokio::test]
async fn g19_what_is_due_is_found_by_its_time_however_many_jobs_wait() {
    const CLOCKS: &str = include_str!("jobs/timers.rs");
    let due = CLOCKS.split('"').filter(|text| text.starts_with("select ordinal, id, function"));
    let due: Vec<&str> = due.collect();
    let indexes = ["calls_deadline (deadline_at<?)", "calls_wall (run_at<?)"];
    assert_eq!(due.len(), indexes.len());
    for (statement, index) in due.into_iter().zip(indexes) {
        assert_eq!(plan(statement).await, [format!("SEARCH calls USING INDEX {index}")]);
    }
    for (begin, index) in
        [("select min(deadline_at)", "calls_deadline"), ("select min(run_at)", "calls_wall")]
    {
        let plan = plan(statement(CLOCKS, begin)).await;
        assert!(plan[0].contains(index) && plan.len() == 1, "{plan:?}");
    }
    let by_place = ["SEARCH calls USING INTEGER PRIMARY KEY (rowid=?)"];
    searches(CLOCKS, "update calls set run_at = null", &by_place).await;
    searches(CLOCKS, "update calls set state = 'done'", &by_place).await;
    searches(CLOCKS, "select run_at is not null", &by_place).await;
}
