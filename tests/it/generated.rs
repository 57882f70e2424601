//! What clients send that were generated from `openapi.yaml`: something where nothing is meant.

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::TestServer;

/// A request whose body is `null`.
async fn null(it: &TestServer, method: Method, path: &str, status: u16) -> Value {
    let request =
        it.request(method, path).header("content-type", "application/json").body(" null ");
    it.send(request).await.expect(status).json()
}

#[tokio::test]
async fn null_is_no_body_wherever_one_may_be_left_out() {
    let it = TestServer::start().await;
    let manual = it.post("/v1/jobs", &json!({"manual": true})).await.expect(202).json();
    let job = format!("/v1/jobs/{}", manual["id"].as_str().expect("an id"));
    let cancelled = null(&it, Method::POST, &format!("{job}/cancel"), 200).await;
    assert_eq!(cancelled["cancelled"], true);
    let again = null(&it, Method::POST, &format!("{job}/retry"), 200).await;
    assert_eq!(again["retry_of"], manual["id"]);
    let queue = null(&it, Method::PUT, "/v1/queues/reports", 200).await;
    assert_eq!(queue["name"], "reports");
    for (action, field) in [("pause", "paused"), ("shutdown", "shutdown")] {
        let path = format!("/v1/queues/reports/{action}");
        let answer = null(&it, Method::POST, &path, 200).await;
        let queue = answer.get("queue").unwrap_or(&answer);
        assert_eq!(queue[field], true, "{answer}");
    }
    null(&it, Method::POST, "/v1/queues/reports/resume", 200).await;
    let batch = json!({"function": "echo", "calls": [{"args": [1]}]});
    let batch = it.post("/v1/batches?wait=20", &batch).await.expect(200).json();
    let path = format!("/v1/batches/{}/cancel", batch["id"].as_str().expect("an id"));
    assert_eq!(null(&it, Method::POST, &path, 200).await["done"], true);
}

#[tokio::test]
async fn null_is_a_value_where_a_body_is_asked_for() {
    let it = TestServer::start().await;
    let manual = it.post("/v1/jobs", &json!({"manual": true})).await.expect(202).json();
    let path = format!("/v1/jobs/{}/result", manual["id"].as_str().expect("an id"));
    assert_eq!(null(&it, Method::PUT, &path, 200).await["state"], "succeeded");
    let refused = null(&it, Method::POST, "/v1/jobs", 422).await;
    assert_eq!(refused["code"], "invalid_value");
}

#[tokio::test]
async fn an_empty_list_beside_what_takes_its_place_is_none() {
    let it = TestServer::start().await;
    let call = json!({"function": "echo", "calls": [], "iterables": [[1, 2]]});
    let batch = it.post("/v1/batches?wait=20", &call).await.expect(200).json();
    assert_eq!(batch["total"], 2);
    let call = json!({"function": "echo", "calls": [{"args": [1]}], "iterables": []});
    assert_eq!(it.post("/v1/batches", &call).await.expect(202).json()["total"], 1);
    let neither = json!({"function": "echo", "calls": [], "iterables": []});
    assert_eq!(it.post("/v1/batches", &neither).await.expect(422).code(), "invalid_value");
    let both = json!({"function": "echo", "calls": [{}], "iterables": [[1]]});
    assert_eq!(it.post("/v1/batches", &both).await.expect(422).code(), "invalid_value");

    let of_batch = json!({"ids": [ ], "batch": batch["id"], "timeout_seconds": 20});
    let waited = it.post("/v1/jobs/wait", &of_batch).await.expect(200).json();
    assert_eq!(waited["done"].as_array().map(Vec::len), Some(2));
    it.post("/v1/jobs/as-completed", &of_batch).await.expect(200);
    let both = json!({"ids": [batch["id"]], "batch": batch["id"]});
    assert_eq!(it.post("/v1/jobs/wait", &both).await.expect(422).code(), "invalid_value");
}

#[tokio::test]
async fn empty_ids_beside_filters_are_none_and_alone_they_mean_nobody() {
    let it = TestServer::start().await;
    it.post("/v1/jobs", &json!({"manual": true})).await.expect(202);
    let count = async |body: Value| {
        it.post("/v1/jobs/cancel", &body).await.expect(200).json()["matched"].clone()
    };
    assert_eq!(count(json!({"ids": [], "dry_run": true})).await, 0);
    assert_eq!(count(json!({"ids": [], "state": "pending", "dry_run": true})).await, 1);
    let some = json!({"ids": ["0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e6f"], "state": "pending"});
    assert_eq!(it.post("/v1/jobs/cancel", &some).await.expect(422).code(), "invalid_value");
}

#[tokio::test]
async fn a_manual_job_takes_defaults_that_are_spelt_out_and_nothing_else_about_running() {
    let it = TestServer::start().await;
    let spelt = json!({"manual": true, "priority": 0, "on_interrupt": "rerun", "callbacks": []});
    it.post("/v1/jobs", &spelt).await.expect(202);
    for (field, value) in [("priority", json!(1)), ("on_interrupt", json!("fail"))] {
        let refused = it.post("/v1/jobs", &json!({"manual": true, field: value})).await.expect(422);
        assert_eq!(refused.json()["errors"][0]["pointer"], format!("/{field}"));
    }
}
