//! The log: nobody waits for it, of each kind there are only so many lines, and it holds nothing that clients sent.

use std::fs::File;
use std::io::Read as _;
use std::process::Stdio;

use futures_util::future::join_all;
use rustix::pipe::{fcntl_setpipe_size, pipe};
use serde_json::json;

use crate::process::{Home, Process, until};

/// The least that a pipe may hold.
const PIPE_BYTES: usize = 4096;

fn raises(attempts: u32) -> serde_json::Value {
    let retry = json!({"max_attempts": attempts, "initial_seconds": 0, "jitter": 0});
    json!({"function": "raise", "args": ["ValueError", "no"], "retry": retry})
}

/// Has so many jobs fail, each with so many attempts.
async fn fail(server: &Process, jobs: usize, attempts: u32) {
    let one = raises(attempts);
    for job in join_all((0..jobs).map(|_| server.submit(&one))).await {
        assert_eq!(server.done(&job).await["state"], "failed");
    }
}

#[tokio::test]
async fn a_log_that_nobody_reads_stops_neither_requests_nor_a_stop() {
    let home = Home::new();
    let (unread, full) = pipe().expect("a pipe");
    fcntl_setpipe_size(&full, PIPE_BYTES).expect("a small one");
    let mut command = home.command(&["--listen", "127.0.0.1:0", "--log", "debug"]);
    let second = full.try_clone().expect("a second end");
    command.stdin(Stdio::null()).stdout(Stdio::from(full)).stderr(Stdio::from(second));
    let mut server = home.started(command).await;

    // Each attempt is a line: more than the pipe takes, and more than is kept for it.
    fail(&server, 40, 100).await;
    for _ in 0..200 {
        server.get("/v1/jobs?page_size=1").await.expect(200);
    }
    server.terminate();
    assert_eq!(server.exit_code().await, Some(0), "SIGTERM is heard, and nobody waits for the log");
    drop(unread);
}

#[tokio::test]
async fn lines_that_found_no_room_are_counted_and_said_when_there_is_some() {
    let home = Home::new();
    let (reader, full) = pipe().expect("a pipe");
    fcntl_setpipe_size(&full, PIPE_BYTES).expect("a small one");
    let mut command = home.command(&["--listen", "127.0.0.1:0", "--log", "debug"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::from(full));
    let mut server = home.started(command).await;
    // Two lines of some hundred bytes for each statement of each request: several MiB.
    fail(&server, 80, 100).await;
    let read = std::thread::spawn(move || {
        let mut text = String::new();
        File::from(reader).read_to_string(&mut text).map(|_| text)
    });
    server.terminate();
    assert_eq!(server.exit_code().await, Some(0));
    let text = read.join().expect("a reader").expect("text");
    let said = text.lines().find(|line| line.contains("lines of this log were dropped"));
    let said = said.unwrap_or_else(|| panic!("{} bytes, and no word of it", text.len()));
    assert!(said.contains(" WARN ") && said.contains("lines="), "{said}");
    assert!(text.contains("stopped"), "what was said after it is there");
}

#[tokio::test]
async fn of_a_kind_only_so_many_lines_a_second_are_written_and_the_rest_is_counted() {
    let home = Home::new();
    let server = home.start(&[]).await;
    fail(&server, 200, 1).await;
    server.stop().await;
    let log = home.log();
    let told = log.lines().filter(|line| line.contains("a job has failed"));
    let written = told.clone().filter(|line| !line.contains("left out")).count();
    let left_out = log.lines().filter_map(|line| {
        let (_, rest) = line.split_once("more lines of a kind were left out lines=")?;
        rest.split(' ').next()?.parse::<usize>().ok()
    });
    assert_eq!(written + left_out.sum::<usize>(), 200, "{log}");
    assert!((20..200).contains(&written), "{written} lines");
}

#[tokio::test]
async fn each_job_that_fails_has_a_line_and_each_attempt_before_it_one_for_whoever_debugs() {
    let home = Home::new();
    let server = home.start(&["--log", "futurity=debug"]).await;
    let job = server.submit(&raises(3)).await;
    server.done(&job).await;
    let late = json!({"function": "sleep", "args": [0], "delay_seconds": 600, "total_timeout_seconds": 0.05});
    let late = server.submit(&late).await;
    server.done(&late).await;
    server.stop().await;
    let log = home.log();
    let of = |job: &serde_json::Value, text: &str| {
        let id = job["id"].as_str().expect("an id").to_owned();
        let lines = log.lines().filter(|line| line.contains(&id) && line.contains(text));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let [end] = &of(&job, "a job has failed")[..] else { panic!("{log}") };
    for part in
        [" INFO ", "function=raise", "queue=default", "job.attempt=3", "error.type=\"ValueError\""]
    {
        assert!(end.contains(part), "{part} is in {end}");
    }
    assert_eq!(of(&job, "an attempt has failed; another follows").len(), 2, "{log}");
    assert_eq!(of(&late, "a job has failed: its time was over while it waited").len(), 1, "{log}");
}

#[tokio::test]
async fn a_failed_start_is_told_though_nobody_reads_the_log() {
    let home = Home::new();
    let wrong = home.run(&["--listen", "127.0.0.1:0", "--log", "no=such=filter"]).await;
    assert_eq!(wrong.code, Some(78), "{wrong:?}");
    assert!(wrong.errors.contains("log 'no=such=filter'"), "{wrong:?}");
    until("the file is written", async || {
        std::fs::write(home.file("futurity.toml"), "threads = 0\n").ok()
    })
    .await;
    let wrong = home.run(&["--listen", "127.0.0.1:0"]).await;
    assert_eq!(wrong.code, Some(78), "{wrong:?}");
    assert!(wrong.errors.contains("line 1: threads"), "{wrong:?}");
}
