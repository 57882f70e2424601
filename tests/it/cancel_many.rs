//! `POST /v1/jobs/cancel`: many jobs at once.

use std::time::Duration;

use futurity::{Config, Queue};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::gate::{Gate, one_worker, one_worker_behind};
use crate::receiver::{Receiver, Reply};
use crate::server::{REQUEST_LIMIT, TestServer, send};

/// A waiter that is told of the end does not wait for the end of its wait, which is a minute.
const WOKEN_WITHIN: Duration = Duration::from_secs(30);

async fn cancel(it: &TestServer, body: &Value) -> Value {
    it.post("/v1/jobs/cancel", body).await.expect(200).json()
}

fn counts(matched: usize, cancelled: usize, terminating: usize) -> Value {
    json!({"matched": matched, "cancelled": cancelled, "terminating": terminating})
}

async fn state(it: &TestServer, job: &Value) -> String {
    let shown = it.get(job["urls"]["self"].as_str().expect("a path")).await.expect(200).json();
    shown["state"].as_str().expect("a state").to_owned()
}

fn ids(jobs: &[&Value]) -> Vec<Value> {
    jobs.iter().map(|job| job["id"].clone()).collect()
}

#[tokio::test]
async fn f3_jobs_are_cancelled_by_their_ids_and_others_are_not() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let running = it.submit(&json!({"function": "hold"})).await;
    let (first, second, spared) = (
        it.submit(&json!({"function": "echo"})).await,
        it.submit(&json!({"function": "echo"})).await,
        it.submit(&json!({"function": "echo"})).await,
    );
    let mut listed = ids(&[&running, &first, &second, &first]);
    listed.push(json!("0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e6f"));
    let dry = json!({"ids": listed, "mode": "pending", "dry_run": true});
    assert_eq!(cancel(&it, &dry).await, counts(3, 2, 0));
    assert_eq!(state(&it, &first).await, "pending", "they were only counted");
    let asked = json!({"ids": listed, "mode": "pending"});
    assert_eq!(cancel(&it, &asked).await, counts(3, 2, 0));
    assert_eq!(cancel(&it, &asked).await, counts(1, 0, 0), "those that are done count no more");
    gate.open();
    assert_eq!(it.wait(&running).await["state"], "succeeded", "F1: it was left alone");
    assert_eq!(it.wait(&spared).await["state"], "succeeded");
    for job in [first, second] {
        let job = it.wait(&job).await;
        assert_eq!((&job["state"], &job["attempt"]), (&json!("cancelled"), &json!(0)));
        assert_ne!(job["cancel_requested_at"], json!(null));
    }
}

#[tokio::test]
async fn f4_what_runs_is_asked_to_stop() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let running = it.submit(&json!({"function": "hold"})).await;
    gate.started().await;
    let pending = it.submit(&json!({"function": "hold"})).await;
    let asked = json!({"function": "hold"});
    let dry = json!({"function": "hold", "dry_run": true});
    assert_eq!(cancel(&it, &dry).await, counts(2, 1, 1));
    assert_eq!(cancel(&it, &asked).await, counts(2, 1, 1));
    assert_eq!(it.wait(&running).await["state"], "cancelled");
    assert_eq!(it.wait(&pending).await["state"], "cancelled");
}

#[tokio::test]
async fn every_filter_means_what_it_says_and_all_must_hold() {
    let gate = Gate::shut();
    let side = Queue { max_workers: 1, ..Queue::default() };
    let configure = |config: Config| {
        let mut config = one_worker(config);
        config.queues.insert("side".to_owned(), side);
        config
    };
    let it = TestServer::with(configure, |builder| builder.function("hold", gate.hold())).await;
    it.submit(&json!({"function": "hold"})).await;
    it.submit(&json!({"function": "hold", "queue": "side"})).await;
    let red = it.submit(&json!({"function": "echo", "tags": ["red", "warm"]})).await;
    let aside = it.submit(&json!({"function": "echo", "queue": "side", "tags": ["red"]})).await;
    let plain = it.submit(&json!({"function": "hold"})).await;
    let (first, last) = (&red["created_at"], &plain["created_at"]);
    for (filter, matched) in [
        (json!({"tag": "red"}), 2),
        (json!({"tag": "red", "queue": "side"}), 1),
        (json!({"tag": "re"}), 0),
        (json!({"function": "echo"}), 2),
        (json!({"queue": "side"}), 2),
        (json!({"state": "pending"}), 3),
        (json!({"state": "running"}), 2),
        (json!({"state": "succeeded"}), 0),
        (json!({"created_after": last}), 0),
        (json!({"created_before": "2026-01-31T12:00:00+01:00", "created_after": first}), 0),
        (json!({"created_after": "2020-01-31T12:00:00Z"}), 5),
    ] {
        let mut dry = filter.clone();
        dry["dry_run"] = json!(true);
        assert_eq!(cancel(&it, &dry).await["matched"], matched, "{filter}");
    }
    let asked = json!({"tag": "red", "queue": "side", "state": "pending"});
    assert_eq!(cancel(&it, &asked).await, counts(1, 1, 0));
    assert_eq!(state(&it, &aside).await, "cancelled");
    assert_eq!(cancel(&it, &json!({"state": "pending"})).await, counts(2, 2, 0));
    assert_eq!(cancel(&it, &json!({"state": "running", "mode": "pending"})).await, counts(2, 0, 0));
    gate.open();
}

#[tokio::test]
async fn s4_every_waiter_wakes_and_every_callback_is_told() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let mut receiver = Receiver::start(|_| Reply::Status(200)).await;
    it.submit(&json!({"function": "hold"})).await;
    let mut jobs = Vec::new();
    for _ in 0..5 {
        let callbacks = json!([{"url": receiver.at("/done")}]);
        jobs.push(it.submit(&json!({"function": "echo", "callbacks": callbacks})).await);
    }
    let waits: Vec<_> = jobs
        .iter()
        .map(|job| {
            let path = format!("{}?wait=60", job["urls"]["self"].as_str().expect("a path"));
            tokio::spawn(it.send(it.request(reqwest::Method::GET, &path)))
        })
        .collect();
    assert_eq!(cancel(&it, &json!({"function": "echo"})).await, counts(5, 5, 0));
    for wait in waits {
        // Long before the waits run out: then the state would be the same.
        let woken = tokio::time::timeout(WOKEN_WITHIN, wait).await.expect("the waiter is woken");
        assert_eq!(woken.expect("an answer").expect(200).json()["state"], "cancelled");
    }
    let mut told = Vec::new();
    for _ in &jobs {
        let event = receiver.next().await.event(&it.webhook_secret());
        assert_eq!(event["type"], "job.cancelled");
        told.push(event["data"]["id"].as_str().expect("an id").to_owned());
    }
    told.sort();
    let mut all: Vec<&str> = jobs.iter().map(|job| job["id"].as_str().expect("an id")).collect();
    all.sort_unstable();
    assert_eq!(told, all, "each once");
    gate.open();
}

#[tokio::test]
async fn a_request_that_does_not_say_which_jobs_or_says_it_wrongly_changes_nothing() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    it.submit(&json!({"function": "hold"})).await;
    let job = it.submit(&json!({"function": "echo"})).await;
    for empty in [json!({}), json!({"mode": "pending"}), json!({"dry_run": true})] {
        let refused = it.post("/v1/jobs/cancel", &empty).await.expect(422);
        assert_eq!(refused.code(), "invalid_value", "{empty}");
        assert!(refused.json()["detail"].as_str().expect("words").contains("created_before"));
    }
    let id = job["id"].clone();
    for (body, status, pointer) in [
        (json!({"ids": [id], "queue": "default"}), 422, "/ids"),
        (json!({"ids": ["17"]}), 422, "/ids"),
        (json!({"ids": [17]}), 422, "/ids"),
        (json!({"ids": vec![id.clone(); 10_001]}), 422, "/ids"),
        (json!({"state": "gone"}), 422, "/state"),
        (json!({"function": "No"}), 422, "/function"),
        (json!({"queue": ""}), 422, "/queue"),
        (json!({"tag": ""}), 422, "/tag"),
        (json!({"tag": null}), 422, "/tag"),
        (json!({"created_after": "yesterday"}), 422, "/created_after"),
        (json!({"created_before": 1}), 422, "/created_before"),
        (json!({"queue": "default", "mode": "kill"}), 422, "/mode"),
        (json!({"queue": "default", "dry_run": 1}), 422, "/dry_run"),
        (json!({"queue": "default", "page_size": 5}), 400, "/page_size"),
    ] {
        let refused = it.post("/v1/jobs/cancel", &body).await.expect(status);
        assert_eq!(refused.json()["errors"][0]["pointer"], pointer, "{pointer}");
    }
    it.post("/v1/jobs/cancel?dry_run=true", &json!({"queue": "default"})).await.expect(400);
    it.get("/v1/jobs/cancel").await.expect(405);
    assert_eq!(state(&it, &job).await, "pending");
    assert_eq!(cancel(&it, &json!({"ids": vec![id; 10_000]})).await, counts(1, 1, 0));
    assert_eq!(cancel(&it, &json!({"ids": []})).await, counts(0, 0, 0), "none is none");
    gate.open();
}

/// Submits so many jobs that wait.
async fn many(it: &TestServer, count: usize, call: &Value) {
    let submits = (0..count).map(|_| it.post("/v1/jobs", call));
    for answer in futures_util::future::join_all(submits).await {
        answer.expect(202);
    }
}

#[tokio::test]
async fn heavy_f19_of_many_that_are_being_cancelled_none_starts_and_submits_are_answered() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    it.submit(&json!({"function": "hold"})).await;
    for _ in 0..12 {
        many(&it, 500, &json!({"function": "echo", "tags": ["doomed"]})).await;
    }
    let spared = it.submit(&json!({"function": "echo", "args": ["spared"]})).await;
    let request = it.request(reqwest::Method::POST, "/v1/jobs/cancel");
    let request = request.json(&json!({"tag": "doomed", "mode": "pending"}));
    let cancelling = tokio::spawn(send(it.client.clone(), request));
    // The slot gets free in the middle of it, or before, or after.
    gate.open();
    let during = it.submit(&json!({"function": "echo", "args": ["during"]})).await;
    let counted = cancelling.await.expect("an answer").expect(200).json();
    assert_eq!(it.wait(&spared).await["result"], "spared");
    assert_eq!(it.wait(&during).await["result"], "during");
    // Those that the slot was free for before the mark are the only ones that ran.
    let doomed = async |state: &str| {
        let mut page = format!("/v1/jobs?tag=doomed&state={state}&fields=id&page_size=1000");
        let mut count = 0;
        loop {
            let list = it.get(&page).await.expect(200).json();
            count += list["jobs"].as_array().expect("a list").len();
            let Some(token) = list["next_page_token"].as_str() else { return count };
            page = format!(
                "/v1/jobs?tag=doomed&state={state}&fields=id&page_size=1000&page_token={token}"
            );
        }
    };
    let (cancelled, ran) = (doomed("cancelled").await, doomed("succeeded").await);
    assert_eq!(counted["cancelled"], cancelled, "{counted}, and {ran} ran");
    assert_eq!((cancelled + ran, doomed("pending").await), (6_000, 0), "{counted}");
    // One that had started when it was found is matched, and left alone.
    let matched = counted["matched"].as_u64().and_then(|count| usize::try_from(count).ok());
    let matched = matched.expect("a number");
    assert!((cancelled..=cancelled + ran).contains(&matched), "{counted}, and {ran} ran");
}

#[tokio::test]
async fn g4_a_client_that_hangs_up_changes_nothing() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    it.submit(&json!({"function": "hold"})).await;
    many(&it, 1_200, &json!({"function": "echo"})).await;
    let last = it.submit(&json!({"function": "echo"})).await;
    let waiting = {
        let path = format!("{}?wait=60", last["urls"]["self"].as_str().expect("a path"));
        tokio::spawn(it.send(it.request(reqwest::Method::GET, &path)))
    };
    let body = r#"{"function":"echo"}"#;
    let request = format!(
        "POST /v1/jobs/cancel HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut client = TcpStream::connect(it.server.address()).await.expect("a connection");
    client.write_all(request.as_bytes()).await.expect("it is sent");
    // The work has begun when the first of them is done; nobody waits for the answer.
    let begun = async {
        while it.get("/v1/jobs?state=cancelled&page_size=1").await.json()["jobs"] == json!([]) {}
    };
    tokio::time::timeout(REQUEST_LIMIT, begun).await.expect("it begins");
    drop(client);
    assert_eq!(waiting.await.expect("an answer").expect(200).json()["state"], "cancelled");
    gate.open();
}
