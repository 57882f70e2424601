//! Cancelling: `Future.cancel`, and what this server can do beyond it.

use futurity::{Config, Queue};
use serde_json::{Value, json};

use crate::gate::{Gate, Latch, returns_when_asked_to_stop};
use crate::receiver::{Receiver, Reply};
use crate::server::{Answer, TestServer, future_of};

/// A server whose queue `one` runs one job at a time.
async fn with(function: futurity::Native) -> TestServer {
    let one = Queue { max_workers: 1, max_pending: 1_000 };
    let configure = |config: Config| Config { queues: [("one".to_owned(), one)].into(), ..config };
    TestServer::with(configure, |builder| builder.function("own", function)).await
}

async fn cancel(it: &TestServer, job: &Value, body: &Value) -> Answer {
    it.post(job["urls"]["cancel"].as_str().expect("a path"), body).await
}

async fn shown(it: &TestServer, job: &Value) -> Value {
    it.get(job["urls"]["self"].as_str().expect("a path")).await.expect(200).json()
}

#[tokio::test]
async fn f1_cancel_in_mode_pending_leaves_a_running_job_alone() {
    let (gate, function) = Gate::task();
    let it = with(function).await;
    let job = it.submit(&json!({"function": "own"})).await;
    let answer = cancel(&it, &job, &json!({"mode": "pending"})).await.expect(200).json();
    assert_eq!((&answer["cancelled"], &answer["state"]), (&json!(false), &json!("running")));
    assert_eq!(shown(&it, &job).await, job, "nothing changed");
    gate.open();
    let done = it.wait(&job).await;
    assert_eq!((&done["state"], &done["result"]), (&json!("succeeded"), &json!("open")));
}

#[tokio::test]
async fn f1_cancel_of_a_finished_job_is_false_and_changes_nothing() {
    let it = TestServer::start().await;
    for call in [json!({"function": "echo"}), json!({"function": "raise"})] {
        let job = it.done(&call).await;
        for mode in ["pending", "terminate"] {
            let answer = cancel(&it, &job, &json!({"mode": mode, "wait_seconds": 60})).await;
            let answer = answer.expect(200).json();
            assert_eq!((&answer["cancelled"], &answer["state"]), (&json!(false), &job["state"]));
            assert_eq!(shown(&it, &job).await, job);
        }
    }
}

#[tokio::test]
async fn f2_cancel_twice_is_true_twice() {
    let (gate, function) = Gate::task();
    let it = with(function).await;
    it.submit(&json!({"function": "own", "queue": "one"})).await;
    let job = it.submit(&json!({"function": "echo", "queue": "one"})).await;
    assert_eq!(job["state"], "pending");
    let first = cancel(&it, &job, &json!({"mode": "pending"})).await.expect(200).json();
    assert_eq!((&first["cancelled"], &first["state"]), (&json!(true), &json!("cancelled")));
    let second = cancel(&it, &job, &json!({})).await.expect(200).json();
    assert_eq!(second, first, "the same answer, and the same version");
    gate.open();
}

#[tokio::test]
async fn f3_cancel_of_a_pending_job_tells_its_callbacks() {
    let (gate, function) = Gate::task();
    let it = with(function).await;
    let mut receiver = Receiver::start(|_| Reply::Status(200)).await;
    it.submit(&json!({"function": "own", "queue": "one"})).await;
    let callbacks = json!([{"url": receiver.at("/hook")}]);
    let call = json!({"function": "echo", "queue": "one", "callbacks": callbacks});
    let job = it.submit(&call).await;
    cancel(&it, &job, &json!({})).await.expect(200);
    let event = receiver.next().await.event(&it.webhook_secret());
    assert_eq!((&event["type"], &event["data"]["id"]), (&json!("job.cancelled"), &job["id"]));
    assert_eq!(event["data"], future_of(&shown(&it, &job).await));
    gate.open();
}

#[tokio::test]
async fn f4_a_function_that_heeds_the_request_ends_cancelled() {
    let it = TestServer::start().await;
    let job = it.submit(&json!({"function": "sleep", "args": [3600]})).await;
    let answer = cancel(&it, &job, &json!({"wait_seconds": 60})).await.expect(200).json();
    assert_eq!((&answer["cancelled"], &answer["state"]), (&json!(true), &json!("cancelled")));
    let job = shown(&it, &job).await;
    assert_eq!((&job["state"], &job["error"]), (&json!("cancelled"), &json!(null)));
    assert_ne!(job["cancel_requested_at"], json!(null));
    it.get(job["urls"]["result"].as_str().unwrap()).await.expect(409);
}

#[tokio::test]
async fn f4_a_function_that_returns_a_value_all_the_same_has_succeeded() {
    let it = with(returns_when_asked_to_stop()).await;
    let job = it.submit(&json!({"function": "own"})).await;
    let answer = cancel(&it, &job, &json!({"grace_seconds": 3600, "wait_seconds": 60})).await;
    let answer = answer.expect(200).json();
    assert_eq!((&answer["cancelled"], &answer["state"]), (&json!(false), &json!("succeeded")));
    let job = shown(&it, &job).await;
    assert_eq!(job["result"], "all the same");
    assert_ne!(job["cancel_requested_at"], json!(null), "it is not kept secret");
}

#[tokio::test]
async fn f4_a_job_asked_to_stop_is_202_until_it_has_ended() {
    let (gate, function) = Gate::task();
    let it = with(function).await;
    let job = it.submit(&json!({"function": "own"})).await;
    for version in [2, 2] {
        let asked = json!({"grace_seconds": 3600, "wait_seconds": 0.01});
        let answer = cancel(&it, &job, &asked).await.expect(202);
        assert_eq!(answer.header("retry-after"), Some("0"), "it has waited, and may ask again");
        let answer = answer.json();
        assert_eq!((&answer["cancelled"], &answer["state"]), (&json!(false), &json!("running")));
        assert_eq!(answer["job"]["version"], version, "the second asking changes nothing");
        assert_ne!(answer["job"]["cancel_requested_at"], json!(null));
    }
    gate.open();
    assert_eq!(it.wait(&job).await["state"], "succeeded");
}

#[tokio::test]
async fn f4_a_function_that_hears_nothing_is_given_up_after_its_grace() {
    let (_gate, function) = Gate::task();
    let it = with(function).await;
    let job = it.submit(&json!({"function": "own"})).await;
    let asked = json!({"grace_seconds": 0, "wait_seconds": 60});
    let answer = cancel(&it, &job, &asked).await.expect(200).json();
    assert_eq!((&answer["cancelled"], &answer["state"]), (&json!(true), &json!("cancelled")));
}

#[tokio::test]
async fn s5_a_thread_that_was_given_up_keeps_its_slot_until_it_really_returns() {
    let latch = Latch::default();
    let it = with(latch.stubborn()).await;
    let job = it.submit(&json!({"function": "own", "queue": "one"})).await;
    let asked = json!({"grace_seconds": 0, "wait_seconds": 60});
    let answer = cancel(&it, &job, &asked).await.expect(200).json();
    assert_eq!(answer["cancelled"], true);
    let next = it.submit(&json!({"function": "echo", "queue": "one"})).await;
    assert_eq!(next["state"], "pending", "one worker is one worker");
    latch.release();
    assert_eq!(it.wait(&next).await["state"], "succeeded");
}

#[tokio::test]
async fn f5_a_function_that_raises_cancelled_error_itself_has_failed() {
    let it = TestServer::start().await;
    let job = it.done(&json!({"function": "raise", "args": ["CancelledError", "mine"]})).await;
    assert_eq!(
        (&job["state"], &job["error"]["type"]),
        (&json!("failed"), &json!("CancelledError"))
    );
    assert_eq!(job["cancel_requested_at"], json!(null));
    it.get(job["urls"]["result"].as_str().unwrap()).await.expect(424);
}

#[tokio::test]
async fn a_cancel_without_a_body_is_one_with_the_defaults() {
    let it = TestServer::start().await;
    let job = it.submit(&json!({"function": "sleep", "args": [3600]})).await;
    let path = job["urls"]["cancel"].as_str().unwrap();
    let answer = it.send(it.request(reqwest::Method::POST, path)).await;
    assert!([200, 202].contains(&answer.status.as_u16()), "{}", answer.status);
    assert_eq!(it.wait(&job).await["state"], "cancelled");
}

#[tokio::test]
async fn a_cancel_that_says_something_else_is_refused_and_changes_nothing() {
    let it = TestServer::start().await;
    let job = it.submit(&json!({"function": "sleep", "args": [3600]})).await;
    let cases = [
        (json!({"mode": "kill"}), 422, "/mode"),
        (json!({"mode": 1}), 422, "/mode"),
        (json!({"grace_seconds": "1"}), 422, "/grace_seconds"),
        (json!({"grace_seconds": 3600.1}), 422, "/grace_seconds"),
        (json!({"wait_seconds": true}), 422, "/wait_seconds"),
        (json!({"force": true}), 400, "/force"),
    ];
    for (body, status, pointer) in cases {
        let answer = cancel(&it, &job, &body).await.expect(status);
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{body}");
    }
    cancel(&it, &job, &json!([])).await.expect(422);
    assert_eq!(shown(&it, &job).await["cancel_requested_at"], json!(null));
    let nobody = "/v1/jobs/0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e6f/cancel";
    it.post(nobody, &json!({})).await.expect(404);
    cancel(&it, &job, &json!({"wait_seconds": 60})).await.expect(200);
}
