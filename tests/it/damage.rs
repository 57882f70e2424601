//! What is lost or altered is never silent (G3): a log of commits that is cut or flipped, values that are, a database that
//! is put back; and what an operator has against it: fsck, backup, restore.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use crate::process::{Finished, Home, Process, path_of};
use crate::refusal::execute;
use crate::sse::Events;

const LOOPBACK: [&str; 2] = ["--listen", "127.0.0.1:0"];
/// Too large for a row: kept in a piece beside it.
const LARGE: usize = 5_000;

fn log_of_commits(home: &Home) -> PathBuf {
    home.data().join("futurity.db-wal")
}

/// A killed server that has acknowledged some jobs, and those.
async fn killed(home: &Home) -> Vec<Value> {
    let server = home.start(&[]).await;
    let mut jobs = Vec::new();
    for number in 0..20 {
        let call = json!({"function": "echo", "args": [format!("value {number}")]});
        jobs.push(server.post("/v1/jobs?wait=10", &call).await.expect(200).json());
    }
    server.kill_nine();
    jobs
}

async fn refuses(home: &Home, word: &str) -> Finished {
    let refused = home.run(&LOOPBACK).await;
    assert_eq!(refused.code, Some(65), "{refused:?}");
    assert!(refused.errors.contains(word), "{word:?}: {refused:?}");
    assert!(refused.errors.contains("restore"), "it says what to do: {refused:?}");
    refused
}

#[tokio::test]
async fn g3_a_log_of_commits_that_is_cut_or_flipped_is_refused_until_the_loss_is_accepted() {
    for cut in [true, false] {
        let home = Home::new();
        let jobs = killed(&home).await;
        let log = log_of_commits(&home);
        let whole = fs::read(&log).expect("a log of commits");
        let mut altered = whole.clone();
        if cut {
            altered.truncate(whole.len() / 2);
        } else {
            altered[whole.len() / 2] ^= 1;
        }
        fs::write(&log, &altered).expect("an altered log");
        refuses(&home, "of its").await;
        assert_eq!(fs::read(&log).expect("the log"), altered, "a refusal touches nothing");
        let found = home.run(&["fsck"]).await;
        assert_eq!(found.code, Some(65), "{found:?}");
        assert!(found.errors.contains("the log of commits is damaged"), "{found:?}");

        // What is not lost is served, and nothing new is taken for what is.
        let server = home.start(&["--accept-data-loss"]).await;
        let mut left = 0;
        for job in &jobs {
            let answer = server.get(&path_of(job)).await;
            left += usize::from(answer.status == 200);
            if answer.status == 200 {
                assert_eq!(answer.json()["args"], job["args"]);
            }
        }
        assert!(left < jobs.len(), "cut: {cut}");
        let call = json!({"function": "echo", "args": ["new"]});
        server.post("/v1/jobs?wait=10", &call).await.expect(200);
        server.stop().await;
        // Once accepted, it is over.
        home.start(&[]).await.stop().await;
        assert_eq!(home.run(&["fsck"]).await.code, Some(0));
    }
}

#[tokio::test]
async fn g3_a_log_or_a_database_that_is_taken_away_is_noticed() {
    let home = Home::new();
    killed(&home).await;
    fs::remove_file(log_of_commits(&home)).expect("a log of commits");
    refuses(&home, "acknowledged were").await;

    let home = Home::new();
    killed(&home).await;
    for name in ["futurity.db", "futurity.db-wal", "futurity.db-shm"] {
        fs::remove_file(home.data().join(name)).expect("a file");
    }
    refuses(&home, "the database is gone").await;
    assert!(!home.database().exists(), "no new one was made");
}

#[tokio::test]
async fn g3_a_callback_that_was_acknowledged_counts_as_a_commit() {
    let home = Home::new();
    let server = home.start(&["--allow-loopback-egress"]).await;
    let manual = server.submit(&json!({"manual": true})).await;
    server.terminate();
    let mut server = server;
    assert_eq!(server.exit_code().await, Some(0));
    let before = fs::read(home.database()).expect("a database");
    let server = home.start(&["--allow-loopback-egress"]).await;
    let path = format!("{}/callbacks", path_of(&manual));
    server.post(&path, &json!({"url": "http://127.0.0.1:9/"})).await.expect(201);
    server.stop().await;
    fs::write(home.database(), before).expect("an older database");
    refuses(&home, "commit").await;
}

#[tokio::test]
async fn g3_a_mark_that_is_altered_is_noticed_and_a_blank_one_is_a_power_cut() {
    let home = Home::new();
    let jobs = killed(&home).await;
    let mark = home.data().join("high-water");
    let whole = fs::read(&mark).expect("a mark");
    let mut altered = whole.clone();
    altered[10] ^= 4;
    fs::write(&mark, altered).expect("an altered mark");
    refuses(&home, "high-water is damaged").await;
    for blank in [Vec::new(), vec![0; whole.len()]] {
        fs::write(&mark, blank).expect("a blank mark");
        let server = home.start(&[]).await;
        server.get(&path_of(&jobs[19])).await.expect(200);
        server.kill_nine();
    }
}

#[tokio::test]
async fn the_order_of_the_ends_of_a_batch_that_was_altered_is_found() {
    for altered in [
        "update batch_ends set jobs = replace(jobs, ']', '')",
        "update batch_ends set jobs = replace(jobs, '3', '9')",
    ] {
        let home = Home::new();
        let server = home.start(&[]).await;
        let batch = json!({"function": "echo", "iterables": [[1, 2, 3]]});
        let batch = server.post("/v1/batches", &batch).await.expect(202).json();
        let path = batch["urls"]["self"].as_str().expect("a path");
        let done = server.get(&format!("{path}?wait=60")).await.expect(200).json();
        assert_eq!(done["counts"]["succeeded"], 3);
        server.stop().await;
        assert_eq!(home.run(&["fsck"]).await.code, Some(0));
        execute(&home.database(), altered).await;
        let found = home.run(&["fsck"]).await;
        assert_eq!(found.code, Some(65), "{found:?}");
        assert!(found.errors.contains("batches have other ends than their jobs"), "{found:?}");
    }
}

#[tokio::test]
async fn g3_an_end_that_is_lost_or_stands_at_another_job_is_told_and_never_shown() {
    for altered in [
        &["update ends set job = -job", "update ends set job = 3 + job"][..],
        &["delete from ends", "update counters set indexed_to = ordinal"],
    ] {
        let home = Home::new();
        let server = home.start(&[]).await;
        let mut jobs = Vec::new();
        for value in ["one", "two"] {
            let call = json!({"function": "echo", "args": [value]});
            jobs.push(server.post("/v1/jobs?wait=10", &call).await.expect(200).json());
        }
        server.stop().await;
        for statement in altered {
            execute(&home.database(), statement).await;
        }
        let found = home.run(&["fsck"]).await;
        assert_eq!(found.code, Some(65), "{found:?}");
        let server = home.start(&[]).await;
        for job in &jobs {
            let shown = server.job(job).await;
            assert_eq!((&shown["damaged"], &shown["result"]), (&json!(["outcome"]), &json!(null)));
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn g3_a_value_that_does_not_read_back_is_told_and_never_shown_or_run() {
    let home = Home::new();
    let server = home.start(&[]).await;
    let done = async |value: String| {
        let call = json!({"function": "echo", "args": [value]});
        server.post("/v1/jobs?wait=10", &call).await.expect(200).json()
    };
    let (small, large) = (done("small".to_owned()).await, done("x".repeat(LARGE)).await);
    let failed = json!({"function": "raise", "args": ["ValueError", "what was said"]});
    let failed = server.post("/v1/jobs?wait=10", &failed).await.expect(200).json();
    server.post("/v1/queues/default/pause", &json!({})).await.expect(200);
    let waits = json!({"function": "echo", "args": ["to be run"]});
    let waits = server.submit(&waits).await;
    let sound = server.submit(&json!({"function": "echo", "args": ["sound"]})).await;
    server.stop().await;

    for statement in [
        "update ends set result = replace(result, 'small', 'smelt')",
        "update chunks set bytes = cast(replace(cast(bytes as text), 'xxxx', 'xxyx') as blob)",
        "update ends set error = replace(error, 'what was', 'what is ')",
        "update calls set arguments = replace(arguments, 'to be run', 'to be ran')",
    ] {
        execute(&home.database(), statement).await;
    }
    let found = home.run(&["fsck"]).await;
    assert_eq!(found.code, Some(65), "{found:?}");
    for job in [&small, &large, &failed, &waits] {
        let id = job["id"].as_str().expect("an id");
        assert!(found.errors.contains(id), "{id} is named: {found:?}");
    }
    assert!(!found.errors.contains(sound["id"].as_str().expect("an id")), "{found:?}");

    let server = home.start(&[]).await;
    for job in [&small, &large, &failed] {
        let shown = server.job(job).await;
        let damaged = shown["damaged"].as_array().expect("a list");
        assert!(damaged.contains(&json!("outcome")) && shown["result"].is_null(), "{shown}");
        assert_eq!((&shown["state"], &shown["error"]), (&job["state"], &json!(null)));
        for path in ["result", "exception"] {
            let answer = server.get(&format!("{}/{path}", path_of(job))).await.expect(500);
            assert_eq!((answer.code().as_str(), &answer.json()["id"]), ("damaged", &job["id"]));
        }
    }
    let listed = server.get("/v1/jobs").await.expect(200).json();
    let damaged = |job: &&Value| job.get("damaged").is_some();
    let listed = listed["jobs"].as_array().expect("a list").iter().filter(damaged).count();
    assert_eq!(listed, 3 + 1, "a list is not held up, and says so too");

    server.post("/v1/queues/default/resume", &json!({})).await.expect(200);
    assert_eq!(server.done(&sound).await["result"], "sound", "it waits for no damaged one");
    let ended = server.done(&waits).await;
    assert_eq!(
        (&ended["state"], &ended["error"]["type"]),
        (&json!("failed"), &json!("damaged_arguments"))
    );
    let retried = server.post(&format!("{}/retry", path_of(&waits)), &json!({})).await.expect(500);
    assert_eq!(retried.code(), "damaged", "what was not submitted is not submitted again");
    server.stop().await;
}

#[tokio::test]
async fn a_backup_of_a_running_server_brings_back_all_that_was_acknowledged_before_it() {
    let home = Home::new();
    let server = home.start(&["--allow-loopback-egress"]).await;
    let call = json!({"function": "echo", "args": ["x".repeat(LARGE)]});
    let done = server.post("/v1/jobs?wait=10", &call).await.expect(200).json();
    let callbacks =
        json!([{"url": "http://127.0.0.1:9/", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}]);
    let manual = server.submit(&json!({"manual": true, "callbacks": callbacks})).await;
    let (file, other) = (home.file("backup"), home.file("other"));
    let (file, other) = (file.to_str().expect("text"), other.to_str().expect("text"));
    let made = home.run(&["backup", file]).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(file).expect("a file").permissions());
    assert_eq!(mode & 0o777, 0o600, "secrets are in it");
    let again = home.run(&["backup", file]).await;
    assert_eq!(again.code, Some(74), "it takes nobody's place: {again:?}");
    let after = server.submit(&json!({"manual": true})).await;
    let key = home.run(&["webhook-secret"]).await.output;
    let seen = server.get("/readyz?verbose").await.expect(200);
    assert_eq!(seen.json()["status"], "ready");
    server.stop().await;

    let refused = home.run(&["restore", file]).await;
    assert_eq!(refused.code, Some(74), "{refused:?}");
    assert!(refused.errors.contains("move it away first"), "{refused:?}");
    fs::rename(home.data(), other).expect("it is moved away");
    // Of the database that is no more there.
    fs::create_dir(home.data()).expect("a directory");
    let mark = PathBuf::from(other).join("high-water");
    fs::copy(mark, home.data().join("high-water")).expect("a mark");
    let restored = home.run(&["restore", file]).await;
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert!(restored.output.contains("all holds: 2 jobs"), "{restored:?}");
    assert_eq!(home.run(&["webhook-secret"]).await.output, key);

    let server = home.start(&["--allow-loopback-egress"]).await;
    assert_eq!(server.get(&path_of(&done)).await.expect(200).json()["result"], done["result"]);
    assert_eq!(server.job(&manual).await["state"], "pending");
    server.get(&path_of(&after)).await.expect(404);
    // Whoever followed before begins anew, once: the place that it is told is one to go on from.
    let mut events = follow(&server, "0").await;
    let reset = events.next().await;
    assert_eq!(reset.kind, "reset", "{reset:?}");
    let floor = reset.data["floor"].to_string();
    drop(events);
    let mut events = follow(&server, &floor).await;
    let next = server.submit(&json!({"manual": true})).await;
    assert_ne!(next["id"], after["id"]);
    let told = events.next().await;
    assert_eq!((told.kind.as_str(), &told.data["id"]), ("state", &next["id"]));
    drop(events);
    server.stop().await;
    assert_eq!(home.run(&["fsck"]).await.code, Some(0));
}

async fn follow(server: &Process, after: &str) -> Events {
    Events::open(server.request(Method::GET, &format!("/v1/events?after={after}"))).await
}

#[tokio::test]
async fn a_restore_that_cannot_place_the_secrets_places_nothing() {
    let home = Home::new();
    home.start(&[]).await.stop().await;
    let (file, other) = (home.file("backup"), home.file("other"));
    let file = file.to_str().expect("text");
    assert_eq!(home.run(&["backup", file]).await.code, Some(0));
    fs::rename(home.data(), &other).expect("it is moved away");
    // A directory where the secret's file is written first.
    fs::create_dir_all(home.data().join("webhook-secret.new")).expect("a directory");
    let refused = home.run(&["restore", file]).await;
    assert_eq!(refused.code, Some(74), "{refused:?}");
    let left: Vec<_> = fs::read_dir(home.data()).expect("a directory").collect();
    let names: Vec<_> = left.into_iter().map(|it| it.expect("a file").file_name()).collect();
    let is_placed = |name: &str| names.iter().any(|it| it.to_string_lossy() == name);
    for name in ["futurity.db", "webhook-secret", "seal-key"] {
        assert!(!is_placed(name), "{names:?}");
    }
    fs::remove_dir(home.data().join("webhook-secret.new")).expect("an empty directory");
    let restored = home.run(&["restore", file]).await;
    assert_eq!(restored.code, Some(0), "{restored:?}");
}

#[tokio::test]
async fn what_is_no_backup_is_refused_and_leaves_nothing_behind() {
    let home = Home::new();
    let file = home.file("nonsense");
    fs::write(&file, vec![7; 10_000]).expect("a file");
    let file = file.to_str().expect("text");
    let refused = home.run(&["restore", file]).await;
    assert_eq!(refused.code, Some(65), "{refused:?}");
    assert_eq!(home.run(&["restore", "absent"]).await.code, Some(74));
    assert!(!home.database().exists());
    let server = home.start(&[]).await;
    let plain = home.run(&["fsck"]).await;
    assert_eq!(plain.code, Some(73), "a server uses it: {plain:?}");
    server.stop().await;
    assert_eq!(home.run(&["fsck"]).await.code, Some(0));
    let nothing = Home::new().run(&["fsck"]).await;
    assert_eq!(nothing.code, Some(74), "{nothing:?}");
    assert!(nothing.errors.contains("--data-dir"), "{nothing:?}");
}

#[tokio::test]
async fn g16_a_log_that_cannot_be_written_stops_nothing() {
    let home = Home::new();
    let server = home.command(&["--log", "debug", "--listen", "127.0.0.1:0"]);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", r#"exec "$@" >/dev/full 2>/dev/full"#, "sh"]).arg(server.get_program());
    command.args(server.get_args()).current_dir(home.file("")).env_clear();
    let server = home.start_as(command).await;
    let done = server.post("/v1/jobs?wait=10", &json!({"function": "echo", "args": [1]})).await;
    assert_eq!(done.expect(200).json()["result"], 1);
    server.get("/v1/nothing").await.expect(404);
    server.stop().await;
    // A command whose answer is lost has failed.
    let mut shell = Command::new("/bin/sh");
    let keys = home.command(&["keys", "create"]);
    shell
        .args(["-c", r#"exec "$@" >/dev/full"#, "sh"])
        .arg(keys.get_program())
        .args(keys.get_args());
    let lost = shell.env_clear().current_dir(home.file("")).output().expect("a command");
    assert_eq!(lost.status.code(), Some(74), "{lost:?}");
    assert!(String::from_utf8_lossy(&lost.stderr).contains("cannot be written"), "{lost:?}");
}
