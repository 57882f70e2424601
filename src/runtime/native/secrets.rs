//! Secrets that the server keeps: calls name them, and nobody is shown them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use url::{Host, Url};

use crate::domain::Invalid;

const NAME_MAX: usize = 64;
/// Longest value, in bytes: servers take no longer headers.
const VALUE_BYTES_MAX: usize = 8 * 1024;

/// Secrets by their names. A clone shares them.
#[derive(Clone, Default)]
pub struct CallSecrets(Arc<BTreeMap<String, CallSecret>>);

/// One secret, and where it may be sent.
#[derive(Clone)]
pub struct CallSecret {
    value: String,
    hosts: Vec<(String, u16)>,
}

impl CallSecret {
    /// `value`, which goes only to `hosts`, each a name or address, with a port if that is not 443.
    pub fn new(value: String, hosts: &[String]) -> Result<Self, Invalid> {
        let is_text = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if value.is_empty() || value.len() > VALUE_BYTES_MAX || !is_text {
            let text =
                format!("its value is not 1 to {VALUE_BYTES_MAX} printable ASCII characters");
            return Err(Invalid::new(text));
        }
        if hosts.is_empty() {
            return Err(Invalid::new("hosts names no host that it may be sent to"));
        }
        let hosts = hosts.iter().map(|text| host(text)).collect::<Result<_, _>>()?;
        Ok(Self { value, hosts })
    }
}

/// A host and its port: that of https if none is given.
fn host(text: &str) -> Result<(String, u16), Invalid> {
    let url = Url::parse(&format!("https://{text}")).ok().filter(|url| {
        url.path() == "/" && url.query().is_none() && !text.contains(['/', '@', '#', '*'])
    });
    let parts = url.as_ref().and_then(place_of);
    parts.ok_or_else(|| {
        Invalid::new(format!("'{text}' is no host, such as api.example.com or 127.0.0.1:9000"))
    })
}

fn place_of(url: &Url) -> Option<(String, u16)> {
    let host = url.host_str()?.trim_end_matches('.').to_owned();
    Some((host, url.port_or_known_default()?))
}

/// Why a secret is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Kept {
    #[error("there is no secret named '{0}'")]
    Unknown(String),
    #[error(
        "the secret '{name}' is not sent to {host}: an operator names the hosts that it is for"
    )]
    Elsewhere { name: String, host: String },
    #[error("the secret '{0}' is sent by https only")]
    InClear(String),
}

impl CallSecrets {
    /// The secrets, if each name is legal.
    pub fn new(secrets: BTreeMap<String, CallSecret>) -> Result<Self, Invalid> {
        let is_name = |name: &String| {
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
            (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(legal)
        };
        match secrets.keys().find(|name| !is_name(name)) {
            Some(name) => Err(Invalid::new(format!(
                "'{name}' is no name of a secret: 1 to {NAME_MAX} of A-Z a-z 0-9 _ - ."
            ))),
            None => Ok(Self(Arc::new(secrets))),
        }
    }

    /// The value of a secret that goes into a request of `url`.
    pub(super) fn value(&self, name: &str, url: &Url) -> Result<&str, Kept> {
        let secret = self.0.get(name).ok_or_else(|| Kept::Unknown(name.to_owned()))?;
        if !place_of(url).is_some_and(|place| secret.hosts.contains(&place)) {
            let host = url.host_str().unwrap_or_default().to_owned();
            return Err(Kept::Elsewhere { name: name.to_owned(), host });
        }
        if url.scheme() != "https" && !is_loopback(url) {
            return Err(Kept::InClear(name.to_owned()));
        }
        Ok(&secret.value)
    }
}

/// What stays on this machine may go without encryption. Names below `localhost` are never asked of a name server.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name.trim_end_matches('.') == "localhost",
        None => false,
    }
}

/// Their names.
impl fmt::Debug for CallSecrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// Where it goes.
impl fmt::Debug for CallSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CallSecret").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "s3cret";

    fn secrets(hosts: &[&str]) -> CallSecrets {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let secret = CallSecret::new(VALUE.to_owned(), &hosts).unwrap();
        CallSecrets::new(BTreeMap::from([("api".to_owned(), secret)])).unwrap()
    }

    #[test]
    fn a_secret_goes_to_its_hosts_only_and_by_https() {
        let secrets =
            secrets(&["api.example.com", "b.example:8443", "127.0.0.1:9000", "[::1]:9000"]);
        let told = |url: &str| secrets.value("api", &Url::parse(url).unwrap()).map(str::to_owned);
        for url in [
            "https://api.example.com/x?y",
            "https://API.example.com.:443/",
            "https://b.example:8443/",
            "http://127.0.0.1:9000/",
            "https://[::1]:9000/",
        ] {
            assert_eq!(told(url).as_deref(), Ok(VALUE), "{url}");
        }
        for url in [
            "https://example.com/",
            "https://x.api.example.com/",
            "https://api.example.com.evil.example/",
            "https://api.example.com:8443/",
            "https://api.example.com@evil.example/",
            "http://api.example.com/",
            "http://127.0.0.1/",
            "http://localhost:9000/",
        ] {
            assert!(matches!(told(url), Err(Kept::Elsewhere { .. })), "{url}");
        }
        assert_eq!(told("http://b.example:8443/"), Err(Kept::InClear("api".to_owned())));
        let unknown = secrets.value("other", &Url::parse("https://api.example.com/").unwrap());
        assert_eq!(unknown, Err(Kept::Unknown("other".to_owned())));
    }

    #[test]
    fn what_cannot_be_a_secret_or_a_host_is_refused_and_the_value_never_told() {
        let hosts = ["a.example".to_owned()];
        for value in ["", "two\nlines", "é", &"x".repeat(VALUE_BYTES_MAX + 1)] {
            let refused = CallSecret::new(value.to_owned(), &hosts).unwrap_err().to_string();
            assert!(value.is_empty() || !refused.contains(value), "{refused}");
        }
        for host in ["", "https://a.example", "a.example/x", "u@a.example", "*.example", "a b"] {
            assert!(CallSecret::new(VALUE.to_owned(), &[host.to_owned()]).is_err(), "{host}");
        }
        assert!(CallSecret::new(VALUE.to_owned(), &[]).is_err());
        let shown = format!("{:?}", secrets(&["a.example"]));
        assert!(shown.contains("api") && !shown.contains(VALUE), "{shown}");
        let secret = CallSecret::new(VALUE.to_owned(), &hosts).unwrap();
        assert!(!format!("{secret:?}").contains(VALUE));
        assert!(CallSecrets::new(BTreeMap::from([("a b".to_owned(), secret)])).is_err());
    }
}
