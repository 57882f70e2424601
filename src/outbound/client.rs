//! Sending one request under the egress policy.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, RANGE,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use tokio::time::Instant;
use url::Url;

use super::Config;
use super::body::Body;
use super::connections::Connections;
use super::decoded;
use super::egress::Policy;
use super::error::{Error, is_hang_up};
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
const OF_CONNECTION: [HeaderName; 9] = [
    CONNECTION,
    CONTENT_LENGTH,
    HOST,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Whether a header of that name is the connection's, and so none that a request may bring.
pub fn is_of_connection(name: &HeaderName) -> bool {
    OF_CONNECTION.contains(name)
}

/// Methods that are not sent to other servers: one asks a proxy for a tunnel, the other gives away what was sent.
pub fn is_forbidden(method: &Method) -> bool {
    matches!(*method, Method::CONNECT | Method::TRACE)
}

/// Methods whose request may be sent again when nobody knows what became of it (RFC 9110, section 9.2.2).
fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

/// Methods whose request says how long its body is even if it has none: some servers answer 411 otherwise (RFC 9110,
/// section 8.6).
fn expects_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

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
    /// Those that belong to the connection, such as `Host`, are left out.
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

    /// Asks once; and once more, on a connection of its own, if the kept one that was taken turned out to be closed.
    /// Its end and our request crossed each other, and it is not known whether it was read, so only what may be done
    /// twice is sent again.
    async fn exchange(&self, request: &Request) -> Result<reqwest::Response, Error> {
        if is_forbidden(&request.method) {
            return Err(Error::ForbiddenMethod { method: request.method.clone() });
        }
        let port = self.shared.policy.check(&request.url)?;
        let connections = self.shared.named.get(&port).unwrap_or(&self.shared.ordinary);
        let keeps = self.shared.kept.keeps(&request.url, std::time::Instant::now());
        let client = connections.kept(&request.url).await?;
        let sending = Sending::current();
        let before = sending.connections();
        let answer = match client.execute(message(request, keeps)).await {
            Err(error)
                if sending.connections() == before
                    && is_idempotent(&request.method)
                    && is_hang_up(&error) =>
            {
                let client = connections.fresh(&request.url).await?;
                client.execute(message(request, false)).await
            }
            answer => answer,
        };
        answer.map_err(|error| Error::of_exchange(error, &request.url))
    }
}

fn message(request: &Request, is_kept: bool) -> reqwest::Request {
    let mut message = reqwest::Request::new(request.method.clone(), request.url.clone());
    let headers = message.headers_mut();
    headers.clone_from(&request.headers);
    if !is_kept {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    // Part of a compressed body is no body.
    if !headers.contains_key(RANGE) {
        headers.entry(ACCEPT_ENCODING).or_insert(decoded::ACCEPTED);
    }
    if request.body.is_empty() {
        if expects_body(&request.method) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
    } else {
        *message.body_mut() = Some(request.body.clone().into());
    }
    message
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
    let mut headers = std::mem::take(answer.headers_mut());
    let announced = answer.content_length();
    let pieces = decoded::pieces(answer, &mut headers);
    let body = Body::new(pieces, announced, request.url.clone(), (deadline, request.timeout));
    Response { status, headers, body, url: request.url }
}

#[cfg(test)]
mod tests;
