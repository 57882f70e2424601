//! What the next server makes of jobs that were running when the last one died (G5, G9).

use std::sync::Arc;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::process::{Home, path_of};

/// Jobs that are cancelled at once, of which the kill meets some between the order and the end.
const CANCELLED: usize = 100;
/// Tries to meet them.
const TRIES: usize = 10;
const SELECT_CAUGHT: &str =
    "select count(*) from jobs where state = 'running' and cancel_requested_at is not null";

fn sleeper(on_interrupt: &str) -> Value {
    json!({"function": "sleep", "args": [3600], "on_interrupt": on_interrupt})
}

#[tokio::test]
async fn g5_a_job_that_ran_at_a_kill_runs_again() {
    let home = Home::new();
    let server = home.start(&[]).await;
    let job = server.submit(&sleeper("rerun")).await;
    assert_eq!((&job["state"], &job["attempt"]), (&json!("running"), &json!(1)));
    server.kill_nine();

    let server = home.start(&[]).await;
    let job = server.running(&job, 2).await;
    assert_eq!(job["interruptions"], 1, "{job}");
    assert!(home.log().contains("recovered jobs"), "the log tells of it");
}

#[tokio::test]
async fn g5_a_job_that_must_not_run_again_fails_as_interrupted() {
    let home = Home::new();
    let server = home.start(&[]).await;
    let job = server.submit(&sleeper("fail")).await;
    assert_eq!(job["state"], "running");
    server.kill_nine();

    let server = home.start(&[]).await;
    let job = server.job(&job).await;
    assert_eq!((&job["state"], &job["done"]), (&json!("failed"), &json!(true)));
    assert_eq!((&job["error"]["type"], &job["attempt"]), (&json!("interrupted"), &json!(1)));
    assert_eq!(job["error"]["attempt"], 1);
    let result = server.get(&format!("{}/result", path_of(&job))).await.expect(424);
    assert_eq!(result.json()["error"]["type"], "interrupted");
}

#[tokio::test]
async fn g9_a_job_during_which_the_server_died_three_times_ends_as_a_crash_loop() {
    let home = Home::new();
    let mut server = home.start(&[]).await;
    let mut job = server.submit(&sleeper("rerun")).await;
    for deaths in 1..=2 {
        server.kill_nine();
        server = home.start(&[]).await;
        job = server.running(&job, deaths + 1).await;
        assert_eq!(job["interruptions"], deaths, "{job}");
    }
    server.kill_nine();
    server = home.start(&[]).await;
    let job = server.job(&job).await;
    assert_eq!((&job["state"], &job["attempt"]), (&json!("failed"), &json!(3)));
    assert_eq!(job["error"]["type"], "crash_loop");
    // The next start leaves it as it is.
    server.kill_nine();
    server = home.start(&[]).await;
    assert_eq!(server.job(&job).await, job);
}

#[tokio::test]
async fn g5_a_job_that_waited_at_a_kill_keeps_its_place_and_its_attempts() {
    let home = Home::new();
    let config = home.file("one.toml");
    std::fs::write(&config, "[queues.default]\nmax_workers = 1\n").expect("a file");
    let flags = ["--config", config.to_str().expect("a path of text")];
    let server = home.start(&flags).await;
    let first = server.submit(&sleeper("fail")).await;
    let second = server.submit(&json!({"function": "echo", "args": [2]})).await;
    assert_eq!((&first["state"], &second["state"]), (&json!("running"), &json!("pending")));
    server.kill_nine();

    let server = home.start(&flags).await;
    let second = server.done(&second).await;
    assert_eq!((&second["result"], &second["attempt"]), (&json!(2), &json!(1)));
    assert_eq!(second["interruptions"], 0);
}

/// The moment between the order to cancel and the end of the attempt is short, so many jobs are
/// cancelled at once, and the database tells whether the kill met it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_f4_a_cancel_that_was_acknowledged_before_a_kill_holds_after_it() {
    let home = Home::new();
    let config = home.file("many.toml");
    std::fs::write(&config, "[queues.default]\nmax_workers = 200\n").expect("a file");
    let flags = ["--config", config.to_str().expect("a path of text")];
    let mut caught = 0;
    for _ in 0..TRIES {
        let acknowledged = cancel_many_and_kill(&home, &flags).await;
        caught += caught_by_the_kill(&home).await;
        let server = home.start(&flags).await;
        for path in &acknowledged {
            let job = server.get(path).await.expect(200).json();
            assert_eq!(job["state"], "cancelled", "the cancel was acknowledged: {job}");
        }
        // Those that have not started again yet are listed before those that have.
        for state in ["pending", "running"] {
            let again = server.get(&format!("/v1/jobs?state={state}&page_size=1000")).await.json();
            for job in again["jobs"].as_array().expect("a list") {
                assert_eq!(job["cancel_requested_at"], Value::Null, "asked to stop: {job}");
                let cancel = format!("{}/cancel", path_of(job));
                server.post(&cancel, &json!({"wait_seconds": 30})).await;
            }
        }
        server.stop().await;
        if caught > 0 {
            return;
        }
    }
    assert!(caught > 0, "no kill met a job between its cancel and its end");
}

/// Cancels many running jobs at once, and kills the server at the first acknowledgement.
async fn cancel_many_and_kill(home: &Home, flags: &[&str]) -> Vec<String> {
    let server = home.start(flags).await;
    let mut paths = Vec::new();
    for _ in 0..CANCELLED {
        paths.push(path_of(&server.submit(&sleeper("rerun")).await));
    }
    let first = Arc::new(Semaphore::new(0));
    let mut cancels = JoinSet::new();
    for path in paths {
        let request = server.request(reqwest::Method::POST, &format!("{path}/cancel")).send();
        let first = Arc::clone(&first);
        cancels.spawn(async move {
            let acknowledged = request.await.is_ok_and(|answer| answer.status().is_success());
            first.add_permits(1);
            acknowledged.then_some(path)
        });
    }
    drop(first.acquire().await.expect("an acknowledgement"));
    server.kill_nine();
    cancels.join_all().await.into_iter().flatten().collect()
}

/// Jobs that a dead server left running, with an order to stop.
async fn caught_by_the_kill(home: &Home) -> i64 {
    let options = SqliteConnectOptions::new().filename(home.database()).disable_statement_logging();
    let mut connection = options.connect().await.expect("a database without a server");
    let query = sqlx::query_scalar(SELECT_CAUGHT).fetch_one(&mut connection);
    let caught: i64 = query.await.expect("a count");
    connection.close().await.expect("a close");
    caught
}
