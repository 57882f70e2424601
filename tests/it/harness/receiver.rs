//! A real receiver of webhooks and requests on this machine: it keeps what it is sent and answers as told.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use futurity::Webhooks;
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::contract::contract;
use crate::server::REQUEST_LIMIT;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// How many requests had come to this path, this one included.
    pub nth: usize,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).expect(name).to_str().expect("a header of text")
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    /// The webhook's body: signed with `secret`, and as the contract has it.
    #[track_caller]
    pub fn event(&self, secret: &str) -> Value {
        let webhook = Webhook::new(secret).expect("a secret");
        webhook.verify(&self.body, &self.headers).expect("a signature by Standard Webhooks");
        contract().check_webhook(&self.body).expect("a body by the contract");
        assert_eq!(
            (&self.method, self.header("content-type")),
            (&Method::POST, "application/json")
        );
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

/// What to answer.
#[derive(Clone, Debug)]
pub enum Reply {
    Status(u16),
    /// With a header.
    With(u16, &'static str, String),
    /// With a body.
    Body(u16, Vec<u8>),
    /// With a body that is packed in this way.
    Encoded(&'static str, Vec<u8>),
    /// A part of a body, and never the rest.
    Half,
    /// So many bytes of a body that is to have so many, and never the rest.
    Stalled(usize, usize),
    /// Never.
    Silence,
}

impl Reply {
    async fn send(self) -> Response {
        let status = |code: u16| Response::builder().status(code);
        let response = match self {
            Self::Status(code) => status(code).body(Body::empty()),
            Self::With(code, name, value) => status(code).header(name, value).body(Body::empty()),
            Self::Body(code, bytes) => status(code).body(Body::from(bytes)),
            Self::Encoded(name, bytes) => {
                status(200).header("content-encoding", name).body(Body::from(bytes))
            }
            Self::Half => status(200).body(and_never_the_rest("half".into())),
            Self::Stalled(bytes, length) => {
                let head = status(200).header("content-length", length);
                head.body(and_never_the_rest(vec![b'x'; bytes].into()))
            }
            Self::Silence => std::future::pending().await,
        };
        response.expect("a response")
    }
}

fn and_never_the_rest(bytes: Bytes) -> Body {
    use futures_util::StreamExt as _;
    let first = futures_util::stream::once(async { Ok(bytes) });
    let rest = futures_util::stream::pending::<Result<_, std::io::Error>>();
    Body::from_stream(first.chain(rest))
}

/// So many attempts of each delivery, without a pause.
pub fn at_once(attempts: usize) -> Webhooks {
    Webhooks { schedule_seconds: vec![0; attempts], ..Webhooks::default() }
}

/// Ends with the test.
pub struct Receiver {
    pub url: String,
    seen: mpsc::UnboundedReceiver<Seen>,
    /// Who has asked: each connection has a port of its own.
    peers: Arc<Mutex<BTreeSet<SocketAddr>>>,
    serving: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Receiver {
    /// One that answers at once.
    pub async fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::asking(move |seen| std::future::ready(answer(&seen))).await
    }

    /// One that may do something else before it answers.
    pub async fn asking<F>(answer: impl Fn(Seen) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Reply> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (sender, seen) = mpsc::unbounded_channel();
        let (answer, paths) = (Arc::new(answer), Arc::new(Mutex::new(Vec::new())));
        let peers = Arc::new(Mutex::new(BTreeSet::new()));
        let known = Arc::clone(&peers);
        let app = Router::new().fallback(move |from: ConnectInfo<SocketAddr>, request: Request| {
            known.lock().unwrap_or_else(PoisonError::into_inner).insert(from.0);
            let (answer, paths, sender) = (Arc::clone(&answer), Arc::clone(&paths), sender.clone());
            async move {
                let seen = see(request, &paths).await;
                // A test that has ended looks no more.
                drop(sender.send(seen.clone()));
                answer(seen).await.send().await
            }
        });
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let serving =
            tokio::spawn(async move { axum::serve(listener, app).await.expect("served") });
        Self { url, seen, peers, serving }
    }

    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// How many connections requests have come on.
    pub fn connections(&self) -> usize {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The next request.
    pub async fn next(&mut self) -> Seen {
        let next = tokio::time::timeout(REQUEST_LIMIT, self.seen.recv()).await;
        next.expect("a request comes").expect("a receiver that serves")
    }

    /// Whether nothing else has arrived.
    pub fn is_quiet(&mut self) -> bool {
        self.seen.try_recv().is_err()
    }
}

async fn see(request: Request, paths: &Mutex<Vec<String>>) -> Seen {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("a whole body");
    let path = head.uri.to_string();
    let mut paths = paths.lock().unwrap_or_else(PoisonError::into_inner);
    paths.push(path.clone());
    let nth = paths.iter().filter(|earlier| **earlier == path).count();
    Seen { method: head.method, path, headers: head.headers, body, nth }
}
