//! What all requests together may hold in memory: beyond it they wait, or are told so.

use std::time::Duration;

use futures_util::future::join_all;
use futurity::{Call, Config, JobError, Limits, blocking};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

use crate::process::{Home, Process, until};
use crate::server::TestServer;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

#[derive(serde::Deserialize, futurity::schemars::JsonSchema)]
struct Bytes {
    count: usize,
}

fn large(_call: &Call, Bytes { count }: Bytes) -> Result<String, JobError> {
    Ok("x".repeat(count))
}

async fn with(limits: Limits) -> TestServer {
    let configure = |config| Config { limits, ..config };
    TestServer::with(configure, |builder| builder.function("large", blocking(large))).await
}

fn call(bytes: usize) -> Value {
    json!({"function": "echo", "args": ["x".repeat(bytes)]})
}

/// A client whose own buffers are small: what it does not read stays with the server.
async fn deaf(address: std::net::SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    socket.connect(address).await.expect("a connection")
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

fn post(path: &str, kind: &str, length: Option<usize>) -> Vec<u8> {
    let length = match length {
        Some(length) => format!("Content-Length: {length}"),
        None => "Transfer-Encoding: chunked".to_owned(),
    };
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n{length}\r\n\r\n"
    );
    head.into_bytes()
}

#[tokio::test]
async fn g14_bodies_of_which_no_two_have_room_are_all_taken_one_after_the_other() {
    let it = with(Limits { incoming_bytes: MIB, ..Limits::default() }).await;
    let body = call(900 * KIB).to_string();
    let json = |body: reqwest::Body| {
        let request = it.request(Method::POST, "/v1/jobs").body(body);
        it.send(request.header("content-type", "application/json"))
    };
    let whole = (0..4).map(|_| json(body.clone().into()));
    let pieces = || {
        let half = body.len() / 2;
        let pieces = [body[..half].to_owned(), body[half..].to_owned()];
        reqwest::Body::wrap_stream(futures_util::stream::iter(pieces.map(Ok::<_, std::io::Error>)))
    };
    let chunked = (0..4).map(|_| json(pieces()));
    let lines = (0..4).map(|_| {
        let request = it.request(Method::POST, "/v1/jobs").body(format!("{body}\n{body}\n{body}"));
        it.send(request.header("content-type", "application/x-ndjson"))
    });
    let (submitted, streamed) = tokio::join!(join_all(whole.chain(chunked)), join_all(lines));
    submitted.into_iter().for_each(|answer| drop(answer.expect(202)));
    for answer in streamed {
        let text = String::from_utf8(answer.expect(200).body).expect("text");
        assert_eq!(text.matches("{\"index\":").count(), 3);
        assert!(!text.contains("problem"), "{}", &text[..text.len().min(500)]);
    }
}

#[tokio::test]
async fn g14_answers_for_which_there_is_no_room_are_refused_until_somebody_takes_or_leaves_his() {
    let outgoing_bytes = 8 * MIB;
    let limits = Limits { outgoing_bytes, body_seconds: 0.2, ..Limits::default() };
    let it = with(limits).await;
    let job = it.done(&json!({"function": "large", "args": [outgoing_bytes - KIB]})).await;
    let result = job["urls"]["result"].as_str().expect("a path");
    it.get(result).await.expect(200);
    let mut holds = deaf(it.server.address()).await;
    holds.write_all(&get(result)).await.expect("it is sent");
    holds.readable().await.expect("the answer has begun");
    for path in [result, job["urls"]["self"].as_str().expect("a path")] {
        let refused = it.get(path).await.expect(503);
        assert_eq!(
            (refused.code().as_str(), refused.header("retry-after")),
            ("overloaded", Some("1"))
        );
    }
    it.get("/v1/queues").await.expect(200);
    it.post("/v1/jobs?wait=60", &call(100)).await.expect(200);
    drop(holds);
    until("there is room", async || (it.get(result).await.status == 200).then_some(())).await;
    assert_eq!(it.get(result).await.expect(200).body.len(), outgoing_bytes - KIB + 2);
}

/// What the process has had in memory at most, and has now, in bytes.
fn memory(it: &Process, name: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", it.pid())).expect("a status");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a line");
    let kib = line.split_whitespace().nth(1).and_then(|text| text.parse::<usize>().ok());
    kib.expect("a number") * KIB
}

/// How much more a server with budgets of 16 MiB has in memory at most, while so many connections send this, end nothing and
/// read nothing.
async fn peak(it: &Process, count: usize, sent: &[u8]) -> usize {
    let idle = memory(it, "VmRSS");
    let one = async || {
        let mut stream = deaf(it.address()).await;
        let whole = async {
            stream.write_all(sent).await.unwrap_or_default();
            stream.readable().await.unwrap_or_default();
            std::future::pending::<()>().await;
        };
        // What the server does not take by then, it does not take.
        tokio::time::timeout(Duration::from_secs(4), whole).await.unwrap_or_default();
        stream
    };
    let streams = join_all((0..count).map(|_| one())).await;
    let peak = memory(it, "VmHWM");
    drop(streams);
    peak.saturating_sub(idle)
}

async fn with_budgets(home: &Home) -> Process {
    let limits = "[limits]\nincoming_bytes = 16_777_216\noutgoing_bytes = 16_777_216\n";
    std::fs::write(home.file("futurity.toml"), limits).expect("a file");
    home.start(&[]).await
}

/// Budget, what is free for each connection, and what is on its way from one place to another.
fn allowed(count: usize) -> usize {
    16 * MIB + count * 24 * KIB + 48 * MIB
}

#[tokio::test]
async fn heavy_g14_what_comes_in_is_bounded_for_all_connections_together() {
    let header =
        [b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ", &vec![b'x'; 62 * KIB][..]].concat();
    let body =
        |path, kind, bytes: usize| [post(path, kind, Some(bytes)), vec![b' '; bytes - 1]].concat();
    let line = [post("/v1/jobs", "application/x-ndjson", Some(2 * MIB)), vec![b'x'; MIB]].concat();
    let rows = [
        ("half a header", 2_500, header),
        ("a submission less a byte", 400, body("/v1/jobs", "application/json", MIB)),
        ("a batch less a byte", 50, body("/v1/batches", "application/json", 8 * MIB)),
        ("a line without its end", 400, line),
    ];
    for (name, count, sent) in rows {
        let home = Home::new();
        let it = with_budgets(&home).await;
        let peak = peak(&it, count, &sent).await;
        println!("{name}: {count} connections, {} MiB", peak / MIB);
        assert!(peak < allowed(count), "{name}: {} MiB for {count} connections", peak / MIB);
        it.post("/v1/jobs", &call(100)).await.expect(202);
        it.stop().await;
    }
}

#[tokio::test]
async fn heavy_g14_what_nobody_reads_is_bounded_for_all_connections_together() {
    let home = Home::new();
    let it = with_budgets(&home).await;
    // A thousand jobs that are shown with 30 KiB each, and one that is large.
    let calls: Vec<Value> = (0..250).map(|_| json!({"args": ["x".repeat(15 * KIB)]})).collect();
    let mut batch = Value::Null;
    for _ in 0..4 {
        let body = json!({"function": "echo", "calls": calls});
        batch = it.post("/v1/batches?wait=60", &body).await.expect(200).json();
    }
    let whole = it.post("/v1/jobs?wait=60", &call(MIB - 100)).await.expect(200).json();
    let id = batch["id"].as_str().expect("an id");
    let named = json!({"batch": id}).to_string();
    let wait = |path: &str| {
        [post(path, "application/json", Some(named.len())), named.clone().into_bytes()].concat()
    };
    let lines = format!("[\"{}\"]\n", "x".repeat(15 * KIB)).repeat(1_000);
    let map =
        post("/v1/map?function=echo&buffersize=4096", "application/x-ndjson", Some(lines.len()));
    let rows = [
        ("a page of a thousand jobs", 40, get("/v1/jobs?page_size=1000")),
        ("a result", 200, get(whole["urls"]["result"].as_str().expect("a path"))),
        ("a job", 200, get(whole["urls"]["self"].as_str().expect("a path"))),
        ("the results of a batch", 200, get(&format!("/v1/batches/{id}/results"))),
        ("jobs as they are done", 200, wait("/v1/jobs/as-completed")),
        ("a wait for many", 200, wait("/v1/jobs/wait")),
        ("every change", 200, get("/v1/events?after=0")),
        ("a map", 20, [map, lines.into_bytes()].concat()),
    ];
    it.stop().await;
    for (name, count, sent) in rows {
        let it = home.start(&[]).await;
        let peak = peak(&it, count, &sent).await;
        println!("{name}: {count} readers, {} MiB", peak / MIB);
        assert!(peak < allowed(count), "{name}: {} MiB for {count} readers", peak / MIB);
        it.get("/v1/queues").await.expect(200);
        it.stop().await;
    }
}
