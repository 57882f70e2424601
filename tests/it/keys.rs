//! API keys: made and taken back beside a server that runs, and found nowhere.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::process::{Home, Process, until};
use crate::scopes::operations;
use crate::server::Answer;

/// What needs no key: whoever may reach the server may know that it lives, and how it is spoken to.
const OPEN: [&str; 4] = ["/livez", "/readyz", "/openapi.yaml", "/problems/unauthenticated"];
const CLOSED: [&str; 4] = ["/v1/jobs", "/v1/functions", "/v1/functions/echo", "/v1/nothing"];

/// A key as `futurity keys create` prints it: its id and its text.
async fn create(home: &Home, name: &str) -> (String, String) {
    let made = home.run(&["keys", "create", "--name", name]).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    let text = made.output.trim().to_owned();
    let mut parts = text.split('_');
    let (prefix, id, secret) = (parts.next(), parts.next(), parts.next());
    assert_eq!((prefix, parts.next()), (Some("fut"), None), "fut_<id>_<secret>: {text}");
    assert_eq!(secret.map(str::len), Some(64), "256 bits: {text}");
    assert!(!made.errors.contains(&text), "shown once");
    (id.expect("an id").to_owned(), text)
}

async fn get(server: &Process, path: &str, authorization: Option<&str>) -> Answer {
    let mut request = server.request(Method::GET, path);
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    server.send(request).await
}

async fn refused(server: &Process, path: &str, authorization: Option<&str>) {
    let answer = get(server, path, authorization).await.expect(401);
    assert_eq!(answer.code(), "unauthenticated", "{path}");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
}

#[tokio::test]
async fn keys_are_asked_for_from_the_first_one_on_and_one_that_is_taken_back_opens_nothing() {
    let home = Home::new();
    let server = home.start(&[]).await;
    get(&server, "/v1/jobs", None).await.expect(200);
    // Without any key nothing is asked for, so nothing that is sent can be wrong.
    get(&server, "/v1/jobs", Some("Bearer fut_nobody_nothing")).await.expect(200);

    let (first_id, first) = create(&home, "first").await;
    for path in CLOSED {
        refused(&server, path, None).await;
        refused(&server, path, Some("Bearer fut_nobody_nothing")).await;
    }
    for wrong in [format!("Basic {first}"), format!("Bearer {first}0"), first.clone()] {
        refused(&server, "/v1/jobs", Some(&wrong)).await;
    }
    refused(&server, &format!("/v1/jobs?key={first}"), None).await;
    for path in OPEN {
        get(&server, path, None).await.expect(200);
    }
    let bearer = format!("Bearer {first}");
    get(&server, "/v1/jobs", Some(&bearer)).await.expect(200);
    get(&server, "/v1/jobs", Some(&format!("bearer {first}"))).await.expect(200);
    let call = json!({"function": "echo", "args": [1]});
    let submit = || server.request(Method::POST, "/v1/jobs").json(&call);
    server.send(submit()).await.expect(401);
    server.send(submit().header("authorization", &bearer)).await.expect(202);

    let (_, second) = create(&home, "second").await;
    let second = format!("Bearer {second}");
    get(&server, "/v1/jobs", Some(&second)).await.expect(200);
    let revoked = home.run(&["keys", "revoke", &first_id]).await;
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    // The very next request, without a restart.
    refused(&server, "/v1/jobs", Some(&bearer)).await;
    get(&server, "/v1/jobs", Some(&second)).await.expect(200);
    server.stop().await;
}

/// A server whose only key is taken back in this way lets nobody in, now and after a restart, until somebody says so.
async fn stays_closed(taken_back: impl AsyncFnOnce(&Home, &str)) {
    let home = Home::new();
    let server = home.start(&[]).await;
    let (id, text) = create(&home, "only").await;
    let bearer = format!("Bearer {text}");
    get(&server, "/v1/jobs", Some(&bearer)).await.expect(200);
    taken_back(&home, &id).await;
    until("the server sees it", async || {
        let trouble =
            server.get("/readyz?verbose").await.expect(200).json()["degraded"].to_string();
        trouble.contains("there is no API key: nobody is let in").then_some(())
    })
    .await;
    for it in operations().iter().filter(|it| it.needs.is_some()) {
        for authorization in [None, Some(bearer.as_str())] {
            let mut request = server.request(it.method.clone(), &it.path());
            if let Some(value) = authorization {
                request = request.header("authorization", value);
            }
            let answer = server.send(request).await;
            assert_eq!(answer.status.as_u16(), 401, "{} {}", it.method, it.template);
        }
    }
    assert!(home.log().contains("there is no API key, so nobody is let in"), "{}", home.log());
    server.stop().await;

    let server = home.start(&[]).await;
    refused(&server, "/v1/jobs", None).await;
    let opened = home.run(&["keys", "open"]).await;
    assert_eq!(opened.code, Some(0), "{opened:?}");
    assert!(opened.errors.contains("nobody on this machine needs a key now"), "{opened:?}");
    get(&server, "/v1/jobs", None).await.expect(200);
    server.stop().await;
}

#[tokio::test]
async fn without_its_last_key_a_server_is_closed() {
    stays_closed(async |home, id| {
        let revoked = home.run(&["keys", "revoke", id]).await;
        assert_eq!(revoked.code, Some(0), "{revoked:?}");
        assert!(
            revoked.errors.contains("it was the last one: nobody is let in now"),
            "{revoked:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn without_its_file_of_keys_a_server_is_closed() {
    let file = |home: &Home| home.data().join("keys.json");
    stays_closed(async |home, _id| std::fs::remove_file(file(home)).expect("keys")).await;
    // As an older server wrote it when the last key was revoked.
    stays_closed(async |home, _id| std::fs::write(file(home), "{\"keys\":[]}").expect("keys"))
        .await;
}

#[tokio::test]
async fn a_directory_that_had_a_key_before_its_first_server_is_closed_without_it() {
    let home = Home::new();
    create(&home, "only").await;
    std::fs::remove_file(home.data().join("keys.json")).expect("keys");
    let server = home.start(&[]).await;
    refused(&server, "/v1/jobs", None).await;
}

#[tokio::test]
async fn a_server_that_others_reach_through_a_proxy_does_not_start_without_a_key_and_is_never_open()
{
    let home = Home::new();
    home.start(&[]).await.stop().await;
    let flags = ["--listen", "127.0.0.1:0", "--host", "futurity.example"];
    let refused_to_start = home.run(&flags).await;
    assert_eq!(refused_to_start.code, Some(78), "{refused_to_start:?}");
    for words in ["futurity.example", "API key", "futurity keys create", "--host"] {
        assert!(refused_to_start.errors.contains(words), "{refused_to_start:?}");
    }
    let (id, text) = create(&home, "only").await;
    let server = home.start(&flags[2..]).await;
    get(&server, "/v1/jobs", Some(&format!("Bearer {text}"))).await.expect(200);
    home.run(&["keys", "revoke", &id]).await;
    refused(&server, "/v1/jobs", None).await;
    home.run(&["keys", "open"]).await;
    refused(&server, "/v1/jobs", None).await;
    server.stop().await;
}

#[tokio::test]
async fn a_key_that_has_expired_is_none_for_a_start_a_command_and_a_request() {
    let home = Home::new();
    home.run(&["keys", "create", "--expires-in", "1000d"]).await;
    let proxied = ["--listen", "127.0.0.1:0", "--host", "futurity.example"];
    let server = home.start(&proxied[2..]).await;
    assert!(home.log().contains("every API key has an end"), "{}", home.log());
    let file = home.data().join("keys.json");
    let mut text: Value =
        serde_json::from_slice(&std::fs::read(&file).expect("keys")).expect("JSON");
    text["keys"][0]["expires_at_ms"] = json!(1);
    std::fs::write(&file, text.to_string()).expect("keys");
    until("the server says it", async || {
        let trouble = server.get("/readyz?verbose").await.json()["degraded"].to_string();
        trouble.contains("no API key works: nobody is let in").then_some(())
    })
    .await;
    refused(&server, "/v1/jobs", None).await;
    server.stop().await;

    let start = home.run(&proxied).await;
    assert_eq!(start.code, Some(78), "{start:?}");
    for words in ["no API key works", "expired", "futurity keys create"] {
        assert!(start.errors.contains(words), "{start:?}");
    }
    // Where only this machine reaches it, it starts, and says that nobody is let in.
    let server = home.start(&[]).await;
    refused(&server, "/v1/jobs", None).await;
    assert_eq!(
        home.log().matches("no API key works: each has expired").count(),
        2,
        "{}",
        home.log()
    );
    let opened = home.run(&["keys", "open"]).await;
    assert_eq!(opened.code, Some(0), "{opened:?}");
    assert!(opened.errors.contains("that did not work any more: 1"), "{opened:?}");
    get(&server, "/v1/jobs", None).await.expect(200);
    server.stop().await;
}

#[tokio::test]
async fn an_open_server_cannot_be_opened_while_there_are_keys() {
    let home = Home::new();
    create(&home, "one").await;
    let opened = home.run(&["keys", "open"]).await;
    assert_eq!(opened.code, Some(74), "{opened:?}");
    assert!(opened.errors.contains("revoke them first"), "{opened:?}");
}

#[tokio::test]
async fn keys_hold_after_a_restart_and_a_kill() {
    let home = Home::new();
    let server = home.start(&[]).await;
    let (_, text) = create(&home, "lasting").await;
    server.kill_nine();
    let server = home.start(&[]).await;
    refused(&server, "/v1/jobs", None).await;
    get(&server, "/v1/jobs", Some(&format!("Bearer {text}"))).await.expect(200);
}

#[tokio::test]
async fn keys_are_listed_without_their_secrets_and_an_unknown_one_is_not_taken_back() {
    let home = Home::new();
    let (first_id, first) = create(&home, "reports").await;
    let (second_id, second) = create(&home, "").await;
    let list = home.run(&["keys", "list"]).await;
    assert_eq!(list.code, Some(0));
    let lines: Vec<&str> = list.output.lines().collect();
    assert_eq!(lines.len(), 2, "{list:?}");
    assert!(lines[0].starts_with(&first_id) && lines[0].ends_with("reports"), "oldest first");
    assert!(lines[1].starts_with(&second_id));
    for text in [first, second] {
        assert!(!list.output.contains(&text));
    }

    let absent = home.run(&["keys", "revoke", "0123456789ab"]).await;
    assert_ne!(absent.code, Some(0));
    assert!(absent.errors.contains("there is no key 0123456789ab"), "{absent:?}");
    assert_eq!(home.run(&["keys", "list"]).await.output, list.output);
}

#[tokio::test]
async fn keys_and_secrets_are_written_nowhere_and_for_the_owner_only() {
    let home = Home::new();
    let server = home.start(&["--log", "trace"]).await;
    let (_, text) = create(&home, "secret").await;
    let bearer = format!("Bearer {text}");
    get(&server, "/v1/jobs", Some(&bearer)).await.expect(200);
    let call = json!({"function": "echo", "args": [1]});
    let submit = server.request(Method::POST, "/v1/jobs").json(&call);
    server.send(submit.header("authorization", &bearer)).await.expect(202);
    refused(&server, "/v1/jobs", Some(&format!("{bearer}0"))).await;
    server.kill_nine();

    let secret = text.rsplit('_').next().expect("a secret");
    assert!(!home.log().contains(secret), "the log at its most talkative does not have it");
    let modes = check_files(&home.data(), secret);
    let private: Vec<_> = modes.iter().filter(|(_, mode)| mode & 0o077 != 0).collect();
    assert_eq!(mode(&home.data()), 0o700, "nobody else looks into the data directory");
    assert!(modes.iter().any(|(name, mode)| name == "keys.json" && *mode == 0o600), "{modes:?}");
    let tolerated = |name: &str| name.starts_with("futurity.db");
    assert!(private.iter().all(|(name, _)| tolerated(name)), "too open: {private:?}");
}

/// The name and mode of each file, none of which may contain `secret`.
fn check_files(directory: &Path, secret: &str) -> Vec<(String, u32)> {
    let mut modes = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let bytes = std::fs::read(&path).expect("a file");
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{} contains the key", path.display());
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        modes.push((name, mode(&path)));
    }
    modes
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("a file").permissions().mode() & 0o7777
}
