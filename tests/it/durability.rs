//! No 202 before its row is on stable storage (G1), as the kernel sees it; and a server that does it
//! wrongly, to show that the check would notice.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::process::{Home, Process, until};
use crate::trace::{Verdict, judge};
use crate::wire::Wire;

const CONNECTIONS: usize = 64;
const SUBMISSIONS_EACH: usize = 8;
const CALLS: &str = "trace=write,pwrite64,writev,sendto,sendmsg,fdatasync,fsync";
/// A page of the log, and a whole answer.
const STRING_BYTES: &str = "4200";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_g1_no_202_leaves_before_the_sync_of_its_row() {
    let verdict = match verdict(&[]).await {
        Ok(verdict) => verdict,
        Err(why) => return println!("SKIPPED: durability is not checked here: {why}"),
    };
    let Verdict { answered, unwritten, early, syncs } = verdict;
    assert!(unwritten.is_empty(), "rows that no write to the log contains: {unwritten:?}");
    assert!(early.is_empty(), "{} of {} left too early: {early:?}", early.len(), answered.len());
    println!("{} answers of 202, {syncs} syncs of the log, none early", answered.len());
}

/// The negative control. Only a debug build can be told to do it wrongly.
#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_g1_the_check_notices_a_server_that_does_not_sync() {
    let verdict = match verdict(&[("FUTURITY_DEBUG_SYNCHRONOUS", "normal")]).await {
        Ok(verdict) => verdict,
        Err(why) => return println!("SKIPPED: durability is not checked here: {why}"),
    };
    let Verdict { answered, unwritten, early, syncs } = verdict;
    assert!(unwritten.is_empty(), "the rows are written, if not synced: {unwritten:?}");
    assert!(early.len() > answered.len() / 2, "only {} of {}", early.len(), answered.len());
    println!("{} answers of 202, {syncs} syncs of the log, {} early", answered.len(), early.len());
}

/// What the kernel saw of a server under load, or why it cannot be asked here.
async fn verdict(environment: &[(&str, &str)]) -> Result<Verdict, String> {
    can_trace()?;
    let home = Home::new();
    let trace = home.file("trace");
    let server = home.command(&["--log", "warn", "--listen", "127.0.0.1:0"]);
    let mut command = Command::new("strace");
    // With -D the server is our child and strace its grandchild, so signals reach the server.
    command.args(["-D", "-f", "-x", "-y", "--seccomp-bpf", "-s", STRING_BYTES, "-e", CALLS, "-o"]);
    command.arg(&trace).arg(server.get_program()).args(server.get_args());
    command.current_dir(home.file("")).env_clear().envs(environment.iter().copied());
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
    let process = home.start_as(command).await;
    let acknowledged = submit_at_once(&process).await;
    process.stop().await;

    let text = until("strace has written all it saw", async || {
        let text = std::fs::read_to_string(&trace).expect("a trace");
        let last = text.trim_end().lines().next_back()?;
        last.contains("+++ exited with 0 +++").then_some(text)
    })
    .await;
    let verdict = judge(&text);
    let seen = &verdict.answered;
    assert_eq!(acknowledged.len(), CONNECTIONS * SUBMISSIONS_EACH, "each submission is accepted");
    assert_eq!(*seen, acknowledged, "the trace has each answer, and no other");
    Ok(verdict)
}

/// Submits on all connections at once; the ids that were acknowledged.
async fn submit_at_once(server: &Process) -> BTreeSet<Uuid> {
    let start = Arc::new(Barrier::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let mut wire = Wire::connect(server.address()).await.expect("a connection");
        let start = Arc::clone(&start);
        connections.spawn(async move {
            let (mut ids, under_way) = (BTreeSet::new(), AtomicUsize::new(0));
            start.wait().await;
            for number in 0..SUBMISSIONS_EACH {
                let call = json!({"function": "echo", "args": [number]});
                let answer = wire.post("/v1/jobs", &call, &under_way).await.expect("an answer");
                assert_eq!(answer.status, 202, "{answer:?}");
                let id = answer.json()["id"].as_str().map(Uuid::parse_str);
                ids.insert(id.expect("an id").expect("a UUID"));
            }
            ids
        });
    }
    connections.join_all().await.into_iter().flatten().collect()
}

/// Whether strace is there, and may do its work.
fn can_trace() -> Result<(), String> {
    let mut command = Command::new("strace");
    command.args(["-f", "--seccomp-bpf", "-e", CALLS, "-o", "/dev/null", "true"]);
    let tried = command.stdin(Stdio::null()).output();
    let output = tried.map_err(|error| format!("strace cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("strace is not allowed: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
