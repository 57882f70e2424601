//! What a proxy before the server changes: the path that the server is reached under, and whose address a request comes from.

use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, Uri};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Longest path that the server may be reached under.
const PREFIX_BYTES_MAX: usize = 256;
/// What every address that is shown begins with, in answers and in what is sent to others. A process is reached under one.
static PREFIX: OnceLock<String> = OnceLock::new();

/// What operators say of the proxies before the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    prefix: String,
    trusted: Vec<IpNet>,
}

impl Proxies {
    /// A server that is reached under `prefix`, an empty one for none, by proxies with these addresses or networks.
    ///
    /// # Errors
    /// What is wrong with the prefix, or the entry that is no address and no network.
    pub fn new(prefix: &str, trusted: &[String]) -> Result<Self, InvalidProxies> {
        if !prefix.is_empty() && !is_prefix(prefix) {
            return Err(InvalidProxies::Prefix);
        }
        let network = |text: &String| {
            let address = || text.parse::<IpAddr>().map(IpNet::from);
            text.parse().or_else(|_no_network| address()).map_err(|_no_address| text.clone())
        };
        let trusted = trusted.iter().map(network).collect::<Result<_, _>>();
        let trusted = trusted.map_err(InvalidProxies::Trusted)?;
        Ok(Self { prefix: prefix.to_owned(), trusted })
    }

    /// From now on all that is shown is below the prefix. The first word counts.
    pub(super) fn show(&self) {
        PREFIX.get_or_init(|| self.prefix.clone());
    }

    /// Takes the prefix away from the path of a request, if it has it.
    pub(super) fn take_prefix(&self, request: &mut Request) {
        if let Some(uri) = self.without_prefix(request.uri()) {
            *request.uri_mut() = uri;
        }
    }

    fn without_prefix(&self, uri: &Uri) -> Option<Uri> {
        if self.prefix.is_empty() {
            return None;
        }
        let rest = uri.path_and_query()?.as_str().strip_prefix(self.prefix.as_str())?;
        let rest = match rest.as_bytes().first() {
            Some(b'/') => rest.to_owned(),
            None | Some(b'?') => format!("/{rest}"),
            Some(_) => return None,
        };
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(rest.parse().ok()?);
        Uri::from_parts(parts).ok()
    }

    /// For whom a proxy asks: the last address that none of them has. Nobody else is believed.
    pub(super) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> Option<IpAddr> {
        if !self.trusts(peer.ip()) {
            return None;
        }
        let mut found = None;
        for value in headers.get_all(FORWARDED_FOR).iter().rev() {
            for text in value.to_str().ok()?.rsplit(',') {
                let address = address(text.trim())?;
                found = Some(address);
                if !self.trusts(address) {
                    return found;
                }
            }
        }
        found
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

/// The path that addresses are shown below; empty for most.
pub(super) fn prefix() -> &'static str {
    PREFIX.get().map_or("", String::as_str)
}

/// An address, which may have a port behind it.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|it| it.ip());
    text.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

/// A path of parts that no client or proxy writes in another way.
fn is_prefix(text: &str) -> bool {
    let is_part = |part: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        !matches!(part, "" | "." | "..") && part.bytes().all(is_plain)
    };
    let parts = text.strip_prefix('/').unwrap_or_default();
    text.len() <= PREFIX_BYTES_MAX && parts.split('/').all(is_part)
}

/// What of the settings cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxies {
    /// A prefix that is no plain path.
    #[error(
        "must be a path like \"/futurity\": parts of letters, digits, `-`, `.`, `_` and `~`, without a slash at the end"
    )]
    Prefix,
    /// An entry that is no address and no network.
    #[error("'{0}' must be an address or a network, like \"127.0.0.1\" or \"10.0.0.0/8\"")]
    Trusted(String),
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn proxies(prefix: &str, trusted: &[&str]) -> Result<Proxies, InvalidProxies> {
        let trusted: Vec<String> = trusted.iter().map(|it| (*it).to_owned()).collect();
        Proxies::new(prefix, &trusted)
    }

    #[test]
    fn a_prefix_is_a_plain_path() {
        for good in ["", "/futurity", "/a/b-c_d.e~f"] {
            assert!(proxies(good, &[]).is_ok(), "{good}");
        }
        let long = format!("/{}", "a".repeat(PREFIX_BYTES_MAX));
        for bad in [
            "futurity", "/", "/a/", "//a", "/a/../b", "/.", "/%61", "/a b", "/a?b", "/\u{fc}",
            &long,
        ] {
            assert_eq!(proxies(bad, &[]), Err(InvalidProxies::Prefix), "{bad}");
        }
    }

    #[test]
    fn a_request_may_have_the_prefix_or_not() {
        let below = proxies("/a/b", &[]).unwrap();
        for (asked, expected) in [
            ("/a/b/v1/jobs?tag=x", Some("/v1/jobs?tag=x")),
            ("http://host/a/b/v1/jobs", Some("http://host/v1/jobs")),
            ("/a/b", Some("/")),
            ("/a/b?x", Some("/?x")),
            ("/v1/jobs", None),
            ("/a/bc/v1/jobs", None),
            ("/a", None),
        ] {
            let uri: Uri = asked.parse().unwrap();
            let expected = expected.map(|it| it.parse::<Uri>().unwrap());
            assert_eq!(below.without_prefix(&uri), expected, "{asked}");
        }
        assert_eq!(Proxies::default().without_prefix(&"/v1/jobs".parse().unwrap()), None);
    }

    #[test]
    fn only_a_proxy_that_is_trusted_says_for_whom_it_asks() {
        let it = proxies("", &["10.0.0.0/8", "127.0.0.1", "::1"]).unwrap();
        let client = |peer: &str, given: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in given {
                headers.append(FORWARDED_FOR, HeaderValue::from_str(value).unwrap());
            }
            it.client(peer.parse().unwrap(), &headers).map(|address| address.to_string())
        };
        let found = |address: &str| Some(address.to_owned());
        assert_eq!(client("127.0.0.1:9", &["192.0.2.1"]), found("192.0.2.1"));
        assert_eq!(client("[::ffff:127.0.0.1]:9", &["192.0.2.1"]), found("192.0.2.1"));
        assert_eq!(client("192.0.2.7:9", &["192.0.2.1"]), None, "anybody may write a header");
        assert_eq!(
            client("[::1]:9", &["192.0.2.1, 198.51.100.1 , 10.1.2.3"]),
            found("198.51.100.1")
        );
        assert_eq!(
            client("127.0.0.1:9", &["192.0.2.1", "198.51.100.1:80", "10.1.2.3"]),
            found("198.51.100.1")
        );
        assert_eq!(client("127.0.0.1:9", &["192.0.2.1, unknown, 10.1.2.3"]), None);
        assert_eq!(client("127.0.0.1:9", &["10.1.2.3, 10.1.2.4"]), found("10.1.2.3"));
        assert_eq!(client("127.0.0.1:9", &["[2001:db8::1]:443"]), found("2001:db8::1"));
        assert_eq!(client("127.0.0.1:9", &[]), None);
        assert_eq!(proxies("", &["a"]), Err(InvalidProxies::Trusted("a".to_owned())));
    }
}
