//! Queues: Python's executors, made, changed, paused and shut down over HTTP.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futurity::{Call, Config, JobError, Native, Queue, task};
use reqwest::Method;
use serde_json::{Value, json};

use crate::gate::{Gate, one_worker};
use crate::process::until;
use crate::receiver::{Receiver, Reply};
use crate::server::{Answer, TestServer};

async fn put(it: &TestServer, name: &str, body: &Value) -> Answer {
    it.send(it.request(Method::PUT, &format!("/v1/queues/{name}")).json(body)).await
}

async fn queue(it: &TestServer, name: &str) -> Value {
    it.get(&format!("/v1/queues/{name}")).await.expect(200).json()
}

async fn ask(it: &TestServer, name: &str, what: &str) -> Answer {
    it.send(it.request(Method::POST, &format!("/v1/queues/{name}/{what}"))).await
}

async fn shut_down(it: &TestServer, name: &str, body: &Value) -> Answer {
    it.post(&format!("/v1/queues/{name}/shutdown"), body).await
}

/// A server with `hold`, and a queue `one` that runs one job at a time.
async fn with_one(gate: &Gate) -> TestServer {
    let it = TestServer::with(|config| config, |it| it.function("hold", gate.hold())).await;
    put(&it, "one", &json!({"max_workers": 1})).await.expect(200);
    it
}

fn hold(value: impl Into<Value>) -> Value {
    json!({"function": "hold", "args": [value.into()], "queue": "one"})
}

fn pending_and_running(queue: &Value) -> (i64, i64) {
    let depth = |name: &str| queue["depth"][name].as_i64().expect("a number");
    (depth("pending"), depth("running"))
}

async fn state(it: &TestServer, job: &Value) -> Value {
    it.get(job["urls"]["self"].as_str().expect("a path")).await.expect(200).json()["state"].clone()
}

/// A task that writes down its argument.
fn noting(notes: &Arc<Mutex<Vec<Value>>>) -> Native {
    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Noted {
        value: Value,
    }
    let notes = Arc::clone(notes);
    task(move |_call: Call, Noted { value }: Noted| {
        notes.lock().expect("a lock").push(value);
        async { Ok::<_, JobError>(()) }
    })
}

#[tokio::test]
async fn e17_a_queue_is_made_with_pythons_default_and_changed_field_by_field() {
    let it = TestServer::start().await;
    it.get("/v1/queues/reports").await.expect(404);
    let made = it.send(it.request(Method::PUT, "/v1/queues/reports")).await.expect(200).json();
    let cpus = std::thread::available_parallelism().expect("a number").get();
    assert_eq!(
        made,
        json!({"name": "reports", "max_workers": (cpus + 4).min(32), "max_pending": 1_000_000,
            "paused": false, "shutdown": false, "depth": {"pending": 0, "running": 0},
            "oldest_pending_ms": null})
    );
    let changed = put(&it, "reports", &json!({"max_pending": 7})).await.expect(200).json();
    assert_eq!(
        (&changed["max_workers"], &changed["max_pending"]),
        (&made["max_workers"], &json!(7))
    );
    let changed = put(&it, "reports", &json!({"max_workers": 3})).await.expect(200).json();
    assert_eq!((&changed["max_workers"], &changed["max_pending"]), (&json!(3), &json!(7)));
    assert_eq!(queue(&it, "reports").await, changed);
    let listed = it.get("/v1/queues").await.expect(200).json();
    let names: Vec<&Value> =
        listed["queues"].as_array().expect("a list").iter().map(|queue| &queue["name"]).collect();
    assert_eq!(names, ["default", "reports"]);
    it.done(&json!({"function": "echo", "queue": "reports"})).await;
}

#[tokio::test]
async fn e17_no_workers_and_other_bad_values_are_422_with_a_pointer() {
    let it = TestServer::start().await;
    for (body, pointer) in [
        (json!({"max_workers": 0}), "/max_workers"),
        (json!({"max_workers": -1}), "/max_workers"),
        (json!({"max_workers": 100_001}), "/max_workers"),
        (json!({"max_workers": 1.5}), "/max_workers"),
        (json!({"max_workers": "4"}), "/max_workers"),
        (json!({"max_pending": 0}), "/max_pending"),
        (json!({"max_pending": 100_000_001}), "/max_pending"),
        (json!([]), ""),
    ] {
        let refused = put(&it, "new", &body).await.expect(422);
        assert_eq!(refused.code(), "invalid_value", "{body}");
        assert_eq!(refused.json()["errors"][0]["pointer"], pointer, "{body}");
    }
    assert_eq!(put(&it, "new", &json!({"workers": 1})).await.expect(400).code(), "unknown_field");
    it.get("/v1/queues/new").await.expect(404);
    let long = "q".repeat(65);
    for name in ["a%20b", "%C3%A9", long.as_str()] {
        assert_eq!(put(&it, name, &json!({})).await.expect(422).code(), "invalid_value", "{name}");
        assert_eq!(it.get(&format!("/v1/queues/{name}")).await.expect(404).code(), "not_found");
    }
    for (what, body) in [
        ("shutdown", json!({"cancel_futures": 1})),
        ("shutdown", json!({"wait_seconds": "1"})),
        ("pause", json!([])),
    ] {
        let refused = it.post(&format!("/v1/queues/default/{what}"), &body).await.expect(422);
        assert_eq!(refused.code(), "invalid_value", "{what} {body}");
    }
    for what in ["pause", "resume", "shutdown"] {
        let refused = it.post(&format!("/v1/queues/default/{what}"), &json!({"wait": 1})).await;
        assert_eq!(refused.expect(400).code(), "unknown_field", "{what}");
        assert_eq!(ask(&it, "none", what).await.expect(404).code(), "not_found", "{what}");
    }
    let shown = queue(&it, "default").await;
    assert_eq!((&shown["paused"], &shown["shutdown"]), (&json!(false), &json!(false)));
    let refused = it.post("/v1/jobs", &json!({"function": "echo", "queue": "none"})).await;
    let refused = refused.expect(422).json();
    assert!(
        refused["detail"].as_str().expect("words").contains("PUT /v1/queues/none"),
        "{refused}"
    );
}

#[tokio::test]
async fn e17_max_workers_goes_up_at_once_and_down_as_jobs_end() {
    let gate = Gate::shut();
    let it = with_one(&gate).await;
    for number in 1..=5 {
        it.submit(&hold(number)).await;
    }
    gate.started().await;
    let up = put(&it, "one", &json!({"max_workers": 3})).await.expect(200).json();
    assert_eq!(pending_and_running(&up), (2, 3));
    gate.started().await;
    gate.started().await;
    let down = put(&it, "one", &json!({"max_workers": 1})).await.expect(200).json();
    assert_eq!(pending_and_running(&down), (2, 3), "what runs goes on");
    for left in [2, 1] {
        gate.open_once();
        let shown = until("one more has ended", async || {
            let shown = queue(&it, "one").await;
            (pending_and_running(&shown).1 == left).then_some(shown)
        });
        assert_eq!(pending_and_running(&shown.await).0, 2, "nothing starts while too many run");
    }
    gate.open_once();
    gate.started().await;
    assert_eq!(pending_and_running(&queue(&it, "one").await), (1, 1));
    gate.open();
}

#[tokio::test]
async fn s5_one_worker_and_four_jobs_are_one_running_and_three_that_cancel() {
    let gate = Gate::shut();
    let it = with_one(&gate).await;
    let mut jobs = Vec::new();
    for number in 1..=4 {
        jobs.push(it.submit(&hold(number)).await);
    }
    gate.started().await;
    let states: Vec<&Value> = jobs.iter().map(|job| &job["state"]).collect();
    assert_eq!(states, ["running", "pending", "pending", "pending"]);
    assert_eq!(pending_and_running(&queue(&it, "one").await), (3, 1));
    for job in &jobs[1..] {
        let cancel = job["urls"]["cancel"].as_str().expect("a path");
        let answer = it.post(cancel, &json!({"mode": "pending"})).await.expect(200).json();
        assert_eq!(answer["cancelled"], true);
    }
    assert_eq!(pending_and_running(&queue(&it, "one").await), (0, 1));
    gate.open();
    assert_eq!(it.wait(&jobs[0]).await["state"], "succeeded");
}

#[tokio::test]
async fn a_paused_queue_takes_jobs_and_starts_none_until_it_is_resumed() {
    let gate = Gate::shut();
    let it = with_one(&gate).await;
    put(&it, "one", &json!({"max_workers": 2})).await.expect(200);
    let running = it.submit(&hold(1)).await;
    gate.started().await;
    let paused = ask(&it, "one", "pause").await.expect(200).json();
    assert_eq!((&paused["paused"], pending_and_running(&paused)), (&json!(true), (0, 1)));
    let waiting = it.submit(&hold(2)).await;
    assert_eq!(waiting["state"], "pending", "though a worker is free");
    gate.open();
    assert_eq!(it.wait(&running).await["state"], "succeeded", "what runs goes on");
    assert_eq!(
        it.post("/v1/queues/one/pause", &json!({})).await.expect(200).json()["paused"],
        true
    );
    assert_eq!(state(&it, &waiting).await, "pending");
    let resumed = ask(&it, "one", "resume").await.expect(200).json();
    assert_eq!(resumed["paused"], false);
    assert_eq!(pending_and_running(&resumed).0, 0, "it starts at once");
    assert_eq!(it.wait(&waiting).await["state"], "succeeded");
    ask(&it, "one", "resume").await.expect(200);
}

#[tokio::test]
async fn e2_high_priority_goes_first_and_equals_in_the_order_of_submission() {
    let notes = Arc::default();
    let it = TestServer::with(one_worker, |it| it.function("note", noting(&notes))).await;
    ask(&it, "default", "pause").await.expect(200);
    let mut last = json!(null);
    for (place, priority) in [0, 5, -100, 5, 0, 100, 5, 0].into_iter().enumerate() {
        let call = json!({"function": "note", "args": [place], "priority": priority});
        let job = it.submit(&call).await;
        last = if priority == -100 { job } else { last };
    }
    ask(&it, "default", "resume").await.expect(200);
    it.wait(&last).await;
    assert_eq!(*notes.lock().expect("a lock"), [5, 1, 3, 6, 0, 4, 7, 2].map(Value::from));
}

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

#[tokio::test]
async fn a_full_queue_is_429_until_it_may_hold_more() {
    let it = TestServer::start().await;
    put(&it, "one", &json!({"max_workers": 1, "max_pending": 2})).await.expect(200);
    ask(&it, "one", "pause").await.expect(200);
    let call = json!({"function": "echo", "queue": "one"});
    it.submit(&call).await;
    it.submit(&call).await;
    let refused = it.post("/v1/jobs", &call).await.expect(429);
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("queue_full", Some("1")));
    put(&it, "one", &json!({"max_pending": 3})).await.expect(200);
    let last = it.submit(&call).await;
    it.post("/v1/jobs", &call).await.expect(429);
    put(&it, "one", &json!({"max_pending": 1})).await.expect(200);
    assert_eq!(pending_and_running(&queue(&it, "one").await), (3, 0), "those that wait stay");
    ask(&it, "one", "resume").await.expect(200);
    it.wait(&last).await;
    it.submit(&call).await;
}

#[tokio::test]
async fn the_age_of_the_oldest_waiting_job_is_that_of_the_first_submitted() {
    let it = TestServer::start().await;
    ask(&it, "default", "pause").await.expect(200);
    assert_eq!(queue(&it, "default").await["oldest_pending_ms"], Value::Null);
    let first = it.submit(&json!({"function": "echo", "priority": -5})).await;
    let age = |queue: &Value| queue["oldest_pending_ms"].as_i64().expect("an age");
    let aged = until("it has waited a while", async || {
        Some(age(&queue(&it, "default").await)).filter(|age| *age >= 200)
    })
    .await;
    it.submit(&json!({"function": "echo", "priority": 5})).await;
    assert!(age(&queue(&it, "default").await) >= aged, "a more urgent one is not older");
    it.post(first["urls"]["cancel"].as_str().expect("a path"), &json!({})).await.expect(200);
    assert!(age(&queue(&it, "default").await) < aged, "the next is younger");
    ask(&it, "default", "resume").await.expect(200);
    assert_eq!(queue(&it, "default").await["oldest_pending_ms"], Value::Null);
}

#[tokio::test]
async fn settings_made_over_http_stand_at_the_next_start_and_the_file_had_the_first_word() {
    let filed = |workers: usize| {
        move |mut config: Config| {
            let queue = |max_workers| Queue { max_workers, max_pending: 100 };
            config.queues.insert("filed".to_owned(), queue(workers));
            config.queues.insert("untouched".to_owned(), queue(workers));
            config
        }
    };
    let it = TestServer::with(filed(2), |it| it).await;
    put(&it, "filed", &json!({"max_workers": 5})).await.expect(200);
    put(&it, "made", &json!({"max_workers": 6})).await.expect(200);
    ask(&it, "made", "pause").await.expect(200);
    let job = it.submit(&json!({"function": "echo", "queue": "made"})).await;
    ask(&it, "made", "shutdown").await.expect(202);
    let dir = it.stop(Duration::ZERO).await;

    let it = TestServer::on(dir, filed(9), |it| it).await;
    assert_eq!(queue(&it, "filed").await["max_workers"], 5);
    assert_eq!(queue(&it, "untouched").await["max_workers"], 9);
    let made = queue(&it, "made").await;
    assert_eq!((&made["max_workers"], &made["paused"]), (&json!(6), &json!(true)));
    assert_eq!((&made["shutdown"], pending_and_running(&made)), (&json!(true), (1, 0)));
    assert_eq!(state(&it, &job).await, "pending");
    ask(&it, "made", "resume").await.expect(200);
    assert_eq!(it.wait(&job).await["state"], "succeeded", "queued work still runs");
    shut_down(&it, "made", &json!({"wait_seconds": 60})).await.expect(200);
}
