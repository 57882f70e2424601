//! A server that stops: what it still takes, and what becomes of those who wait.

use std::time::Duration;

use futurity::{Builder, Call, JobError, task};
use reqwest::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use crate::gate::{Gate, one_worker};
use crate::server::{TestServer, send};

/// Long enough for any machine; nothing depends on how long it really takes.
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

#[tokio::test]
async fn e3_a_stopping_server_refuses_submissions_serves_reads_and_answers_who_waits() {
    let gate = Gate::shut();
    let asked = gate.clone();
    // Once it stands before the gate, the request that cancels it waits in the server.
    let reluctant = task(move |call: Call, _: Nothing| {
        let asked = asked.clone();
        async move {
            call.cancelled().await;
            asked.pass().await;
            Ok::<_, JobError>("all the same")
        }
    });
    let build = |it: Builder| it.function("reluctant", reluctant);
    let it = TestServer::with(one_worker, build).await;
    let job = it.submit(&json!({"function": "reluctant"})).await;
    let waiting = it.submit(&json!({"function": "echo", "args": ["later"]})).await;
    let url_of = |name: &str| job["urls"][name].as_str().expect("a URL").to_owned();

    // The server is taken from its handle; its client goes on.
    let TestServer { server, url, client, dir } = it;
    let request = |method, path: &str| client.request(method, format!("{url}{path}"));
    let get = |path: &str| send(client.clone(), request(Method::GET, path));
    let post = |path: &str, body| send(client.clone(), request(Method::POST, path).json(&body));
    let how = json!({"grace_seconds": 3600, "wait_seconds": 60});
    let waiter = tokio::spawn(post(&url_of("cancel"), how));
    gate.started().await;
    let stopping = tokio::spawn(server.stop(DEADLINE));
    let not_ready = async {
        while get("/readyz").await.status == 200 {}
        get("/readyz").await.expect(503)
    };
    let not_ready = timeout(DEADLINE, not_ready).await.expect("it is told to stop");
    assert_eq!(not_ready.code(), "draining");
    assert!(not_ready.header("retry-after").is_some());
    let refused = post("/v1/jobs", json!({"function": "echo"})).await.expect(503);
    assert_eq!(refused.code(), "draining");
    assert!(refused.header("retry-after").is_some());
    get("/livez").await.expect(200);
    get(&url_of("result")).await.expect(202);
    get("/v1/jobs").await.expect(200);

    gate.open();
    let answer = waiter.await.expect("no panic").expect(200).json();
    assert_eq!(answer["job"]["result"], "all the same");
    stopping.await.expect("no panic").expect("a clean stop");
    let it = TestServer::on(dir, |config| config, |builder| builder).await;
    assert_eq!(it.wait(&waiting).await["result"], "later");
    assert_eq!(it.get(&url_of("result")).await.expect(200).json(), "all the same");
}
