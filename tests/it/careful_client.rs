//! `http.request` as a careful client: what it reads whole, sends twice, says, and refuses to leave out.

use std::io::Write as _;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::receiver::{Receiver, Reply};
use crate::server::TestServer;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn done(it: &TestServer, kwargs: &Value) -> Value {
    it.done(&json!({"function": "http.request", "kwargs": kwargs})).await
}

/// What answers as many requests of each connection as `answers` says, and closes it when the next has come: that one
/// was read, and never answered.
struct Peer {
    url: String,
    heads: mpsc::UnboundedReceiver<String>,
    serving: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Peer {
    async fn answering(answers: &'static [usize]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let (sender, heads) = mpsc::unbounded_channel();
        let serving = tokio::spawn(async move {
            for count in answers {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                for place in 0..=*count {
                    let Some(head) = head(&mut stream).await else { break };
                    sender.send(head).expect("the test looks");
                    if place < *count {
                        stream.write_all(OK.as_bytes()).await.expect("it is sent");
                    }
                }
            }
        });
        Self { url, heads, serving }
    }

    fn seen(&mut self) -> usize {
        std::iter::from_fn(|| self.heads.try_recv().ok()).count()
    }
}

async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(bytes).expect("a head of text"))
}

#[tokio::test]
async fn a_get_on_a_kept_connection_that_the_peer_closes_is_sent_again_once_on_a_new_one() {
    let it = TestServer::start().await;
    let mut peer = Peer::answering(&[1, 1]).await;
    for _ in 0..2 {
        let job = done(&it, &json!({"url": peer.url})).await;
        assert_eq!(job["state"], "succeeded", "{job}");
    }
    assert_eq!(peer.seen(), 3, "one of them was not answered");
}

#[tokio::test]
async fn what_may_not_be_done_twice_is_not_sent_again() {
    let it = TestServer::start().await;
    let mut peer = Peer::answering(&[1, 1]).await;
    let states = [done(&it, &json!({"url": peer.url})).await, {
        done(&it, &json!({"url": peer.url, "method": "POST"})).await
    }];
    assert_eq!(states[1]["error"]["type"], "ConnectionError", "{states:?}");
    assert_eq!(peer.seen(), 2);
}

#[tokio::test]
async fn a_peer_that_never_answers_on_a_new_connection_is_asked_once() {
    let it = TestServer::start().await;
    let mut peer = Peer::answering(&[0, 0]).await;
    let job = done(&it, &json!({"url": peer.url})).await;
    assert_eq!(job["error"]["type"], "ConnectionError", "{job}");
    assert_eq!(peer.seen(), 1);
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

#[tokio::test]
async fn a_body_of_several_gzip_members_is_read_whole_and_what_is_cut_or_more_fails() {
    let it = TestServer::start().await;
    let receiver = Receiver::start(|seen| {
        let whole = [gzip("first;"), gzip(""), gzip("second")].concat();
        Reply::Encoded(
            "gzip",
            match seen.path.as_str() {
                "/whole" => whole,
                "/cut" => whole[..whole.len() - 9].to_vec(),
                _ => [&whole[..], b"more"].concat(),
            },
        )
    })
    .await;
    let job = done(&it, &json!({"url": receiver.at("/whole")})).await;
    assert_eq!(job["result"]["body"], "first;second", "{job}");
    for path in ["/cut", "/more"] {
        let job = done(&it, &json!({"url": receiver.at(path)})).await;
        assert_eq!(job["error"]["type"], "ConnectionError", "{path}: {job}");
    }
    let head = json!({"url": receiver.at("/whole"), "method": "HEAD"});
    assert_eq!(done(&it, &head).await["result"]["body"], "");
}

#[tokio::test]
async fn an_answer_that_means_later_is_followed_by_another_attempt_not_before_it_is_asked_for() {
    let it = TestServer::start().await;
    let mut receiver = Receiver::start(|seen| {
        let status: u16 = seen.path.trim_start_matches('/').parse().expect("a status");
        Reply::With(status, "retry-after", "3600".into())
    })
    .await;
    for (status, waits) in [(408, false), (425, false), (429, true), (503, true)] {
        let kwargs = json!({"url": receiver.at(&format!("/{status}")), "raise_for_status": true});
        let retry = json!({"max_attempts": 2, "initial_seconds": 0, "max_seconds": 7200});
        let asked = json!({"function": "http.request", "kwargs": kwargs, "retry": retry});
        let job = it.submit(&asked).await;
        receiver.next().await;
        if waits {
            let path = job["urls"]["self"].as_str().expect("a path");
            let waiting = loop {
                let shown = it.get(path).await.expect(200).json();
                if shown["state"] == "pending" {
                    break shown;
                }
            };
            let error = &waiting["attempts"][0]["error"];
            assert_eq!(error["details"]["status"], status, "{waiting}");
            let moment = |text: &Value| -> jiff::Timestamp {
                text.as_str().expect("a moment").parse().expect("a moment")
            };
            let ended = moment(&waiting["attempts"][0]["finished_at"]);
            let wait = moment(&waiting["run_at"]).duration_since(ended).as_secs();
            assert!(wait >= 3_600, "{waiting}");
        } else {
            receiver.next().await;
            assert_eq!(it.wait(&job).await["error"]["attempt"], 2);
        }
    }
}

#[tokio::test]
async fn a_request_without_a_body_says_so_where_one_is_expected_and_methods_are_in_capitals() {
    let it = TestServer::start().await;
    let mut receiver = Receiver::start(|_| Reply::Status(200)).await;
    for (method, length) in [
        ("post", Some("0")),
        ("PUT", Some("0")),
        ("Patch", Some("0")),
        ("get", None),
        ("delete", None),
    ] {
        done(&it, &json!({"url": receiver.at("/"), "method": method})).await;
        let seen = receiver.next().await;
        assert_eq!(seen.method.as_str(), method.to_ascii_uppercase());
        let sent = seen.headers.get("content-length").map(|it| it.to_str().expect("text"));
        assert_eq!(sent, length, "{method}");
        assert!(!seen.headers.contains_key("transfer-encoding"), "{method}");
    }
}

#[tokio::test]
async fn what_would_not_be_sent_as_it_is_given_is_refused_at_submission_where_it_stands() {
    let it = TestServer::start().await;
    let url = "http://127.0.0.1:9/";
    for (kwargs, pointer) in [
        (json!({"url": url, "headers": {"Host": "shop.example"}}), "/kwargs/headers/Host"),
        (json!({"url": url, "headers": {"content-length": "7"}}), "/kwargs/headers/content-length"),
        (
            json!({"url": url, "headers": {"Transfer-Encoding": "chunked"}}),
            "/kwargs/headers/Transfer-Encoding",
        ),
        (json!({"url": url, "headers": {"x-a": "1", "X-A": "2"}}), "/kwargs/headers/x-a"),
        (json!({"url": url, "headers": {"a/b": "1"}}), "/kwargs/headers/a~1b"),
        (json!({"url": url, "headers": {"X-A": "a\nb"}}), "/kwargs/headers/X-A"),
        (json!({"url": url, "method": "trace"}), "/kwargs/method"),
        (json!({"url": url, "method": "CONNECT"}), "/kwargs/method"),
        (json!({"url": url, "body": "a", "json": 1}), "/kwargs/json"),
        (json!({"url": "ftp://127.0.0.1/"}), "/kwargs/url"),
    ] {
        let call = json!({"function": "http.request", "kwargs": kwargs});
        let problem = it.post("/v1/jobs", &call).await.expect(422).json();
        assert_eq!(problem["code"], "invalid_arguments", "{problem}");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let positional = json!({"function": "http.request", "args": [url, "TRACE"]});
    let problem = it.post("/v1/jobs", &positional).await.expect(422).json();
    assert_eq!(problem["errors"][0]["pointer"], "/args/1", "{problem}");
}
