//! Sending one request under the egress policy.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use tokio::time::Instant;
use url::Url;

use super::Config;
use super::body::Body;
use super::connections::Connections;
use super::egress::Policy;
use super::error::Error;
use super::kept::Kept;
use super::redirect;
use super::resolver::Resolver;
use super::sending::{Purpose, Sending, within};

const MAX_REDIRECTS: usize = 10;
/// Resolving, connecting and the TLS handshake together, where a request says nothing else.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Each port that a rule names has pools of its own, that for https with a copy of the system's certificates.
const MAX_PORTS: usize = 64;

/// Headers that belong to the connection, which requests share. `Host` is among them because a name
/// on the allow-list must not open the other sites that its machine serves.
const OF_CONNECTION: [HeaderName; 8] = [
    CONNECTION,
    CONTENT_LENGTH,
    HOST,
    HeaderName::from_static("keep-alive"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Sends requests and keeps connections for the next ones. A clone shares them.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    policy: Arc<Policy>,
    /// For every port but those of `named`.
    ordinary: Connections,
    named: BTreeMap<u16, Connections>,
    kept: Kept,
}

/// What to send, and how long to wait for an answer.
pub struct Request {
    /// Any but CONNECT and TRACE.
    pub method: Method,
    pub url: Url,
    /// Those that belong to the connection, such as `Host`, are left out silently, as browsers do.
    pub headers: HeaderMap,
    pub body: Bytes,
    pub purpose: Purpose,
    /// For each connection that it needs, without the wait for a turn to look its name up.
    pub connect_timeout: Duration,
    /// For everything: resolving, connecting, all redirects, and reading the body. Of a delivery without that wait.
    pub timeout: Duration,
    /// At most ten. Otherwise a redirect is an answer like any other.
    pub follow_redirects: bool,
}

/// An answer of any status, whose body is still to be read.
pub struct Response {
    pub status: u16,
    /// Without those that described a compressed body.
    pub headers: HeaderMap,
    pub body: Body,
    /// The URL that answered: the request's, or that of the last redirect followed.
    pub url: Url,
}

impl Client {
    /// `own` are the addresses that this server listens on, with their actual ports.
    pub fn new(config: &Config, own: Vec<SocketAddr>) -> Result<Client, Error> {
        let policy = Arc::new(Policy::new(config, own));
        let ports: BTreeSet<u16> = policy.ports().collect();
        if ports.len() > MAX_PORTS {
            return Err(Error::TooManyPorts { limit: MAX_PORTS });
        }
        let resolver = Resolver::new(Arc::clone(&policy));
        let at_port = |port: u16| Ok((port, Connections::new(resolver.at_port(port))?));
        let named = ports.into_iter().map(at_port).collect::<Result<_, Error>>()?;
        let ordinary = Connections::new(resolver)?;
        let kept = Kept::default();
        Ok(Client { shared: Arc::new(Shared { policy, ordinary, named, kept }) })
    }

    pub fn policy(&self) -> &Policy {
        &self.shared.policy
    }

    /// Sends a request, checking its URL and every address that its name resolves to, again for
    /// every redirect.
    pub async fn send(&self, mut request: Request) -> Result<Response, Error> {
        for name in &OF_CONNECTION {
            request.headers.remove(name);
        }
        let (timeout, begun) = (request.timeout, Instant::now());
        let sending = Sending::new(request.purpose, request.connect_timeout);
        let apart = || match sending.purpose {
            Purpose::Delivery => sending.waited(),
            Purpose::Call => Duration::ZERO,
        };
        let answered = Arc::clone(&sending).scope(self.follow(request));
        match within(timeout, apart, answered).await {
            Some(outcome) => outcome
                .map(|(answer, request)| response(answer, request, begun + timeout + apart())),
            None => Err(Error::Timeout { after: timeout }),
        }
    }

    /// What answers in the end, and the request that it answers.
    async fn follow(&self, mut request: Request) -> Result<(reqwest::Response, Request), Error> {
        for _hop in 0..=MAX_REDIRECTS {
            let answer = self.exchange(&request).await?;
            let (status, headers) = (answer.status(), answer.headers());
            let next = if request.follow_redirects {
                redirect::destination(&request.url, status, headers)?
            } else {
                None
            };
            match next {
                Some(url) => redirect::turn(&mut request, status, url),
                None => return Ok((answer, request)),
            }
        }
        Err(Error::TooManyRedirects { limit: MAX_REDIRECTS })
    }

    async fn exchange(&self, request: &Request) -> Result<reqwest::Response, Error> {
        if matches!(request.method, Method::CONNECT | Method::TRACE) {
            return Err(Error::ForbiddenMethod { method: request.method.clone() });
        }
        let port = self.shared.policy.check(&request.url)?;
        let connections = self.shared.named.get(&port).unwrap_or(&self.shared.ordinary);
        let connections = connections.to(&request.url).await?;
        let mut message = reqwest::Request::new(request.method.clone(), request.url.clone());
        message.headers_mut().clone_from(&request.headers);
        if !self.shared.kept.keeps(&request.url, std::time::Instant::now()) {
            message.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        *message.body_mut() = Some(request.body.clone().into());
        let answer = connections.execute(message).await;
        answer.map_err(|error| Error::of_exchange(error, &request.url))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("policy", &self.shared.policy).finish_non_exhaustive()
    }
}

/// Without the URL's path and query, the headers and the body: all may hold secrets.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("host", &self.url.host_str())
            .field("body_bytes", &self.body.len())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Without the URL's path and query, the headers and the body: all may hold secrets.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("host", &self.url.host_str())
            .finish_non_exhaustive()
    }
}

fn response(mut answer: reqwest::Response, request: Request, deadline: Instant) -> Response {
    let status = answer.status().as_u16();
    let headers = std::mem::take(answer.headers_mut());
    let body = Body::new(answer, request.url.clone(), (deadline, request.timeout));
    Response { status, headers, body, url: request.url }
}

#[cfg(test)]
mod tests;
