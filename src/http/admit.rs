//! The front desk: what stands before every handler. Each request gets an id, and must call the server
//! by a name it has, be of bearable size, and bring a key where one is needed.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse as _, Response};
use tower::Service as _;
use uuid::Uuid;

use crate::engine::Who;
use crate::engine::keys::{Grant, Need, Scope, Verdict};

use super::access_log::Entry;
use super::extract::has_lines;
use super::leave::{Admitted, unauthenticated};
use super::origin::RequestId;
use super::own_origin;
use super::problem::{Code, Problem, of_framework};
use super::queues::OWN_PREFIX;
use super::room;
use super::strangers::Newcomer;
use super::{App, Config, Desk};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// Longest path with query.
const URI_BYTES_MAX: usize = 8 * 1024;
/// Most header fields, and their size together.
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 32 * 1024;
/// Longest request id that is taken from a client.
const REQUEST_ID_LENGTH_MAX: usize = 128;

impl App {
    /// Admits a request, has it handled, and finishes its answer.
    pub(super) async fn answer(mut self, mut request: Request, newcomer: &Newcomer) -> Response {
        let request_id = request_id(request.headers());
        let mut entry = self.desk.entry(&request, &request_id);
        let instance = request.uri().path().to_owned();
        self.desk.config.proxies.take_prefix(&mut request);
        let method = request.method().clone();
        let needed = self.desk.check(&request);
        let mut who = Who::Strangers;
        let response = match self.desk.admit(needed, request.headers()).await {
            Ok(admitted) => {
                if let Some(key) = admitted.as_ref().and_then(|admitted| admitted.key.as_ref()) {
                    who = Who::Key(key.as_str().into());
                    entry.iter_mut().for_each(|entry| entry.let_in(key));
                } else if admitted.is_some() || self.desk.config.open_without_keys {
                    who = newcomer.as_itself();
                }
                if who != Who::Strangers {
                    newcomer.is_known(&who);
                    // It travels with the request.
                    request.extensions_mut().insert(who.clone());
                }
                if has_lines(request.headers()) {
                    request.extensions_mut().insert(RequestId(request_id.clone()));
                }
                own_origin::settle(&mut request, &self.desk.config.hosts);
                let request = match &admitted {
                    Some(admitted) => admitted.follow(request),
                    None => request,
                };
                let call = self.routes.call(request);
                let call = async { call.await.unwrap_or_else(|never| match never {}) };
                match &admitted {
                    Some(admitted) => admitted.hold(&self.desk, call).await,
                    None => call.await,
                }
            }
            Err(problem) => problem.into_response(),
        };
        let problem = response.extensions().get::<Problem>().cloned();
        let response = match problem.or_else(|| of_framework(&response)) {
            None => response,
            Some(problem) => {
                tell_ours(&problem, &method, &instance, &request_id);
                let mut answered =
                    problem.respond(&instance, request_id.to_str().unwrap_or_default());
                if method == Method::HEAD {
                    *answered.body_mut() = Body::empty();
                }
                answered
            }
        };
        let share = || self.desk.outgoing.share(who);
        let counted = room::count(response, share, method.is_safe());
        let response = counted.unwrap_or_else(|problem| {
            problem.respond(&instance, request_id.to_str().unwrap_or_default())
        });
        let idle = self.desk.idle.clone();
        finished(response, (request_id, idle), entry)
    }
}

/// A line in the log of a failure that is the server's own.
fn tell_ours(problem: &Problem, method: &Method, instance: &str, request_id: &HeaderValue) {
    if problem.is_ours() {
        let id = request_id.to_str().unwrap_or_default();
        let (code, job) = problem.in_short();
        let (route, job) = (shape(instance), job.map(tracing::field::display));
        tracing::error!(%method, route, request.id = id, code, job.id = job, "a request failed");
    }
}

/// What every answer says, and the line of the log that goes with it.
fn finished(
    mut response: Response,
    (request_id, idle): (HeaderValue, HeaderValue),
    entry: Option<Entry>,
) -> Response {
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, request_id);
    // A client that heeds it sends nothing on a connection that is just being closed.
    headers.insert(KEEP_ALIVE, idle);
    // Nothing here is a page of anybody else, or part of one.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    match entry {
        Some(entry) => entry.follow(response),
        None => response,
    }
}

impl Desk {
    /// What the access log is to tell of a request, if there is one.
    fn entry(&self, request: &Request, request_id: &HeaderValue) -> Option<Entry> {
        let Config { access_log, proxies, .. } = &self.config;
        access_log.then(|| Entry::begin(request, request_id, proxies))
    }

    /// What a key must allow for this request; none if it needs no leave.
    fn check(&self, request: &Request) -> Result<Option<Need>, Problem> {
        let uri = request.uri();
        let uri_bytes = uri.path_and_query().map_or(0, |it| it.as_str().len());
        if uri_bytes > URI_BYTES_MAX {
            let detail = format!("the path with its query may have {URI_BYTES_MAX} bytes");
            return Err(Problem::new(Code::UriTooLong, detail));
        }
        check_size(request.headers())?;
        check_transfer(request.headers())?;
        self.check_host(request)?;
        Ok(needed(request.method(), uri.path()))
    }

    /// What allows a request that needs this; none if it needs no leave.
    async fn admit(
        &self,
        needed: Result<Option<Need>, Problem>,
        headers: &HeaderMap,
    ) -> Result<Option<Arc<Admitted>>, Problem> {
        let Some(needed) = needed? else { return Ok(None) };
        Ok(Some(Admitted::new(self.check_key(headers, needed).await?, needed)))
    }

    /// A web page can make its own name resolve to this machine, but cannot send another `Host`. An address is no name,
    /// and no page brings a key: whoever does may call the server by the address where it was reached.
    fn check_host(&self, request: &Request) -> Result<(), Problem> {
        if request.headers().get_all(header::HOST).iter().nth(1).is_some() {
            return Err(Problem::new(Code::BadRequest, "the Host header stands twice"));
        }
        let from_header =
            request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or("?"));
        let host = request.uri().authority().map(|authority| authority.as_str()).or(from_header);
        let name = host.map(without_port).unwrap_or_default();
        let configured = self.config.hosts.iter().any(|host| host.eq_ignore_ascii_case(name));
        let is_keyed = is_address(name) && request.headers().contains_key(header::AUTHORIZATION);
        if configured || is_local(name) || is_keyed || is_probe(request) {
            return Ok(());
        }
        let detail =
            format!("the server does not go by the name '{name}'; an operator adds it with --host");
        Err(Problem::new(Code::Misdirected, detail))
    }

    /// The id of the key that the request brought, if it allows what is `needed`; none while nobody needs one.
    pub(super) async fn check_key(
        &self,
        headers: &HeaderMap,
        needed: Need,
    ) -> Result<Option<String>, Problem> {
        let given = headers.get(header::AUTHORIZATION);
        let token = given.and_then(|value| value.to_str().ok()).and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        let refused = |detail: &str| Err(unauthenticated(detail));
        match self.door.verdict(token, needed).await {
            Verdict::Key(id) => Ok(Some(id)),
            Verdict::Open if self.config.open_without_keys => Ok(None),
            Verdict::Open | Verdict::Missing => {
                refused("a key is needed: send Authorization: Bearer fut_…")
            }
            Verdict::Locked => refused(
                "there is no key that works, so nobody is let in: an operator makes one with `futurity keys create`, \
                 or lets everybody on this machine in with `futurity keys open`",
            ),
            Verdict::Unknown => refused("the key is not known, or was revoked"),
            Verdict::Expired => refused("the key has expired"),
            Verdict::Forbidden(id, scopes) => {
                let scopes: Vec<_> = scopes.iter().map(Grant::word).collect();
                let (allowed, needed) = (scopes.join(", "), needed.word());
                let allowed = if allowed.is_empty() { "nothing" } else { &allowed };
                let detail =
                    format!("key {id} allows {allowed}; this needs one that allows {needed}");
                Err(Problem::new(Code::Forbidden, detail))
            }
            Verdict::Unreadable => {
                let detail = "the keys cannot be read, so nobody is let in";
                Err(Problem::new(Code::KeysUnreadable, detail).retry_after(5))
            }
        }
    }
}

/// What a key must allow for this request: `openapi.yaml` says it of each operation. None: whoever may reach the
/// server may know that it lives, and how it is spoken to.
fn needed(method: &Method, path: &str) -> Option<Need> {
    if matches!(path, "/livez" | "/readyz" | "/openapi.yaml") || path.starts_with("/problems/") {
        return None;
    }
    let mut parts = path.strip_prefix("/v1/").unwrap_or_default().splitn(4, '/');
    let parts = [(); 3].map(|()| parts.next().unwrap_or_default());
    if matches!((method.as_str(), parts), ("GET" | "HEAD", ["server", "", ""])) {
        return Some(Need::AnyKey);
    }
    let scope = match (method.as_str(), parts) {
        ("GET" | "HEAD", _) | ("POST", ["jobs", "wait" | "as-completed", ""]) => Scope::Read,
        ("POST", ["jobs" | "batches" | "map", "", ""] | ["jobs", "lines", ""]) => Scope::Submit,
        ("PUT", ["queues", name, ""]) if name.starts_with(OWN_PREFIX) => Scope::Submit,
        (_, ["jobs" | "batches" | "callbacks", ..])
        | ("POST", ["queues", _, "pause" | "resume"]) => Scope::Manage,
        // Also what a route of tomorrow needs, as long as nothing else is said here.
        _ => Scope::Admin,
    };
    Some(scope.into())
}

/// The words of all routes.
const ROUTE_WORDS: [&str; 28] = [
    "v1",
    "server",
    "jobs",
    "lines",
    "wait",
    "as-completed",
    "cancel",
    "result",
    "exception",
    "retry",
    "log",
    "events",
    "callbacks",
    "batches",
    "results",
    "map",
    "redeliver",
    "functions",
    "queues",
    "pause",
    "resume",
    "shutdown",
    "workers",
    "restart",
    "livez",
    "readyz",
    "openapi.yaml",
    "problems",
];

/// A path without what its sender chose: of each part that no route has only that it is there.
fn shape(path: &str) -> String {
    let is_ours = |part: &&str| {
        part.is_empty() || Uuid::try_parse(part).is_ok() || ROUTE_WORDS.contains(part)
    };
    let parts = path.split('/').map(|part| Some(part).filter(is_ours).unwrap_or("{}"));
    parts.collect::<Vec<_>>().join("/")
}

/// Whoever watches over the server may call it by any name: a kubelet knows the address of the pod, which nobody knows
/// beforehand. What is told is that it lives, and nothing that a page of another could make use of.
fn is_probe(request: &Request) -> bool {
    let uri = request.uri();
    matches!(*request.method(), Method::GET | Method::HEAD)
        && matches!(uri.path(), "/livez" | "/readyz")
        && uri.query().is_none()
}

fn check_size(headers: &HeaderMap) -> Result<(), Problem> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() <= HEADERS_MAX && bytes <= HEADER_BYTES_MAX {
        return Ok(());
    }
    let detail = format!(
        "a request may have {HEADERS_MAX} header fields and {HEADER_BYTES_MAX} bytes of them"
    );
    Err(Problem::new(Code::HeadersTooLarge, detail))
}

/// What is coded otherwise than in chunks cannot be read (RFC 9112, section 6.1).
fn check_transfer(headers: &HeaderMap) -> Result<(), Problem> {
    let mut given = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_known = given.all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if is_known && headers.get_all(header::TRANSFER_ENCODING).iter().nth(1).is_none() {
        return Ok(());
    }
    let detail = "of transfer codings only chunked is taken, and once";
    Err(Problem::new(Code::NotImplemented, detail))
}

/// A client's id if it is one that a log can carry; else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(REQUEST_ID).filter(|id| {
        let length = id.len();
        (1..=REQUEST_ID_LENGTH_MAX).contains(&length)
            && id.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    given.cloned().unwrap_or_else(|| {
        let mut buffer = Uuid::encode_buffer();
        let text = Uuid::now_v7().simple().encode_lower(&mut buffer);
        HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("none"))
    })
}

pub(super) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // The colons of a bare IPv6 address are its own; with a port it stands in brackets.
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.contains(':') =>
        {
            name
        }
        Some((name, _)) if name.ends_with(']') => name,
        _ => host,
    }
}

pub(super) fn is_local(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
        || address_of(name).is_some_and(|address| address.is_loopback())
}

fn is_address(name: &str) -> bool {
    address_of(name).is_some()
}

/// An address as it stands in a URL.
fn address_of(name: &str) -> Option<IpAddr> {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    match bare {
        Some(bare) => bare.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => name.parse().ok(),
    }
}
