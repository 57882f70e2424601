//! Attempts that fail and are followed by others, and jobs that are submitted again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futurity::{Call, JobError, task};
use serde_json::{Value, json};

use crate::gate::Nothing;
use crate::server::TestServer;

fn retried(more: &Value) -> Value {
    let mut asked = json!({"function": "raise", "args": ["ValueError", "no"],
        "retry": {"max_attempts": 3, "initial_seconds": 0.02, "jitter": 0}});
    asked.as_object_mut().expect("it").extend(more.as_object().expect("it").clone());
    asked
}

#[tokio::test]
async fn a_job_that_fails_is_tried_as_often_as_it_asked_and_every_attempt_is_kept() {
    let server = TestServer::start().await;
    let job = server.done(&retried(&json!({}))).await;
    assert_eq!((&job["state"], &job["attempt"]), (&json!("failed"), &json!(3)));
    assert_eq!((&job["max_attempts"], &job["interruptions"]), (&json!(3), &json!(0)));
    let attempts = job["attempts"].as_array().expect("a list");
    let numbers: Vec<&Value> = attempts.iter().map(|it| &it["attempt"]).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert!(attempts.iter().all(|it| it["error"]["type"] == "ValueError"), "{job}");
    let id = job["id"].as_str().expect("an id");
    let again = server.get("/v1/jobs?page_size=1").await.expect(200).json();
    assert_eq!(again["jobs"][0]["attempts"], job["attempts"], "as it is read: {id}");
}

#[tokio::test]
async fn a_job_that_asks_for_no_retry_shows_its_one_attempt_too() {
    let server = TestServer::start().await;
    let job = server.done(&json!({"function": "raise"})).await;
    assert_eq!(job["max_attempts"], 1);
    assert_eq!(job["attempts"][0]["error"], job["error"]);
    let read = server.get("/v1/jobs").await.expect(200).json();
    assert_eq!(read["jobs"][0]["attempts"], job["attempts"]);
}

#[tokio::test]
async fn an_error_that_says_it_is_not_retryable_ends_the_job_at_once() {
    let server = TestServer::start().await;
    let asked = |retryable: Value| {
        retried(&json!({"args": [], "kwargs": {"type": "KeyError", "retryable": retryable}}))
    };
    let job = server.done(&asked(json!(false))).await;
    assert_eq!((&job["state"], &job["attempt"]), (&json!("failed"), &json!(1)));
    let job = server.done(&asked(json!(true))).await;
    assert_eq!((&job["state"], &job["attempt"]), (&json!("failed"), &json!(3)));
}

#[tokio::test]
async fn s3_the_future_is_never_seen_failed_in_between_and_ends_with_the_value() {
    let tries = Arc::new(AtomicU32::new(0));
    let flaky = task(move |_call: Call, _: Nothing| {
        let tries = Arc::clone(&tries);
        async move {
            match tries.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => Err(JobError::new("ValueError", "not yet")),
                number => Ok(number),
            }
        }
    });
    let server = TestServer::with(|config| config, |builder| builder.function("flaky", flaky));
    let server = server.await;
    let mut job = server.submit(&retried(&json!({"function": "flaky", "args": []}))).await;
    let path = format!("/v1/jobs/{}", job["id"].as_str().expect("an id"));
    let mut failures = 0;
    while job["done"] == false {
        assert_ne!(job["state"], "failed");
        assert_eq!(job["error"], Value::Null);
        let known = job["version"].to_string();
        let request = server.request(reqwest::Method::GET, &format!("{path}?wait=30"));
        let answer = server.send(request.header("if-none-match", format!("\"{known}\""))).await;
        job = answer.expect(200).json();
        failures = failures.max(job["attempts"].as_array().expect("a list").len());
    }
    assert_eq!(
        (&job["state"], &job["result"], &job["attempt"]),
        (&json!("succeeded"), &json!(2), &json!(3))
    );
    assert_eq!(failures, 2);
}

#[tokio::test]
async fn a_run_timeout_is_retried() {
    let server = TestServer::start().await;
    let asked = json!({"function": "sleep", "args": [3600], "run_timeout_seconds": 0.05});
    let job = server.done(&retried(&asked)).await;
    assert_eq!((&job["attempt"], &job["error"]["type"]), (&json!(3), &json!("run_timeout")));
}

#[tokio::test]
async fn a_job_that_waits_for_another_attempt_can_be_cancelled() {
    let server = TestServer::start().await;
    let asked = json!({"retry": {"max_attempts": 3, "initial_seconds": 3600}});
    let job = server.submit(&retried(&asked)).await;
    let path = format!("/v1/jobs/{}", job["id"].as_str().expect("an id"));
    let mut now = job;
    while now["attempts"].as_array().is_none_or(Vec::is_empty) {
        let request = server.request(reqwest::Method::GET, &format!("{path}?wait=30"));
        let known = format!("\"{}\"", now["version"]);
        now = server.send(request.header("if-none-match", known)).await.expect(200).json();
    }
    assert_eq!(now["state"], "pending");
    let cancelled = server.post(&format!("{path}/cancel"), &json!({})).await.expect(200);
    assert_eq!(cancelled.json()["cancelled"], true);
    let depth = server.get("/v1/queues/default").await.expect(200).json()["depth"].clone();
    assert_eq!(depth, json!({"pending": 0, "running": 0}));
}

#[tokio::test]
async fn a_failed_job_is_submitted_again_as_a_new_one_that_names_it() {
    let server = TestServer::start().await;
    let tags = json!({"function": "raise", "args": ["ValueError"], "tags": ["a"], "priority": 3});
    let failed = server.done(&tags).await;
    let id = failed["id"].as_str().expect("an id");
    let answer = server.post(&format!("/v1/jobs/{id}/retry"), &json!({})).await.expect(200);
    let job = answer.json();
    let location = format!("/v1/jobs/{}", job["id"].as_str().expect("an id"));
    assert_eq!(answer.header("location"), Some(location.as_str()));
    assert_ne!(job["id"], failed["id"]);
    for member in ["function", "args", "tags", "priority", "queue"] {
        assert_eq!(job[member], failed[member]);
    }
    assert_eq!(server.wait(&job).await["retry_of"], id);
    let good = server.done(&json!({"function": "echo"})).await;
    let id = good["id"].as_str().expect("an id");
    let refused = server.post(&format!("/v1/jobs/{id}/retry"), &json!({})).await.expect(409);
    assert_eq!(refused.code(), "invalid_state");
}

#[tokio::test]
async fn g8_a_retry_that_is_repeated_makes_one_job() {
    let server = TestServer::start().await;
    let failed = server.done(&json!({"function": "raise", "args": ["ValueError"]})).await;
    let path = format!("/v1/jobs/{}/retry", failed["id"].as_str().expect("an id"));
    let keyed = |key: &str, body: Value| {
        let request = server.request(reqwest::Method::POST, &path).header("idempotency-key", key);
        server.send(request.json(&body))
    };
    let first = keyed("again", json!({})).await.expect(200);
    assert_eq!(first.header("idempotent-replayed"), None);
    let second = keyed("again", json!({})).await.expect(200);
    assert_eq!(second.header("idempotent-replayed"), Some("true"));
    assert_eq!(first.json()["id"], second.json()["id"]);
    assert_ne!(first.json()["id"], keyed("another", json!({})).await.expect(200).json()["id"]);
    let conflict = keyed("again", json!({"id": "0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e6f"})).await;
    assert_eq!(conflict.expect(422).code(), "idempotency_mismatch");

    let chosen = json!({"id": "0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e60"});
    for _ in 0..2 {
        let answer = server.post(&path, &chosen).await.expect(200);
        assert_eq!(
            (&answer.json()["id"], &answer.json()["retry_of"]),
            (&chosen["id"], &failed["id"])
        );
    }
    // What was made is found again also when what it was made of is there no more.
    let forgotten = server.request(reqwest::Method::DELETE, path.trim_end_matches("/retry"));
    server.send(forgotten).await.expect(204);
    assert_eq!(keyed("again", json!({})).await.expect(200).json()["id"], first.json()["id"]);
    assert_eq!(keyed("new", json!({})).await.expect(404).code(), "not_found");
    let wrong = server.post(&path, &json!({"id": 1})).await.expect(422);
    assert_eq!(wrong.json()["errors"][0]["pointer"], "/id");
}

#[tokio::test]
async fn a_job_whose_function_is_gone_cannot_be_submitted_again_and_says_so() {
    let gone = task(|_: Call, _: Nothing| async { Err::<(), _>(JobError::new("Bad", "no")) });
    let server = TestServer::with(|config| config, |builder| builder.function("gone", gone)).await;
    let failed = server.done(&json!({"function": "gone"})).await;
    let dir = server.stop(std::time::Duration::ZERO).await;
    let server = TestServer::on(dir, |config| config, |builder| builder).await;
    let path = format!("/v1/jobs/{}/retry", failed["id"].as_str().expect("an id"));
    let refused = server.post(&path, &json!({})).await.expect(422);
    assert!(refused.json()["detail"].as_str().expect("a text").contains("gone"));
}
