//! A receiver of webhooks for development: it hands on what comes, and answers as it is told.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::Response;
use tokio::net::TcpListener;

/// The largest body that is taken.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// What browsers send along with requests of pages.
const FROM_PAGES: [HeaderName; 2] = [header::ORIGIN, HeaderName::from_static("sec-fetch-site")];

/// One request as it came.
#[derive(Debug)]
pub struct Arrival {
    /// Its method and path.
    pub line: String,
    headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Arrival {
    /// The text of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// How to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// With a status, and perhaps `Retry-After` in seconds.
    Status(u16, Option<u64>),
    /// Not at all, as long as the sender waits.
    Silence,
}

/// Answers whatever comes to `listener` as `react` says; ends with the process only.
///
/// # Errors
/// An I/O error of the listener.
pub async fn receive(
    listener: TcpListener,
    react: impl Fn(&Arrival) -> Reaction + Send + Sync + 'static,
) -> io::Result<()> {
    let react = Arc::new(react);
    let app = Router::new().fallback(move |request: Request| {
        let react = Arc::clone(&react);
        async move {
            // Servers send webhooks, and none of them says so. A page that a browser shows has nothing to tell here.
            if FROM_PAGES.iter().any(|name| request.headers().contains_key(name)) {
                return status(StatusCode::FORBIDDEN);
            }
            match arrival(request).await {
                Ok(arrival) => answer(react(&arrival)).await,
                Err(refusal) => refusal,
            }
        }
    });
    axum::serve(listener, app).await
}

async fn arrival(request: Request) -> Result<Arrival, Response> {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await;
    let body = body.map_err(|_too_large_or_cut| status(StatusCode::PAYLOAD_TOO_LARGE))?;
    Ok(Arrival { line: format!("{} {}", head.method, head.uri), headers: head.headers, body })
}

async fn answer(reaction: Reaction) -> Response {
    let (code, retry_after) = match reaction {
        Reaction::Status(code, retry_after) => (code, retry_after),
        Reaction::Silence => match std::future::pending::<Infallible>().await {},
    };
    let mut response = status(StatusCode::from_u16(code).unwrap_or(StatusCode::NO_CONTENT));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn status(code: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response
}
