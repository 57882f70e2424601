//! Queues: Python's executors, made, changed and paused over HTTP.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futurity::{Call, Config, JobError, Native, Queue, task};
use reqwest::Method;
use serde_json::{Value, json};

use crate::gate::{Gate, one_worker};
use crate::process::until;
use crate::server::{Answer, TestServer};

pub async fn put(it: &TestServer, name: &str, body: &Value) -> Answer {
    it.send(it.request(Method::PUT, &format!("/v1/queues/{name}")).json(body)).await
}

pub async fn queue(it: &TestServer, name: &str) -> Value {
    it.get(&format!("/v1/queues/{name}")).await.expect(200).json()
}

pub async fn ask(it: &TestServer, name: &str, what: &str) -> Answer {
    it.send(it.request(Method::POST, &format!("/v1/queues/{name}/{what}"))).await
}

pub async fn shut_down(it: &TestServer, name: &str, body: &Value) -> Answer {
    it.post(&format!("/v1/queues/{name}/shutdown"), body).await
}

/// A server with `hold`, and a queue `one` that runs one job at a time.
pub async fn with_one(gate: &Gate) -> TestServer {
    let it = TestServer::with(|config| config, |it| it.function("hold", gate.hold())).await;
    put(&it, "one", &json!({"max_workers": 1})).await.expect(200);
    it
}

pub fn hold(value: impl Into<Value>) -> Value {
    json!({"function": "hold", "args": [value.into()], "queue": "one"})
}

pub fn pending_and_running(queue: &Value) -> (i64, i64) {
    let depth = |name: &str| queue["depth"][name].as_i64().expect("a number");
    (depth("pending"), depth("running"))
}

pub async fn state(it: &TestServer, job: &Value) -> Value {
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
