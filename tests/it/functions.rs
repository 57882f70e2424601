//! Functions: those of the test's own, and those that every server has.

use std::collections::HashMap;
use std::time::Duration;

use dashu_int::UBig;
use futurity::{Builder, Call, Config, JobError, Native, Server, blocking, task};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gate::{Gate, Latch};
use crate::server::{TestServer, config};

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

async fn serving(name: &str, native: Native) -> TestServer {
    TestServer::with(|config| config, |builder| builder.function(name, native)).await
}

fn url<'a>(job: &'a Value, name: &str) -> &'a str {
    job["urls"][name].as_str().expect("a URL")
}

#[tokio::test]
async fn e23_a_panic_on_a_thread_is_the_jobs_error_and_the_server_lives() {
    let one_thread = |config| Config { threads: 1, ..config };
    let explode = blocking(|_call: &Call, _: Nothing| -> Result<(), JobError> {
        panic!("out of {}", "luck")
    });
    let it = TestServer::with(one_thread, |it| it.function("explode", explode)).await;
    for _ in 0..3 {
        let job = it.done(&json!({"function": "explode"})).await;
        assert_eq!(job["state"], "failed");
        assert_eq!(job["error"]["type"], "panic");
        assert_eq!(job["error"]["message"], "out of luck");
        assert_eq!(job["error"]["attempt"], 1);
        assert_eq!(it.get(url(&job, "result")).await.expect(424).code(), "raised");
    }
    // The one thread is still there.
    let job = it.done(&json!({"function": "math.factorial", "args": [5]})).await;
    assert_eq!(job["result"], 120);
}

#[tokio::test]
async fn e23_a_panic_in_a_task_is_the_jobs_error_and_the_server_lives() {
    let at_once = task(|_call: Call, _: Nothing| {
        assert!(std::hint::black_box(false), "before its first step");
        async { Ok::<_, JobError>(()) }
    });
    let later = task(|_call: Call, _: Nothing| async {
        tokio::task::yield_now().await;
        let words: Vec<&str> = Vec::new();
        Ok::<_, JobError>(words[std::hint::black_box(3)].to_owned())
    });
    let wordless = task(|_call: Call, _: Nothing| async {
        if std::hint::black_box(true) {
            std::panic::panic_any(7);
        }
        Ok::<_, JobError>(())
    });
    let build = |it: Builder| {
        it.function("at_once", at_once).function("later", later).function("wordless", wordless)
    };
    let it = TestServer::with(|config| config, build).await;
    for (name, words) in [
        ("at_once", "before its first step"),
        ("later", "out of bounds"),
        ("wordless", "the function panicked"),
    ] {
        let job = it.done(&json!({"function": name})).await;
        assert_eq!((&job["state"], &job["error"]["type"]), (&json!("failed"), &json!("panic")));
        let message = job["error"]["message"].as_str().expect("a message");
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(it.done(&json!({"function": "echo", "args": [1]})).await["result"], 1);
}

#[tokio::test]
async fn e24_a_result_that_is_not_json_fails_that_job() {
    let pairs = task(|_call: Call, _: Nothing| async {
        Ok::<_, JobError>(HashMap::from([((1, 2), "a key that is no text")]))
    });
    let it = serving("pairs", pairs).await;
    let job = it.done(&json!({"function": "pairs"})).await;
    assert_eq!(job["state"], "failed");
    assert_eq!(job["error"]["type"], "invalid_result");
    assert!(job["error"]["message"].as_str().is_some_and(|it| it.contains("not JSON")), "{job}");
    assert_eq!(job["result"], Value::Null);
}

#[derive(Deserialize, JsonSchema)]
struct Length {
    length: usize,
}

#[tokio::test]
async fn e24_a_result_above_8_mib_fails_that_job_and_one_of_8_mib_is_kept() {
    let long =
        blocking(|_call: &Call, Length { length }: Length| Ok::<_, JobError>("x".repeat(length)));
    let it = serving("long", long).await;
    let most = 8 * 1024 * 1024;
    // As JSON text: the quotes count.
    let kept = it.done(&json!({"function": "long", "args": [most - 2]})).await;
    assert_eq!((&kept["state"], &kept["result_omitted"]), (&json!("succeeded"), &json!(true)));
    assert_eq!(it.get(url(&kept, "result")).await.expect(200).body.len(), most);
    let refused = it.done(&json!({"function": "long", "args": [most - 1]})).await;
    assert_eq!(refused["state"], "failed");
    assert_eq!(refused["error"]["type"], "result_too_large");
}

#[tokio::test]
async fn f4_a_thread_that_ignores_its_cancel_is_given_up_and_keeps_its_slot_until_it_returns() {
    let latch = Latch::default();
    let one_thread = |config| Config { threads: 1, ..config };
    let it = TestServer::with(one_thread, |it| it.function("stubborn", latch.stubborn())).await;
    let deaf = it.submit(&json!({"function": "stubborn"})).await;
    assert_eq!(deaf["state"], "running");
    let how = json!({"grace_seconds": 0, "wait_seconds": 60});
    let answer = it.post(url(&deaf, "cancel"), &how).await.expect(200).json();
    assert_eq!((&answer["cancelled"], &answer["state"]), (&json!(true), &json!("cancelled")));
    let next = it.submit(&json!({"function": "math.factorial", "args": [6]})).await;
    assert_eq!(next["state"], "pending");
    // A task takes no thread: it is served, and by then the slot would have been given away.
    it.done(&json!({"function": "echo"})).await;
    assert_eq!(it.get(url(&next, "self")).await.expect(200).json()["state"], "pending");
    latch.release();
    assert_eq!(it.wait(&next).await["result"], 720);
    assert_eq!(it.get(url(&deaf, "self")).await.expect(200).json()["state"], "cancelled");
}

#[tokio::test]
async fn f4_a_function_that_returns_after_it_was_asked_to_stop_has_succeeded() {
    let latch = Latch::default();
    let it = serving("stubborn", latch.stubborn()).await;
    let job = it.submit(&json!({"function": "stubborn", "args": ["all the same"]})).await;
    let how = json!({"grace_seconds": 3600});
    let asked = it.post(url(&job, "cancel"), &how).await.expect(202).json();
    assert_eq!((&asked["cancelled"], &asked["state"]), (&json!(false), &json!("running")));
    assert!(asked["job"]["cancel_requested_at"].is_string());
    latch.release();
    let job = it.wait(&job).await;
    assert_eq!((&job["state"], &job["result"]), (&json!("succeeded"), &json!("all the same")));
    assert_eq!(job["cancel_requested_at"], asked["job"]["cancel_requested_at"]);
}

#[tokio::test]
async fn f4_sleep_stops_at_once_when_it_is_cancelled() {
    let it = TestServer::start().await;
    let job = it.submit(&json!({"function": "sleep", "args": [86_400]})).await;
    // Within this wait it ends by itself or not at all: the grace is longer.
    let how = json!({"grace_seconds": 3600, "wait_seconds": 60});
    let answer = it.post(url(&job, "cancel"), &how).await.expect(200).json();
    assert_eq!(answer["state"], "cancelled");
}

#[tokio::test]
async fn f4_factorial_sees_its_cancel_between_its_steps() {
    let it = TestServer::start().await;
    let job = it.submit(&json!({"function": "math.factorial", "args": [200_000]})).await;
    let how = json!({"grace_seconds": 3600, "wait_seconds": 60});
    let answer = it.post(url(&job, "cancel"), &how).await.expect(200).json();
    // Had it not looked, it would have come to its end and succeeded.
    assert_eq!(answer["state"], "cancelled");
}

#[tokio::test]
async fn f5_a_function_that_raises_cancelled_error_itself_has_failed() {
    let it = TestServer::start().await;
    let job = it.done(&json!({"function": "raise", "args": ["CancelledError"]})).await;
    assert_eq!(job["state"], "failed");
    assert_eq!(it.get(url(&job, "result")).await.expect(424).code(), "raised");
}

#[tokio::test]
async fn progress_is_shown_while_the_attempt_runs_and_does_not_move_the_version() {
    let (first, second) = (Gate::shut(), Gate::shut());
    let gates = (first.clone(), second.clone());
    let work = task(move |call: Call, _: Nothing| {
        let (first, second) = gates.clone();
        async move {
            first.pass().await;
            call.progress(7.5, "all but done".to_owned());
            call.progress(0.25, "a quarter".to_owned());
            second.pass().await;
            call.progress(f64::NAN, None::<String>);
            second.pass().await;
            Ok::<_, JobError>("done")
        }
    });
    let it = serving("work", work).await;
    let job = it.submit(&json!({"function": "work"})).await;
    let shown = async || it.get(url(&job, "self")).await.expect(200);
    first.started().await;
    let silent = shown().await;
    assert_eq!(silent.json()["progress"], Value::Null);
    first.open();
    second.started().await;
    let quarter = shown().await;
    assert_eq!(quarter.json()["progress"], json!({"fraction": 0.25, "message": "a quarter"}));
    assert_eq!(quarter.header("etag"), silent.header("etag"));
    let listed = it.get("/v1/jobs").await.expect(200).json();
    assert_eq!(listed["jobs"][0]["progress"], quarter.json()["progress"]);
    second.open_once();
    second.started().await;
    assert_eq!(shown().await.json()["progress"], json!({"fraction": null, "message": null}));
    second.open();
    assert_eq!(it.wait(&job).await["progress"], Value::Null);
}

#[tokio::test]
async fn a_call_knows_its_job_and_keeps_its_key_in_the_next_attempt() {
    let gate = Gate::shut();
    let build = |it: Builder| {
        let gate = gate.clone();
        it.function(
            "who",
            task(move |call: Call, _: Nothing| {
                let gate = gate.clone();
                async move {
                    call.log("who am I?");
                    tokio::select! {
                        () = gate.pass() => {}
                        () = call.cancelled() => return Err(JobError::new("Stopped", "")),
                    }
                    let (id, key) = (call.id().to_string(), call.idempotency_key());
                    Ok(json!({"id": id, "key": key, "attempt": call.attempt(),
                        "cancelled": call.is_cancelled()}))
                }
            }),
        )
    };
    let it = TestServer::with(|config| config, build).await;
    let job = it.submit(&json!({"function": "who"})).await;
    gate.started().await;
    let dir = it.stop(Duration::ZERO).await;
    gate.open();
    let it = TestServer::on(dir, |config| config, build).await;
    let job = it.wait(&job).await;
    let expected = json!({"id": job["id"], "key": job["id"], "attempt": 2, "cancelled": false});
    assert_eq!(job["result"], expected);
}

#[tokio::test]
async fn a_function_of_ones_own_takes_the_place_of_a_built_in_one() {
    let mine = task(|_call: Call, _: Nothing| async { Ok::<_, JobError>("mine") });
    let it = serving("echo", mine.describe("Not the usual one.")).await;
    assert_eq!(it.done(&json!({"function": "echo"})).await["result"], "mine");
    let list = it.get("/v1/functions").await.expect(200).json();
    let functions = list["functions"].as_array().expect("functions");
    let echoes: Vec<&Value> = functions.iter().filter(|it| it["name"] == "echo").collect();
    assert_eq!(echoes.len(), 1);
    assert_eq!(echoes[0]["description"], "Not the usual one.");
    assert_eq!(echoes[0]["parameters"], json!([]));
}

#[tokio::test]
async fn a_function_with_a_bad_name_keeps_the_server_from_starting() {
    for name in ["", "Echo", "my-function", "a..b", "1st", ".a", &"x".repeat(129)] {
        let dir = TempDir::new().expect("a temporary directory");
        let native = task(|_call: Call, _: Nothing| async { Ok::<_, JobError>(()) });
        let started = Server::builder(config(&dir)).function(name, native).start().await;
        assert_eq!(started.expect_err("it is refused").exit_code(), 78, "{name}");
    }
}

#[tokio::test]
async fn functions_are_listed_with_their_signatures() {
    let it = TestServer::start().await;
    let list = it.get("/v1/functions").await.expect(200).json();
    let names: Vec<&str> = list["functions"]
        .as_array()
        .expect("functions")
        .iter()
        .filter_map(|it| it["name"].as_str())
        .collect();
    assert_eq!(names, ["echo", "http.request", "math.factorial", "raise", "sleep"]);
    let factorial = it.get("/v1/functions/math.factorial").await.expect(200).json();
    assert_eq!(factorial["parameters"][0]["name"], "n");
    assert_eq!(factorial["parameters"][0]["required"], true);
    let raise = it.get("/v1/functions/raise").await.expect(200).json();
    let parameters: Vec<_> = raise["parameters"]
        .as_array()
        .expect("parameters")
        .iter()
        .map(|it| (it["name"].as_str().unwrap_or_default(), &it["default"]))
        .collect();
    let expected =
        [("type", &json!("RuntimeError")), ("message", &json!("")), ("retryable", &Value::Null)];
    assert_eq!(parameters, expected);
    assert_eq!(it.get("/v1/functions/eco").await.expect(404).code(), "not_found");
}

#[tokio::test]
async fn factorial_is_exact_and_a_number_as_long_as_every_reader_takes_it() {
    let it = TestServer::start().await;
    let mut value = UBig::from(1u8);
    let mut wanted = vec![(0, value.clone())];
    for n in 1..=5_000u32 {
        value *= n;
        if (1..=25).contains(&n) || [64, 65, 66, 128, 129, 5_000].contains(&n) {
            wanted.push((n, value.clone()));
        }
    }
    for (n, value) in wanted {
        let job = it.done(&json!({"function": "math.factorial", "args": [n]})).await;
        // 18! is the last below 2^53.
        let text = if n <= 18 { value.to_string() } else { format!("\"{value}\"") };
        let result = it.get(url(&job, "result")).await.expect(200).body;
        assert_eq!(String::from_utf8_lossy(&result), text, "{n}!");
    }
}

#[tokio::test]
async fn factorial_refuses_what_it_cannot_take_as_python_does() {
    let it = TestServer::start().await;
    for (n, message) in [
        (-1, "factorial() not defined for negative values"),
        (i64::MIN, "factorial() not defined for negative values"),
        (200_001, "n is at most 200000"),
        (i64::MAX, "n is at most 200000"),
    ] {
        let job = it.done(&json!({"function": "math.factorial", "args": [n]})).await;
        assert_eq!(
            (&job["state"], &job["error"]["type"]),
            (&json!("failed"), &json!("ValueError"))
        );
        assert_eq!(job["error"]["message"], message);
    }
    for n in ["1.5", "\"5\"", "9223372036854775808", "[5]"] {
        let call = format!(r#"{{"function":"math.factorial","args":[{n}]}}"#);
        let call: Value = serde_json::from_str(&call).expect("JSON");
        assert_eq!(it.post("/v1/jobs", &call).await.expect(422).code(), "invalid_arguments");
    }
}

#[tokio::test]
async fn raise_fails_with_the_error_that_it_is_given() {
    let it = TestServer::start().await;
    let job = it.done(&json!({"function": "raise"})).await;
    let error = json!({"type": "RuntimeError", "message": "", "retryable": null, "attempt": 1});
    assert_eq!(job["error"], error);
    let args = json!(["KeyError", "'k'", true]);
    let job = it.done(&json!({"function": "raise", "args": args})).await;
    let error = json!({"type": "KeyError", "message": "'k'", "retryable": true, "attempt": 1});
    assert_eq!(job["error"], error);
}

#[tokio::test]
async fn sleep_says_for_how_long_it_slept_and_refuses_what_is_no_length() {
    let it = TestServer::start().await;
    let job = it.done(&json!({"function": "sleep", "args": [0]})).await;
    assert_eq!(job["result"], "Slept for 0 seconds");
    let job = it.done(&json!({"function": "sleep", "args": [-1]})).await;
    assert_eq!(job["error"]["type"], "ValueError");
}
