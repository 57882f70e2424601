//! Done jobs go when their time is over: 410 for a day, then 404 (F22, G20).

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tempfile::TempDir;

use crate::gate::{Gate, one_worker};
use crate::receiver::{Receiver, Reply};
use crate::server::{REQUEST_LIMIT, TestServer};

const NOW: Duration = Duration::ZERO;

fn database(dir: &TempDir) -> PathBuf {
    dir.path().join("data/futurity.db")
}

/// Changes what a server left on disk.
async fn change(dir: &TempDir, statement: &'static str) {
    let options = SqliteConnectOptions::new().filename(database(dir));
    let mut connection = options.connect().await.expect("the database");
    sqlx::query(statement).execute(&mut connection).await.expect("a change");
    connection.close().await.expect("closed");
}

async fn number(dir: &TempDir, query: &'static str) -> i64 {
    let options = SqliteConnectOptions::new().filename(database(dir)).read_only(true);
    let mut connection = options.connect().await.expect("the database");
    let number = sqlx::query_scalar(query).fetch_one(&mut connection).await.expect("a number");
    connection.close().await.expect("closed");
    number
}

/// The next server on the same directory.
async fn again(dir: TempDir) -> TestServer {
    TestServer::on(dir, |config| config, |builder| builder).await
}

fn path(job: &Value) -> &str {
    job["urls"]["self"].as_str().expect("a path")
}

/// Waits until the job is answered so, and no longer as it stands.
async fn until(it: &TestServer, job: &Value, status: u16) {
    let asked = async { while it.get(path(job)).await.status.as_u16() != status {} };
    tokio::time::timeout(REQUEST_LIMIT, asked).await.expect("the job goes");
}

/// Every route of the job answers so.
async fn is_answered(it: &TestServer, job: &Value, status: u16, code: &str) {
    let path = path(job);
    for (method, below) in [
        (Method::GET, ""),
        (Method::DELETE, ""),
        (Method::GET, "/result?wait=60"),
        (Method::GET, "/exception"),
        (Method::POST, "/cancel"),
        (Method::GET, "/callbacks"),
    ] {
        let answer = it.send(it.request(method.clone(), &format!("{path}{below}"))).await;
        let answer = answer.expect(status);
        assert_eq!(answer.code(), code, "{method} {below}");
        if status == 410 {
            assert_eq!(answer.json()["id"], job["id"], "{method} {below}");
        }
    }
    let callback = json!({"url": "http://127.0.0.1:9/late"});
    let added = it.post(&format!("{path}/callbacks"), &callback).await.expect(status);
    assert_eq!(added.code(), code);
    it.send(it.request(Method::HEAD, path)).await.expect(status);
}

#[tokio::test]
async fn f22_a_job_is_kept_until_it_expires_then_410_for_a_day_then_404() {
    let it = TestServer::start().await;
    let mut receiver = Receiver::start(|_| Reply::Status(200)).await;
    let callbacks = json!([{"url": receiver.at("/done")}]);
    let job = it.done(&json!({"function": "echo", "args": [1], "callbacks": callbacks})).await;
    let kept = it.done(&json!({"function": "echo", "args": [2]})).await;
    receiver.next().await;
    let delivered = async {
        let path = job["urls"]["callbacks"].as_str().expect("a path");
        while it.get(path).await.json()["callbacks"][0]["state"] != "delivered" {}
    };
    tokio::time::timeout(REQUEST_LIMIT, delivered).await.expect("it is delivered");

    let dir = it.stop(NOW).await;
    change(&dir, "update ends set expires_at = finished_at where job = 1").await;
    let it = again(dir).await;
    until(&it, &job, 410).await;
    is_answered(&it, &job, 410, "expired").await;
    assert_eq!(it.get(path(&kept)).await.expect(200).json(), kept);
    let list = it.get("/v1/jobs").await.expect(200).json();
    assert_eq!(list["jobs"].as_array().map(Vec::len), Some(1), "it is in no list");

    let dir = it.stop(NOW).await;
    change(&dir, "update tombstones set gone_at = gone_at - 86400000").await;
    let it = again(dir).await;
    is_answered(&it, &job, 404, "not_found").await;
    assert!(receiver.is_quiet(), "nobody is told of it again");
}

#[tokio::test]
async fn f22_an_id_that_never_was_is_404() {
    let it = TestServer::start().await;
    let job = json!({"urls": {"self": "/v1/jobs/0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e6f"}});
    is_answered(&it, &job, 404, "not_found").await;
}

#[tokio::test]
async fn g20_a_job_goes_by_itself_when_its_retention_is_over() {
    let gate = Gate::shut();
    let it = TestServer::with(one_worker, |builder| builder.function("hold", gate.hold())).await;
    it.submit(&json!({"function": "hold"})).await;
    let job = it.submit(&json!({"function": "echo", "args": ["brief"]})).await;
    assert_eq!(job["state"], "pending");
    let dir = it.stop(NOW).await;
    change(&dir, "update calls set options = '{\"retention_ms\":700}' where function = 'echo'")
        .await;
    gate.open();
    let build = |builder: futurity::Builder| builder.function("hold", gate.hold());
    let it = TestServer::on(dir, one_worker, build).await;
    let done = it.wait(&job).await;
    assert_eq!(done["result"], "brief", "and it is still there");
    until(&it, &job, 410).await;
    is_answered(&it, &job, 410, "expired").await;
}

#[tokio::test]
async fn g20_a_batch_goes_by_itself_when_its_retention_is_over() {
    let it = TestServer::start().await;
    let calls = json!({"function": "echo", "calls": [{"args": [1]}, {"args": [2]}], "retention_seconds": 0});
    let batch = it.post("/v1/batches", &calls).await.expect(202).json();
    // Half as long as until the cleaner looks though nothing was said to it.
    let goes = tokio::time::timeout(Duration::from_secs(30), until(&it, &batch, 410));
    goes.await.expect("the cleaner knows of it");
}

#[tokio::test]
async fn g20_a_job_stays_while_a_delivery_of_it_is_open_and_goes_when_none_is() {
    let it = TestServer::start().await;
    let mut receiver = Receiver::start(|_| Reply::Status(500)).await;
    let callbacks = json!([{"url": receiver.at("/fails")}]);
    let held = it.done(&json!({"function": "echo", "callbacks": callbacks})).await;
    let free = it.done(&json!({"function": "echo"})).await;
    receiver.next().await;
    let dir = it.stop(NOW).await;
    change(&dir, "update ends set expires_at = job").await;
    let it = again(dir).await;
    // It expired first, so the cleaner has looked at it when the other one is gone.
    until(&it, &free, 410).await;
    let callbacks = it.get(&format!("{}/callbacks", path(&held))).await.expect(200).json();
    let callback = callbacks["callbacks"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(callbacks["callbacks"][0]["state"], "pending");
    it.get(path(&held)).await.expect(200);
    it.send(it.request(Method::DELETE, &format!("/v1/callbacks/{callback}"))).await.expect(204);
    is_answered(&it, &held, 410, "expired").await;
}

/// 30,000 copies of the one job that is there, with a result each, and all of them expired.
const MANY_EXPIRED: &str = "with recursive n (value) as (select 1 union all select value + 1 from n where value < 30000)
insert into calls (ordinal, id, function, queue, priority, on_interrupt, state, version, seq, attempt, created_at,
    started_at, arguments, arguments_bytes)
select n.value + 1000, unhex(printf('%032x', n.value)), c.function, c.queue, c.priority, c.on_interrupt, 'done',
    c.version, c.seq, c.attempt, c.created_at, c.started_at, c.arguments, c.arguments_bytes
from n, calls as c where c.ordinal = 1;
insert into ends (job, state, version, seq, finished_at, expires_at, result, result_bytes, indexed)
select c.ordinal, e.state, e.version, e.seq, e.finished_at, e.finished_at, '\"' || printf('%0800d', 1) || '\"', 802, 1
from calls as c, ends as e where c.ordinal > 1000 and e.job = 1";

#[tokio::test]
async fn heavy_g20_submits_are_answered_while_many_jobs_go_and_the_file_shrinks() {
    let it = TestServer::start().await;
    it.done(&json!({"function": "echo"})).await;
    let dir = it.stop(NOW).await;
    change(&dir, MANY_EXPIRED).await;
    let large = std::fs::metadata(database(&dir)).expect("a file").len();
    let it = again(dir).await;
    for number in 0..20 {
        it.done(&json!({"function": "echo", "args": [number]})).await;
    }
    let there = "select count(*) from jobs where ordinal > 1000 and ordinal <= 31000";
    let left = number(&it.dir, there).await;
    assert!(left > 0, "they were answered before the last one went");
    let gone = async { while number(&it.dir, there).await > 0 {} };
    tokio::time::timeout(REQUEST_LIMIT, gone).await.expect("they go");
    let free = "select freelist_count from pragma_freelist_count";
    let given_back = async { while number(&it.dir, free).await > 256 {} };
    tokio::time::timeout(REQUEST_LIMIT, given_back).await.expect("pages are given back");
    let dir = it.stop(NOW).await;
    let small = std::fs::metadata(database(&dir)).expect("a file").len();
    assert!(small < large / 4, "{large} bytes became {small}");
}
