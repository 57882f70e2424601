//! Why a request got no answer; no message holds the path or the query of a URL.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use reqwest::Method;
use url::Url;

use super::connect::TooSlow;
use super::egress::Denied;

/// Why [`super::Client::send`] has no answer to return, or a [`super::Body`] no more bytes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("no complete answer within {} s", after.as_secs_f64())]
    Timeout { after: Duration },
    #[error("no connection to {host} within {} s", after.as_secs_f64())]
    ConnectTimeout { host: String, after: Duration },
    #[error("more than {limit} redirects")]
    TooManyRedirects { limit: usize },
    #[error("{host} redirects to what is no URL")]
    InvalidRedirect { host: String },
    #[error("the method {method} is not sent to other servers")]
    ForbiddenMethod { method: Method },
    #[error("{host} cannot be resolved: {cause}")]
    Resolve { host: String, cause: Cause },
    #[error("{host} cannot be connected to: {cause}")]
    Connect { host: String, cause: Cause },
    #[error("the exchange with {host} failed: {cause}")]
    Protocol { host: String, cause: Cause },
    #[error("the body of the answer of {host} cannot be decoded: {reason}")]
    Encoding { host: String, reason: String },
    #[error(
        "https needs certificates of authorities, and this system has none: \
         install its package ca-certificates"
    )]
    NoAuthorities,
    #[error("egress.allow and the listening addresses name more than {limit} different ports")]
    TooManyPorts { limit: usize },
    #[error("the HTTP client cannot be set up: {cause}")]
    Setup { cause: Cause },
}

/// What the HTTP library reports; shown by its innermost reason, such as "connection refused".
pub struct Cause(reqwest::Error);

impl Cause {
    pub(super) fn new(error: reqwest::Error) -> Cause {
        Cause(error.without_url())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match chain(&self.0).last() {
            Some(innermost) => write!(f, "{innermost}"),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error {
    /// Translates what happened while `url` was asked.
    pub(super) fn of_exchange(error: reqwest::Error, url: &Url) -> Error {
        if let Some(denied) = chain(&error).find_map(|cause| cause.downcast_ref::<Denied>()) {
            let port = url.port_or_known_default().unwrap_or_default();
            return Error::Denied(denied.clone().at_port(port));
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        // Reading and writing have no timeouts of their own: `Client::send` bounds the whole.
        if let Some(slow) = chain(&error).find_map(|cause| cause.downcast_ref::<TooSlow>()) {
            return Error::ConnectTimeout { host, after: slow.0 };
        }
        let (is_dns, is_connect) = (error.is_dns(), error.is_connect());
        let cause = Cause::new(error);
        if is_dns {
            Error::Resolve { host, cause }
        } else if is_connect {
            Error::Connect { host, cause }
        } else {
            Error::Protocol { host, cause }
        }
    }
}

/// Whether the other side closed the connection before it had answered.
pub(super) fn is_hang_up(error: &reqwest::Error) -> bool {
    chain(error).any(|cause| {
        let hyper = cause.downcast_ref::<hyper::Error>();
        let io = cause.downcast_ref::<std::io::Error>();
        hyper.is_some_and(hyper::Error::is_incomplete_message)
            || io.is_some_and(|error| {
                use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
                matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
            })
    })
}

fn chain(error: &reqwest::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}
