//! A server that is killed in the middle of a batch: nothing of it is lost, doubled or miscounted.

use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use crate::lines::{Lines, lines_of};
use crate::process::{Home, Process, until};
use crate::receiver::{Receiver, Reply};
use crate::submit_lines::{NDJSON, open_body, text};

/// Calls of a batch: the most that one may have, and of all but the first fewer, which are killed in their middle just as well.
const MOST: usize = 10_000;
const FEWER: usize = 1_500;
/// One call in so many fails.
const POISONED: usize = 100;
const KILLS: usize = 20;
const FLAGS: [&str; 3] = ["--log", "warn", "--allow-loopback-egress"];

/// More than `math.factorial` takes.
const TOO_MUCH: usize = 200_001;

fn is_poisoned(index: usize) -> bool {
    index % POISONED == 7
}

fn body(receiver: &Receiver, calls: usize) -> Value {
    let argument = |index| if is_poisoned(index) { TOO_MUCH } else { index % 10 };
    let at = |path: &str, when: &str| json!({"url": receiver.at(path), "when": when});
    json!({
        "function": "math.factorial",
        "iterables": [(0..calls).map(argument).collect::<Vec<usize>>()],
        "callbacks": [at("/exception", "first_exception"), at("/all", "all_completed")],
    })
}

/// The counts in the batch's row, and the same counted anew, as the dead server left them.
async fn counted(home: &Home) -> Vec<(String, String)> {
    let options = SqliteConnectOptions::new().filename(home.database()).disable_statement_logging();
    let mut connection = options.connect().await.expect("a database without a server");
    let counts = sqlx::query_as(
        "select total || ' ' || running || ' ' || succeeded || ' ' || failed || ' ' || cancelled,
            (select count(*) || ' ' || sum(j.state = 'running') || ' ' || sum(j.state = 'succeeded') || ' ' ||
                sum(j.state = 'failed') || ' ' || sum(j.state = 'cancelled') from jobs as j where j.batch = b.ordinal)
        from batches as b order by b.ordinal",
    );
    let counts = counts.fetch_all(&mut connection).await.expect("they read");
    connection.close().await.expect("a close");
    counts
}

/// Until so many jobs of the batch are done.
async fn until_done(server: &Process, path: &str, jobs: usize) {
    until("so many are done", async || {
        let counts = server.get(path).await.expect(200).json()["counts"].clone();
        let done = ["succeeded", "failed"].map(|state| counts[state].as_u64().expect("a count"));
        (done.iter().sum::<u64>() >= jobs as u64).then_some(())
    })
    .await;
}

fn check(lines: &[Value], calls: usize) {
    let factorials = [1, 1, 2, 6, 24, 120, 720, 5_040, 40_320, 362_880];
    assert_eq!(lines.len(), calls + 1);
    for (index, line) in lines.iter().take(calls).enumerate() {
        assert_eq!(line["index"], index, "in order, and none missing");
        if is_poisoned(index) {
            assert_eq!(line["error"]["type"], "ValueError", "{line}");
        } else {
            assert_eq!(line["result"], factorials[index % 10], "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_g5_g6_a_batch_survives_a_kill_in_its_middle_with_its_counts_results_and_callbacks() {
    let home = Home::new();
    let mut receiver = Receiver::start(|_| Reply::Status(200)).await;
    let mut random = rand::rngs::StdRng::seed_from_u64(20);
    let mut server = home.start(&FLAGS).await;
    for number in 0..KILLS {
        let calls = if number == 0 { MOST } else { FEWER };
        let batch = server.post("/v1/batches", &body(&receiver, calls)).await.expect(202).json();
        let path = format!("/v1/batches/{}", batch["id"].as_str().expect("an id"));
        until_done(&server, &path, random.random_range(1..calls * 9 / 10)).await;
        server.kill_nine();
        for (kept, anew) in counted(&home).await {
            assert_eq!(kept, anew, "as the dead server left them");
        }
        server = home.start(&FLAGS).await;
        let lines = lines_of(&server.get(&format!("{path}/results")).await.expect(200));
        check(&lines, calls);
        let done = server.get(&path).await.expect(200).json();
        let failed = calls / POISONED;
        let ended = json!({"pending": 0, "running": 0, "succeeded": calls - failed, "failed": failed, "cancelled": 0});
        assert_eq!((&done["counts"], &done["done"]), (&ended, &json!(true)));
        let mut told = BTreeMap::new();
        while told.len() < 2 {
            let seen = receiver.next().await;
            let body: Value = serde_json::from_slice(&seen.body).expect("a body");
            if body["data"]["id"] == batch["id"] {
                let id = seen.header("webhook-id").to_owned();
                let before = told.insert(seen.path.clone(), id.clone());
                assert!(before.is_none_or(|before| before == id), "again only under the same id");
            }
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_what_a_map_had_submitted_is_found_by_its_batch_after_a_kill() {
    let home = Home::new();
    let server = home.start(&FLAGS).await;
    let (sender, body) = open_body();
    sender.send(text(&(0..300).map(|it| json!([it])).collect::<Vec<_>>())).expect("it is sent");
    let request = server.request(Method::POST, "/v1/map?function=echo&buffersize=32");
    let mut lines = Lines::open(request.header("content-type", NDJSON).body(body)).await;
    let location = lines.response.headers()["location"].to_str().expect("a path").to_owned();
    let mut seen = Vec::new();
    for _ in 0..200 {
        seen.push(lines.next().await);
    }
    server.kill_nine();
    drop((lines, sender));
    let server = home.start(&FLAGS).await;
    let batch = server.get(&format!("{location}?wait=60")).await.expect(200).json();
    assert_eq!((&batch["done"], &batch["closed"]), (&json!(true), &json!(true)));
    let total = batch["total"].as_u64().expect("a number");
    assert!((200..=300).contains(&total), "{batch}");
    let found = lines_of(&server.get(&format!("{location}/results")).await.expect(200));
    assert_eq!(found[..200], seen[..], "what was given is found as it was");
    assert_eq!(found.len() as u64, total + 1);
    server.stop().await;
}
