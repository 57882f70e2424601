//! Addresses and answers that strangers give, read without a network.

use std::net::IpAddr;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderValue, LOCATION};
use url::{Host, Url};

use super::allow::AllowEntry;
use super::egress::Policy;
use super::{Config, redirect, signature};

/// An address that a job or a callback names: what passes is http or https, and no literal address of a range that is denied.
pub fn url(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let policy = Policy::new(&Config { allow: Vec::new(), allow_loopback: false }, Vec::new());
    drop(text.parse::<AllowEntry>());
    let Ok(url) = policy.check_url(text) else { return };
    assert!(matches!(url.scheme(), "http" | "https") && url.username().is_empty(), "{url}");
    let address: Option<IpAddr> = match url.host() {
        Some(Host::Ipv4(address)) => Some(address.into()),
        Some(Host::Ipv6(address)) => Some(address.into()),
        _ => None,
    };
    if let Some(address) = address.map(|it| it.to_canonical()) {
        let private = match address {
            IpAddr::V4(it) => it.is_private() || it.is_link_local() || it.is_broadcast(),
            IpAddr::V6(it) => it.is_unique_local() || it.is_unicast_link_local(),
        };
        let is_denied =
            private || address.is_loopback() || address.is_unspecified() || address.is_multicast();
        assert!(!is_denied, "{address} passed");
    }
}

/// Where an answer redirects to.
pub fn location(bytes: &[u8]) {
    let (Ok(value), Ok(from)) =
        (HeaderValue::from_bytes(bytes), Url::parse("https://example.com/a"))
    else {
        return;
    };
    let headers = HeaderMap::from_iter([(LOCATION, value)]);
    drop(redirect::destination(&from, StatusCode::FOUND, &headers));
}

/// The header fields of a webhook, and a secret.
pub fn signature(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    drop(signature::Secret::parse(text));
    let Ok(secret) = signature::Secret::from_bytes(vec![7; 32]) else { return };
    let mut parts = text.splitn(3, '\n');
    let parts = [(); 3].map(|()| parts.next());
    let header = |name: &'static str| match name {
        "webhook-id" => parts[0],
        "webhook-timestamp" => parts[1],
        _ => parts[2],
    };
    assert!(signature::verify(&[secret], header, bytes, 0).is_err(), "nobody can have signed this");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::domain::example::mangled;

    const TEXTS: &[&str] = &[
        "https://example.com:8443/a?b#c",
        "http://0x7f.1/",
        "http://2130706433/",
        "http://[::ffff:10.0.0.1]/",
        "http://[64:ff9b::a00:1]/",
        "http://user:pass@host/",
        "http://127.1/",
        "//evil.example",
        "/a/../b",
        "10.1.2.0/24:443",
        "hooks.corp.example:443",
        "[fd00::/8]:80",
        "msg_1\n1700000000\nv1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    ];

    proptest! {
        #[test]
        fn no_address_and_no_answer_makes_a_reader_panic_or_passes_what_is_denied(bytes in mangled(TEXTS)) {
            super::url(&bytes);
            super::location(&bytes);
            super::signature(&bytes);
        }
    }
}
