//! What `futurity fsck` finds in a database: whatever no server starts on, and whatever does not fit together.

use reqwest::Method;
use serde_json::json;

use crate::process::Home;
use crate::refusal::execute;

const LOOPBACK: [&str; 2] = ["--listen", "127.0.0.1:0"];

#[tokio::test]
async fn fsck_finds_whatever_no_server_starts_on() {
    for (altered, code, why) in [
        ("update queues set name = 'no name'", 65, "a queue's name is letters"),
        ("update calls set queue = 'no name'", 65, "a queue's name is letters"),
        ("pragma auto_vacuum = none; vacuum", 74, "auto_vacuum=0"),
    ] {
        let home = Home::new();
        let server = home.start(&[]).await;
        let make = server.request(Method::PUT, "/v1/queues/made").json(&json!({"max_workers": 1}));
        server.send(make).await.expect(200);
        server.post("/v1/queues/made/pause", &json!({})).await.expect(200);
        server.submit(&json!({"function": "echo", "queue": "made"})).await;
        server.stop().await;
        assert_eq!(home.run(&["fsck"]).await.code, Some(0));
        execute(&home.database(), altered).await;
        let found = home.run(&["fsck"]).await;
        assert_eq!(found.code, Some(65), "{altered}: {found:?}");
        assert!(found.errors.contains("no server starts on it"), "{altered}: {found:?}");
        let start = home.run(&LOOPBACK).await;
        assert_eq!(start.code, Some(code), "{altered}: {start:?}");
        for said in [&found, &start] {
            assert!(said.errors.contains(why), "{altered}: {said:?}");
        }
    }
}

#[tokio::test]
async fn an_end_without_its_call_and_a_call_without_its_end_are_found() {
    for (altered, found) in [
        ("delete from calls where ordinal = 1", "ends are of jobs that are not there"),
        ("delete from ends where job = 2", "jobs are done and have no end"),
        ("insert into unfinished (job) values (1)", "are among the unfinished, and are done"),
        ("update calls set state = 'pending' where ordinal = 1", "does not follow from how far"),
    ] {
        let home = Home::new();
        let server = home.start(&[]).await;
        server.post("/v1/jobs?wait=10", &json!({"function": "echo"})).await.expect(200);
        let raises = json!({"function": "raise", "args": ["ValueError", "no"]});
        server.post("/v1/jobs?wait=10", &raises).await.expect(200);
        server.stop().await;
        assert_eq!(home.run(&["fsck"]).await.code, Some(0));
        execute(&home.database(), altered).await;
        let told = home.run(&["fsck"]).await;
        assert_eq!(told.code, Some(65), "{told:?}");
        assert!(told.errors.contains(found), "{altered}: {told:?}");
    }
}
