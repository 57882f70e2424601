//! Clients that go, or that send on when they have their answer.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::gate::{Gate, one_worker_behind};
use crate::raw::send;
use crate::server::TestServer;

/// The head of an answer, as far as it is asked for.
async fn head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
        assert!(stream.read_buf(&mut bytes).await.expect("an answer") > 0, "it ends early");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn e7_who_closes_in_the_middle_of_its_body_is_gone() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let request = b"POST /v1/map?function=hold&on_disconnect=cancel HTTP/1.1\r\nHost: localhost\r\n\
        Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n[1]\n\r\n4\r\n[2]\n\r\n";
    let mut stream = send(&it, &[request]).await;
    gate.started().await;
    let head = head(&mut stream).await;
    let location = head.lines().find_map(|line| line.strip_prefix("location: ")).expect("a batch");
    // For sending alone, as every program does that ends, and nginx for it: no last chunk has come.
    stream.shutdown().await.expect("it is closed");
    let batch = it.get(&format!("{location}?wait=60")).await.expect(200).json();
    assert_eq!(batch["counts"]["cancelled"], 2, "{batch}");
    let mut rest = Vec::new();
    drop(stream.read_to_end(&mut rest).await);
    assert!(!rest.ends_with(b"0\r\n\r\n"), "an answer that is no whole one does not look like one");
}

#[tokio::test]
async fn an_early_answer_arrives_though_its_client_sends_on() {
    let it = TestServer::start().await;
    // Far more than the buffers between the two can hold.
    const BYTES: usize = 40 * 1024 * 1024;
    for (path, status) in [("/v1/jobs", "413"), ("/v1/nothing", "404"), ("/livez", "405")] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {BYTES}\r\n\r\n"
        );
        let mut stream = send(&it, &[head.as_bytes()]).await;
        let piece = vec![b' '; 64 * 1024];
        for _ in 0..BYTES / piece.len() {
            stream.write_all(&piece).await.expect("nobody hangs up while it is sent");
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("a whole answer, and then the end");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
        assert!(answer.contains("\"code\":"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn every_answer_says_how_long_its_connection_may_be_idle() {
    let configure = |mut config: futurity::Config| {
        config.limits.idle_seconds = 33.0;
        config
    };
    let it = TestServer::with(configure, |builder| builder).await;
    for path in ["/livez", "/v1/jobs", "/v1/nothing"] {
        assert_eq!(it.get(path).await.header("keep-alive"), Some("timeout=33"), "{path}");
    }
    let job = it.post("/v1/jobs", &json!({"function": "echo"})).await.expect(202);
    assert_eq!(job.header("keep-alive"), Some("timeout=33"));
}
