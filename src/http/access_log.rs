//! The access log: a line for each request at its end, if it is switched on.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, Method};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};

use super::proxies::Proxies;

/// Who sent a request. It travels with the request while the log is on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// What is told of a request when this is dropped. Of the query, whose values may be what others should not read, it tells
/// nothing.
#[derive(Debug)]
pub(super) struct Entry {
    since: Instant,
    method: Method,
    path: String,
    peer: Option<SocketAddr>,
    /// For whom the peer asks, if it is a proxy that is trusted.
    client: Option<IpAddr>,
    request_id: HeaderValue,
    key: Option<String>,
    /// None: the request broke off before it was answered.
    status: Option<u16>,
    bytes: u64,
}

impl Entry {
    /// Of a request that comes in.
    pub(super) fn begin(request: &Request, request_id: &HeaderValue, proxies: &Proxies) -> Self {
        let peer = request.extensions().get().map(|Peer(peer)| *peer);
        Self {
            since: Instant::now(),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            peer,
            client: peer.and_then(|peer| proxies.client(peer, request.headers())),
            request_id: request_id.clone(),
            key: None,
            status: None,
            bytes: 0,
        }
    }

    /// By whose key it was let in.
    pub(super) fn let_in(&mut self, key: &str) {
        self.key = Some(key.to_owned());
    }

    /// Goes with the answer until the last of its bytes has been taken.
    pub(super) fn follow(mut self, answer: Response) -> Response {
        self.status = Some(answer.status().as_u16());
        answer.map(|body| Body::new(Followed { body, entry: self }))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        tracing::info!(
            target: "futurity::access",
            method = %self.method,
            path = self.path,
            status = self.status,
            duration_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            bytes = self.bytes,
            request.id = self.request_id.to_str().unwrap_or_default(),
            key.id = self.key,
            peer = self.peer.map(tracing::field::display),
            client = self.client.map(tracing::field::display),
            "request"
        );
    }
}

/// A body whose bytes are counted.
struct Followed {
    body: Body,
    entry: Entry,
}

impl HttpBody for Followed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            self.entry.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
