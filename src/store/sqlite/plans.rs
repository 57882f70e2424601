//! How SQLite runs the hot statements: by key, never through the whole table.

use sqlx::{Connection as _, Row as _, SqliteConnection};
use tempfile::TempDir;

use super::open_writer;

/// The statements stand in the source as they are sent; only what is between quotes is SQL.
const SCRIPT: &str = include_str!("script.rs");
const READ: &str = include_str!("../read.rs");
const RECOVERY: &str = include_str!("../recovery.rs");

/// The one statement of `source` that begins so, up to its end.
fn statement(source: &str, begin: &str) -> String {
    let mut places = source.match_indices(begin).map(|(place, _)| place);
    let start = places.next().unwrap_or_else(|| panic!("there is no statement: {begin}"));
    let rest = &source[start..];
    let end = rest.find([';', '"']).expect("a statement ends");
    // In the trigger the lists are columns of its row; any value will do to plan with.
    ["inserted", "ended", "claimed"]
        .iter()
        .fold(rest[..end].to_owned(), |text, list| text.replace(&format!("new.{list}"), "?"))
}

/// What SQLite says it does, a line for each step.
async fn plan(statement: &str) -> Vec<String> {
    let dir = TempDir::new().expect("a directory");
    let mut connection = open_writer(&dir.path().join("plan.db").into()).await.expect("a database");
    let plan = explained(&mut connection, statement).await;
    connection.close().await.expect("it closes");
    plan
}

async fn explained(connection: &mut SqliteConnection, statement: &str) -> Vec<String> {
    // A test's own text, and for the life of one test.
    let explain: &'static str = format!("explain query plan {statement}").leak();
    let rows = sqlx::query(explain).fetch_all(connection).await.expect("a plan");
    rows.iter().map(|row| row.try_get("detail").expect("a text")).collect()
}

async fn searches(source: &str, begin: &str, expected: &[&str]) {
    let plan = plan(&statement(source, begin)).await;
    for step in expected {
        assert!(plan.iter().any(|line| line.starts_with(step)), "no {step:?} in {plan:#?}");
    }
    let tables = ["jobs", "j", "c", "d", "callbacks", "deliveries", "delivery_attempts"];
    let scans = plan.iter().filter_map(|line| line.strip_prefix("SCAN "));
    let whole: Vec<&str> = scans.filter(|scanned| tables.contains(scanned)).collect();
    assert!(whole.is_empty(), "{begin}: goes through {whole:?}\n{plan:#?}");
}

#[tokio::test]
async fn a_group_finds_its_jobs_by_their_place() {
    let by_place = ["SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)"];
    searches(SCRIPT, "update jobs set state = 'running'", &by_place).await;
    searches(SCRIPT, "update jobs set version = version + 1", &by_place).await;
    searches(SCRIPT, "update jobs set state = e.value", &by_place).await;
    let joined = ["SEARCH j USING INTEGER PRIMARY KEY (rowid=?)"];
    searches(SCRIPT, "insert into callbacks", &joined).await;
}

#[tokio::test]
async fn a_group_finds_deliveries_by_their_job_and_their_callback() {
    let by_job = [
        "SEARCH c USING INDEX callbacks_job (job=?)",
        "SEARCH j USING INTEGER PRIMARY KEY (rowid=?)",
    ];
    searches(SCRIPT, "insert into deliveries (", &by_job).await;
    let by_callback = ["SEARCH deliveries USING INTEGER PRIMARY KEY (rowid=?)"];
    searches(SCRIPT, "update deliveries set body", &by_callback).await;
    searches(SCRIPT, "update deliveries set attempts", &by_callback).await;
}

#[tokio::test]
async fn one_job_is_found_by_its_id() {
    let select = "select ordinal from jobs where id = ?";
    assert!(READ.contains(r#"" from jobs where id = ?""#), "the statement that this stands for");
    let plan = plan(select).await;
    assert!(plan[0].starts_with("SEARCH jobs USING"), "{plan:?}");
    assert!(plan[0].contains("INDEX sqlite_autoindex_jobs_1 (id=?)"), "{plan:?}");
}

#[tokio::test]
async fn due_deliveries_are_found_by_their_time() {
    let steps = [
        "SEARCH d USING INDEX deliveries_due (next_at<?)",
        "SEARCH c USING INTEGER PRIMARY KEY (rowid=?)",
        "SEARCH earlier USING INDEX deliveries_job (job=?",
    ];
    searches(READ, "select d.callback, c.id", &steps).await;
    let next = ["SEARCH deliveries USING COVERING INDEX deliveries_due (next_at>?)"];
    searches(READ, "select min(next_at) from deliveries", &next).await;
}

#[tokio::test]
async fn g24_a_start_reads_only_what_is_not_done() {
    for begin in ["select ordinal from jobs where finished_seq is null", "select ordinal, function"]
    {
        let plan = plan(&statement(RECOVERY, begin)).await;
        assert_eq!(plan, ["SCAN jobs USING INDEX jobs_unfinished"], "{begin}");
    }
}
