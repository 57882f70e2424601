//! Nothing that clients sent is in the log, whatever fails and however much is logged.

use reqwest::Method;
use serde_json::{Value, json};

use crate::process::{Home, Process, path_of, until};
use crate::programs::{configure, script};
use crate::refusal::execute;

/// Stands wherever a client may write something.
const MARK: &str = "sesame4711";
/// Too large for a row: kept in a piece beside it.
const LARGE: usize = 5_000;

/// A worker that says what it is given, in each way that there is.
const TALKS: &str = r#"
import json, sys
for line in sys.stdin:
    it = json.loads(line)
    if it["method"] == "initialize":
        print(json.dumps({"jsonrpc": "2.0", "id": it["id"], "result": {"functions": [{"name": "talk"}]}}), flush=True)
    elif it["method"] == "call":
        print(it["params"], file=sys.stderr, flush=True)
        print(it["params"], flush=True)
"#;

/// Sends it everywhere, and has all of it fail.
async fn send(server: &Process) {
    let callback =
        json!({"url": format!("http://127.0.0.1:1/{MARK}?{MARK}"), "headers": {"x-mark": MARK}});
    let whole = json!({
        "function": "echo", "args": [MARK], "tags": [MARK], "metadata": {MARK: MARK}, "callbacks": [callback],
    });
    let keyed = server.request(Method::POST, "/v1/jobs?wait=60").json(&whole);
    let keyed = keyed.header("idempotency-key", MARK).header("x-mark", MARK);
    server.send(keyed.header("cookie", MARK)).await.expect(200);
    let other =
        server.request(Method::POST, "/v1/jobs").json(&json!({"function": "echo", "args": [1]}));
    server.send(other.header("idempotency-key", MARK)).await.expect(422);

    let retry = json!({"max_attempts": 3, "initial_seconds": 0, "jitter": 0});
    for failing in [
        json!({"function": "raise", "args": ["ValueError", MARK], "retry": retry}),
        json!({"function": "http.request", "kwargs": {"url": format!("http://127.0.0.1:1/?{MARK}"), "headers": {"authorization": MARK}}}),
        json!({"function": "talk", "args": [MARK], "kwargs": {MARK: MARK}}),
    ] {
        let job = server.submit(&failing).await;
        assert_eq!(server.done(&job).await["state"], "failed", "{failing}");
    }
    let manual = server.submit(&json!({"manual": true, "args": [MARK]})).await;
    let error =
        json!({"type": "ValueError", "message": MARK, "traceback": MARK, "details": {MARK: MARK}});
    let path = format!("{}/exception", path_of(&manual));
    server.send(server.request(Method::PUT, &path).json(&error)).await;

    for (method, path, body) in [
        (Method::POST, "/v1/jobs".to_owned(), format!("{{\"function\":\"{MARK}\"")),
        (Method::POST, "/v1/jobs".to_owned(), json!({MARK: 1, "function": MARK}).to_string()),
        (
            Method::POST,
            "/v1/jobs".to_owned(),
            json!({"function": "sleep", "args": [MARK]}).to_string(),
        ),
        (Method::GET, format!("/{MARK}?{MARK}={MARK}"), String::new()),
        (Method::GET, format!("/v1/jobs?page_token={MARK}"), String::new()),
        (Method::GET, format!("/v1/jobs/{MARK}/result"), String::new()),
    ] {
        let request =
            server.request(method, &path).body(body).header("content-type", "application/json");
        let status = server.send(request).await.status;
        assert!(status.is_client_error(), "{path}: {status}");
    }
    let lines = format!("{{\"function\":\"{MARK}\",\"args\":[\"{MARK}\"]}}\n{MARK}\n");
    let request = server.request(Method::POST, "/v1/jobs").body(lines);
    server.send(request.header("content-type", "application/x-ndjson")).await.expect(200);
}

#[tokio::test]
async fn nothing_that_a_client_sent_is_in_the_log_at_its_most_talkative() {
    let home = Home::new();
    let talks = script(&home, "talks.py", TALKS);
    configure(
        &home,
        &format!(
            "log = \"trace\"\n[webhooks]\nschedule_seconds = [0]\n[workers.talks]\nargv = [\"PYTHON\", \"{}\"]\n",
            talks.display()
        ),
    );
    let server = home.start(&["--allow-loopback-egress"]).await;
    send(&server).await;
    until("the delivery has failed", async || {
        home.log().contains("a delivery has failed").then_some(())
    })
    .await;
    let text = format!("{MARK}{}", "x".repeat(LARGE));
    let jobs = [
        server.submit(&json!({"function": "echo", "args": [text.as_str()]})).await,
        server.submit(&json!({"function": "sleep", "args": [0], "metadata": {MARK: MARK}, "delay_seconds": 600})).await,
    ];
    server.done(&jobs[0]).await;
    server.stop().await;

    // One letter of each value is another one, and all of it is asked for.
    execute(
        &home.database(),
        "update chunks set bytes = cast(replace(cast(bytes as text), 'xxxx', 'xxyx') as blob)",
    )
    .await;
    let server = home.start(&[]).await;
    let path = path_of(&jobs[0]);
    let damaged = server.get(&format!("{path}/result")).await;
    assert_eq!((damaged.status.as_u16(), damaged.code()), (500, "damaged".to_owned()));
    server.get(&path).await;
    server.get("/v1/jobs").await;
    server.stop().await;

    let log = home.log();
    let held: Vec<&str> = log.lines().filter(|line| line.contains(MARK)).collect();
    assert!(held.is_empty(), "{} lines, as {}", held.len(), held[0]);
    for word in
        ["code=\"damaged\"", "a job has failed", "a process of a worker is lost", "another follows"]
    {
        assert!(log.contains(word), "what an operator needs is there: {word}");
    }
    let line = log.lines().find(|line| line.contains("a request failed")).expect("a line");
    let id: Value = jobs[0]["id"].clone();
    assert!(line.contains("/result") && line.contains(id.as_str().expect("an id")), "{line}");
}
