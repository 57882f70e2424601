//! Jobs that start later, and limits of time, each with its own error.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futurity::{Call, JobError, task};
use serde_json::{Value, json};

use crate::gate::{Gate, Nothing, returns_when_asked_to_stop};
use crate::server::TestServer;

fn path(job: &Value) -> String {
    format!("/v1/jobs/{}", job["id"].as_str().expect("an id"))
}

/// A server with one worker.
async fn one_worker() -> (TestServer, Gate) {
    let (gate, function) = Gate::task();
    let server = TestServer::with(|config| config, |builder| builder.function("gate", function));
    let server = server.await;
    let one = json!({"max_workers": 1});
    let request = server.request(reqwest::Method::PUT, "/v1/queues/one").json(&one);
    server.send(request).await;
    (server, gate)
}

#[tokio::test]
async fn a_delayed_job_is_pending_until_its_time_and_then_runs() {
    let server = TestServer::start().await;
    let asked = json!({"function": "echo", "args": [1], "delay_seconds": 0.3});
    let answer = server.post("/v1/jobs", &asked).await.expect(202);
    assert_eq!(answer.header("retry-after"), Some("1"));
    let job = answer.json();
    assert_eq!((&job["state"], &job["attempt"]), (&json!("pending"), &json!(0)));
    assert!(job["run_at"].is_string(), "{job}");
    let done = server.wait(&job).await;
    assert_eq!((&done["result"], &done["attempt"]), (&json!(1), &json!(1)));
    assert!(done["queued_ms"].as_i64().expect("a number") >= 300, "{done}");
}

#[tokio::test]
async fn every_moment_of_rfc_3339_is_taken_and_none_is_too_early() {
    let server = TestServer::start().await;
    for (asked, shown) in [
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000Z"),
        ("2099-12-31T23:59:60Z", "2100-01-01T00:00:00.000Z"),
        ("2099-01-01t00:00:00.0000001z", "2099-01-01T00:00:00.001Z"),
        ("2099-01-01T00:00:00.5-00:00", "2099-01-01T00:00:00.500Z"),
        ("2099-01-01T00:00:00.123456789012+01:00", "2098-12-31T23:00:00.124Z"),
    ] {
        let body = json!({"function": "echo", "run_at": asked});
        let job = server.post("/v1/jobs", &body).await.expect(202).json();
        assert_eq!(job["run_at"], shown, "{asked}");
    }
    for filter in ["created_before=9999-12-31T23:59:59.999Z", "created_after=0001-01-01T00:00:00Z"]
    {
        let list = server.get(&format!("/v1/jobs?{filter}")).await.expect(200).json();
        assert_eq!(list["jobs"].as_array().map(Vec::len), Some(5), "{filter}");
    }
    let refused = json!({"function": "echo", "run_at": "2099-02-29T00:00:00Z"});
    let refused = server.post("/v1/jobs", &refused).await.expect(422).json();
    assert_eq!(refused["errors"][0]["pointer"], "/run_at");
}

#[tokio::test]
async fn retry_after_of_a_job_that_starts_later_is_its_time_and_at_most_a_minute() {
    let server = TestServer::start().await;
    // It counts from the answer: what was spent waiting is not waited again.
    for (path, delay, most) in
        [("/v1/jobs", 3_600, 60..=60), ("/v1/jobs", 20, 2..=20), ("/v1/jobs?wait=1", 20, 2..=19)]
    {
        let asked = json!({"function": "echo", "delay_seconds": delay});
        let answer = server.post(path, &asked).await.expect(202);
        let seconds: i64 = answer.header("retry-after").expect("it").parse().expect("a number");
        assert!(most.contains(&seconds), "{path}: {seconds}");
    }
}

#[tokio::test]
async fn a_scheduled_job_counts_in_its_queue_is_cancelled_at_once_and_outlives_a_restart() {
    let server = TestServer::start().await;
    let asked = json!({"function": "echo", "args": [7], "delay_seconds": 3600});
    let (first, second) = (server.submit(&asked).await, server.submit(&asked).await);
    let due = json!({"function": "echo", "args": [8], "delay_seconds": 0.2});
    let due = server.submit(&due).await;
    let cancelled = server.post(&format!("{}/cancel", path(&first)), &json!({})).await.expect(200);
    assert_eq!(cancelled.json()["cancelled"], true);
    server.wait(&due).await;
    let depth = server.get("/v1/queues/default").await.expect(200).json()["depth"].clone();
    assert_eq!(depth, json!({"pending": 1, "running": 0}));

    let dir = server.stop(Duration::ZERO).await;
    let server = TestServer::on(dir, |config| config, |builder| builder).await;
    let held = server.get(&path(&second)).await.expect(200).json();
    assert_eq!(held["state"], "pending");
    assert_eq!(held["run_at"], second["run_at"]);
    let depth = server.get("/v1/queues/default").await.expect(200).json()["depth"].clone();
    assert_eq!(depth, json!({"pending": 1, "running": 0}));
    let asked = json!({"cancel_futures": true, "wait_seconds": 30});
    server.post("/v1/queues/default/shutdown", &asked).await.expect(200);
    assert_eq!(server.wait(&held).await["state"], "cancelled");
}

#[tokio::test]
async fn g19_a_jump_of_the_wall_clock_moves_a_clients_run_at_and_nothing_else() {
    let wall = Arc::new(AtomicI64::new(1_800_000_000_000));
    let look = Arc::clone(&wall);
    let build =
        |builder: futurity::Builder| builder.wall_clock(move || look.load(Ordering::Relaxed));
    let server = TestServer::with(|config| config, build).await;
    let at = json!({"function": "echo", "args": ["at"], "run_at": "2027-01-15T09:00:00Z"});
    let at = server.submit(&at).await;
    assert_eq!(
        (&at["state"], &at["run_at"]),
        (&json!("pending"), &json!("2027-01-15T09:00:00.000Z"))
    );
    let later = json!({"function": "echo", "delay_seconds": 3600, "total_timeout_seconds": 7200});
    let later = server.submit(&later).await;
    wall.store(1_900_000_000_000, Ordering::Relaxed);
    let done = server.wait(&at).await;
    assert_eq!(done["result"], "at");
    let later = server.get(&path(&later)).await.expect(200).json();
    assert_eq!(later["state"], "pending", "{later}");
    let past = json!({"function": "echo", "run_at": "2001-01-01T00:00:00Z"});
    assert_eq!(server.done(&past).await["state"], "succeeded");
}

#[tokio::test]
async fn a_job_that_did_not_start_in_time_fails_as_start_timeout() {
    let (server, gate) = one_worker().await;
    let holder = server.submit(&json!({"function": "gate", "queue": "one"})).await;
    let asked = json!({"function": "echo", "queue": "one", "start_timeout_seconds": 0.2});
    let late = server.done(&asked).await;
    assert_eq!((&late["state"], &late["attempt"]), (&json!("failed"), &json!(0)));
    assert_eq!(late["error"]["type"], "start_timeout");
    assert_eq!(late["started_at"], Value::Null);
    let result = server.get(&format!("{}/result", path(&late))).await.expect(424);
    assert_eq!(result.json()["error"]["type"], "start_timeout");
    gate.open();
    server.wait(&holder).await;
    let asked =
        json!({"function": "sleep", "args": [0.4], "queue": "one", "start_timeout_seconds": 0.2});
    assert_eq!(server.done(&asked).await["state"], "succeeded", "it had started");
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_fails_as_run_timeout_also_if_it_then_returns() {
    let build =
        |builder: futurity::Builder| builder.function("stubborn", returns_when_asked_to_stop());
    let server = TestServer::with(|config| config, build).await;
    for function in ["sleep", "stubborn"] {
        let args = if function == "sleep" { json!([3600]) } else { json!([]) };
        let asked = json!({"function": function, "args": args, "run_timeout_seconds": 0.2});
        let late = server.done(&asked).await;
        assert_eq!(
            (&late["state"], &late["error"]["type"]),
            (&json!("failed"), &json!("run_timeout"))
        );
        assert_eq!(late["error"]["retryable"], true);
    }
}

#[tokio::test]
async fn total_timeout_ends_what_waits_and_what_runs_and_is_never_retried() {
    let (server, _gate) = one_worker().await;
    let asked = |more: Value| {
        let mut asked = json!({"total_timeout_seconds": 0.3, "retry": {"max_attempts": 5}});
        asked.as_object_mut().expect("it").extend(more.as_object().expect("it").clone());
        asked
    };
    let runs = server.done(&asked(json!({"function": "sleep", "args": [3600]}))).await;
    assert_eq!((&runs["error"]["type"], &runs["attempt"]), (&json!("total_timeout"), &json!(1)));
    let scheduled = asked(json!({"function": "echo", "delay_seconds": 3600}));
    let scheduled = server.done(&scheduled).await;
    assert_eq!(
        (&scheduled["error"]["type"], &scheduled["attempt"]),
        (&json!("total_timeout"), &json!(0))
    );
    server.submit(&json!({"function": "gate", "queue": "one"})).await;
    let waits = server.done(&asked(json!({"function": "echo", "queue": "one"}))).await;
    assert_eq!((&waits["error"]["type"], &waits["attempt"]), (&json!("total_timeout"), &json!(0)));
}

#[tokio::test]
async fn a_scheduled_job_counts_in_max_pending_and_goes_with_a_bulk_cancel() {
    let server = TestServer::start().await;
    let two = json!({"max_workers": 1, "max_pending": 2});
    let request = server.request(reqwest::Method::PUT, "/v1/queues/two").json(&two);
    server.send(request).await;
    let later = json!({"function": "echo", "queue": "two", "delay_seconds": 3600});
    let jobs = [server.submit(&later).await, server.submit(&later).await];
    let full = server.post("/v1/jobs", &later).await.expect(429);
    assert_eq!(full.code(), "queue_full");
    let all = json!({"queue": "two"});
    let cancelled = server.post("/v1/jobs/cancel", &all).await.expect(200).json();
    assert_eq!(cancelled["cancelled"], 2, "{cancelled}");
    for job in &jobs {
        assert_eq!(server.get(&path(job)).await.json()["state"], "cancelled");
    }
    let depth = server.get("/v1/queues/two").await.expect(200).json()["depth"].clone();
    assert_eq!(depth, json!({"pending": 0, "running": 0}));
    server.submit(&later).await;
}

#[tokio::test]
async fn a_job_that_was_due_while_no_server_ran_starts_with_the_next_one() {
    let server = TestServer::start().await;
    let hour = json!({"function": "echo", "args": ["late"], "delay_seconds": 3600});
    let tired = json!({"function": "echo", "delay_seconds": 7200, "total_timeout_seconds": 1800});
    let (hour, tired) = (server.submit(&hour).await, server.submit(&tired).await);
    let dir = server.stop(Duration::ZERO).await;
    let tomorrow = jiff::Timestamp::now().as_millisecond() + 86_400_000;
    let server =
        TestServer::on(dir, |config| config, move |builder| builder.wall_clock(move || tomorrow));
    let server = server.await;
    assert_eq!(server.wait(&hour).await["result"], "late");
    assert_eq!(server.wait(&tired).await["error"]["type"], "total_timeout");
}

#[tokio::test]
async fn when_a_job_was_to_start_stays_to_be_seen_after_it_has() {
    let server = TestServer::start().await;
    let delayed = server.submit(&json!({"function": "echo", "delay_seconds": 0.05})).await;
    assert_eq!(server.wait(&delayed).await["run_at"], delayed["run_at"]);
    assert_ne!(delayed["run_at"], delayed["created_at"]);
    let plain = server.done(&json!({"function": "echo"})).await;
    assert_eq!(plain["run_at"], plain["created_at"], "from when it could start");
    let batch = json!({"function": "echo", "calls": [{}], "delay_seconds": 0.05});
    let batch = server.post("/v1/batches?wait=20", &batch).await.expect(200).json();
    let url = format!("/v1/jobs?batch={}", batch["id"].as_str().expect("an id"));
    let jobs = server.get(&url).await.expect(200).json();
    assert_ne!(jobs["jobs"][0]["run_at"], jobs["jobs"][0]["created_at"]);
    let manual = server.submit(&json!({"manual": true})).await;
    assert_eq!(manual["run_at"], Value::Null, "it does not start");
}

#[tokio::test]
async fn whoever_waits_for_a_change_hears_that_a_job_waits_for_a_slot_now() {
    let (server, _gate) = one_worker().await;
    server.submit(&json!({"function": "gate", "queue": "one"})).await;
    let asked = json!({"function": "echo", "queue": "one", "delay_seconds": 0.3});
    let job = server.submit(&asked).await;
    let request = server.request(reqwest::Method::GET, &format!("{}?wait=30", path(&job)));
    let known = format!("\"{}\"", job["version"]);
    let now = server.send(request.header("if-none-match", known)).await.expect(200).json();
    assert_eq!((&now["state"], &now["run_at"]), (&json!("pending"), &job["run_at"]));
    assert_ne!(now["version"], job["version"]);
}

#[tokio::test]
async fn a_manual_job_that_nobody_completes_in_time_fails_as_total_timeout() {
    let server = TestServer::start().await;
    let job = server.done(&json!({"manual": true, "total_timeout_seconds": 0.2})).await;
    assert_eq!((&job["state"], &job["attempt"]), (&json!("failed"), &json!(0)));
    assert_eq!(job["error"]["type"], "total_timeout");
    let request = server.request(reqwest::Method::PUT, &format!("{}/result", path(&job)));
    let late = server.send(request.json(&json!(1))).await.expect(409);
    assert_eq!(late.code(), "invalid_state");
}

#[tokio::test]
async fn f4_a_cancel_that_comes_after_the_time_and_before_the_end_is_kept() {
    let (asked, mut was_asked) = tokio::sync::watch::channel(false);
    let (gate, _) = tokio::sync::watch::channel(false);
    let opened = gate.clone();
    let slow = task(move |call: Call, _: Nothing| {
        let (asked, mut opened) = (asked.clone(), opened.subscribe());
        async move {
            call.cancelled().await;
            asked.send_replace(true);
            drop(opened.wait_for(|open| *open).await);
            Err::<(), _>(JobError::new("Stopped", "as it was asked to"))
        }
    });
    let server = TestServer::with(|config| config, |builder| builder.function("slow", slow)).await;
    let job = server.submit(&json!({"function": "slow", "run_timeout_seconds": 0.1})).await;
    was_asked.wait_for(|asked| *asked).await.expect("the function lives");
    server.post(&format!("{}/cancel", path(&job)), &json!({})).await.expect(202);
    gate.send_replace(true);
    assert_eq!(server.wait(&job).await["state"], "cancelled");
}

#[tokio::test]
async fn f12_a_functions_own_timeout_error_is_raised_and_none_of_ours() {
    let own = task(|_call: Call, _: Nothing| async move {
        Err::<(), _>(JobError::new("TimeoutError", "mine"))
    });
    let server = TestServer::with(|config| config, |builder| builder.function("own", own)).await;
    let asked = json!({"function": "own", "run_timeout_seconds": 60, "total_timeout_seconds": 60});
    let job = server.done(&asked).await;
    assert_eq!(job["error"]["type"], "TimeoutError");
    let result = server.get(&format!("{}/result", path(&job))).await.expect(424);
    assert_eq!(result.code(), "raised");
}

#[tokio::test]
async fn what_is_said_of_time_is_checked_with_its_pointer() {
    let server = TestServer::start().await;
    let both = json!({"run_at": "2030-01-01T00:00:00Z", "delay_seconds": 1});
    let refused = [
        (both, "/delay_seconds"),
        (json!({"run_at": "tomorrow"}), "/run_at"),
        (json!({"delay_seconds": -1}), "/delay_seconds"),
        (json!({"delay_seconds": "1"}), "/delay_seconds"),
        (json!({"start_timeout_seconds": 0}), "/start_timeout_seconds"),
        (json!({"run_timeout_seconds": -0.5}), "/run_timeout_seconds"),
        (json!({"total_timeout_seconds": 1e300}), "/total_timeout_seconds"),
        (json!({"retention_seconds": -1}), "/retention_seconds"),
        (json!({"retry": 3}), "/retry"),
        (json!({"retry": {}}), "/retry/max_attempts"),
        (json!({"retry": {"max_attempts": 0}}), "/retry/max_attempts"),
        (json!({"retry": {"max_attempts": 101}}), "/retry/max_attempts"),
        (json!({"retry": {"max_attempts": 2, "factor": 0.5}}), "/retry/factor"),
        (json!({"retry": {"max_attempts": 2, "jitter": 2}}), "/retry/jitter"),
        (json!({"retry": {"max_attempts": 2, "initial_seconds": -1}}), "/retry/initial_seconds"),
        (json!({"retry": {"max_attempts": 2, "max_seconds": 1e9}}), "/retry/max_seconds"),
    ];
    for (mut asked, pointer) in refused {
        asked["function"] = json!("echo");
        let problem = server.post("/v1/jobs", &asked).await.expect(422).json();
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let unknown = json!({"function": "echo", "retry": {"max_attempts": 2, "attempts": 3}});
    let problem = server.post("/v1/jobs", &unknown).await.expect(400).json();
    assert_eq!(problem["errors"][0]["pointer"], "/retry/attempts");
}
