//! A wall clock that is set while the server runs: what others compare with their clocks follows it, and limits of time
//! do not (G19).

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::gate::Gate;
use crate::receiver::{Receiver, Reply};
use crate::server::{REQUEST_LIMIT, TestServer};

const MINUTE_MS: i64 = 60_000;
const YEAR_MS: i64 = 365 * 86_400_000;
/// A receiver tolerates so much between its clock and the sender's.
const TOLERATED_MS: u64 = 300_000;

/// How far the wall clock is ahead of this machine's.
#[derive(Clone, Default)]
struct Wall(Arc<AtomicI64>);

impl Wall {
    fn set(&self, ahead_ms: i64) {
        self.0.store(ahead_ms, Ordering::SeqCst);
    }

    fn now(&self) -> i64 {
        Timestamp::now().as_millisecond() + self.0.load(Ordering::SeqCst)
    }

    /// A server that looks at it.
    async fn server(
        &self,
        build: impl FnOnce(futurity::Builder) -> futurity::Builder,
    ) -> TestServer {
        let wall = self.clone();
        let look = |builder: futurity::Builder| builder.wall_clock(move || wall.now());
        TestServer::with(|config| config, |builder| build(look(builder))).await
    }

    /// Whether that is what it shows, about.
    fn shows(&self, moment: &Value) -> bool {
        self.now().abs_diff(millis(moment)) < MINUTE_MS.unsigned_abs()
    }
}

fn millis(moment: &Value) -> i64 {
    let moment = moment.as_str().expect("a moment");
    moment.parse::<Timestamp>().expect("a moment").as_millisecond()
}

fn path(job: &Value) -> String {
    format!("/v1/jobs/{}", job["id"].as_str().expect("an id"))
}

#[tokio::test]
async fn g19_a_delivery_is_signed_with_the_time_that_the_wall_clock_shows() {
    let wall = Wall::default();
    wall.set(-10 * MINUTE_MS);
    let server = wall.server(|builder| builder).await;
    let mut receiver = Receiver::start(|_| Reply::Status(200)).await;
    for ahead_ms in [-10 * MINUTE_MS, 0, 10 * MINUTE_MS] {
        wall.set(ahead_ms);
        let asked = json!({"function": "echo", "callbacks": [{"url": receiver.at("/told")}]});
        let job = server.submit(&asked).await;
        let seen = receiver.next().await;
        let signed: i64 = seen.header("webhook-timestamp").parse().expect("seconds");
        assert!(wall.now().abs_diff(signed * 1_000) < TOLERATED_MS, "{ahead_ms}: {signed}");
        let told: Value = serde_json::from_str(seen.text()).expect("JSON");
        assert!(wall.shows(&told["timestamp"]), "{told}");
        let callbacks = server.get(&format!("{}/callbacks", path(&job))).await.expect(200).json();
        assert!(wall.shows(&callbacks["callbacks"][0]["created_at"]), "{callbacks}");
    }
}

/// A key of the server on that directory, made as an operator makes it.
fn key(data_dir: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_futurity"));
    command.args(["keys", "create", "--name", "ends", "--expires-in", "1h", "--data-dir"]);
    let made = command.arg(data_dir).output().expect("it runs");
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).expect("a key").trim().to_owned()
}

#[tokio::test]
async fn g19_a_key_ends_by_the_wall_clock() {
    let wall = Wall::default();
    let server = wall.server(|builder| builder).await;
    let key = key(&server.dir.path().join("data"));
    // The server looks at its keys now and then.
    let becomes = async |status: StatusCode| {
        let asked = async {
            loop {
                let request = server.request(Method::GET, "/v1/functions").bearer_auth(&key);
                if server.send(request).await.status == status {
                    return;
                }
            }
        };
        tokio::time::timeout(REQUEST_LIMIT, asked).await.expect("it comes to that");
    };
    becomes(StatusCode::OK).await;
    wall.set(61 * MINUTE_MS);
    becomes(StatusCode::UNAUTHORIZED).await;
    wall.set(0);
    becomes(StatusCode::OK).await;
}

#[tokio::test]
async fn g19_the_times_of_a_job_are_those_of_the_wall_clock_at_its_submission_and_none_goes_back() {
    let wall = Wall::default();
    let (gate, function) = Gate::task();
    let server = wall.server(|builder| builder.function("gate", function)).await;
    let before = server.submit(&json!({"function": "gate"})).await;
    assert_eq!(before["state"], "running", "{before}");
    for ahead_ms in [YEAR_MS, -YEAR_MS] {
        wall.set(ahead_ms);
        let asked = json!({"function": "echo", "tags": ["later"], "retention_seconds": 3600});
        let job = server.done(&asked).await;
        for time in ["created_at", "started_at", "finished_at"] {
            assert!(wall.shows(&job[time]), "{time} of {job}");
        }
        assert_eq!(millis(&job["expires_at"]) - millis(&job["finished_at"]), 3_600_000, "{job}");
        let read = server.get(&path(&job)).await.expect(200).json();
        assert_eq!(read["finished_at"], job["finished_at"]);
        let edge = Timestamp::from_millisecond(wall.now() - MINUTE_MS).expect("a moment");
        let list = format!("/v1/jobs?tag=later&created_after={edge}");
        let found = server.get(&list).await.expect(200).json()["jobs"].clone();
        assert!(found.as_array().expect("jobs").iter().any(|it| it["id"] == job["id"]), "{found}");
        let batch = json!({"function": "echo", "calls": [{"args": [1]}]});
        let batch = server.post("/v1/batches", &batch).await.expect(202).json();
        assert!(wall.shows(&batch["created_at"]), "{batch}");
    }
    gate.open();
    let before = server.wait(&before).await;
    assert!(millis(&before["finished_at"]) >= millis(&before["started_at"]), "{before}");
    for passed in ["queued_ms", "run_ms"] {
        assert!(before[passed].as_i64().expect("a number") < 10 * MINUTE_MS, "{before}");
    }
}

#[tokio::test]
async fn g19_retention_and_delays_do_not_follow_a_wall_clock_that_is_set() {
    let wall = Wall::default();
    let server = wall.server(|builder| builder).await;
    let done = server.done(&json!({"function": "echo", "retention_seconds": 3600})).await;
    let later = server.submit(&json!({"function": "echo", "delay_seconds": 3600})).await;
    for ahead_ms in [YEAR_MS, -YEAR_MS] {
        wall.set(ahead_ms);
        // What is due by now is done before this: the cleaner and the timer look at the clocks each second at most.
        let soon = json!({"function": "echo", "delay_seconds": 1.5, "retention_seconds": 0});
        server.done(&soon).await;
        server.get(&path(&done)).await.expect(200);
        assert_eq!(server.get(&path(&later)).await.expect(200).json()["state"], "pending");
    }
}

#[tokio::test]
async fn g19_retry_after_of_a_job_with_a_run_at_counts_to_it_by_the_wall_clock() {
    let wall = Wall::default();
    let server = wall.server(|builder| builder).await;
    wall.set(-YEAR_MS);
    let at = Timestamp::from_millisecond(wall.now() + 20_000).expect("a moment").to_string();
    let answer = server.post("/v1/jobs", &json!({"function": "echo", "run_at": at})).await;
    let seconds: i64 =
        answer.expect(202).header("retry-after").expect("it").parse().expect("a number");
    assert!((2..=20).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn g19_that_the_wall_clock_was_set_is_told_to_whoever_looks_after_the_server() {
    let wall = Wall::default();
    let server = wall.server(|builder| builder).await;
    let degraded =
        async || server.get("/readyz?verbose").await.expect(200).json()["degraded"].take();
    assert_eq!(degraded().await, json!([]));
    for (ahead_ms, direction) in [(10 * MINUTE_MS, "forward"), (0, "back")] {
        wall.set(ahead_ms);
        let told = degraded().await;
        let told = told[0].as_str().expect("a sentence");
        assert!(told.contains(&format!("the wall clock was set {direction} by 600 s")), "{told}");
    }
}
