//! A server that is killed while it cancels thousands: what was marked is cancelled by the next one.

use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::task::JoinSet;

use crate::process::{Home, Process, until};

/// More jobs than a few groups cancel.
const JOBS: usize = 6_000;
const CONNECTIONS: usize = 64;
/// Kills that may come when all are cancelled already.
const TRIES: usize = 5;

const SELECT_PENDING: &str = "select count(*) from jobs where state = 'pending'";
const SELECT_STARTED: &str = "select count(*) from jobs where attempt > 0";

async fn number(home: &Home, query: &'static str) -> i64 {
    let options = SqliteConnectOptions::new().filename(home.database()).disable_statement_logging();
    let mut connection = options.connect().await.expect("a database without a server");
    let number = sqlx::query_scalar(query).fetch_one(&mut connection).await.expect("a number");
    connection.close().await.expect("a close");
    number
}

/// Fills the paused queue, shuts it down so that everything is cancelled, and kills the server right
/// after the answer.
async fn shut_down_and_kill(home: &Home) {
    let server = home.start(&["--log", "warn"]).await;
    let put = server.request(reqwest::Method::PUT, "/v1/queues/much").json(&json!({}));
    server.send(put).await.expect(200);
    server.post("/v1/queues/much/pause", &json!({})).await.expect(200);
    fill(&server).await;
    let shut = server.post("/v1/queues/much/shutdown", &json!({"cancel_futures": true})).await;
    assert_eq!(shut.expect(202).json()["cancelled"], JOBS);
    server.kill_nine();
}

async fn fill(server: &Process) {
    let mut submits = JoinSet::new();
    for number in 0..JOBS {
        let call = json!({"function": "echo", "args": [number], "queue": "much"});
        let request = server.request(reqwest::Method::POST, "/v1/jobs").json(&call);
        submits.spawn(async move { request.send().await.expect("an answer").status().as_u16() });
        if submits.len() >= CONNECTIONS {
            let status = submits.join_next().await.expect("one of them").expect("no panic");
            assert_eq!(status, 202);
        }
    }
    assert!(submits.join_all().await.into_iter().all(|status| status == 202));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_e14_what_a_shutdown_marked_is_cancelled_also_after_a_kill_in_the_middle() {
    for _ in 0..TRIES {
        let home = Home::new();
        shut_down_and_kill(&home).await;
        let caught = number(&home, SELECT_PENDING).await;
        let server = home.start(&["--log", "warn"]).await;
        // Free workers must start none of them.
        server.post("/v1/queues/much/resume", &json!({})).await.expect(200);
        until("nothing waits", async || {
            let shown = server.get("/v1/queues/much").await.expect(200).json();
            (shown["depth"]["pending"] == 0).then_some(())
        })
        .await;
        let shut = server.post("/v1/queues/much/shutdown", &json!({})).await.expect(200).json();
        assert_eq!(shut["queue"]["shutdown"], true);
        server.stop().await;
        assert_eq!(number(&home, SELECT_PENDING).await, 0);
        assert_eq!(number(&home, SELECT_STARTED).await, 0, "none of them ever started");
        if caught > 0 {
            return;
        }
    }
    panic!("no kill met the cancelling in its middle");
}
