//! A program that stops what keeps it gains nothing: it is ended all the same, its slot is free again, the log tells.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::process::{Home, Process, until};
use crate::programs::{alive, serving};

/// Without walls, for behind them no reaper can be stopped.
const COMMANDS: &str = r#"
isolation = "none"
[functions.shell]
runtime = "command"
argv = ["/bin/sh", "-c", "eval \"$0\"", "{script}"]
parameters = [{ name = "script" }]
stdin = "none"
stdout = "text"
queue = "one"
[queues.one]
max_workers = 1
"#;

/// Stops its reaper, and the spawner if `too` says so; then goes on under another name.
fn stopping(too: &str, mark: &str) -> String {
    format!(
        "spawner=$(cut -d' ' -f4 /proc/$PPID/stat); kill -STOP $PPID {too}; exec /bin/sleep {mark}"
    )
}

async fn shell(it: &Process, script: &str, options: Value) -> Value {
    let mut body = json!({"function": "shell", "args": [script]});
    let options = options.as_object().expect("an object").clone();
    body.as_object_mut().expect("an object").extend(options);
    it.submit(&body).await
}

#[tokio::test]
async fn a_program_that_stops_its_keeper_is_ended_and_its_slot_is_free() {
    let home = Home::new();
    let it = serving(&home, COMMANDS).await;
    let job = shell(&it, &stopping("", "87651"), json!({})).await;
    let done = it.done(&job).await;
    assert_eq!(done["error"]["type"], "worker_lost", "{done}");
    assert_eq!(alive("sleep 87651"), Vec::<String>::new());
    let next = shell(&it, "echo free", json!({})).await;
    assert_eq!(it.done(&next).await["result"], "free\n");
    let id = job["id"].as_str().expect("an id");
    let log = home.log();
    let line = log.lines().find(|line| line.contains("ends a program itself"));
    let line = line.expect("a line in the log");
    assert!(line.contains(id) && line.contains("its reaper was stopped"), "{line}");
    it.stop().await;
}

#[tokio::test]
async fn a_program_whose_keeper_is_stopped_is_ended_by_a_cancel() {
    let home = Home::new();
    let it = serving(&home, COMMANDS).await;
    let job = shell(&it, "echo; trap '' TERM; exec /bin/sleep 87652", json!({})).await;
    let program = until("it runs", async || alive("sleep 87652").first().cloned()).await;
    let reaper = parent_of(program.split(':').next().expect("a number"));
    stop(reaper);
    let path = format!("{}/cancel", job["urls"]["self"].as_str().expect("a URL"));
    it.post(&path, &json!({"grace_seconds": 0, "wait_seconds": 30})).await;
    assert_eq!(it.done(&job).await["state"], "cancelled");
    assert_eq!(alive("sleep 87652"), Vec::<String>::new());
    it.stop().await;
}

#[tokio::test]
async fn a_program_that_stops_the_spawner_too_holds_nobody_up_for_long() {
    let home = Home::new();
    let it = serving(&home, COMMANDS).await;
    let job = shell(&it, &stopping("$spawner", "87653"), json!({})).await;
    assert_eq!(it.done(&job).await["error"]["type"], "worker_lost");
    let next = shell(&it, "echo free", json!({})).await;
    assert_eq!(it.done(&next).await["result"], "free\n");
    assert_eq!(alive("sleep 87653"), Vec::<String>::new());
    assert!(home.log().contains("the spawner of processes is silent"), "{}", home.log());
    it.stop().await;
}

#[tokio::test]
async fn a_job_whose_spawner_is_stopped_can_be_cancelled() {
    let home = Home::new();
    let it = serving(&home, COMMANDS).await;
    let job = shell(&it, "kill -STOP $(cut -d' ' -f4 /proc/$PPID/stat)", json!({})).await;
    it.done(&job).await;
    let job = shell(&it, "echo never", json!({})).await;
    it.running(&job, 1).await;
    let path = format!("{}/cancel", job["urls"]["self"].as_str().expect("a URL"));
    it.post(&path, &json!({"grace_seconds": 0, "wait_seconds": 30})).await;
    assert_eq!(it.done(&job).await["state"], "cancelled");
    assert!(!home.log().contains("is silent"), "the cancel did not wait for another spawner");
    it.stop().await;
}

#[tokio::test]
async fn a_server_whose_spawner_and_keepers_are_stopped_ends_and_takes_its_programs_along() {
    let home = Home::new();
    let it = serving(&home, COMMANDS).await;
    let job = shell(&it, "exec /bin/sleep 87654", json!({})).await;
    it.running(&job, 1).await;
    let program = until("it runs", async || alive("sleep 87654").first().cloned()).await;
    let reaper = parent_of(program.split(':').next().expect("a number"));
    let spawner = parent_of(&reaper.as_raw_nonzero().to_string());
    stop(spawner);
    stop(reaper);
    it.stop().await;
    assert_eq!(alive("sleep 87654"), Vec::<String>::new());
    until("the spawner is gone", async || kill_process(spawner, Signal::STOP).err()).await;
}

fn parent_of(pid: &str) -> Pid {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let parent = stat.rsplit_once(')').expect("a name").1.split_whitespace().nth(1);
    Pid::from_raw(parent.expect("a parent").parse().expect("a number")).expect("a process")
}

fn stop(process: Pid) {
    kill_process(process, Signal::STOP).expect("a process to stop");
}
