//! Asking a future: `Future.result(timeout)`, `exception(timeout)`, and how a request waits.

use std::time::Duration;

use futurity::Config;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::gate::{Gate, one_worker_behind};
use crate::server::{Answer, TestServer};

async fn holding(gate: &Gate) -> (TestServer, Value) {
    let it = one_worker_behind(gate).await;
    let job = it.submit(&json!({"function": "hold", "args": ["held"]})).await;
    gate.started().await;
    (it, job)
}

fn url<'a>(job: &'a Value, name: &str) -> &'a str {
    job["urls"][name].as_str().expect("a URL")
}

async fn preferring(it: &TestServer, path: &str, preference: &str) -> Answer {
    it.send(it.request(Method::GET, path).header("Prefer", preference)).await
}

#[tokio::test]
async fn f6_get_and_head_answer_at_once_and_head_has_no_body() {
    let gate = Gate::shut();
    let (it, job) = holding(&gate).await;
    let get = it.get(url(&job, "self")).await.expect(200);
    assert_eq!(get.json()["done"], false);
    assert_eq!(get.header("futurity-state"), Some("running"));
    assert_eq!(get.header("retry-after"), Some("1"));
    let head = it.send(it.request(Method::HEAD, url(&job, "self"))).await.expect(200);
    assert_eq!(head.body, b"");
    for name in ["etag", "futurity-state", "futurity-done", "cache-control", "retry-after"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
    gate.open();
    let path = format!("{}?wait=60", url(&job, "self"));
    let head = it.send(it.request(Method::HEAD, &path)).await.expect(200);
    assert_eq!(head.header("futurity-done"), Some("true"));
    assert_eq!(head.header("futurity-state"), Some("succeeded"));
    let unknown = "/v1/jobs/0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e6f";
    assert_eq!(it.send(it.request(Method::HEAD, unknown)).await.expect(404).body, b"");
}

#[tokio::test]
async fn f7_result_and_exception_wait_until_the_job_is_done() {
    let gate = Gate::shut();
    let (it, job) = holding(&gate).await;
    let result = format!("{}?wait=60", url(&job, "result"));
    let exception = format!("{}?wait=60", url(&job, "exception"));
    let (result, exception, ()) =
        tokio::join!(it.get(&result), it.get(&exception), async { gate.open() });
    assert_eq!(result.expect(200).body, b"\"held\"");
    assert_eq!(exception.expect(200).body, b"null");
}

#[tokio::test]
async fn f8_a_wait_that_is_zero_or_negative_answers_at_once() {
    let gate = Gate::shut();
    let (it, job) = holding(&gate).await;
    for wait in ["0", "-1", "0.0", "-0.0", "-2.5", "-1e300", "%200"] {
        for name in ["result", "exception"] {
            let answer = it.get(&format!("{}?wait={wait}", url(&job, name))).await.expect(202);
            assert_eq!(answer.header("retry-after"), Some("1"), "{wait}");
            assert_eq!(answer.json()["id"], job["id"]);
        }
        let answer = it.get(&format!("{}?wait={wait}", url(&job, "self"))).await.expect(200);
        assert_eq!(answer.header("retry-after"), Some("1"), "{wait}");
    }
}

#[tokio::test]
async fn f8_a_wait_that_runs_out_is_202_to_ask_again_now_and_cancels_nothing() {
    let gate = Gate::shut();
    let (it, job) = holding(&gate).await;
    for wait in ["0.01", "1e-3", ".02", "0.5e-2"] {
        for name in ["result", "exception"] {
            let answer = it.get(&format!("{}?wait={wait}", url(&job, name))).await.expect(202);
            assert_eq!(answer.header("retry-after"), Some("0"), "{wait}");
            assert_eq!(answer.json()["state"], "running");
        }
        let answer = it.get(&format!("{}?wait={wait}", url(&job, "self"))).await.expect(200);
        assert_eq!(answer.header("retry-after"), Some("0"), "{wait}");
    }
    let submission = json!({"function": "echo", "args": [1]});
    let submitted = it.post("/v1/jobs?wait=0.01", &submission).await.expect(202);
    assert_eq!(submitted.header("retry-after"), Some("0"));
    gate.open();
    let job = it.wait(&job).await;
    assert_eq!(job["state"], "succeeded");
    assert_eq!(job["cancel_requested_at"], Value::Null);
    assert_eq!(it.wait(&submitted.json()).await["result"], 1);
}

#[tokio::test]
async fn f8_a_wait_that_is_too_long_is_clamped_to_the_servers() {
    let gate = Gate::shut();
    let short = |mut config: Config| {
        config.wait_max = Duration::from_millis(10);
        config
    };
    let it = TestServer::with(short, |builder| builder.function("hold", gate.hold())).await;
    let submission = json!({"function": "hold"});
    let job = it.post("/v1/jobs?wait=86400", &submission).await.expect(202).json();
    for wait in ["86400", "1e18", "1e300"] {
        let answer = it.get(&format!("{}?wait={wait}", url(&job, "result"))).await.expect(202);
        assert_eq!(answer.header("retry-after"), Some("0"), "{wait}");
    }
}

#[tokio::test]
async fn f8_a_wait_that_is_no_number_is_refused_with_its_place() {
    let it = TestServer::start().await;
    let job = it.done(&json!({"function": "echo"})).await;
    for wait in ["", "soon", "1s", "nan", "inf", "-inf", "1,5", "0x10"] {
        let refused = it.get(&format!("{}?wait={wait}", url(&job, "result"))).await.expect(422);
        assert_eq!(refused.code(), "invalid_value", "{wait}");
        assert_eq!(refused.json()["errors"][0]["pointer"], "/wait", "{wait}");
    }
    let twice = it.get(&format!("{}?wait=1&wait=2", url(&job, "result"))).await.expect(400);
    assert_eq!(twice.code(), "bad_request");
}

#[tokio::test]
async fn f8_prefer_wait_is_applied_in_whole_seconds_and_says_so() {
    let it = TestServer::start().await;
    let job = it.done(&json!({"function": "echo"})).await;
    for (preference, applied) in [
        ("wait=5", "wait=5"),
        ("wait=0", "wait=0"),
        ("wait=45", "wait=45"),
        ("wait=46", "wait=45"),
        ("wait=86400", "wait=45"),
        ("wait=99999999999999999999999999", "wait=45"),
        ("WAIT=5", "wait=5"),
        ("wait = 5", "wait=5"),
        ("wait=\"5\"", "wait=5"),
        ("respond-async, wait=5", "wait=5"),
        ("wait=5, respond-async", "wait=5"),
        ("wait=5; because=so", "wait=5"),
        ("wait=5, wait=7", "wait=5"),
    ] {
        for name in ["self", "result", "exception"] {
            let answer = preferring(&it, url(&job, name), preference).await.expect(200);
            assert_eq!(answer.header("preference-applied"), Some(applied), "{preference}");
            assert_eq!(answer.header("vary"), Some("Prefer"), "{preference}");
        }
    }
}

#[tokio::test]
async fn f8_other_preferences_are_ignored_and_the_parameter_wins() {
    let it = TestServer::start().await;
    let job = it.done(&json!({"function": "echo"})).await;
    for preference in
        ["wait=soon", "wait=-1", "wait=+1", "wait=1.5", "wait", "wait=", "respond-async", ""]
    {
        let answer = preferring(&it, url(&job, "self"), preference).await.expect(200);
        assert_eq!(answer.header("preference-applied"), None, "{preference}");
        assert_eq!(answer.header("vary"), Some("Prefer"), "{preference}");
    }
    let path = format!("{}?wait=0", url(&job, "result"));
    let answer = preferring(&it, &path, "wait=5").await.expect(200);
    assert_eq!(answer.header("preference-applied"), None);
}

#[tokio::test]
async fn f8_a_submission_with_a_preference_answers_200_when_done_in_time() {
    let gate = Gate::shut();
    let configure = |config: Config| Config { wait_max: Duration::from_secs(60), ..config };
    let it = TestServer::with(configure, |it| it.function("hold", gate.hold())).await;
    let submit = |call: Value, preference| {
        let request = it.request(Method::POST, "/v1/jobs").json(&call);
        it.send(request.header("Prefer", preference))
    };
    let done = submit(json!({"function": "echo", "args": [2]}), "wait=60").await.expect(200);
    assert_eq!(done.json()["result"], 2);
    assert_eq!(done.header("preference-applied"), Some("wait=60"));
    assert_eq!(done.header("retry-after"), None);
    let failed = submit(json!({"function": "raise"}), "wait=60").await.expect(200);
    assert_eq!(failed.json()["state"], "failed");
    let held = submit(json!({"function": "hold"}), "wait=0").await.expect(202);
    assert_eq!(held.header("preference-applied"), Some("wait=0"));
    assert_eq!(held.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn f8_a_client_that_hangs_up_leaves_the_job_running() {
    let gate = Gate::shut();
    let (it, job) = holding(&gate).await;
    let mut stream = TcpStream::connect(it.server.address()).await.expect("a connection");
    let request =
        format!("GET {}?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n", url(&job, "result"));
    stream.write_all(request.as_bytes()).await.expect("it is sent");
    drop(stream);
    assert_eq!(it.get(url(&job, "self")).await.expect(200).json()["state"], "running");
    gate.open();
    assert_eq!(it.wait(&job).await["state"], "succeeded");
}

#[tokio::test]
async fn f9_the_result_and_the_exception_of_a_cancelled_job_are_409() {
    let gate = Gate::shut();
    let (it, held) = holding(&gate).await;
    let job = it.submit(&json!({"function": "echo"})).await;
    it.post(url(&job, "cancel"), &json!({})).await.expect(200);
    it.post(url(&held, "cancel"), &json!({"wait_seconds": 60})).await.expect(200);
    for job in [&job, &held] {
        for path in ["result", "exception"].map(|name| url(job, name)) {
            let answer = it.get(path).await.expect(409);
            assert_eq!(answer.code(), "cancelled");
            assert_eq!(answer.json()["id"], job["id"]);
            assert_eq!(answer.json()["state"], "cancelled");
        }
        assert_eq!(it.get(url(job, "self")).await.expect(200).json()["state"], "cancelled");
    }
}

#[tokio::test]
async fn f10_a_failed_jobs_error_is_the_same_each_time_also_after_a_restart() {
    let it = TestServer::start().await;
    let kwargs =
        json!({"type": "ZeroDivisionError", "message": "div by \"0\" é", "retryable": true});
    let job = it.done(&json!({"function": "raise", "kwargs": kwargs})).await;
    let expected = json!({"type": "ZeroDivisionError", "message": "div by \"0\" é",
        "retryable": true, "attempt": 1});
    let path = url(&job, "result").to_owned();
    let same = async |it: &TestServer| {
        let answer = it.get(&path).await.expect(424);
        assert_eq!(answer.code(), "raised");
        assert_eq!(answer.json()["error"], expected);
        assert_eq!(answer.json()["id"], job["id"]);
        assert_eq!(answer.json()["state"], "failed");
        assert_eq!(answer.json()["detail"], "ZeroDivisionError: div by \"0\" é");
    };
    same(&it).await;
    same(&it).await;
    let dir = it.stop(Duration::ZERO).await;
    let it = TestServer::on(dir, |config| config, |builder| builder).await;
    same(&it).await;
    assert_eq!(it.get(url(&job, "self")).await.expect(200).json()["error"], expected);
}

#[tokio::test]
async fn f11_the_exception_is_null_or_the_error_object() {
    let it = TestServer::start().await;
    let returned = it.done(&json!({"function": "echo", "args": ["x"]})).await;
    assert_eq!(it.get(url(&returned, "exception")).await.expect(200).body, b"null");
    let raised = it.done(&json!({"function": "raise", "args": ["ValueError", "no"]})).await;
    let answer = it.get(url(&raised, "exception")).await.expect(200);
    let error = json!({"type": "ValueError", "message": "no", "retryable": null, "attempt": 1});
    assert_eq!(answer.json(), error);
}

#[tokio::test]
async fn f12_a_functions_own_timeout_error_is_424_and_a_wait_that_ran_out_202() {
    let gate = Gate::shut();
    let it = TestServer::with(|config| config, |it| it.function("hold", gate.hold())).await;
    let raised = it.done(&json!({"function": "raise", "args": ["TimeoutError"]})).await;
    let answer = it.get(&format!("{}?wait=1", url(&raised, "result"))).await.expect(424);
    assert_eq!(answer.code(), "raised");
    assert_eq!(answer.json()["error"]["type"], "TimeoutError");
    let held = it.submit(&json!({"function": "hold"})).await;
    let answer = it.get(&format!("{}?wait=0.01", url(&held, "result"))).await.expect(202);
    assert_eq!(answer.json()["error"], Value::Null);
}
