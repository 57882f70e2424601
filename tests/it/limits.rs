//! Clients that are slow, deaf, or too many, and what an operator sets for them in `[limits]`.

use futurity::{Config, Limits};
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::server::TestServer;

const ALIVE: &[u8] = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// A quarter of a megabyte: more of them than all sockets on the way can hold.
const LARGE: &[u8] = b"GET /openapi.yaml HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn with(limits: Limits) -> TestServer {
    TestServer::with(|config| Config { limits, ..config }, |builder| builder).await
}

async fn connect(it: &TestServer) -> TcpStream {
    TcpStream::connect(it.server.address()).await.expect("a connection")
}

/// Sends, and reads until the answer's last bytes have come.
pub async fn answered(stream: &mut TcpStream) {
    stream.write_all(ALIVE).await.expect("it is sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        assert!(stream.read_buf(&mut answer).await.expect("an answer") > 0, "it ends early");
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
}

/// Whatever comes until the server closes the connection.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        match stream.read_buf(&mut bytes).await {
            Ok(0) => return bytes,
            Ok(_) => {}
            // Closed with something unread.
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
                return bytes;
            }
        }
    }
}

#[tokio::test]
async fn g14_a_header_that_is_not_whole_in_time_is_closed_however_it_drips() {
    let it = with(Limits { header_seconds: 0.5, ..Limits::default() }).await;
    let mut first = connect(&it).await;
    first.write_all(b"GET /livez HT").await.expect("it is sent");
    assert_eq!(rest(&mut first).await, b"");

    // The second header of a connection too, though a byte comes again and again.
    let mut second = connect(&it).await;
    answered(&mut second).await;
    let mut beside = connect(&it).await;
    while second.write_all(b"x").await.is_ok() {
        // As long as this takes, no longer.
        answered(&mut beside).await;
    }
    let left = rest(&mut second).await;
    assert!(!left.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&left));
}

#[tokio::test]
async fn g14_a_connection_on_which_nothing_comes_is_closed_and_one_that_waits_is_not() {
    let it = with(Limits { idle_seconds: 0.5, ..Limits::default() }).await;
    let mut silent = connect(&it).await;
    assert_eq!(rest(&mut silent).await, b"");
    let mut idle = connect(&it).await;
    answered(&mut idle).await;
    assert_eq!(rest(&mut idle).await, b"");
    // Whoever waits for an answer sends nothing either.
    let waited = it.post("/v1/jobs?wait=60", &json!({"function": "sleep", "args": [1]})).await;
    assert_eq!(waited.expect(200).json()["state"], "succeeded");
}

#[tokio::test]
async fn g14_a_body_that_does_not_come_is_answered_in_time() {
    let it = with(Limits { body_seconds: 0.5, ..Limits::default() }).await;
    let mut stream = connect(&it).await;
    let head = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
        Content-Length: 100\r\n\r\n{\"function\":";
    stream.write_all(head).await.expect("it is sent");
    let answer = String::from_utf8(rest(&mut stream).await).expect("text");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("the body did not arrive within 0.5 seconds"), "{answer}");
    assert_eq!(it.get("/v1/jobs").await.expect(200).json()["jobs"], json!([]));
}

#[tokio::test]
async fn g14_a_client_that_takes_nothing_of_its_answers_is_closed() {
    let it = with(Limits { stall_seconds: 0.5, connections: 1, ..Limits::default() }).await;
    let mut deaf = connect(&it).await;
    let sent = 200;
    deaf.write_all(&LARGE.repeat(sent)).await.expect("they are sent");
    // There is one slot. It is free again, though the first client is still there and has read nothing.
    it.get("/livez").await.expect(200);
    let whole = rest(&mut deaf).await;
    let text = String::from_utf8_lossy(&whole);
    let answers = text.matches("HTTP/1.1 200 ").count();
    assert!((1..sent).contains(&answers), "{answers} answers");
}

#[tokio::test]
async fn g14_connections_beyond_the_limit_wait_until_there_is_a_place() {
    let it = with(Limits { connections: 2, ..Limits::default() }).await;
    let (mut first, mut second, mut third) =
        (connect(&it).await, connect(&it).await, connect(&it).await);
    answered(&mut first).await;
    answered(&mut second).await;
    third.write_all(ALIVE).await.expect("the kernel has taken it");
    for _ in 0..20 {
        answered(&mut first).await;
        answered(&mut second).await;
    }
    let mut byte = [0];
    let early = third.try_read(&mut byte).expect_err("no answer yet");
    assert_eq!(early.kind(), std::io::ErrorKind::WouldBlock, "{early}");
    drop(first);
    assert_eq!(third.read(&mut byte).await.expect("an answer"), 1);
}

#[tokio::test]
async fn g21_a_server_without_a_free_place_stops_in_time() {
    let it = with(Limits { connections: 1, ..Limits::default() }).await;
    let mut only = connect(&it).await;
    answered(&mut only).await;
    let mut waits = connect(&it).await;
    waits.write_all(ALIVE).await.expect("the kernel has taken it");
    it.stop(std::time::Duration::ZERO).await;
    assert_eq!(rest(&mut only).await, b"");
    assert_eq!(rest(&mut waits).await, b"");
}

#[tokio::test]
async fn bodies_and_lines_and_results_have_the_sizes_that_are_set() {
    let limits = Limits {
        submission_bytes: 200,
        batch_bytes: 400,
        body_bytes: 100,
        result_bytes: 60,
        ..Limits::default()
    };
    let it = with(limits).await;
    let call = |length: usize| json!({"function": "echo", "args": ["x".repeat(length)]});
    let refused = it.post("/v1/jobs", &call(200)).await.expect(413);
    assert!(refused.json()["detail"].as_str().expect("text").contains("200 bytes"));
    let lines = format!("{}\n{}\n", call(10), call(200));
    let lines = it.request(Method::POST, "/v1/jobs").body(lines);
    let lines = it.send(lines.header("content-type", "application/x-ndjson")).await.expect(200);
    let text = String::from_utf8(lines.body).expect("text");
    assert!(text.contains("a line may have 200 bytes"), "{text}");
    let batch = json!({"function": "echo", "calls": [{"args": ["x".repeat(400)]}]});
    it.post("/v1/batches", &batch).await.expect(413);
    let job = it.submit(&json!({"manual": true})).await;
    let path = job["urls"]["self"].as_str().expect("a path");
    let error = json!({"type": "E", "message": "x".repeat(100)});
    it.send(it.request(Method::PUT, &format!("{path}/exception")).json(&error)).await.expect(413);
    let long = it.post("/v1/jobs?wait=60", &call(80)).await.expect(200).json();
    assert_eq!(long["error"]["type"], "result_too_large", "{long}");
}
