//! Outgoing HTTP: webhooks and `http.request`. No other floor makes a network connection.
//!
//! A URL is parsed once, by [`Policy::check_url`]. [`Client::send`] checks it again at every
//! attempt and every redirect, resolves its name, and connects only when *every* address passed
//! [`Policy::check_address`], and only to those.
//!
//! Known quirks:
//! - reqwest tells a resolver the name but not the port, while entries of the allow-list carry one.
//!   So the client holds one connection pool for each port that a rule names.
//! - hyper skips the resolver when the host is a literal address, so literals are checked as text.

mod addresses;
mod allow;
mod body;
mod client;
mod connect;
mod connections;
mod decoded;
mod egress;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod kept;
mod lookups;
mod redirect;
mod resolver;
mod retry_after;
mod sending;
mod signature;

pub use allow::AllowEntry;
pub use body::End;
pub use client::{CONNECT_TIMEOUT, Client, Request, Response, is_forbidden, is_of_connection};
pub use error::Error;
pub use reqwest::Method;
pub use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
pub use retry_after::retry_after;
pub use sending::Purpose;
pub use signature::{Secret, Unverified, sign, verify};

/// What the operator permits beyond the public internet.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// `egress.allow`: exceptions, each for one port.
    pub allow: Vec<AllowEntry>,
    /// `--allow-loopback-egress`: this machine at every port but the server's own.
    pub allow_loopback: bool,
}
