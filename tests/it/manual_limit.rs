//! How many manual jobs may wait (`limits.manual_jobs`), and what makes room for another.

use std::time::Duration;

use futurity::{Config, Limits};
use reqwest::Method;
use serde_json::{Value, json};

use crate::lines::lines_of;
use crate::process::path_of;
use crate::server::{Answer, TestServer};
use crate::submit_lines::{request, text};

fn of_three(config: Config) -> Config {
    Config { limits: Limits { manual_jobs: 3, ..Limits::default() }, ..config }
}

async fn start() -> TestServer {
    TestServer::with(of_three, |builder| builder).await
}

async fn manual(it: &TestServer) -> Value {
    it.submit(&json!({"manual": true})).await
}

async fn keyed(it: &TestServer, key: &str) -> Answer {
    let request = it.request(Method::POST, "/v1/jobs").json(&json!({"manual": true}));
    it.send(request.header("idempotency-key", key)).await
}

async fn put(it: &TestServer, job: &Value, end: &str, body: &Value) {
    let request = it.request(Method::PUT, &format!("{}/{end}", path_of(job))).json(body);
    it.send(request).await.expect(200);
}

/// What is said of one too many.
async fn refused(it: &TestServer) {
    let refused = it.post("/v1/jobs", &json!({"manual": true})).await.expect(429);
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("queue_full", Some("1")));
    is_told(&refused.json());
}

fn is_told(problem: &Value) {
    let detail = problem["detail"].as_str().expect("a text");
    for word in ["3 manual jobs", "`limits.manual_jobs`", "complete or cancel"] {
        assert!(detail.contains(word), "{word}: {detail}");
    }
}

#[tokio::test]
async fn f21_each_end_of_a_manual_job_makes_room_for_one_more_and_nothing_else_does() {
    let it = start().await;
    let mut jobs = [manual(&it).await, manual(&it).await, manual(&it).await];
    refused(&it).await;
    for end in ["result", "exception", "cancel", "ids", "filter"] {
        let [first, ..] = &jobs;
        match end {
            "result" => put(&it, first, end, &json!(1)).await,
            "exception" => put(&it, first, end, &json!({"type": "E", "message": "m"})).await,
            "cancel" => {
                let cancel = format!("{}/cancel", path_of(first));
                it.post(&cancel, &json!({})).await.expect(200);
            }
            "ids" => {
                let cancelled = it.post("/v1/jobs/cancel", &json!({"ids": [first["id"]]})).await;
                assert_eq!(cancelled.expect(200).json()["cancelled"], 1);
            }
            _ => {
                let cancelled = it.post("/v1/jobs/cancel", &json!({"function": "manual"})).await;
                assert_eq!(cancelled.expect(200).json()["cancelled"], 3);
                manual(&it).await;
                manual(&it).await;
            }
        }
        let gone = it.send(it.request(Method::DELETE, &path_of(first))).await;
        gone.expect(204);
        jobs.rotate_left(1);
        jobs[2] = manual(&it).await;
        refused(&it).await;
    }
    let call = it.done(&json!({"function": "echo", "args": [1]})).await;
    assert_eq!(call["result"], 1, "calls have limits of their own");
}

#[tokio::test]
async fn f21_a_manual_job_whose_time_is_over_makes_room() {
    let it = start().await;
    let jobs = [manual(&it).await, manual(&it).await];
    for _turn in 0..2 {
        let timed = it.done(&json!({"manual": true, "total_timeout_seconds": 0.1})).await;
        assert_eq!(
            (&timed["state"], &timed["error"]["type"]),
            (&json!("failed"), &json!("total_timeout"))
        );
    }
    put(&it, &jobs[0], "result", &json!(1)).await;
    manual(&it).await;
    manual(&it).await;
    refused(&it).await;
}

#[tokio::test]
async fn f21_a_manual_job_that_is_repeated_counts_once_and_one_that_is_refused_not_at_all() {
    let it = start().await;
    let job = keyed(&it, "a").await.expect(202).json();
    for key in ["a", "b", "c", "a"] {
        keyed(&it, key).await.expect(202);
    }
    keyed(&it, "d").await.expect(429);
    let again = keyed(&it, "a").await.expect(202);
    assert_eq!((again.header("idempotent-replayed"), again.json()), (Some("true"), job.clone()));
    put(&it, &job, "result", &json!(1)).await;
    assert_eq!(keyed(&it, "d").await.expect(202).header("idempotent-replayed"), None);
    refused(&it).await;
}

#[tokio::test]
async fn f21_a_line_that_is_one_manual_job_too_many_has_its_problem_and_spoils_no_other() {
    let it = start().await;
    let job = |key: &str| json!({"manual": true, "idempotency_key": key});
    let call = json!({"function": "echo", "args": [1]});
    let lines = [job("a"), job("a"), job("b"), call.clone(), job("c"), job("d"), call];
    let answers = lines_of(&it.send(request(&it, "/v1/jobs", text(&lines))).await.expect(200));
    let (end, answers) = answers.split_last().expect("lines");
    assert_eq!(end["end"], json!({"lines": 7, "accepted": 6, "refused": 1}));
    let codes: Vec<&Value> = answers.iter().map(|line| &line["problem"]["code"]).collect();
    let (none, full) = (&json!(null), &json!("queue_full"));
    assert_eq!(codes, [none, none, none, none, none, full, none]);
    assert_eq!(answers[5]["problem"]["status"], 429);
    is_told(&answers[5]["problem"]);
    refused(&it).await;
}

#[tokio::test]
async fn f21_manual_jobs_of_an_earlier_server_count() {
    let it = start().await;
    let jobs = [manual(&it).await, manual(&it).await, manual(&it).await];
    put(&it, &jobs[0], "result", &json!(1)).await;
    let dir = it.stop(Duration::ZERO).await;
    let it = TestServer::on(dir, of_three, |builder| builder).await;
    manual(&it).await;
    refused(&it).await;
    put(&it, &jobs[1], "result", &json!(1)).await;
    manual(&it).await;
    refused(&it).await;

    // An operator may have fewer from now on: those that are there stay.
    let dir = it.stop(Duration::ZERO).await;
    let of_none = |mut config: Config| {
        config.limits.manual_jobs = 0;
        config
    };
    let it = TestServer::on(dir, of_none, |builder| builder).await;
    put(&it, &jobs[2], "result", &json!(1)).await;
    it.post("/v1/jobs", &json!({"manual": true})).await.expect(429);
    let waiting = it.get("/v1/jobs?function=manual&state=pending").await.expect(200).json();
    assert_eq!(waiting["jobs"].as_array().map(Vec::len), Some(2));
}
