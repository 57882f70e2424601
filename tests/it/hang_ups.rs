//! Clients that go, or that send on when they have their answer.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::gate::{Gate, one_worker_behind};
use crate::process::path_of;
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

/// What a raw connection gives until its end.
async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("an answer, and then the end");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn who_has_sent_all_and_closes_its_side_hears_the_answer() {
    for path in ["/v1/jobs?wait=30", "/v1/batches?wait=30"] {
        let gate = Gate::shut();
        let it = one_worker_behind(&gate).await;
        let call = if path.contains("jobs") { r#""args":[1]"# } else { r#""iterables":[[1]]"# };
        let body = format!(r#"{{"function":"hold",{call}}}"#);
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = send(&it, &[head.as_bytes(), body.as_bytes()]).await;
        stream.shutdown().await.expect("it is closed");
        gate.started().await;
        gate.open();
        let answer = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains(r#""done":true"#), "{answer}");
    }
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let job = it.submit(&json!({"function": "hold", "args": [1]})).await;
    let head = format!("GET {}/events HTTP/1.1\r\nHost: localhost\r\n\r\n", path_of(&job));
    let mut stream = send(&it, &[head.as_bytes()]).await;
    stream.shutdown().await.expect("it is closed");
    gate.started().await;
    gate.open();
    let answer = rest(stream).await;
    assert!(answer.contains(r#"data: {"reason":"done"}"#), "{answer}");
}

#[tokio::test]
async fn who_sends_all_lines_before_it_reads_is_told_so_and_is_not_cut() {
    let configure = |mut config: futurity::Config| {
        config.limits.stall_seconds = 3.0;
        config
    };
    let it = TestServer::with(configure, |builder| builder).await;
    // Far more than the buffers between the two can hold, each way.
    let line = format!("[\"{}\"]\n", "x".repeat(10_000));
    let call = format!("{{\"function\":\"echo\",\"args\":[\"{}\"]}}\n", "x".repeat(10_000));
    for (path, line) in [("/v1/map?function=echo&buffersize=1000", line), ("/v1/jobs/lines", call)]
    {
        let lines = line.repeat(4_000);
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
            lines.len()
        );
        let mut stream = send(&it, &[head.as_bytes()]).await;
        stream.write_all(lines.as_bytes()).await.expect("nobody hangs up while it is sent");
        let answer = rest(stream).await;
        let (head, rows) = answer.split_once("\r\n\r\n").expect("a whole head");
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
        assert_eq!(rows.matches(r#""code":"half_duplex""#).count(), 1, "{path}");
        let end = rows.lines().rev().find(|line| line.starts_with("{\"end\":")).expect("an end");
        assert!(rows.ends_with("0\r\n\r\n"), "{path}: {end}");
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
