//! How long a request lasts: as long as what allowed it. Its key is revoked, expires, allows less, or is gone with its file, in the
//! middle of each kind of stream and wait, in both directions.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::gate::{Gate, Latch};
use crate::process::until;
use crate::raw;
use crate::server::TestServer;

/// Streams and waits end within this; while their keys hold they last for a minute and longer.
const ENDED_WITHIN: Duration = Duration::from_secs(40);
const HOUR_MS: i64 = 3_600_000;
const LINES: &str = "application/x-ndjson";
const HALF: &str = "half a body";

/// A server whose wall clock the test sets, and functions that do not end by themselves.
struct Bench {
    it: TestServer,
    gate: Gate,
    latch: Latch,
    ahead_ms: Arc<AtomicI64>,
}

/// What is under way, and by what scope.
struct UnderWay {
    what: &'static str,
    scope: &'static str,
    answer: Answering,
}

enum Answering {
    /// It has begun.
    Stream(Response),
    /// It has not; with the line that asked for it.
    Wait(TcpStream, String),
    /// It has, and the request still comes.
    Both(TcpStream),
}

impl Bench {
    async fn start() -> Self {
        let (gate, latch) = (Gate::shut(), Latch::default());
        let ahead_ms = Arc::new(AtomicI64::new(0));
        let (hold, stubborn, ahead) = (gate.hold(), latch.stubborn(), Arc::clone(&ahead_ms));
        let build = |builder: futurity::Builder| {
            let look = move || wall_ms() + ahead.load(Ordering::Relaxed);
            builder.function("hold", hold).function("stubborn", stubborn).wall_clock(look)
        };
        Self { it: TestServer::with(|config| config, build).await, gate, latch, ahead_ms }
    }

    fn file(&self) -> PathBuf {
        self.it.dir.path().join("data/keys.json")
    }

    /// `futurity keys` with these words, beside the server.
    async fn keys(&self, words: &[&str]) -> String {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_futurity"));
        command.arg("keys").args(words).env_clear();
        command.arg("--data-dir").arg(self.it.dir.path().join("data"));
        let done = tokio::task::spawn_blocking(move || command.output()).await.expect("a thread");
        let done = done.expect("a command");
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).expect("text").trim().to_owned()
    }

    /// Changes the file as a command does: in one step.
    fn change(&self, change: impl FnOnce(&mut Value)) {
        let mut table: Value =
            serde_json::from_slice(&std::fs::read(self.file()).expect("keys")).expect("JSON");
        change(&mut table);
        self.replace(table.to_string().as_bytes());
    }

    /// A file that is half written has no keys, and ends whatever is under way.
    fn replace(&self, keys: &[u8]) {
        let new = self.file().with_extension("tests");
        std::fs::write(&new, keys).expect("a file");
        std::fs::rename(new, self.file()).expect("its name");
    }

    fn request(&self, key: &str, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.it.request(method, path);
        if key.is_empty() { request } else { request.bearer_auth(key) }
    }

    async fn submitted(&self, key: &str, path: &str, body: &Value) -> String {
        let answer =
            self.it.send(self.request(key, Method::POST, path).json(body)).await.expect(202);
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    async fn stream(&self, what: &'static str, request: reqwest::RequestBuilder) -> UnderWay {
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200, "{what}");
        UnderWay { what, scope: "read", answer: Answering::Stream(response) }
    }

    /// A request whose head and body are in the hands of the server when this returns.
    async fn sent(&self, key: &str, line: &str, kind: &str, body: &str) -> TcpStream {
        let authorization =
            if key.is_empty() { String::new() } else { format!("authorization: Bearer {key}\r\n") };
        let head = format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\n{authorization}content-type: {kind}\r\n"
        );
        let stream = match kind {
            LINES => {
                let head =
                    format!("{head}prefer: return=minimal\r\ntransfer-encoding: chunked\r\n\r\n");
                raw::send(&self.it, &[head.as_bytes(), chunk(body).as_bytes()]).await
            }
            _ => {
                // Longer than what is sent of a body that ends in the middle.
                let length = body.len() + usize::from(!body.ends_with('}') && !body.is_empty());
                let head = format!("{head}content-length: {length}\r\n\r\n");
                raw::send(&self.it, &[head.as_bytes(), body.as_bytes()]).await
            }
        };
        // Whoever comes later is answered: then it has been let in.
        self.it.get("/livez").await.expect(200);
        stream
    }

    async fn wait(
        &self,
        (what, scope): (&'static str, &'static str),
        key: &str,
        line: &str,
        body: &str,
    ) -> UnderWay {
        let stream = self.sent(key, line, "application/json", body).await;
        UnderWay { what, scope, answer: Answering::Wait(stream, line.to_owned()) }
    }

    /// Lines that are taken as they come.
    async fn lines(&self, what: &'static str, key: &str, line: &str, first: &str) -> UnderWay {
        let stream = self.sent(key, line, LINES, first).await;
        UnderWay { what, scope: "submit", answer: Answering::Both(stream) }
    }

    /// One of each kind that only reads.
    async fn readers(&self, key: &str, job: &str, batch: &str) -> Vec<UnderWay> {
        let get = |path: String| self.request(key, Method::GET, &path);
        let ids = json!({"ids": [job]});
        let as_completed = self.request(key, Method::POST, "/v1/jobs/as-completed").json(&ids);
        let wait = async |what, line: String, body: &str| {
            self.wait((what, "read"), key, &line, body).await
        };
        vec![
            self.stream("events", get("/v1/events".to_owned())).await,
            self.stream("events of a job", get(format!("/v1/jobs/{job}/events"))).await,
            self.stream("as-completed", as_completed).await,
            self.stream("results", get(format!("/v1/batches/{batch}/results"))).await,
            wait("wait for a job", format!("GET /v1/jobs/{job}?wait=60"), "").await,
            wait("wait for a result", format!("GET /v1/jobs/{job}/result?wait=60"), "").await,
            wait("wait for a batch", format!("GET /v1/batches/{batch}?wait=60"), "").await,
            wait("wait for many", "POST /v1/jobs/wait".to_owned(), &ids.to_string()).await,
        ]
    }

    /// One of each kind that changes something.
    async fn writers(&self, key: &str, stubborn: &str) -> Vec<UnderWay> {
        let hold = json!({"function": "hold"}).to_string();
        let batch = json!({"function": "hold", "calls": [{}]}).to_string();
        let cancel = json!({"grace_seconds": 600, "wait_seconds": 60}).to_string();
        let half = "{\"function\":\"echo\",\"args\":[3]";
        let echo = "{\"function\":\"echo\",\"args\":[1]}\n";
        let cancels = format!("POST /v1/jobs/{stubborn}/cancel");
        vec![
            self.lines("lines", key, "POST /v1/jobs", echo).await,
            self.lines("map", key, "POST /v1/map?function=echo", "[1]\n").await,
            self.wait((HALF, "submit"), key, "POST /v1/jobs", half).await,
            self.wait(("submit and wait", "submit"), key, "POST /v1/jobs?wait=60", &hold).await,
            self.wait(("submit many and wait", "submit"), key, "POST /v1/batches?wait=60", &batch)
                .await,
            self.wait(("cancel and wait", "manage"), key, &cancels, &cancel).await,
        ]
    }
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn wall_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

impl UnderWay {
    /// Waits until it has ended: an answer that has begun breaks off, and another one says why there is none.
    async fn has_ended(self, way: &str) {
        let place = format!("{}, {way}", self.what);
        let ended = tokio::time::timeout(ENDED_WITHIN, async {
            match self.answer {
                Answering::Stream(mut stream) => {
                    while let Ok(piece) = stream.chunk().await {
                        assert!(piece.is_some(), "{place}: it breaks off and has no end");
                    }
                }
                Answering::Both(mut stream) => breaks_off(&mut stream, &place).await,
                Answering::Wait(mut stream, line) => {
                    if self.what == HALF {
                        // Whoever still read it would make a job of it.
                        stream.write_all(b"}").await.unwrap_or_default();
                    }
                    let answer = raw::answer(&mut stream, &line).await.expect(401);
                    assert_eq!(answer.code(), "unauthenticated", "{place}");
                    let detail = answer.json()["detail"].to_string();
                    assert!(detail.contains("allows something else now"), "{place}: {detail}");
                }
            }
        });
        assert_eq!(ended.await, Ok(()), "{place}: it ends");
    }
}

/// Sends more lines until nobody takes them. Whoever read them would have made jobs of them.
async fn breaks_off(stream: &mut TcpStream, place: &str) {
    let mut answer = Vec::new();
    // A reset in place of an end is one too.
    let read = stream.read_to_end(&mut answer).await;
    assert!(!answer.ends_with(b"0\r\n\r\n"), "{place}: it breaks off and has no end: {read:?}");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{place}: it had begun");
    let line = chunk("{\"function\":\"echo\",\"args\":[2]}\n");
    stream.write_all(line.as_bytes()).await.unwrap_or_default();
}

/// Everything that there may be is under way by one key when this happens. What needs a scope that the key `keeps` goes on.
async fn when(way: &str, keeps: &[&str], happens: impl AsyncFnOnce(&Bench, &str)) {
    let bench = Bench::start().await;
    let admin = bench.keys(&["create"]).await;
    let mut words = vec!["create", "--expires-in", "1h"];
    words.extend(["--scope", "read", "--scope", "submit", "--scope", "manage"]);
    let key = bench.keys(&words).await;
    let id = key.split('_').nth(1).expect("an id");
    let job = bench.submitted(&admin, "/v1/jobs", &json!({"function": "hold"})).await;
    let stubborn = bench.submitted(&admin, "/v1/jobs", &json!({"function": "stubborn"})).await;
    let batch = json!({"function": "hold", "calls": [{}]});
    let batch = bench.submitted(&admin, "/v1/batches", &batch).await;
    let mut under_way = bench.readers(&key, &job, &batch).await;
    under_way.extend(bench.writers(&key, &stubborn).await);
    let jobs = async || {
        let list = bench.request(&admin, Method::GET, "/v1/jobs?page_size=1000");
        bench.it.send(list).await.expect(200).json()["jobs"].as_array().expect("a list").len()
    };
    until("all that was sent is there", async || (jobs().await == 7).then_some(())).await;
    let file = std::fs::read(bench.file()).expect("keys");

    happens(&bench, id).await;
    let (go_on, end): (Vec<_>, Vec<_>) =
        under_way.into_iter().partition(|it| keeps.contains(&it.scope));
    until("the server knows", async || {
        let probe = if keeps.contains(&"submit") { "/v1/jobs/wait" } else { "/v1/jobs" };
        let probe = bench.request(&key, Method::POST, probe).json(&json!({}));
        let status = bench.it.send(probe).await.status.as_u16();
        [401, 403, 503].contains(&status).then_some(())
    })
    .await;
    futures_util::future::join_all(end.into_iter().map(|it| it.has_ended(way))).await;
    bench.replace(&file);
    until("the server lets in who may", async || {
        let request = bench.request(&admin, Method::GET, "/v1/functions");
        (bench.it.send(request).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(jobs().await, 7, "nothing more was taken, {way}");
    bench.gate.open();
    bench.latch.release();
    for it in go_on {
        match it.answer {
            Answering::Stream(mut stream) => {
                let piece = stream.chunk().await.expect("it goes on");
                assert!(piece.is_some(), "{}, {way}", it.what);
            }
            Answering::Both(mut stream) => {
                stream.write_all(b"0\r\n\r\n").await.expect("it is taken");
            }
            Answering::Wait(_, _) if it.what == HALF => {}
            Answering::Wait(mut stream, _line) => {
                let mut status = [0; 10];
                stream.read_exact(&mut status).await.expect("an answer");
                assert_eq!(&status, b"HTTP/1.1 2", "{}, {way}", it.what);
            }
        }
    }
}

#[tokio::test]
async fn whatever_is_under_way_ends_when_its_key_is_revoked() {
    when("revoked", &[], async |bench, id| drop(bench.keys(&["revoke", id]).await)).await;
}

#[tokio::test]
async fn whatever_is_under_way_ends_when_its_key_expires_by_the_wall_clock() {
    when("expired", &[], async |bench, _id| bench.ahead_ms.store(2 * HOUR_MS, Ordering::Relaxed))
        .await;
}

#[tokio::test]
async fn whatever_is_under_way_ends_when_its_key_no_longer_allows_it_and_nothing_else_does() {
    let narrow = |bench: &Bench, id: &str, to: &[&str]| {
        bench.change(|table| {
            let keys = table["keys"].as_array_mut().expect("keys");
            let key = keys.iter_mut().find(|key| key["id"] == id).expect("the key");
            key["scopes"] = json!(to);
        });
    };
    when("narrowed to read", &["read"], async |bench, id| narrow(bench, id, &["read"])).await;
    let others = ["submit", "manage"];
    when("narrowed to all but read", &others, async |bench, id| narrow(bench, id, &others)).await;
    when("narrowed to nothing", &[], async |bench, id| narrow(bench, id, &[])).await;
}

#[tokio::test]
async fn whatever_is_under_way_ends_when_the_file_of_keys_is_gone_or_cannot_be_read() {
    when("gone", &[], async |bench, _id| {
        std::fs::rename(bench.file(), bench.file().with_extension("away")).expect("another name");
    })
    .await;
    when("unreadable", &[], async |bench, _id| {
        std::fs::write(bench.file(), "{").expect("a broken file");
    })
    .await;
}

#[tokio::test]
async fn whatever_is_under_way_without_a_key_ends_when_the_first_key_is_made() {
    let bench = Bench::start().await;
    let job = bench.submitted("", "/v1/jobs", &json!({"function": "hold"})).await;
    let stubborn = bench.submitted("", "/v1/jobs", &json!({"function": "stubborn"})).await;
    let batch = json!({"function": "hold", "calls": [{}]});
    let batch = bench.submitted("", "/v1/batches", &batch).await;
    let mut under_way = bench.readers("", &job, &batch).await;
    under_way.extend(bench.writers("", &stubborn).await);
    bench.keys(&["create"]).await;
    futures_util::future::join_all(under_way.into_iter().map(|it| it.has_ended("a key"))).await;
    bench.it.get("/v1/jobs").await.expect(401);
    bench.gate.open();
    bench.latch.release();
}
