//! Batches over HTTP: `Executor.map`, all or nothing.

use futurity::{Config, Queue};
use reqwest::Method;
use serde_json::{Value, json};

use crate::gate::{Gate, one_worker_behind};
use crate::receiver::{Receiver, Reply};
use crate::server::TestServer;

pub async fn submit(it: &TestServer, body: &Value) -> Value {
    it.post("/v1/batches", body).await.expect(202).json()
}

pub fn path(batch: &Value, rest: &str) -> String {
    format!("/v1/batches/{}{rest}", batch["id"].as_str().expect("an id"))
}

async fn done(it: &TestServer, batch: &Value) -> Value {
    let batch = it.get(&path(batch, "?wait=60")).await.expect(200).json();
    assert_eq!(batch["done"], true, "in time: {batch}");
    batch
}

/// All jobs of a batch, in the order of the calls.
async fn jobs(it: &TestServer, batch: &Value) -> Vec<Value> {
    let list = batch["urls"]["jobs"].as_str().expect("a path");
    let page = it.get(&format!("{list}&page_size=1000")).await.expect(200).json();
    let mut jobs = page["jobs"].as_array().expect("jobs").clone();
    jobs.reverse();
    jobs
}

fn counts(batch: &Value) -> [i64; 5] {
    ["pending", "running", "succeeded", "failed", "cancelled"]
        .map(|state| batch["counts"][state].as_i64().expect("a count"))
}

#[tokio::test]
async fn e4_iterables_are_zipped_and_the_shortest_wins() {
    let it = TestServer::start().await;
    let body = json!({"function": "math.factorial", "iterables": [[3, 5, 4]]});
    let batch = submit(&it, &body).await;
    let batch = done(&it, &batch).await;
    assert_eq!((&batch["total"], &batch["closed"]), (&json!(3), &json!(true)));
    assert_eq!(counts(&batch), [0, 0, 3, 0, 0]);
    let results: Vec<Value> =
        jobs(&it, &batch).await.iter().map(|it| it["result"].clone()).collect();
    assert_eq!(results, [6, 120, 24]);

    let body = json!({"function": "raise", "iterables": [["A", "B", "C"], ["a", "b"]]});
    let batch = submit(&it, &body).await;
    assert_eq!(batch["total"], 2);
    let batch = done(&it, &batch).await;
    assert_eq!(counts(&batch), [0, 0, 0, 2, 0]);
    let errors: Vec<Value> = jobs(&it, &batch).await.iter().map(|it| it["error"].clone()).collect();
    let shown: Vec<(&Value, &Value)> =
        errors.iter().map(|error| (&error["type"], &error["message"])).collect();
    assert_eq!(shown, [(&json!("A"), &json!("a")), (&json!("B"), &json!("b"))]);

    for empty in [json!([[]]), json!([[1, 2], []])] {
        let body = json!({"function": "echo", "iterables": empty});
        let batch = it.post("/v1/batches", &body).await.expect(202).json();
        assert_eq!((&batch["total"], &batch["done"]), (&json!(0), &json!(true)));
    }
}

#[tokio::test]
async fn e4_one_call_that_does_not_fit_refuses_all_of_them_and_says_which() {
    let it = TestServer::start().await;
    let calls = json!([{"args": [1]}, {"args": [1, 2]}, {"kwargs": {"value": 3}}]);
    let body = json!({"function": "echo", "calls": calls});
    let refused = it.post("/v1/batches", &body).await.expect(422);
    assert_eq!(refused.code(), "invalid_arguments");
    assert_eq!(refused.json()["errors"][0]["pointer"], "/calls/1");
    let body = json!({"function": "math.factorial", "iterables": [[1, 2], [3, 4]]});
    let refused = it.post("/v1/batches", &body).await.expect(422).json();
    assert_eq!(refused["errors"][0]["pointer"], "/iterables");
    let body = json!({"function": "http.request", "iterables": [["https://example.com", "http://10.0.0.1"]]});
    let refused = it.post("/v1/batches", &body).await.expect(422);
    assert_eq!(refused.code(), "egress_denied");
    let page = it.get("/v1/jobs").await.expect(200).json();
    assert_eq!(page["jobs"], json!([]), "nothing was written");
    assert_eq!(it.get("/v1/batches").await.expect(200).json()["batches"], json!([]));
}

#[tokio::test]
async fn e4_a_queue_without_room_for_all_of_them_takes_none() {
    let gate = Gate::shut();
    let narrow = Queue { max_workers: 1, max_pending: 3 };
    let it = TestServer::with(
        |config: Config| Config { queues: [("narrow".to_owned(), narrow)].into(), ..config },
        |builder| builder.function("hold", gate.hold()),
    )
    .await;
    let body = |count: usize| json!({"function": "hold", "queue": "narrow", "calls": vec![json!({}); count]});
    let full = it.post("/v1/batches", &body(5)).await.expect(429);
    assert_eq!(full.code(), "queue_full");
    let batch = submit(&it, &body(4)).await;
    assert_eq!(counts(&batch), [3, 1, 0, 0, 0]);
    gate.open();
    done(&it, &batch).await;
}

#[tokio::test]
async fn e6_the_time_of_a_batch_counts_from_its_creation_for_all_of_it() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let body = json!({"function": "hold", "calls": [{}, {}, {}], "total_timeout_seconds": 0.3});
    let batch = submit(&it, &body).await;
    let batch = done(&it, &batch).await;
    assert_eq!(counts(&batch), [0, 0, 0, 3, 0], "the one that ran, and those that waited");
    for job in jobs(&it, &batch).await {
        assert_eq!(job["error"]["type"], "total_timeout");
        assert_eq!(job["created_at"], batch["created_at"]);
    }
}

#[tokio::test]
async fn e8_a_failure_cancels_the_rest_if_it_is_asked_for_and_else_nothing() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let calls =
        json!([{"args": ["ValueError"]}, {"args": ["ValueError"]}, {"args": ["ValueError"]}]);
    let body = json!({"function": "raise", "calls": calls});
    let batch = submit(&it, &body).await;
    assert_eq!(batch["on_error"], "continue");
    assert_eq!(counts(&done(&it, &batch).await), [0, 0, 0, 3, 0]);
    let body = json!({"function": "raise", "calls": calls, "on_error": "cancel"});
    let batch = submit(&it, &body).await;
    let batch = done(&it, &batch).await;
    assert_eq!(counts(&batch), [0, 0, 0, 1, 2]);
    assert!(batch["cancel_requested_at"].is_string());
    let attempts: Vec<Value> =
        jobs(&it, &batch).await.iter().map(|it| it["attempt"].clone()).collect();
    assert_eq!(attempts, [1, 0, 0], "none of the rest has started");
}

#[tokio::test]
async fn e9_chunksize_is_no_field_and_bad_bodies_say_why() {
    let it = TestServer::start().await;
    let chunks = json!({"function": "echo", "iterables": [[1]], "chunksize": 10});
    let refused = it.post("/v1/batches", &chunks).await.expect(400);
    assert_eq!(refused.code(), "unknown_field");
    assert_eq!(refused.json()["errors"][0]["pointer"], "/chunksize");
    let many = vec![json!({}); 10_001];
    for (body, pointer) in [
        (json!({"function": "echo"}), "/calls"),
        (json!({"function": "echo", "calls": [], "iterables": []}), "/calls"),
        (json!({"function": "echo", "calls": many}), "/calls"),
        (json!({"function": "echo", "calls": {}}), "/calls"),
        (json!({"function": "echo", "calls": [1]}), "/calls/0"),
        (json!({"function": "echo", "calls": [{"args": {}}]}), "/calls/0/args"),
        (json!({"function": "echo", "iterables": []}), "/iterables"),
        (json!({"function": "echo", "iterables": [1]}), "/iterables"),
        (
            json!({"function": "echo", "iterables": [(0..10_001).collect::<Vec<i32>>()]}),
            "/iterables",
        ),
        (json!({"calls": []}), "/function"),
        (json!({"function": "nothing", "calls": []}), "/function"),
        (json!({"function": "echo", "calls": [], "on_error": "stop"}), "/on_error"),
        (json!({"function": "echo", "calls": [], "queue": ""}), "/queue"),
        (
            json!({"function": "echo", "calls": [], "callbacks": [{"url": "http://a.example", "when": "now"}]}),
            "/callbacks/0/when",
        ),
    ] {
        let refused = it.post("/v1/batches", &body).await.expect(422).json();
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused}");
    }
    let unknown = json!({"function": "echo", "calls": [{"arguments": []}]});
    let refused = it.post("/v1/batches", &unknown).await.expect(400).json();
    assert_eq!(refused["errors"][0]["pointer"], "/calls/0/arguments");
}

#[tokio::test]
async fn g8_the_same_key_and_body_give_the_same_batch_as_it_stands() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let keyed = async |key: &str, body: &Value| {
        let request = it.request(Method::POST, "/v1/batches").header("idempotency-key", key);
        it.send(request.json(body)).await
    };
    let body = json!({"function": "hold", "calls": [{}, {}]});
    let first = keyed("k", &body).await.expect(202);
    let again = keyed("k", &body).await.expect(202);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.json()["id"], first.json()["id"]);
    let other = keyed("k", &json!({"function": "hold", "calls": [{}]})).await.expect(422);
    assert_eq!(other.code(), "idempotency_mismatch");
    let job = it.request(Method::POST, "/v1/jobs").header("idempotency-key", "k");
    let job = it.send(job.json(&json!({"function": "hold"}))).await.expect(422);
    assert_eq!(job.code(), "idempotency_mismatch");
    gate.open();
    done(&it, &first.json()).await;
    assert_eq!(keyed("k", &body).await.expect(200).json()["done"], true);
    assert_eq!(it.get("/v1/batches").await.expect(200).json()["batches"][0]["total"], 2);
}

#[tokio::test]
async fn a_cancelled_batch_starts_nothing_and_asks_what_runs_to_stop() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let batch = submit(&it, &json!({"function": "hold", "calls": vec![json!({}); 600]})).await;
    gate.started().await;
    let cancelled = it.post(&path(&batch, "/cancel"), &json!({"wait_seconds": 60})).await;
    let cancelled = cancelled.expect(200).json();
    assert_eq!(counts(&cancelled), [0, 0, 0, 0, 600]);
    let again =
        it.send(it.request(Method::POST, &path(&batch, "/cancel"))).await.expect(200).json();
    assert_eq!(again, cancelled, "it is done");
    let running = it.get("/v1/jobs?state=running").await.expect(200).json();
    assert_eq!(running["jobs"], json!([]));
    let other = submit(&it, &json!({"function": "echo", "calls": [{}]})).await;
    assert_eq!(counts(&done(&it, &other).await), [0, 0, 1, 0, 0], "another one is not meant");
    let meant = json!({"batch": other["id"], "dry_run": true});
    let counted = it.post("/v1/jobs/cancel", &meant).await.expect(200).json();
    assert_eq!(counted["matched"], 0);
}

#[tokio::test]
async fn w1_a1_one_waits_for_a_batch_as_for_the_ids_of_its_jobs() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let batch = submit(&it, &json!({"function": "hold", "calls": [{}, {}, {}]})).await;
    let ids: Vec<Value> = jobs(&it, &batch).await.iter().map(|job| job["id"].clone()).collect();
    let asked = json!({"batch": batch["id"], "timeout_seconds": 0});
    let waited = it.post("/v1/jobs/wait", &asked).await.expect(200).json();
    assert_eq!((&waited["not_done"], &waited["timed_out"]), (&json!(ids), &json!(true)));
    gate.open();
    let all = json!({"batch": batch["id"], "timeout_seconds": 60});
    let waited = it.post("/v1/jobs/wait", &all).await.expect(200).json();
    let done: Vec<&Value> =
        waited["done"].as_array().expect("a list").iter().map(|job| &job["id"]).collect();
    assert_eq!(done, ids.iter().collect::<Vec<&Value>>());
    let lines = it.post("/v1/jobs/as-completed", &all).await.expect(200);
    assert_eq!(lines.body.iter().filter(|byte| **byte == b'\n').count(), 4);
    let both = json!({"batch": batch["id"], "ids": ids});
    let refused = it.post("/v1/jobs/wait", &both).await.expect(422).json();
    assert_eq!(refused["errors"][0]["pointer"], "/ids");
    let unknown = json!({"batch": "0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e6f"});
    assert_eq!(it.post("/v1/jobs/wait", &unknown).await.expect(404).code(), "not_found");
}

#[tokio::test]
async fn w6_callbacks_of_a_batch_are_told_of_what_each_waits_for() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let mut receiver = Receiver::start(|_| Reply::Status(200)).await;
    let url = receiver.url.clone();
    let at = |path: &str, when: &str| json!({"url": format!("{url}{path}"), "when": when});
    let callbacks = json!([
        {"url": receiver.at("/all")},
        at("/exception", "first_exception"),
        at("/first", "first_completed"),
    ]);
    let body = json!({"function": "hold", "calls": [{}, {}], "callbacks": callbacks});
    let batch = submit(&it, &body).await;
    let secret = it.webhook_secret();
    gate.open_once();
    let first = receiver.next().await;
    assert_eq!(first.path, "/first");
    let event = first.event(&secret);
    assert_eq!(
        (&event["type"], &event["data"]["id"]),
        (&json!("batch.first_completed"), &batch["id"])
    );
    let late = it.post(&path(&batch, "/callbacks"), &at("/late", "first_completed")).await;
    let late = late.expect(201).json();
    assert_eq!(
        (receiver.next().await.path.as_str(), &late["when"]),
        ("/late", &json!("first_completed"))
    );
    gate.open();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let event = receiver.next().await;
        let body = event.event(&secret);
        assert_eq!(body["data"]["done"], true, "told after the commit");
        seen.push((event.path.clone(), body["type"].clone()));
    }
    let expected = [("/all", "batch.completed"), ("/exception", "batch.first_exception")];
    let expected = expected.map(|(path, kind)| (path.to_owned(), json!(kind)));
    assert_eq!(seen, expected, "none has failed, and in the order they were added");
    let redeliver = format!("/v1/callbacks/{}/redeliver", late["id"].as_str().expect("an id"));
    it.send(it.request(Method::POST, &redeliver)).await.expect(202);
    assert_eq!(receiver.next().await.header("webhook-id"), late["id"].as_str().expect("an id"));
    let list = it.get(&path(&batch, "/callbacks")).await.expect(200).json();
    assert_eq!(list["callbacks"].as_array().map(Vec::len), Some(4));
}

#[tokio::test]
async fn a_page_of_batches_leads_to_the_next_and_an_unknown_batch_is_404() {
    let it = TestServer::start().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        let batch = submit(&it, &json!({"function": "echo", "iterables": [[number]]})).await;
        ids.push(batch["id"].clone());
    }
    let mut found = Vec::new();
    let mut next = Some("/v1/batches?page_size=2".to_owned());
    while let Some(page) = next {
        let page = it.get(&page).await.expect(200);
        let batches = page.json()["batches"].as_array().expect("batches").clone();
        found.extend(batches.iter().map(|batch| batch["id"].clone()));
        let link = page.header("link").and_then(|link| link.strip_prefix('<')?.split_once('>'));
        next = link.map(|(path, _)| path.to_owned());
    }
    ids.reverse();
    assert_eq!(found, ids);
    for unknown in ["nothing", "0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e6f"] {
        for rest in ["", "/results", "/callbacks"] {
            let answer = it.get(&format!("/v1/batches/{unknown}{rest}")).await.expect(404);
            assert_eq!(answer.code(), "not_found");
        }
    }
}
