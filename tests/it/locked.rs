//! Another process locks the database: whoever asks for a write is told to come again, and no outcome is lost.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::process::{Home, Process, until};

/// What an operator's tool does that has begun to write.
struct Lock(Connection);

impl Lock {
    fn take(home: &Home) -> Self {
        let connection = Connection::open(home.database()).expect("a connection");
        connection.busy_timeout(Duration::from_secs(30)).expect("a time-out");
        connection.execute_batch("begin immediate").expect("nobody else has it for long");
        Self(connection)
    }

    fn let_go(self) {
        self.0.execute_batch("rollback").expect("it is let go");
    }
}

/// A server that soon says that its database is locked.
async fn impatient(home: &Home) -> Process {
    let mut command = home.command(&["--grace-seconds", "1", "--listen", "127.0.0.1:0"]);
    command.env("FUTURITY_DEBUG_BUSY_TIMEOUT_MS", "50");
    home.start_as(command).await
}

async fn degraded(server: &Process) -> Vec<String> {
    let ready: Value = server.get("/readyz?verbose").await.expect(200).json();
    serde_json::from_value(ready["degraded"].clone()).expect("sentences")
}

async fn until_said(server: &Process, what: &str) {
    until(what, async || {
        degraded(server).await.iter().any(|trouble| trouble.contains(what)).then_some(())
    })
    .await;
}

async fn submit(server: &Process) -> String {
    let call = json!({"function": "sleep", "args": [0.1]});
    let job: Value = server.post("/v1/jobs", &call).await.expect(202).json();
    assert_eq!(job["state"], "running");
    job["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn g5_a_locked_database_is_said_and_waited_for_and_loses_no_outcome() {
    let home = Home::new();
    let server = impatient(&home).await;
    let id = submit(&server).await;
    let lock = Lock::take(&home);
    until_said(&server, "outcomes that wait to be recorded: 1").await;
    until_said(&server, "another process has locked the database").await;
    let refused = server.post("/v1/jobs", &json!({"function": "echo"})).await.expect(503);
    assert_eq!(refused.code(), "database_busy");
    assert!(refused.header("retry-after").is_some());
    for path in ["/v1/jobs", "/v1/queues", &format!("/v1/jobs/{id}")] {
        server.get(path).await.expect(200);
    }
    lock.let_go();
    let job: Value = server.get(&format!("/v1/jobs/{id}?wait=60")).await.expect(200).json();
    assert_eq!(job["state"], "succeeded");
    until("all is well", async || degraded(&server).await.is_empty().then_some(())).await;
    let queue: Value = server.get("/v1/queues/default").await.expect(200).json();
    assert_eq!(queue["depth"]["running"], 0, "its slot is free: {queue}");
    server.post("/v1/jobs?wait=60", &json!({"function": "echo"})).await.expect(200);
    server.stop().await;
    assert_eq!(home.run(&["fsck"]).await.code, Some(0));
}

#[tokio::test]
async fn g21_a_stop_while_the_database_is_locked_ends_says_what_is_lost_and_blames_no_job() {
    let home = Home::new();
    let mut server = impatient(&home).await;
    let id = submit(&server).await;
    let lock = Lock::take(&home);
    until_said(&server, "outcomes that wait to be recorded: 1").await;
    server.terminate();
    assert_eq!(server.exit_code().await, Some(0));
    let log = home.log();
    assert!(log.contains("outcomes could not be recorded before the end"), "{log}");
    assert!(log.contains(&id), "it is named: {log}");
    lock.let_go();
    let server = impatient(&home).await;
    let job: Value = server.get(&format!("/v1/jobs/{id}?wait=60")).await.expect(200).json();
    assert_eq!((&job["state"], &job["attempt"]), (&json!("succeeded"), &json!(2)));
    server.stop().await;
    let database = Connection::open(home.database()).expect("a connection");
    let crashes: i64 = database
        .query_row("select max(crashes) from calls", (), |row| row.get(0))
        .expect("a number");
    assert_eq!(crashes, 0);
    assert_eq!(home.run(&["fsck"]).await.code, Some(0));
}

#[tokio::test]
async fn g6_a_start_on_a_locked_database_says_so_and_waits_until_it_is_free() {
    let home = Home::new();
    home.start(&[]).await.stop().await;
    let mut lock = Some(Lock::take(&home));
    let mut command = home.command(&["--listen", "127.0.0.1:0"]);
    let log = std::fs::File::create(home.file("log")).expect("a file");
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(log);
    let server = home
        .started_after(command, async |_pid| {
            until("it says so", async || {
                home.log().contains("the start waits up to 60 s until it lets go").then_some(())
            })
            .await;
            lock.take().expect("a lock").let_go();
        })
        .await;
    server.post("/v1/jobs?wait=60", &json!({"function": "echo"})).await.expect(200);
    server.stop().await;
}

#[tokio::test]
async fn g6_a_start_waits_for_no_lock_for_ever_and_a_stop_ends_the_wait() {
    let home = Home::new();
    home.start(&[]).await.stop().await;
    let lock = Lock::take(&home);
    let start = |patience: &str| {
        let mut command = home.command(&["--listen", "127.0.0.1:0"]);
        command.env("FUTURITY_DEBUG_LOCK_PATIENCE_MS", patience);
        let log = std::fs::File::create(home.file("log")).expect("a file");
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(log);
        command.spawn().expect("a process")
    };
    let ended = async |mut server: std::process::Child| {
        until("it ends", async || server.try_wait().expect("a child")).await.code()
    };
    assert_eq!(ended(start("100")).await, Some(74));
    let log = home.log();
    let file = home.database();
    assert!(log.contains(&format!("has had {} locked", file.display())), "{log}");
    assert!(log.contains("let it finish, or end it, and start again"), "{log}");

    let server = start("600000");
    until("it waits", async || home.log().contains("the start waits up to").then_some(())).await;
    let pid = rustix::process::Pid::from_child(&server);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a process");
    assert_eq!(ended(server).await, Some(0));
    assert!(home.log().contains("stopped before it served"), "{}", home.log());
    lock.let_go();
    home.start(&[]).await.stop().await;
}
