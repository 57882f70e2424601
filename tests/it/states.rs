//! A job's states: `Future.running`, `done` and `cancelled`, and the ways between them.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::gate::{Gate, one_worker_behind};
use crate::server::{Answer, TestServer};

const STATES: [&str; 5] = ["succeeded", "failed", "cancelled", "running", "pending"];

/// One job in each state, in the order of `STATES`. There is one worker, which `hold` keeps busy.
async fn one_of_each(it: &TestServer, gate: &Gate) -> Vec<Value> {
    let succeeded = it.done(&json!({"function": "echo"})).await;
    let failed = it.done(&json!({"function": "raise"})).await;
    let running = it.submit(&json!({"function": "hold"})).await;
    gate.started().await;
    let cancelled = it.submit(&json!({"function": "echo"})).await;
    cancel(it, &cancelled, &json!({})).await;
    let pending = it.submit(&json!({"function": "echo"})).await;
    vec![succeeded, failed, cancelled, running, pending]
}

async fn cancel(it: &TestServer, job: &Value, how: &Value) -> Value {
    it.post(url(job, "cancel"), how).await.expect(200).json()
}

fn url<'a>(job: &'a Value, name: &str) -> &'a str {
    job["urls"][name].as_str().expect("a URL")
}

async fn now(it: &TestServer, job: &Value) -> Answer {
    it.get(url(job, "self")).await.expect(200)
}

#[tokio::test]
async fn s1_there_are_five_states_and_a_finished_one_is_succeeded_or_failed() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let jobs = one_of_each(&it, &gate).await;
    for (job, state) in jobs.iter().zip(STATES) {
        assert_eq!(now(&it, job).await.json()["state"], state);
        let listed = it.get(&format!("/v1/jobs?state={state}")).await.expect(200).json();
        let ids: Vec<&Value> =
            listed["jobs"].as_array().expect("jobs").iter().map(|job| &job["id"]).collect();
        assert_eq!(ids, [&job["id"]], "{state}");
    }
    for word in ["finished", "cancelled_and_notified", "PENDING"] {
        let refused = it.get(&format!("/v1/jobs?state={word}")).await.expect(422);
        assert_eq!(refused.code(), "invalid_value", "{word}");
    }
}

#[tokio::test]
async fn s2_done_stands_in_every_representation() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let jobs = one_of_each(&it, &gate).await;
    let listed = it.get("/v1/jobs").await.expect(200).json();
    for (job, state) in jobs.iter().zip(STATES) {
        let done = ["succeeded", "failed", "cancelled"].contains(&state);
        assert_eq!(now(&it, job).await.json()["done"], done, "GET of {state}");
        let head = it.send(it.request(Method::HEAD, url(job, "self"))).await.expect(200);
        assert_eq!(head.header("futurity-done"), Some(done.to_string().as_str()), "{state}");
        let all = listed["jobs"].as_array().expect("jobs");
        let shown = all.iter().find(|shown| shown["id"] == job["id"]).expect("it is listed");
        assert_eq!(shown["done"], done, "list of {state}");
        if state != "pending" {
            let answer = cancel(&it, job, &json!({"mode": "pending"})).await;
            assert_eq!(answer["job"]["done"], done, "cancel of {state}");
        }
    }
}

#[tokio::test]
async fn s3_a_done_job_never_changes_again() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let jobs = one_of_each(&it, &gate).await;
    for (job, state) in jobs.iter().zip(STATES).take(3) {
        let before = now(&it, job).await;
        for mode in ["terminate", "pending"] {
            let answer = cancel(&it, job, &json!({"mode": mode})).await;
            assert_eq!(answer["cancelled"], state == "cancelled", "{mode} of {state}");
            assert_eq!(answer["state"], state);
        }
        let after = now(&it, job).await;
        assert_eq!(after.body, before.body);
        assert_eq!(after.header("etag"), before.header("etag"));
    }
}

#[tokio::test]
async fn s3_each_edge_is_taken_once_and_raises_the_version() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    it.submit(&json!({"function": "hold"})).await;
    gate.started().await;
    let pending = it.submit(&json!({"function": "hold", "args": ["mine"]})).await;
    assert_eq!((&pending["state"], &pending["attempt"]), (&json!("pending"), &json!(0)));
    assert_eq!(pending["version"], 1);
    assert_eq!(pending["started_at"], Value::Null);
    gate.open_once();
    gate.started().await;
    let running = now(&it, &pending).await.json();
    assert_eq!((&running["state"], &running["attempt"]), (&json!("running"), &json!(1)));
    assert_eq!(running["version"], 2);
    gate.open();
    let done = it.wait(&pending).await;
    assert_eq!((&done["state"], &done["attempt"]), (&json!("succeeded"), &json!(1)));
    assert_eq!(done["version"], 3);
    assert_eq!(done["result"], "mine");
    assert_eq!(done["interruptions"], 0);
}

#[tokio::test]
async fn s3_an_interruption_keeps_the_one_future_unfinished_and_counts_the_attempt() {
    let gate = Gate::shut();
    let it = TestServer::with(|config| config, |it| it.function("hold", gate.hold())).await;
    let again = it.submit(&json!({"function": "hold", "args": [7]})).await;
    gate.started().await;
    let dir = it.stop(Duration::ZERO).await;

    let it = TestServer::on(dir, |config| config, |it| it.function("hold", gate.hold())).await;
    gate.started().await;
    let running = now(&it, &again).await.json();
    assert_eq!(running["state"], "running");
    assert_eq!((&running["attempt"], &running["interruptions"]), (&json!(2), &json!(1)));
    assert_eq!(running["error"], Value::Null);
    gate.open();
    let done = it.wait(&again).await;
    assert_eq!((&done["state"], &done["result"]), (&json!("succeeded"), &json!(7)));
    assert_eq!((&done["attempt"], &done["interruptions"]), (&json!(2), &json!(1)));
}

#[tokio::test]
async fn s3_an_interrupted_job_that_asked_to_run_once_has_failed() {
    let gate = Gate::shut();
    let it = TestServer::with(|config| config, |it| it.function("hold", gate.hold())).await;
    let once = it.submit(&json!({"function": "hold", "on_interrupt": "fail"})).await;
    gate.started().await;
    let dir = it.stop(Duration::ZERO).await;

    let it = TestServer::on(dir, |config| config, |it| it.function("hold", gate.hold())).await;
    let job = now(&it, &once).await.json();
    assert_eq!(job["state"], "failed");
    assert_eq!(job["error"]["type"], "interrupted");
    assert_eq!((&job["attempt"], &job["interruptions"]), (&json!(1), &json!(1)));
    assert_eq!(job["error"]["attempt"], 1);
}

#[tokio::test]
async fn s4_a_cancelled_job_is_done_at_once_for_waiters_lists_and_callbacks() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    it.submit(&json!({"function": "hold"})).await;
    gate.started().await;
    // Nobody listens there: the delivery stays due, which is all that is looked at.
    let callback = json!([{"url": "http://127.0.0.1:9/"}]);
    let job = it.submit(&json!({"function": "echo", "callbacks": callback})).await;
    let waiting = format!("{}?wait=60", url(&job, "self"));
    let (waited, answer) =
        tokio::join!(it.get(&waiting), async { cancel(&it, &job, &json!({})).await });
    assert_eq!(answer["cancelled"], true);
    let waited = waited.expect(200).json();
    assert_eq!((&waited["state"], &waited["done"]), (&json!("cancelled"), &json!(true)));
    let callbacks = it.get(url(&job, "callbacks")).await.expect(200).json();
    assert_eq!(callbacks["callbacks"][0]["state"], "pending");
    assert_eq!(callbacks["callbacks"][0]["deliveries"].as_array().map(Vec::len), Some(1));
    let listed = it.get("/v1/jobs?state=cancelled").await.expect(200).json();
    assert_eq!(listed["jobs"][0]["id"], job["id"]);
}

#[tokio::test]
async fn s5_one_worker_and_four_jobs_show_one_running_and_the_other_three_cancel() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(it.submit(&json!({"function": "hold"})).await);
    }
    gate.started().await;
    let mut states = Vec::new();
    for job in &jobs {
        states.push(now(&it, job).await.json()["state"].as_str().map(str::to_owned));
    }
    let states: Vec<_> = states.iter().flatten().map(String::as_str).collect();
    assert_eq!(states, ["running", "pending", "pending", "pending"]);
    for job in &jobs[1..] {
        let answer = cancel(&it, job, &json!({"mode": "pending"})).await;
        assert_eq!(answer["cancelled"], true);
        assert_eq!(answer["job"]["attempt"], 0, "it never started");
        assert_eq!(answer["job"]["started_at"], Value::Null);
    }
    let first = cancel(&it, &jobs[0], &json!({"mode": "pending"})).await;
    assert_eq!((&first["cancelled"], &first["state"]), (&json!(false), &json!("running")));
    gate.open();
    assert_eq!(it.wait(&jobs[0]).await["state"], "succeeded");
}

#[tokio::test]
async fn s6_one_answer_is_one_snapshot_and_its_etag_is_the_version() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    for (job, state) in one_of_each(&it, &gate).await.iter().zip(STATES) {
        snapshot(&now(&it, job).await);
        assert_eq!(now(&it, job).await.json()["state"], state);
    }
    gate.open();
    // These are seen wherever they happen to be on their way.
    for number in 0..20 {
        let answer = it.post("/v1/jobs", &json!({"function": "echo", "args": [number]})).await;
        snapshot(&answer);
        let job = answer.json();
        while !snapshot(&now(&it, &job).await) {}
    }
}

/// Holds headers and body against each other; the contract holds the body's fields against each
/// other. True if the job is done.
fn snapshot(answer: &Answer) -> bool {
    let job = answer.json();
    let done = job["done"] == true;
    let weak = if done { "" } else { "W/" };
    assert_eq!(answer.header("etag"), Some(format!("{weak}\"{}\"", job["version"]).as_str()));
    assert_eq!(answer.header("futurity-state"), job["state"].as_str());
    assert_eq!(answer.header("futurity-done"), Some(done.to_string().as_str()));
    assert_eq!(answer.header("retry-after").is_none(), done);
    let cached = answer.header("cache-control").expect("a header");
    assert_eq!(cached, if done { "private, max-age=3600, immutable" } else { "no-store" });
    let started = job["started_at"].is_string();
    assert_eq!(started, job["attempt"].as_u64() > Some(0), "{job}");
    assert_eq!(job["queued_ms"].is_u64(), started, "{job}");
    done
}
