//! Secrets that the server keeps: their receiver sees them, and nobody else.

use std::collections::BTreeMap;
use std::path::Path;

use futurity::{Config, SecretTable};
use serde_json::{Value, json};

use crate::receiver::{Receiver, Reply};
use crate::server::TestServer;

const VALUE: &str = "s3cret-value-of-the-test";

/// A server with one secret, which is for these hosts.
async fn keeping(hosts: Vec<String>) -> TestServer {
    let configure = |config: Config| {
        let file = config.data_dir.parent().expect("a directory").join("token");
        std::fs::write(&file, format!("{VALUE}\n")).expect("a file");
        let secret = SecretTable { value_file: Some(file), env: None, hosts };
        Config { secrets: BTreeMap::from([("api".to_owned(), secret)]), ..config }
    };
    TestServer::with(configure, |builder| builder).await
}

fn host(receiver: &Receiver) -> String {
    receiver.url.strip_prefix("http://").expect("a URL").to_owned()
}

fn call(url: &str, header: &str) -> Value {
    let headers = json!({header: {"secret": "api", "prefix": "Bearer "}});
    json!({"function": "http.request", "kwargs": {"url": url, "headers": headers, "follow_redirects": true}})
}

/// Every file below a directory, but the one that holds the secret.
fn files(below: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(below).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.file_name().is_some_and(|name| name != "token") {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap_or_default()));
        }
    }
}

#[tokio::test]
async fn a_secret_is_seen_by_its_receiver_and_stands_nowhere_else() {
    let mut receiver = Receiver::start(|_| Reply::Status(200)).await;
    let mut told = Receiver::start(|_| Reply::Status(200)).await;
    let it = keeping(vec![host(&receiver)]).await;
    let mut asked = call(&receiver.at("/api"), "authorization");
    asked["callbacks"] = json!([{"url": told.at("/told")}]);
    let job = it.done(&asked).await;
    assert_eq!(job["result"]["status"], 200, "{job}");
    assert_eq!(job["kwargs"]["headers"]["authorization"]["secret"], "api", "{job}");
    assert_eq!(receiver.next().await.header("authorization"), format!("Bearer {VALUE}"));
    let hides = |text: &str| assert!(!text.contains(VALUE), "{text}");
    hides(told.next().await.text());
    let path = job["urls"]["self"].as_str().expect("a path");
    for path in [path, "/v1/jobs", "/v1/functions", &format!("{path}/events"), "/readyz?verbose"] {
        hides(&String::from_utf8_lossy(&it.get(path).await.expect(200).body));
    }
    let mut found = Vec::new();
    files(it.dir.path(), &mut found);
    assert!(found.iter().any(|(name, _)| name.ends_with("futurity.db-wal")), "{found:?}");
    for (name, bytes) in found {
        let holds = bytes.windows(VALUE.len()).any(|window| window == VALUE.as_bytes());
        assert!(!holds, "{name}");
    }
}

#[tokio::test]
async fn a_secret_stays_with_its_origin_whatever_its_header_is_called() {
    let mut elsewhere = Receiver::start(|_| Reply::Status(200)).await;
    let to = elsewhere.at("/next");
    let mut receiver = Receiver::start(move |_| Reply::With(307, "location", to.clone())).await;
    let it = keeping(vec![host(&receiver), host(&elsewhere)]).await;
    let job = it.done(&call(&receiver.at("/api"), "x-api-key")).await;
    assert_eq!(job["result"]["status"], 200, "{job}");
    assert_eq!(receiver.next().await.header("x-api-key"), format!("Bearer {VALUE}"));
    assert!(!elsewhere.next().await.headers.contains_key("x-api-key"));
}

#[tokio::test]
async fn a_secret_that_is_not_known_or_not_for_that_host_is_refused_at_its_place() {
    let receiver = Receiver::start(|_| Reply::Status(200)).await;
    let it = keeping(vec!["api.example.com".to_owned()]).await;
    let mut unknown = call(&receiver.at("/"), "x-api-key");
    unknown["kwargs"]["headers"]["x-api-key"]["secret"] = json!("other");
    for (asked, words) in [
        (unknown, "no secret named 'other'"),
        (call(&receiver.at("/"), "x-api-key"), "is not sent to 127.0.0.1"),
    ] {
        let problem = it.post("/v1/jobs", &asked).await.expect(422).json();
        assert_eq!(problem["code"], "invalid_arguments", "{problem}");
        let error = &problem["errors"][0];
        assert_eq!(error["pointer"], "/kwargs/headers/x-api-key/secret", "{problem}");
        assert!(error["detail"].as_str().expect("a sentence").contains(words), "{problem}");
    }
    let wrong = json!({"url": receiver.at("/"), "headers": {"x-a": {"secrets": "api"}}});
    let wrong = json!({"function": "http.request", "kwargs": wrong});
    it.post("/v1/jobs", &wrong).await.expect(422);
}
