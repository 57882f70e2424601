//! `egress.allow`: the operator's exceptions, each a host or a network at one port.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::Host;

/// One exception, such as `127.0.0.1:9000`, `[::1]:9000`, `10.1.2.0/24:443`, `[fd00::/8]:443` or
/// `hooks.corp.example:443`.
///
/// A network permits its addresses, and every name that resolves to nothing else. A name permits
/// whatever it resolves to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowEntry {
    target: Target,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Network(IpNet),
    /// Lower-case, ASCII, without a trailing dot.
    Name(String),
}

/// Why a text is no [`AllowEntry`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAllowEntry {
    #[error(
        "{entry:?} is no entry of egress.allow: write HOST:PORT, such as \"127.0.0.1:9000\", \
         \"[::1]:9000\", \"10.1.2.0/24:443\" or \"hooks.corp.example:443\""
    )]
    Form { entry: String },
    #[error("{entry:?} has a wildcard; egress.allow takes exact names only: list each of them")]
    Wildcard { entry: String },
    #[error("{entry:?} has bits set beyond its prefix: write {network}, or a single address")]
    HostBits { entry: String, network: IpNet },
    #[error("{entry:?} is an IPv4 address written as IPv6: write it as IPv4")]
    Mapped { entry: String },
}

impl AllowEntry {
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn permits_address(&self, address: SocketAddr) -> bool {
        match &self.target {
            Target::Network(network) => {
                self.port == address.port() && network.contains(&address.ip().to_canonical())
            }
            Target::Name(_) => false,
        }
    }

    /// `host` is without a trailing dot.
    pub(super) fn permits_name(&self, host: &str, port: u16) -> bool {
        match &self.target {
            Target::Network(_) => false,
            Target::Name(name) => self.port == port && name.eq_ignore_ascii_case(host),
        }
    }
}

impl FromStr for AllowEntry {
    type Err = InvalidAllowEntry;

    fn from_str(entry: &str) -> Result<Self, InvalidAllowEntry> {
        let form = || InvalidAllowEntry::Form { entry: entry.to_owned() };
        let (host, port) = entry.rsplit_once(':').ok_or_else(form)?;
        // `u16::from_str` takes a leading plus sign.
        let digits_only = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|&port| digits_only && port != 0).ok_or_else(form)?;
        if host.contains('*') {
            return Err(InvalidAllowEntry::Wildcard { entry: entry.to_owned() });
        }
        let target = parse_target(host).ok_or_else(form)?;
        if let Target::Network(network) = target {
            check_network(entry, network)?;
        }
        Ok(AllowEntry { target, port })
    }
}

impl fmt::Display for AllowEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match &self.target {
            Target::Name(name) => write!(f, "{name}:{port}"),
            Target::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                SocketAddr::new(network.addr(), port).fmt(f)
            }
            Target::Network(IpNet::V4(network)) => write!(f, "{network}:{port}"),
            Target::Network(IpNet::V6(network)) => write!(f, "[{network}]:{port}"),
        }
    }
}

fn parse_target(host: &str) -> Option<Target> {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let single = inner.parse::<Ipv6Addr>().map(Ipv6Net::from);
        let network = single.or_else(|_not_single| inner.parse()).ok()?;
        return Some(Target::Network(IpNet::V6(network)));
    }
    if host.contains('/') {
        return Some(Target::Network(IpNet::V4(host.parse().ok()?)));
    }
    match Host::parse(host).ok()? {
        Host::Ipv4(ip) => Some(Target::Network(IpNet::V4(Ipv4Net::from(ip)))),
        Host::Ipv6(ip) => Some(Target::Network(IpNet::V6(Ipv6Net::from(ip)))),
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            (!name.is_empty()).then(|| Target::Name(name.to_owned()))
        }
    }
}

fn check_network(entry: &str, network: IpNet) -> Result<(), InvalidAllowEntry> {
    if network != network.trunc() {
        let network = network.trunc();
        return Err(InvalidAllowEntry::HostBits { entry: entry.to_owned(), network });
    }
    // Addresses are compared after unwrapping, so such an entry would silently permit nothing.
    if matches!(network, IpNet::V6(network) if network.addr().to_ipv4_mapped().is_some()) {
        return Err(InvalidAllowEntry::Mapped { entry: entry.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_shown_in_its_canonical_form() {
        let cases = [
            ("127.0.0.1:9000", "127.0.0.1:9000"),
            ("127.1:9000", "127.0.0.1:9000"),
            ("[::1]:9000", "[::1]:9000"),
            ("[0:0::1]:9000", "[::1]:9000"),
            ("10.1.2.0/24:443", "10.1.2.0/24:443"),
            ("10.1.2.3/32:443", "10.1.2.3:443"),
            ("[fd00::/8]:443", "[fd00::/8]:443"),
            ("hooks.corp.example:443", "hooks.corp.example:443"),
            ("Hooks.Corp.Example.:443", "hooks.corp.example:443"),
            ("bücher.example:443", "xn--bcher-kva.example:443"),
            ("localhost:1", "localhost:1"),
        ];
        for (text, shown) in cases {
            let entry: AllowEntry = text.parse().unwrap();
            assert_eq!(entry.to_string(), shown);
            assert_eq!(shown.parse(), Ok(entry));
        }
    }

    #[test]
    fn a_text_that_is_no_entry_is_refused_with_what_to_write_instead() {
        let forms = [
            "",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:0",
            "127.0.0.1:+1",
            "127.0.0.1:65536",
            ":443",
            ".:443",
            "::1:9000",
            "[::1:9000",
            "[127.0.0.1]:9000",
            "https://hooks.corp.example:443",
            "hooks.corp.example:https",
            "hooks.corp.example/path:443",
            "user@hooks.corp.example:443",
            "10.0.0.0/33:443",
        ];
        for text in forms {
            let error = text.parse::<AllowEntry>().unwrap_err();
            assert!(matches!(error, InvalidAllowEntry::Form { .. }), "{text}: {error}");
            assert!(error.to_string().contains("write HOST:PORT"), "{error}");
        }
        let error = "*.corp.example:443".parse::<AllowEntry>().unwrap_err();
        assert!(matches!(error, InvalidAllowEntry::Wildcard { .. }), "{error}");
        let error = "[::ffff:127.0.0.1]:443".parse::<AllowEntry>().unwrap_err();
        assert!(matches!(error, InvalidAllowEntry::Mapped { .. }), "{error}");
        let error = "10.1.2.3/24:443".parse::<AllowEntry>().unwrap_err();
        assert!(error.to_string().contains("write 10.1.2.0/24"), "{error}");
    }
}
