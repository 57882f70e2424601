//! A real receiver of webhooks and requests on this machine: it keeps what it is sent and answers as told.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::contract::contract;

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
    /// A part of a body, and never the rest.
    Half,
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
            Self::Half => {
                use futures_util::StreamExt as _;
                let half = futures_util::stream::once(async { Ok("half") });
                let half = half.chain(futures_util::stream::pending::<Result<_, std::io::Error>>());
                status(200).body(Body::from_stream(half))
            }
            Self::Silence => std::future::pending().await,
        };
        response.expect("a response")
    }
}

/// Ends with the test.
pub struct Receiver {
    pub url: String,
    seen: mpsc::UnboundedReceiver<Seen>,
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
        let app = Router::new().fallback(move |request: Request| {
            let (answer, paths, sender) = (Arc::clone(&answer), Arc::clone(&paths), sender.clone());
            async move {
                let seen = see(request, &paths).await;
                // A test that has ended looks no more.
                drop(sender.send(seen.clone()));
                answer(seen).await.send().await
            }
        });
        let serving =
            tokio::spawn(async move { axum::serve(listener, app).await.expect("served") });
        Self { url, seen, serving }
    }

    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The next request.
    pub async fn next(&mut self) -> Seen {
        self.seen.recv().await.expect("a receiver that serves")
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
