//! Callbacks that outlive their server, and what they keep to themselves.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::gate::Gate;
use crate::process::Home;
use crate::receiver::{Receiver, Reply};
use crate::server::TestServer;

/// Base64 of 32 bytes.
const SECRET: &str = "whsec_Zm9yLXRoaXMtcmVjZWl2ZXItb25seS0wMTIzNDU2Nzg=";
const SECRET_BYTES: &[u8] = b"for-this-receiver-only-012345678";

async fn restarted(it: TestServer) -> TestServer {
    let dir = it.stop(Duration::ZERO).await;
    TestServer::on(dir, |config| config, |builder| builder).await
}

#[tokio::test]
async fn f16_a_delivery_without_an_answer_is_sent_again_by_the_next_server() {
    let mut it = TestServer::start().await;
    let mut receiver = Receiver::start(|seen| match seen.nth {
        1 | 2 => Reply::Silence,
        _ => Reply::Status(200),
    })
    .await;
    let callbacks = json!([{"url": receiver.at("/hook"), "secret": SECRET}]);
    let job = it.submit(&json!({"function": "echo", "args": ["é"], "callbacks": callbacks})).await;
    let first = receiver.next().await;
    assert_eq!(first.event(SECRET)["data"]["id"], job["id"]);
    for _ in 0..2 {
        it = restarted(it).await;
        let again = receiver.next().await;
        again.event(SECRET);
        assert_eq!(again.header("webhook-id"), first.header("webhook-id"));
        assert_eq!(again.body, first.body, "the same bytes");
    }
    loop {
        let list = it.get(job["urls"]["callbacks"].as_str().unwrap()).await.expect(200).json();
        if list["callbacks"][0]["state"] == "delivered" {
            assert_eq!(list["callbacks"][0]["id"], first.header("webhook-id"));
            break;
        }
    }
    it = restarted(it).await;
    let other = json!([{"url": receiver.at("/other")}]);
    it.submit(&json!({"function": "echo", "callbacks": other})).await;
    assert_eq!(receiver.next().await.path, "/other", "what was delivered is not sent again");
}

#[tokio::test]
async fn f16_a_callback_that_waits_outlives_its_server() {
    let (_gate, function) = Gate::task();
    let it = TestServer::with(|config| config, |builder| builder.function("held", function)).await;
    let mut receiver = Receiver::start(|_| Reply::Status(200)).await;
    let callbacks = json!([{"url": receiver.at("/hook")}]);
    let job = it.submit(&json!({"function": "held", "callbacks": callbacks})).await;
    let dir = it.stop(Duration::ZERO).await;
    assert!(receiver.is_quiet(), "an interruption is no end");

    let (gate, function) = Gate::task();
    gate.open();
    let it =
        TestServer::on(dir, |config| config, |builder| builder.function("held", function)).await;
    let event = receiver.next().await.event(&it.webhook_secret());
    assert_eq!((&event["type"], &event["data"]["id"]), (&json!("job.succeeded"), &job["id"]));
    assert_eq!(
        (&event["data"]["attempt"], &event["data"]["interruptions"]),
        (&json!(2), &json!(1))
    );
}

#[tokio::test]
async fn f16_the_servers_secret_is_made_once() {
    let mut it = TestServer::start().await;
    let secret = it.webhook_secret();
    it = restarted(it).await;
    assert_eq!(it.webhook_secret(), secret);
    let other = TestServer::start().await;
    assert_ne!(other.webhook_secret(), secret);
}

#[tokio::test]
async fn a_callbacks_own_secret_and_headers_are_used_and_told_to_nobody() {
    let it = TestServer::start().await;
    let mut receiver = Receiver::start(|_| Reply::Status(200)).await;
    let headers = json!({"Authorization": "Bearer k3ep-me", "X-Tenant": "t3nant-9"});
    let callback = json!({"url": receiver.at("/own"), "secret": SECRET, "headers": headers});
    let call = json!({"function": "echo", "callbacks": [callback, {"url": receiver.at("/ours")}]});
    let submitted = it.submit(&call).await;
    let own = receiver.next().await;
    own.event(SECRET);
    assert_eq!(
        (own.header("authorization"), own.header("x-tenant")),
        ("Bearer k3ep-me", "t3nant-9")
    );
    let ours = receiver.next().await;
    ours.event(&it.webhook_secret());
    assert!(!ours.headers.contains_key("authorization"));

    let path = submitted["urls"]["callbacks"].as_str().unwrap();
    let added = it.post(path, &callback).await.expect(201).json();
    receiver.next().await.event(SECRET);
    let answers = [
        submitted.to_string(),
        added.to_string(),
        it.get(path).await.expect(200).json().to_string(),
        it.wait(&submitted).await.to_string(),
        it.get("/v1/jobs").await.expect(200).json().to_string(),
        String::from_utf8_lossy(&own.body).into_owned(),
    ];
    for answer in answers {
        for secret in [&SECRET[6..], "k3ep-me", "t3nant-9"] {
            assert!(!answer.contains(secret), "{answer}");
        }
    }
    let secrets = [&SECRET.as_bytes()[6..], SECRET_BYTES, b"k3ep-me", b"t3nant-9"];
    assert_not_on_disk(&it.dir, &secrets);
    let dir = it.stop(Duration::ZERO).await;
    assert_not_on_disk(&dir, &secrets);
}

fn assert_not_on_disk(dir: &TempDir, secrets: &[&[u8]]) {
    let data = dir.path().join("data");
    let mut read = Vec::new();
    for entry in std::fs::read_dir(&data).expect("a directory") {
        let path = entry.expect("a file").path();
        // A log is removed by the last connection that closes, perhaps this very moment.
        let Ok(bytes) = std::fs::read(&path) else { continue };
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|part| part == *secret);
            assert!(!found, "{} holds {}", path.display(), String::from_utf8_lossy(secret));
        }
        read.push(path);
    }
    assert!(read.contains(&Path::new(&data).join("futurity.db")), "{read:?}");
}

#[tokio::test]
async fn g3_a_seal_key_that_is_lost_is_told_at_the_start_and_not_replaced() {
    let home = Home::new();
    let server = home.start(&[]).await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let callback = json!({"url": "https://example.com/", "secret": secret});
    server.submit(&json!({"manual": true, "callbacks": [callback]})).await;
    server.stop().await;
    let key = home.data().join("seal-key");
    std::fs::rename(&key, home.file("seal-key")).expect("it is lost");
    let refused = home.run(&["--listen", "127.0.0.1:0"]).await;
    assert_eq!(refused.code, Some(65), "{refused:?}");
    assert!(refused.errors.contains("seal-key is missing"), "{refused:?}");
    assert!(!key.exists(), "another one would be in the way of the right one");
    std::fs::rename(home.file("seal-key"), &key).expect("it is back");
    home.start(&[]).await.stop().await;
    std::fs::remove_file(&key).expect("a file");
    home.start(&["--accept-data-loss"]).await.stop().await;
}
