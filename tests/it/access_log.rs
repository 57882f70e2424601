//! The access log: off unless it is asked for, a line for each request at its end, and nothing in it that others may not read.

use reqwest::Method;
use serde_json::{Value, json};

use crate::process::{Home, Process, until};

/// The lines of the log that tell of requests, each an object of its fields.
fn told(home: &Home) -> Vec<Value> {
    let log = home.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| line["target"] == "futurity::access")
        .map(|line| line["fields"].clone())
        .collect()
}

async fn line_of(home: &Home, request_id: &str) -> Value {
    until("the request is told of", async || {
        told(home).into_iter().find(|it| it["request.id"] == request_id)
    })
    .await
}

async fn ask(server: &Process, method: Method, path: &str, key: &str, id: &str) -> u16 {
    let request = server.request(method, path).header("x-request-id", id);
    let request = if key.is_empty() { request } else { request.bearer_auth(key) };
    server.send(request).await.status.as_u16()
}

#[tokio::test]
async fn each_request_is_told_with_its_key_and_without_what_it_holds() {
    let home = Home::new();
    let server = home.start(&["--access-log", "--log-format", "json"]).await;
    let text = home.run(&["keys", "create"]).await.output.trim().to_owned();
    let key_id = text.split('_').nth(1).expect("an id").to_owned();
    let ready = line_of(&home, told(&home)[0]["request.id"].as_str().expect("an id")).await;
    assert_eq!((&ready["path"], &ready["key.id"]), (&json!("/readyz"), &Value::Null));

    assert_eq!(ask(&server, Method::GET, "/v1/jobs?tag=confidential", &text, "listed").await, 200);
    let line = line_of(&home, "listed").await;
    assert_eq!((&line["method"], &line["path"]), (&json!("GET"), &json!("/v1/jobs")));
    assert_eq!((&line["status"], &line["key.id"]), (&json!(200), &json!(key_id)));
    assert!(line["bytes"].as_u64() > Some(0) && line["duration_ms"].is_u64(), "{line}");
    assert!(line["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{line}");

    assert_eq!(ask(&server, Method::GET, "/v1/jobs", "", "refused").await, 401);
    let line = line_of(&home, "refused").await;
    assert_eq!((&line["status"], &line["key.id"]), (&json!(401), &Value::Null));

    let stream = server.request(Method::GET, "/v1/events").header("x-request-id", "streamed");
    let stream = stream.bearer_auth(&text).send().await.expect("a stream");
    assert!(told(&home).iter().all(|line| line["request.id"] != "streamed"), "it goes on");
    drop(stream);
    assert_eq!(line_of(&home, "streamed").await["status"], 200);
    let secret = text.rsplit('_').next().expect("a secret");
    assert!(!home.log().contains("confidential") && !home.log().contains(secret));
}

#[tokio::test]
async fn without_being_asked_nothing_is_told_of_requests() {
    let home = Home::new();
    let server = home.start(&["--log-format", "json"]).await;
    server.get("/v1/jobs").await.expect(200);
    server.stop().await;
    assert_eq!(told(&home), Vec::<Value>::new());
}
