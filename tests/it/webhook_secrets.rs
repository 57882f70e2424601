//! The secrets that sign webhooks: made, shown, rotated beside a server that runs.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use standardwebhooks::Webhook;

use crate::process::{Home, Process};
use crate::receiver::{Receiver, Reply, Seen};

async fn delivered(server: &Process, receiver: &mut Receiver) -> Seen {
    let callbacks = json!([{"url": receiver.at("/hook")}]);
    let job = json!({"function": "echo", "callbacks": callbacks});
    server.post("/v1/jobs", &job).await.expect(202);
    receiver.next().await
}

async fn secret(home: &Home, arguments: &[&str]) -> String {
    let shown = home.run(&[&["webhook-secret"], arguments].concat()).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert_eq!(shown.output.lines().count(), 1, "{shown:?}");
    shown.output.trim().to_owned()
}

/// Whether a receiver that knows only this secret takes it.
fn verifies(seen: &Seen, secret: &str) -> bool {
    let webhook = Webhook::new(secret).expect("a secret");
    webhook.verify(&seen.body, &seen.headers).is_ok()
}

#[tokio::test]
async fn f16_after_a_rotation_both_secrets_verify_and_after_one_at_once_only_the_new_one() {
    let home = Home::new();
    let first = secret(&home, &[]).await;
    let server = home.start(&["--allow-loopback-egress"]).await;
    assert_eq!(secret(&home, &[]).await, first, "made once");
    let mut receiver = Receiver::start(|_| Reply::Status(200)).await;
    delivered(&server, &mut receiver).await.event(&first);

    let second = secret(&home, &["rotate"]).await;
    assert_ne!(second, first);
    assert_eq!(secret(&home, &[]).await, second);
    let seen = delivered(&server, &mut receiver).await;
    seen.event(&first);
    seen.event(&second);
    assert_eq!(seen.header("webhook-signature").split(' ').count(), 2);
    let file = home.data().join("webhook-secret");
    let mode = std::fs::metadata(&file).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // Both are known to the next server too.
    server.stop().await;
    let server = home.start(&["--allow-loopback-egress"]).await;
    let seen = delivered(&server, &mut receiver).await;
    assert!(verifies(&seen, &first) && verifies(&seen, &second));

    let third = secret(&home, &["rotate", "--at-once"]).await;
    let seen = delivered(&server, &mut receiver).await;
    seen.event(&third);
    assert!(!verifies(&seen, &first) && !verifies(&seen, &second));
    server.stop().await;
    assert!([first, second, third].iter().all(|secret| !home.log().contains(&secret[6..])));
}

#[tokio::test]
async fn the_first_delivery_of_a_new_data_directory_is_signed() {
    let mut receiver = Receiver::start(|_| Reply::Status(200)).await;
    for _ in 0..3 {
        let home = Home::new();
        let server = home.start(&["--allow-loopback-egress"]).await;
        let seen = delivered(&server, &mut receiver).await;
        assert!(verifies(&seen, &secret(&home, &[]).await), "{:?}", seen.headers);
    }
}

#[tokio::test]
async fn a_file_that_holds_no_secret_is_told_by_its_name_and_never_repeated() {
    let home = Home::new();
    secret(&home, &[]).await;
    let file = home.data().join("webhook-secret");
    let cases = [
        ("", "there is no secret in it"),
        ("hunter2hunter2\n", "a webhook secret starts with"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\nhunter2\n", "a replaced secret is written"),
    ];
    for (text, why) in cases {
        std::fs::write(&file, text).expect("a file");
        let refused = home.run(&["webhook-secret"]).await;
        assert_eq!(refused.code, Some(74), "{refused:?}");
        assert!(refused.errors.contains("webhook-secret: "), "{refused:?}");
        assert!(refused.errors.contains(why), "{refused:?}");
        assert!(!refused.errors.contains("hunter2"), "{refused:?}");
    }
}

#[tokio::test]
async fn when_and_how_callbacks_are_told_is_set_in_the_file() {
    let home = Home::new();
    let refused = [
        ("schedule_seconds = [5]", "line 2: webhooks.schedule_seconds: must begin with 0"),
        ("schedule_seconds = []", "line 2: webhooks.schedule_seconds: must name 1 to 100"),
        ("timeout_seconds = 0", "line 2: webhooks.timeout_seconds: 0 must be from 0.1 to 120"),
        ("at_once_per_host = 65", "line 2: webhooks.at_once_per_host: 65 must be from 1 to 64"),
        ("retries = 3", "unknown field `retries`"),
    ];
    let file = home.file("futurity.toml");
    for (line, why) in refused {
        std::fs::write(&file, format!("[webhooks]\n{line}\n")).expect("a file");
        let answer = home.run(&["config"]).await;
        assert_eq!(answer.code, Some(78), "{answer:?}");
        assert!(answer.errors.contains(why), "{answer:?}");
    }
    let text = "[webhooks]\nschedule_seconds = [0, 0]\ntimeout_seconds = 5.5\n";
    std::fs::write(&file, text).expect("a file");
    let shown = home.run(&["config"]).await.output;
    for line in ["timeout_seconds = 5.5", "at_once_per_host = 16"] {
        assert!(shown.contains(line), "{shown}");
    }
    let server = home.start(&["--allow-loopback-egress"]).await;
    let mut receiver = Receiver::start(|_| Reply::Status(500)).await;
    delivered(&server, &mut receiver).await;
    receiver.next().await;
    let failed = crate::process::until("it has failed", async || {
        let list = server.get("/v1/callbacks?state=failed").await.expect(200).json();
        Some(list["callbacks"][0].clone()).filter(|callback| callback.is_object())
    });
    let attempts = failed.await["deliveries"][0]["attempts"].clone();
    assert_eq!(attempts.as_array().map(Vec::len), Some(2));
    server.stop().await;
    assert!(home.log().contains("a delivery has failed"), "{}", home.log());
}
