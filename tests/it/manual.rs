//! Manual jobs: `Future()`, `set_result` and `set_exception` (F20, F21).

use reqwest::Method;
use serde_json::{Value, json};

use crate::gate::{Gate, one_worker_behind};
use crate::process::{Home, path_of};
use crate::receiver::{Receiver, Reply};
use crate::server::{Answer, TestServer};

const REPLAYED: &str = "idempotent-replayed";

/// Sends an end as it is written here.
async fn put(it: &TestServer, job: &Value, end: &str, body: &str) -> Answer {
    let request = it.request(Method::PUT, &format!("{}/{end}", path_of(job)));
    it.send(request.header("content-type", "application/json").body(body.to_owned())).await
}

async fn manual(it: &TestServer) -> Value {
    it.submit(&json!({"manual": true})).await
}

async fn shown(it: &TestServer, job: &Value) -> Value {
    it.get(&path_of(job)).await.expect(200).json()
}

#[tokio::test]
async fn f21_a_manual_job_is_pending_until_its_result_is_put() {
    let it = TestServer::start().await;
    let job = manual(&it).await;
    assert_eq!(
        (&job["state"], &job["done"], &job["version"]),
        (&json!("pending"), &json!(false), &json!(1))
    );
    assert_eq!(
        (&job["manual"], &job["queue"], &job["function"]),
        (&json!(true), &json!(null), &json!("manual"))
    );
    let path = path_of(&job);
    it.get(&format!("{path}/result?wait=0.01")).await.expect(202);
    let waits = [format!("{path}?wait=60"), format!("{path}/result?wait=60")];
    let (waited, result, done) = tokio::join!(it.get(&waits[0]), it.get(&waits[1]), async {
        put(&it, &job, "result", " {\"approved\": 1.0} ").await.expect(200)
    });
    assert_eq!(done.header(REPLAYED), None);
    let done = done.json();
    assert_eq!(
        (&done["state"], &done["version"], &done["attempt"]),
        (&json!("succeeded"), &json!(2), &json!(0))
    );
    assert_eq!((&done["started_at"], &done["run_ms"]), (&json!(null), &json!(null)));
    assert_eq!(waited.expect(200).json(), done);
    assert_eq!(result.expect(200).body, b"{\"approved\": 1.0}", "the very text");
    let seen = it.get(&path).await.expect(200);
    assert_eq!((seen.header("etag"), seen.json()), (Some("\"2\""), done.clone()));
    assert_eq!(it.get(&format!("{path}/exception")).await.expect(200).json(), json!(null));
    let page = it.get("/v1/jobs?function=manual&state=succeeded").await.expect(200).json();
    assert_eq!(page["jobs"], json!([done]));
    let page = it.get("/v1/jobs?queue=default").await.expect(200).json();
    assert_eq!(page["jobs"], json!([]), "it is in no queue");
}

#[tokio::test]
async fn f21_a_manual_job_fails_with_the_exception_that_is_put() {
    let it = TestServer::start().await;
    let job = manual(&it).await;
    let error = json!({"type": "PermissionError", "message": "not approved", "traceback": "line 1",
        "details": {"order": 17}, "retryable": true});
    let done = put(&it, &job, "exception", &error.to_string()).await.expect(200).json();
    assert_eq!(done["state"], "failed");
    let mut kept = error.clone();
    kept["attempt"] = json!(0);
    assert_eq!(done["error"], kept);
    let path = path_of(&job);
    assert_eq!(it.get(&format!("{path}/exception")).await.expect(200).json(), kept);
    let raised = it.get(&format!("{path}/result")).await.expect(424);
    assert_eq!((raised.code().as_str(), &raised.json()["error"]), ("raised", &kept));
    let short = manual(&it).await;
    let done = put(&it, &short, "exception", r#"{"type":"E","message":""}"#).await.expect(200);
    assert_eq!(
        done.json()["error"],
        json!({"type": "E", "message": "", "retryable": false, "attempt": 0})
    );
}

#[tokio::test]
async fn f20_the_first_end_stands_and_the_same_again_is_its_replay() {
    let it = TestServer::start().await;
    let ends = [
        ("result", "[1.0]"),
        ("result", "null"),
        ("exception", r#"{"type":"E","message":"m","details":null}"#),
        ("exception", r#"{"type":"E","message":"m"}"#),
    ];
    let others =
        [("result", "[1]"), ("result", "[1.00]"), ("exception", r#"{"type":"E","message":"n"}"#)];
    for (end, body) in ends {
        let job = manual(&it).await;
        let done = put(&it, &job, end, body).await.expect(200).json();
        let again = put(&it, &job, end, body).await.expect(200);
        assert_eq!((again.header(REPLAYED), again.json()), (Some("true"), done.clone()));
        for (end, body) in others {
            let refused = put(&it, &job, end, body).await.expect(409);
            let problem = refused.json();
            assert_eq!((refused.code().as_str(), &problem["id"]), ("invalid_state", &job["id"]));
            assert_eq!(problem["state"], done["state"]);
        }
        assert_eq!(shown(&it, &job).await, done);
    }
}

#[tokio::test]
async fn f20_of_32_ends_at_once_one_stands_and_the_others_are_refused() {
    let it = TestServer::start().await;
    let job = manual(&it).await;
    let ends = (0..32).map(|number: u8| {
        let (it, job) = (&it, &job);
        async move { put(it, job, "result", &number.to_string()).await }
    });
    let answers = futures_util::future::join_all(ends).await;
    let taken: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 200).collect();
    let [first] = taken.as_slice() else { panic!("{} ends", taken.len()) };
    let refused = answers.iter().filter(|answer| answer.status != 200);
    assert!(refused.clone().all(|answer| answer.code() == "invalid_state"));
    assert_eq!(shown(&it, &job).await, first.json());
}

#[tokio::test]
async fn f20_a_cancelled_job_takes_no_end_and_neither_does_a_call() {
    let it = TestServer::start().await;
    for mode in [json!({}), json!({"mode": "pending"})] {
        let job = manual(&it).await;
        let cancel = format!("{}/cancel", path_of(&job));
        let waiting = format!("{}?wait=60", path_of(&job));
        let (waited, cancelled) =
            tokio::join!(it.get(&waiting), async { it.post(&cancel, &mode).await.expect(200) });
        assert_eq!(cancelled.json()["cancelled"], true);
        assert_eq!(waited.expect(200).json()["state"], "cancelled");
        for (end, body) in [("result", "1"), ("exception", r#"{"type":"E","message":"m"}"#)] {
            let refused = put(&it, &job, end, body).await.expect(409);
            assert_eq!(refused.code(), "invalid_state");
            assert_eq!(refused.json()["state"], "cancelled");
        }
        assert_eq!(it.post(&cancel, &mode).await.expect(200).json()["cancelled"], true);
        it.get(&format!("{}/result", path_of(&job))).await.expect(409);
        let done = manual(&it).await;
        put(&it, &done, "result", "1").await.expect(200);
        let late = it.post(&format!("{}/cancel", path_of(&done)), &mode).await.expect(200).json();
        assert_eq!((&late["cancelled"], &late["state"]), (&json!(false), &json!("succeeded")));
    }
    let running = it.submit(&json!({"function": "sleep", "args": [60]})).await;
    let done = it.done(&json!({"function": "echo", "args": [1]})).await;
    for job in [running, done] {
        let refused = put(&it, &job, "result", "1").await.expect(409);
        assert_eq!((refused.code().as_str(), &refused.json()["id"]), ("invalid_state", &job["id"]));
        assert_eq!(refused.json()["state"], job["state"]);
        assert_eq!(shown(&it, &job).await["version"], job["version"]);
    }
    let nobody = json!({"urls": {"self": "/v1/jobs/6f1c1a52-3d43-4b57-9c02-5d1f3f2b7a10"}});
    put(&it, &nobody, "result", "1").await.expect(404);
}

#[tokio::test]
async fn f21_whoever_gave_a_callback_is_told_of_each_end() {
    let it = TestServer::start().await;
    let mut receiver = Receiver::start(|_| Reply::Status(200)).await;
    for kind in ["job.succeeded", "job.failed", "job.cancelled"] {
        let callbacks = json!([{"url": receiver.at("/x")}]);
        let job = it.submit(&json!({"manual": true, "callbacks": callbacks})).await;
        match kind {
            "job.succeeded" => put(&it, &job, "result", "1").await,
            "job.failed" => put(&it, &job, "exception", r#"{"type":"E","message":"m"}"#).await,
            _ => it.post(&format!("{}/cancel", path_of(&job)), &json!({})).await,
        }
        .expect(200);
        let event = receiver.next().await.event(&it.webhook_secret());
        // How its callbacks stand is not told to them: the bytes are the same at each attempt.
        let mut told = shown(&it, &job).await;
        told.as_object_mut().expect("a job").remove("callbacks");
        assert_eq!((event["type"].as_str(), &event["data"]), (Some(kind), &told));
    }
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn f21_manual_jobs_are_cancelled_and_forgotten_like_any_other() {
    let it = TestServer::start().await;
    let (first, second, third) = (manual(&it).await, manual(&it).await, manual(&it).await);
    let waiting = format!("{}?wait=60", path_of(&first));
    let (waited, counts) = tokio::join!(it.get(&waiting), async {
        it.post("/v1/jobs/cancel", &json!({"ids": [first["id"]]})).await.expect(200).json()
    });
    assert_eq!(counts["cancelled"], 1);
    assert_eq!(waited.expect(200).json()["state"], "cancelled");
    let in_queue =
        it.post("/v1/jobs/cancel", &json!({"queue": "default"})).await.expect(200).json();
    assert_eq!(in_queue["matched"], 0, "they are in no queue");
    let by_label = it.post("/v1/jobs/cancel", &json!({"function": "manual"})).await.expect(200);
    assert_eq!(by_label.json()["cancelled"], 2);
    for job in [&second, &third] {
        assert_eq!(shown(&it, job).await["state"], "cancelled");
    }
    let waiting = manual(&it).await;
    it.send(it.request(Method::DELETE, &path_of(&waiting))).await.expect(409);
    put(&it, &waiting, "result", "1").await.expect(200);
    it.send(it.request(Method::DELETE, &path_of(&waiting))).await.expect(204);
    put(&it, &waiting, "result", "1").await.expect(404);
}

#[tokio::test]
async fn f21_manual_jobs_take_no_slot_and_wait_for_none() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let manual_jobs = [manual(&it).await, manual(&it).await];
    let call = it.submit(&json!({"function": "hold", "kwargs": {"value": 1}})).await;
    gate.started().await;
    assert_eq!(call["state"], "running", "the one worker is free for it");
    for job in &manual_jobs {
        assert_eq!(put(&it, job, "result", "1").await.expect(200).json()["state"], "succeeded");
    }
    gate.open();
    assert_eq!(it.wait(&call).await["result"], 1);
}

#[tokio::test]
async fn f21_a_label_and_arguments_are_kept_and_what_runs_is_refused() {
    let it = TestServer::start().await;
    let asked = json!({"manual": true, "function": "no.such_function", "args": [1, 2], "kwargs": {"a": 1},
        "tags": ["t"], "metadata": {"k": "v"}});
    let job = it.submit(&asked).await;
    for field in ["function", "args", "kwargs", "tags", "metadata"] {
        assert_eq!(job[field], asked[field], "{field}");
    }
    // A label that is a function's name calls it as little as any other.
    let echo = it.submit(&json!({"manual": true, "function": "echo"})).await;
    assert_eq!((&echo["state"], &echo["manual"]), (&json!("pending"), &json!(true)));
    for (field, value) in [
        ("queue", json!("default")),
        ("priority", json!(1)),
        ("on_interrupt", json!("fail")),
        ("retry", json!({"max_attempts": 2})),
        ("run_at", json!("2030-01-01T00:00:00Z")),
        ("delay_seconds", json!(1)),
        ("start_timeout_seconds", json!(1)),
        ("run_timeout_seconds", json!(1)),
        ("function", json!("No Label")),
        ("function", json!(1)),
    ] {
        let mut asked = json!({"manual": true});
        asked[field] = value;
        let refused = it.post("/v1/jobs", &asked).await.expect(422);
        assert_eq!(refused.code(), "invalid_value", "{field}");
        assert_eq!(refused.json()["errors"][0]["pointer"], format!("/{field}"));
    }
    let refused = it.post("/v1/jobs", &json!({"manual": "yes"})).await.expect(422).json();
    let pointers: Vec<&str> = refused["errors"]
        .as_array()
        .expect("some")
        .iter()
        .filter_map(|it| it["pointer"].as_str())
        .collect();
    assert!(pointers.contains(&"/manual"), "{pointers:?}");
    let refused = it.post("/v1/jobs", &json!({"manual": false})).await.expect(422).json();
    assert_eq!(refused["errors"][0]["pointer"], "/function");
}

#[tokio::test]
async fn f21_an_end_that_cannot_be_taken_says_why_and_changes_nothing() {
    let it = TestServer::start().await;
    let job = manual(&it).await;
    for (end, body, status, code) in [
        ("result", "", 400, "malformed_json"),
        ("result", "{", 400, "malformed_json"),
        ("result", r#"{"a":1,"a":2}"#, 400, "malformed_json"),
        ("exception", "", 400, "malformed_json"),
        ("exception", r#"{"type":"E","message":"m","attempt":1}"#, 400, "unknown_field"),
        ("exception", "null", 422, "invalid_value"),
        ("exception", r#""ValueError""#, 422, "invalid_value"),
        ("exception", "{}", 422, "invalid_value"),
        ("exception", r#"{"type":"","message":"m"}"#, 422, "invalid_value"),
        ("exception", r#"{"type":"E"}"#, 422, "invalid_value"),
        ("exception", r#"{"type":"E","message":1}"#, 422, "invalid_value"),
        ("exception", r#"{"type":"E","message":"m","retryable":1}"#, 422, "invalid_value"),
    ] {
        assert_eq!(put(&it, &job, end, body).await.expect(status).code(), code, "{body}");
    }
    let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    const MIB: usize = 1_024 * 1_024;
    let large = put(&it, &job, "result", &text(MIB + 1)).await.expect(413);
    assert_eq!(large.code(), "too_large");
    let large = json!({"type": "E", "message": text(64 * 1_024)}).to_string();
    assert_eq!(put(&it, &job, "exception", &large).await.expect(413).code(), "too_large");
    let query = it.request(Method::PUT, &format!("{}/result?wait=1", path_of(&job))).json(&1);
    assert_eq!(it.send(query).await.expect(400).code(), "bad_request");
    assert_eq!(shown(&it, &job).await, job);

    let done = put(&it, &job, "result", &text(MIB)).await.expect(200).json();
    assert_eq!(done["result_omitted"], true);
    let result = it.get(&format!("{}/result", path_of(&job))).await.expect(200);
    assert_eq!(result.body.len(), MIB);
    let again = put(&it, &job, "result", &text(MIB)).await.expect(200);
    assert_eq!(again.header(REPLAYED), Some("true"));
}

#[tokio::test]
async fn f21_a_manual_job_outlives_its_server_untouched() {
    let home = Home::new();
    let server = home.start(&[]).await;
    let job = server.submit(&json!({"manual": true, "function": "approval"})).await;
    assert_eq!(server.job(&job).await, job);
    server.stop().await;
    let server = home.start(&[]).await;
    assert_eq!(server.job(&job).await, job);
    server.kill_nine();
    let server = home.start(&[]).await;
    assert_eq!(server.job(&job).await, job);
    let end = server.request(Method::PUT, &format!("{}/result", path_of(&job))).json(&json!(7));
    let done = server.send(end).await.expect(200).json();
    server.kill_nine();
    let server = home.start(&[]).await;
    assert_eq!(server.job(&job).await, done, "its end was on disk");
    server.kill_nine();
}

#[tokio::test]
async fn g8_a_manual_job_is_made_once_under_a_key() {
    let it = TestServer::start().await;
    let submit = |path: &str| {
        let request = it.request(Method::POST, path).json(&json!({"manual": true}));
        it.send(request.header("idempotency-key", "k"))
    };
    let job = submit("/v1/jobs").await.expect(202).json();
    let again = submit("/v1/jobs").await.expect(202);
    assert_eq!((again.header(REPLAYED), again.json()), (Some("true"), job.clone()));
    let (waited, done) = tokio::join!(submit("/v1/jobs?wait=60"), async {
        put(&it, &job, "result", "7").await.expect(200).json()
    });
    let waited = waited.expect(200);
    assert_eq!((waited.header(REPLAYED), waited.json()), (Some("true"), done));
}
