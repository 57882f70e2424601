//! `DELETE /v1/jobs/{id}`: a done job is forgotten on request.

use reqwest::Method;
use serde_json::{Value, json};

use crate::gate::{Gate, one_worker_behind};
use crate::receiver::{Receiver, Reply};
use crate::server::{Answer, REQUEST_LIMIT, TestServer};

async fn delete(it: &TestServer, job: &Value) -> Answer {
    let path = job["urls"]["self"].as_str().expect("a path");
    it.send(it.request(Method::DELETE, path)).await
}

async fn get(it: &TestServer, job: &Value) -> Answer {
    it.get(job["urls"]["self"].as_str().expect("a path")).await
}

#[tokio::test]
async fn f22_a_done_job_that_is_deleted_is_unknown_at_once() {
    let it = TestServer::start().await;
    for call in [
        json!({"function": "echo", "args": ["x".repeat(300_000)]}),
        json!({"function": "echo", "args": ["small enough to be kept in memory"]}),
        json!({"function": "raise"}),
    ] {
        let job = it.done(&call).await;
        get(&it, &job).await.expect(200);
        let gone = delete(&it, &job).await.expect(204);
        assert!(gone.body.is_empty());
        assert_eq!(get(&it, &job).await.expect(404).code(), "not_found");
        let result = job["urls"]["result"].as_str().expect("a path");
        it.get(result).await.expect(404);
        delete(&it, &job).await.expect(404);
    }
    let list = it.get("/v1/jobs").await.expect(200).json();
    assert_eq!(list["jobs"], json!([]));
}

#[tokio::test]
async fn a_job_that_is_not_done_is_not_forgotten() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let running = it.submit(&json!({"function": "hold"})).await;
    let pending = it.submit(&json!({"function": "echo"})).await;
    gate.started().await;
    for job in [&running, &pending] {
        let refused = delete(&it, job).await.expect(409);
        assert_eq!(refused.code(), "invalid_state");
        let detail = refused.json()["detail"].as_str().expect("words").to_owned();
        assert!(detail.contains("cancel it first"), "{detail}");
    }
    gate.open();
    for job in [&running, &pending] {
        assert_eq!(it.wait(job).await["state"], "succeeded", "nothing changed");
        delete(&it, job).await.expect(204);
    }
}

#[tokio::test]
async fn a_job_of_which_a_delivery_is_open_is_not_forgotten_until_that_has_ended() {
    let it = TestServer::start().await;
    let gate = Gate::shut();
    let held = gate.clone();
    let mut receiver = Receiver::asking(move |_| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            Reply::Status(200)
        }
    })
    .await;
    let callbacks = json!([{"url": receiver.at("/slow")}]);
    let job = it.done(&json!({"function": "echo", "callbacks": callbacks})).await;
    receiver.next().await;
    let refused = delete(&it, &job).await.expect(409);
    assert_eq!(refused.code(), "invalid_state");
    assert!(refused.json()["detail"].as_str().expect("words").contains("delivery"));
    get(&it, &job).await.expect(200);
    gate.open();
    let forgotten = async { while delete(&it, &job).await.status != 204 {} };
    tokio::time::timeout(REQUEST_LIMIT, forgotten).await.expect("the delivery ends");
    get(&it, &job).await.expect(404);
    let callbacks = job["urls"]["callbacks"].as_str().expect("a path");
    it.get(callbacks).await.expect(404);
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn a_delete_that_asks_for_more_is_refused() {
    let it = TestServer::start().await;
    let job = it.done(&json!({"function": "echo"})).await;
    let path = format!("{}?force=true", job["urls"]["self"].as_str().expect("a path"));
    it.send(it.request(Method::DELETE, &path)).await.expect(400);
    it.send(it.request(Method::DELETE, "/v1/jobs/17")).await.expect(404);
    get(&it, &job).await.expect(200);
}
