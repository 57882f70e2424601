//! SIGTERM: nothing is lost, nobody waits for ever, and nothing new is taken (G21).

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::process::{Home, Process, path_of, until};

/// A grace that no test waits for.
const LONG_GRACE: [&str; 2] = ["--grace-seconds", "600"];
const SHORT_GRACE: [&str; 2] = ["--grace-seconds", "0.3"];
const NO_GRACE: [&str; 2] = ["--grace-seconds", "0"];
/// After the grace a stop takes the attempts' last half second, and some commits.
const SOON: Duration = Duration::from_secs(20);

fn sleeper(seconds: f64, on_interrupt: &str) -> Value {
    json!({"function": "sleep", "args": [seconds], "on_interrupt": on_interrupt})
}

/// Sends SIGTERM and returns once the server shows that it has heard.
async fn begin_stop(server: &Process) {
    server.terminate();
    until("the server is not ready any more", async || {
        (server.get("/readyz").await.status == 503).then_some(())
    })
    .await;
}

#[tokio::test]
async fn g21_a_stopping_server_takes_nothing_new_and_serves_what_it_has() {
    let home = Home::new();
    let mut server = home.start(&LONG_GRACE).await;
    let done = server.submit(&json!({"function": "echo", "args": ["before"]})).await;
    let done = server.done(&done).await;
    let running = server.submit(&sleeper(3600.0, "rerun")).await;

    begin_stop(&server).await;
    let ready = server.get("/readyz").await.expect(503);
    assert_eq!(ready.code(), "draining");
    assert!(ready.header("retry-after").is_some());
    server.get("/livez").await.expect(200);
    for path in ["/v1/jobs", "/v1/jobs?wait=5"] {
        let refused = server.post(path, &json!({"function": "echo"})).await.expect(503);
        assert_eq!(refused.code(), "draining");
        assert!(refused.header("retry-after").is_some());
    }
    assert_eq!(server.job(&done).await, done);
    server.get(&format!("{}/result", path_of(&done))).await.expect(200);
    let list = server.get("/v1/jobs").await.expect(200).json();
    assert_eq!(list["jobs"].as_array().map(Vec::len), Some(2), "the refused left no job: {list}");
    assert_eq!(server.job(&running).await["state"], "running");

    let stopped = server.post(&format!("{}/cancel", path_of(&running)), &json!({})).await;
    assert!(stopped.status.is_success(), "a cancel is still heard");
    assert_eq!(server.exit_code().await, Some(0), "with nothing left to run the grace is over");
}

#[tokio::test]
async fn g21_a_job_that_ends_within_the_grace_is_recorded_and_its_waiter_told() {
    let home = Home::new();
    let mut server = home.start(&LONG_GRACE).await;
    let job = server.submit(&sleeper(1.5, "rerun")).await;
    begin_stop(&server).await;
    // This wait begins while the server stops.
    let job = server.done(&job).await;
    assert_eq!((&job["state"], &job["attempt"]), (&json!("succeeded"), &json!(1)));
    assert_eq!(server.exit_code().await, Some(0));

    let server = home.start(&[]).await;
    assert_eq!(server.job(&job).await, job);
}

#[tokio::test]
async fn g21_a_job_that_outlasts_the_grace_runs_again_or_fails_as_it_asked() {
    let home = Home::new();
    let mut server = home.start(&SHORT_GRACE).await;
    let rerun = server.submit(&sleeper(3600.0, "rerun")).await;
    let fail = server.submit(&sleeper(3600.0, "fail")).await;
    server.terminate();
    assert_eq!(server.exit_code().await, Some(0));

    let server = home.start(&[]).await;
    let rerun = server.running(&rerun, 2).await;
    assert_eq!(rerun["interruptions"], 1);
    let fail = server.job(&fail).await;
    assert_eq!((&fail["state"], &fail["attempt"]), (&json!("failed"), &json!(1)));
    assert_eq!(fail["error"]["type"], "interrupted");
    assert!(!home.log().contains("recovered jobs"), "the stop has recorded them, not the start");
}

#[tokio::test]
async fn g21_a_thread_that_computes_is_asked_to_stop_and_runs_again() {
    let home = Home::new();
    let mut server = home.start(&NO_GRACE).await;
    let call = json!({"function": "math.factorial", "args": [200_000]});
    let job = server.submit(&call).await;
    assert_eq!(job["state"], "running");
    server.terminate();
    assert_eq!(server.exit_code().await, Some(0));

    let server = home.start(&[]).await;
    let job = server.running(&job, 2).await;
    assert_eq!(job["interruptions"], 1);
}

#[tokio::test]
async fn g9_stops_are_not_deaths_however_many_there_are() {
    let home = Home::new();
    let mut server = home.start(&NO_GRACE).await;
    let job = server.submit(&sleeper(3600.0, "rerun")).await;
    for stops in 1..=4 {
        server.terminate();
        assert_eq!(server.exit_code().await, Some(0));
        server = home.start(&NO_GRACE).await;
        let job = server.running(&job, stops + 1).await;
        assert_eq!(job["interruptions"], stops, "{job}");
    }
}

#[tokio::test]
async fn g21_a_second_signal_ends_the_grace_and_every_waiter_has_an_answer() {
    let home = Home::new();
    let mut server = home.start(&LONG_GRACE).await;
    let job = server.submit(&sleeper(3600.0, "rerun")).await;
    let path = path_of(&job);
    let waits = [
        server.request(Method::GET, &format!("{path}?wait=60")),
        server.request(Method::GET, &format!("{path}/result?wait=60")),
        server.request(Method::GET, &format!("{path}/exception?wait=60")),
        server.request(Method::POST, "/v1/jobs?wait=60").json(&sleeper(3600.0, "rerun")),
    ];
    let waits: Vec<_> = waits.map(|wait| tokio::spawn(server.send(wait))).into();
    until("both jobs run", async || {
        let list = server.get("/v1/jobs?state=running").await.json();
        (list["jobs"].as_array()?.len() == 2).then_some(())
    })
    .await;
    begin_stop(&server).await;
    assert!(waits.iter().all(|wait| !wait.is_finished()), "the grace goes on, and so do the waits");

    let second = Instant::now();
    server.terminate();
    let mut statuses = Vec::new();
    for wait in waits {
        let answer = wait.await.expect("an answer, and no cut connection");
        assert_eq!(answer.json()["done"], false, "answered with the job as it stands");
        statuses.push(answer.status.as_u16());
    }
    assert_eq!(statuses, [200, 202, 202, 202]);
    assert_eq!(server.exit_code().await, Some(0));
    assert!(second.elapsed() < SOON, "took {:?}", second.elapsed());
}

#[tokio::test]
async fn g21_an_idle_connection_does_not_hold_up_the_stop() {
    let home = Home::new();
    let mut server = home.start(&LONG_GRACE).await;
    let idle = tokio::net::TcpStream::connect(server.address()).await.expect("a connection");
    let begun = Instant::now();
    server.terminate();
    assert_eq!(server.exit_code().await, Some(0));
    assert!(begun.elapsed() < SOON, "took {:?}", begun.elapsed());
    drop(idle);
}

/// A server that ends with its standard input, and the other end of that.
async fn until_stdin_closes(home: &Home, flags: &[&str]) -> (Process, std::io::PipeWriter) {
    let (input, other_end) = std::io::pipe().expect("a pipe");
    let mut command = home.command(&["serve", "--until-stdin-closes", "--listen", "127.0.0.1:0"]);
    let log = std::fs::File::create(home.file("log")).expect("a log");
    command.args(flags).stdin(input).stdout(std::process::Stdio::null()).stderr(log);
    (home.started(command).await, other_end)
}

#[tokio::test]
async fn g21_a_server_stops_when_whoever_started_it_closes_its_standard_input() {
    use std::io::Write as _;
    let home = Home::new();
    let (mut server, mut other_end) = until_stdin_closes(&home, &LONG_GRACE).await;
    other_end.write_all(b"what is written there means nothing\n").expect("it is read");
    let job = server.submit(&sleeper(1.5, "rerun")).await;
    drop(other_end);
    // A stop like any other: what runs has the grace, and is recorded.
    assert_eq!(server.exit_code().await, Some(0));
    assert!(home.log().contains("standard input is closed"), "{}", home.log());
    let server = home.start(&[]).await;
    let job = server.job(&job).await;
    assert_eq!((&job["state"], &job["attempt"]), (&json!("succeeded"), &json!(1)));
}

#[tokio::test]
async fn g21_a_closed_standard_input_hurries_no_stop_and_a_signal_does() {
    let home = Home::new();
    let (mut server, other_end) = until_stdin_closes(&home, &LONG_GRACE).await;
    let job = server.submit(&sleeper(3600.0, "rerun")).await;
    begin_stop(&server).await;
    drop(other_end);
    assert_eq!(server.job(&job).await["state"], "running", "the grace goes on");
    server.terminate();
    assert_eq!(server.exit_code().await, Some(0));
}

#[tokio::test]
async fn a_server_that_is_not_told_so_outlives_its_standard_input() {
    let home = Home::new();
    // Every other test's server has /dev/null there, which is at its end from the beginning.
    let server = home.start(&[]).await;
    server.get("/readyz").await.expect(200);
    server.stop().await;
}
