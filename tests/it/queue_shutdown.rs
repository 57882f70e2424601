//! Shutting queues down: `Executor.shutdown(wait, cancel_futures)`.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::gate::Gate;
use crate::process::until;
use crate::queues::{ask, hold, pending_and_running, put, queue, shut_down, state, with_one};
use crate::receiver::{Receiver, Reply};
use crate::server::TestServer;

#[tokio::test]
async fn e3_a_submit_to_a_queue_that_is_shut_down_is_409_until_it_is_opened_again() {
    let it = TestServer::start().await;
    put(&it, "one", &json!({"max_workers": 1})).await.expect(200);
    let call = json!({"function": "echo", "args": [1], "queue": "one"});
    let shut = ask(&it, "one", "shutdown").await.expect(200).json();
    assert_eq!((&shut["queue"]["shutdown"], &shut["cancelled"]), (&json!(true), &json!(0)));
    for path in ["/v1/jobs", "/v1/jobs?wait=5"] {
        let refused = it.post(path, &call).await.expect(409);
        assert_eq!(refused.code(), "queue_shutdown");
    }
    it.get("/problems/queue_shutdown").await.expect(200);
    it.done(&json!({"function": "echo"})).await;
    let open = put(&it, "one", &json!({})).await.expect(200).json();
    assert_eq!((&open["shutdown"], &open["max_workers"]), (&json!(false), &json!(1)));
    assert_eq!(it.done(&call).await["result"], 1);
}

#[tokio::test]
async fn e12_shutdown_waits_for_queued_work_and_may_be_repeated() {
    let gate = Gate::shut();
    let it = with_one(&gate).await;
    let jobs = [it.submit(&hold(1)).await, it.submit(&hold(2)).await];
    gate.started().await;
    let at_once = ask(&it, "one", "shutdown").await.expect(202);
    assert_eq!(at_once.header("retry-after"), Some("1"));
    assert_eq!(pending_and_running(&at_once.json()["queue"]), (1, 1));
    let in_vain = shut_down(&it, "one", &json!({"wait_seconds": 0.05})).await.expect(202);
    assert_eq!(in_vain.header("retry-after"), Some("0"));
    let wait = json!({"wait_seconds": 60});
    let waiting = shut_down(&it, "one", &wait);
    let opening = async {
        gate.open_once();
        gate.started().await;
        gate.open();
    };
    let (drained, ()) = tokio::join!(waiting, opening);
    let drained = drained.expect(200).json();
    assert_eq!(pending_and_running(&drained["queue"]), (0, 0));
    for job in &jobs {
        assert_eq!(state(&it, job).await, "succeeded");
    }
    ask(&it, "one", "shutdown").await.expect(200);
}

#[tokio::test]
async fn e12_a_client_that_hangs_up_changes_nothing() {
    let gate = Gate::shut();
    let it = with_one(&gate).await;
    let job = it.submit(&hold(1)).await;
    gate.started().await;
    let request = it.request(Method::POST, "/v1/queues/one/shutdown");
    let request = request.json(&json!({"wait_seconds": 60})).timeout(Duration::from_millis(300));
    assert!(request.send().await.expect_err("no answer").is_timeout());
    assert_eq!(queue(&it, "one").await["shutdown"], true);
    assert_eq!(state(&it, &job).await, "running");
    gate.open();
    shut_down(&it, "one", &json!({"wait_seconds": 60})).await.expect(200);
}

#[tokio::test]
async fn e14_a3_a_shutdown_that_cancels_wakes_every_waiter_and_tells_every_callback() {
    let gate = Gate::shut();
    let it = with_one(&gate).await;
    let mut receiver = Receiver::start(|_| Reply::Status(200)).await;
    let running = it.submit(&hold(0)).await;
    gate.started().await;
    // A submission that waits is subscribed before its job exists.
    let waits = (1..=3).map(async |number| {
        let mut call = hold(number);
        call["callbacks"] = json!([{"url": receiver.at("/hook")}]);
        it.post("/v1/jobs?wait=60", &call).await.expect(200).json()
    });
    let shut = async {
        until("three jobs wait", async || {
            let shown = queue(&it, "one").await;
            (pending_and_running(&shown) == (3, 1)).then_some(())
        })
        .await;
        shut_down(&it, "one", &json!({"cancel_futures": true})).await
    };
    let both = async { tokio::join!(futures_util::future::join_all(waits), shut) };
    let woken = tokio::time::timeout(Duration::from_secs(30), both).await;
    let (waiting, shut) = woken.expect("they wake long before their wait is over");
    assert_eq!(shut.expect(202).json()["cancelled"], 3, "one still runs");
    for job in &waiting {
        assert_eq!((&job["state"], &job["attempt"]), (&json!("cancelled"), &json!(0)));
        let path = job["urls"]["result"].as_str().expect("a path");
        assert_eq!(it.get(path).await.expect(409).code(), "cancelled");
    }
    let mut told = Vec::new();
    for _ in &waiting {
        let event = receiver.next().await.event(&it.webhook_secret());
        assert_eq!(event["type"], "job.cancelled");
        told.push(event["data"]["id"].as_str().expect("an id").to_owned());
    }
    told.sort_unstable();
    let mut ids: Vec<&str> = waiting.iter().filter_map(|job| job["id"].as_str()).collect();
    ids.sort_unstable();
    assert_eq!(told, ids, "each of them once");
    gate.open();
    assert_eq!(it.wait(&running).await["state"], "succeeded", "what ran goes on");
    let again = shut_down(&it, "one", &json!({"wait_seconds": 60})).await.expect(200).json();
    assert_eq!(again["cancelled"], 0);
}

#[tokio::test]
async fn e15_a_second_shutdown_takes_no_cancelling_back() {
    let gate = Gate::shut();
    let it = with_one(&gate).await;
    let running = it.submit(&hold(0)).await;
    gate.started().await;
    let mut waiting = Vec::new();
    for number in 1..=20 {
        waiting.push(it.submit(&hold(number)).await);
    }
    let bodies = [json!({"cancel_futures": true}), json!({"cancel_futures": false}), json!({})];
    for body in &bodies {
        shut_down(&it, "one", body).await.expect(202);
    }
    gate.open();
    assert_eq!(it.wait(&running).await["state"], "succeeded");
    for job in &waiting {
        assert_eq!(it.wait(job).await["state"], "cancelled");
    }
}
