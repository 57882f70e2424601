//! Arguments and results on their way through the server: whole, exact, and left out where large.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::server::TestServer;

/// Submits a call of `echo` with this JSON text as its argument, and gives the path of its job. The
/// answer is not read: a JSON reader could not hold every number.
async fn echo(it: &TestServer, value: &str) -> String {
    let body = format!(r#"{{"function":"echo","args":[{value}]}}"#);
    let request = it.request(Method::POST, "/v1/jobs?wait=60").body(body);
    let answer = request.header(CONTENT_TYPE, "application/json").send().await.expect("an answer");
    assert_eq!(answer.status(), 200, "{value:.80}");
    let etag = answer.headers()["futurity-state"].to_str().expect("text");
    assert_eq!(etag, "succeeded");
    let text = answer.text().await.expect("a body");
    let id = text.split('"').nth(3).expect("an id");
    format!("/v1/jobs/{id}")
}

async fn result(it: &TestServer, job: &str) -> String {
    let answer = it.get(&format!("{job}/result")).await.expect(200);
    String::from_utf8(answer.body).expect("UTF-8")
}

#[derive(Deserialize)]
struct Whole {
    args: Box<RawValue>,
    result: Box<RawValue>,
}

/// A JSON string of exactly so many bytes, with escapes and letters of several bytes.
fn text_of(bytes: usize) -> String {
    let mut text = String::from("\"");
    let mut parts =
        ["plain words ", "\\\"", "\\n", "é", "\\u00e9", "漢", "\\\\", "🦀"].iter().cycle();
    while let Some(part) = parts.next().filter(|part| text.len() + part.len() < bytes) {
        text.push_str(part);
    }
    text.extend(std::iter::repeat_n('.', bytes - 1 - text.len()));
    text.push('"');
    text
}

#[tokio::test]
async fn e1_arguments_and_results_of_any_size_come_back_byte_for_byte_also_after_a_restart() {
    let kib = 1024;
    let sizes =
        [2, 100, kib - 1, kib, kib + 1, 2 * kib, 2 * kib + 1, 16 * kib, 300 * kib, 900 * kib];
    let it = TestServer::start().await;
    let mut jobs = Vec::new();
    for size in sizes {
        let value = text_of(size);
        assert_eq!(value.len(), size);
        jobs.push((echo(&it, &value).await, value));
    }
    let same = async |it: &TestServer| {
        for (job, value) in &jobs {
            // Not `assert_eq!`: it would print a megabyte.
            assert!(result(it, job).await == *value, "result of {} bytes", value.len());
            let whole = it.get(job).await.expect(200);
            let whole: Whole = serde_json::from_slice(&whole.body).expect("a job");
            assert!(whole.args.get() == format!("[{value}]"), "args of {} bytes", value.len());
            assert!(whole.result.get() == *value, "result of {} bytes in the job", value.len());
        }
    };
    same(&it).await;
    let dir = it.stop(Duration::ZERO).await;
    let it = TestServer::on(dir, |config| config, |builder| builder).await;
    same(&it).await;
}

#[tokio::test]
async fn e1_numbers_and_texts_are_kept_as_they_were_written() {
    let it = TestServer::start().await;
    for value in [
        "-1E-400",
        "12345678901234567890123",
        "-9223372036854775809",
        "1.10",
        "1.0",
        "-0",
        "-0.0",
        "1E+2",
        "0.1000000000000000055511151231257827",
        r#""\u00e9""#,
        r#""é""#,
        r#""\ud83e\udd80""#,
        r#""\/""#,
        r#""\u0001""#,
        r#"[1, 2 ,3]"#,
        r#"{"b":1,"a":{ "d" : 2,"c":3}}"#,
        "null",
        "true",
        "[]",
        "{}",
        r#""""#,
    ] {
        let job = echo(&it, value).await;
        assert_eq!(result(&it, &job).await, value);
    }
}

#[tokio::test]
async fn e1_a_job_waits_with_its_large_arguments_across_a_restart() {
    let gate = crate::gate::Gate::shut();
    let build = |it: futurity::Builder| it.function("hold", gate.hold());
    let it = TestServer::with(crate::gate::one_worker, build).await;
    it.submit(&json!({"function": "hold"})).await;
    gate.started().await;
    let value = "v".repeat(500_000);
    let waiting = it.submit(&json!({"function": "echo", "args": [value]})).await;
    assert_eq!(waiting["args_omitted"], true);
    let dir = it.stop(Duration::ZERO).await;
    gate.open();
    let it = TestServer::on(dir, crate::gate::one_worker, build).await;
    assert!(it.wait(&waiting).await["result"] == value);
}

#[tokio::test]
async fn values_above_16_kib_are_left_out_of_lists_and_of_answers_to_submissions() {
    let it = TestServer::start().await;
    // As JSON text: the quotes count.
    let (at_limit, above) = ("x".repeat(16 * 1024 - 2), "x".repeat(16 * 1024 - 1));
    for (value, omitted) in [(&at_limit, false), (&above, true)] {
        let submitted = it.done(&json!({"function": "echo", "kwargs": {"value": value}})).await;
        let list = it.get("/v1/jobs?page_size=1").await.expect(200).json();
        for job in [&submitted, &list["jobs"][0]] {
            assert_eq!(job["id"], submitted["id"]);
            assert_eq!(job["kwargs_omitted"], true, "with its key it is above the limit");
            assert_eq!(job["kwargs"], Value::Null);
            let shown = if omitted { Value::Null } else { json!(value) };
            assert!(job["result"] == shown);
            assert_eq!(job.get("result_omitted").is_some(), omitted);
        }
        let whole = it.get(submitted["urls"]["self"].as_str().expect("a URL")).await.expect(200);
        assert!(whole.json()["result"] == **value);
        assert!(whole.json()["kwargs"]["value"] == **value);
    }
}

#[tokio::test]
async fn values_above_16_kib_are_left_out_of_202_answers_and_of_cancels() {
    let gate = crate::gate::Gate::shut();
    let it = crate::gate::one_worker_behind(&gate).await;
    let value = "x".repeat(20_000);
    let job = it.submit(&json!({"function": "hold", "args": [value]})).await;
    assert_eq!((&job["args"], &job["args_omitted"]), (&Value::Null, &json!(true)));
    let result = it.get(job["urls"]["result"].as_str().expect("a URL")).await.expect(202).json();
    assert_eq!((&result["args"], &result["args_omitted"]), (&Value::Null, &json!(true)));
    let cancel = job["urls"]["cancel"].as_str().expect("a URL");
    let answer = it.post(cancel, &json!({"mode": "pending"})).await.expect(200).json();
    assert_eq!(answer["job"]["args_omitted"], true);
    let whole = it.get(job["urls"]["self"].as_str().expect("a URL")).await.expect(200).json();
    assert!(whole["args"][0] == value);
}
