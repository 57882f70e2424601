//! The egress policy: denied, unless provably public or permitted by the operator.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rustix::io::Errno;
use url::{Host, Url};

use super::Config;
use super::addresses::{Class, denied_class};
use super::allow::AllowEntry;

/// Top-level names that mean this machine or its own network (RFC 6761, RFC 6762, and ICANN's
/// reservation of `internal`).
const LOCAL_LABELS: [&str; 3] = [LOCALHOST, "local", "internal"];
const LOCALHOST: &str = "localhost";

/// Longest URL, in bytes: what most servers take.
const URL_BYTES_MAX: usize = 8 * 1024;
/// Longest name of a host, in bytes, with the dot of the root (RFC 1035, section 2.3.4).
const HOST_BYTES_MAX: usize = 254;

/// Where requests may go.
#[derive(Debug, Clone)]
pub struct Policy {
    allow: Vec<AllowEntry>,
    allow_loopback: bool,
    own: Vec<SocketAddr>,
    /// Whether an address is one of this machine's: what listens there may trust whoever comes from it.
    is_of_this_machine: fn(IpAddr) -> bool,
}

/// Why a request may not be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("the URL is invalid: {0}")]
    InvalidUrl(url::ParseError),
    #[error("the scheme of the URL is {scheme:?}; only http and https are served")]
    InvalidScheme { scheme: String },
    #[error("the URL holds a user name or a password; use the header Authorization instead")]
    InvalidUserinfo,
    #[error("the URL names port 0, to which nothing can connect")]
    InvalidPort,
    #[error("the URL has more than {URL_BYTES_MAX} bytes")]
    TooLongUrl,
    #[error("the host of the URL has more than {} bytes", HOST_BYTES_MAX - 1)]
    TooLongHost,
    #[error(
        "{host} is denied: names that end in localhost, local or internal are not public; {}",
        remedy(Some(host), None, *port)
    )]
    Name { host: String, port: u16 },
    #[error("{} is denied: the server does not call itself", target(host.as_deref(), *address))]
    Own { host: Option<String>, address: SocketAddr },
    #[error(
        "{} is denied: {class}; {}",
        target(host.as_deref(), *address),
        remedy(host.as_deref(), Some(address.ip()), address.port())
    )]
    Address { host: Option<String>, address: SocketAddr, class: Class },
    #[error(
        "{} is denied: it is this machine's own; {}",
        target(host.as_deref(), *address),
        remedy(host.as_deref(), Some(address.ip()), address.port())
    )]
    Machine { host: Option<String>, address: SocketAddr },
}

impl Denied {
    /// Whether the policy denies what an operator could permit, rather than the URL being unfit.
    pub fn is_policy(&self) -> bool {
        match self {
            Denied::InvalidUrl(_)
            | Denied::InvalidScheme { .. }
            | Denied::InvalidUserinfo
            | Denied::InvalidPort
            | Denied::TooLongUrl
            | Denied::TooLongHost => false,
            Denied::Name { .. }
            | Denied::Own { .. }
            | Denied::Address { .. }
            | Denied::Machine { .. } => true,
        }
    }

    /// The same at another port: the resolver of ordinary ports does not know which one it is.
    pub(super) fn at_port(mut self, port: u16) -> Denied {
        if let Denied::Address { address, .. } | Denied::Machine { address, .. } = &mut self {
            address.set_port(port);
        }
        self
    }
}

impl Policy {
    /// `own` are the addresses that this server listens on, with their actual ports.
    pub fn new(config: &Config, own: Vec<SocketAddr>) -> Policy {
        let (allow, allow_loopback) = (config.allow.clone(), config.allow_loopback);
        Policy { allow, allow_loopback, own, is_of_this_machine }
    }

    /// Parses a URL as browsers do (WHATWG) and checks all that can be known without resolving.
    pub fn check_url(&self, text: &str) -> Result<Url, Denied> {
        if text.len() > URL_BYTES_MAX {
            return Err(Denied::TooLongUrl);
        }
        let url = Url::parse(text).map_err(Denied::InvalidUrl)?;
        self.check(&url)?;
        Ok(url)
    }

    /// Checks one address that a request would connect to; `host` is the name it was resolved from.
    pub fn check_address(&self, host: Option<&str>, address: SocketAddr) -> Result<(), Denied> {
        // A v4-mapped address connects to the IPv4 address within.
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let named = || host.map(str::to_owned);
        if self.is_own(address) {
            return Err(Denied::Own { host: named(), address });
        }
        let permitted = self.allow.iter().any(|entry| {
            entry.permits_address(address)
                || host.is_some_and(|host| entry.permits_name(plain(host), address.port()))
        });
        if permitted || (self.allow_loopback && address.ip().is_loopback()) {
            return Ok(());
        }
        match denied_class(address.ip()) {
            Some(class) => Err(Denied::Address { host: named(), address, class }),
            None if (self.is_of_this_machine)(address.ip()) => {
                Err(Denied::Machine { host: named(), address })
            }
            None => Ok(()),
        }
    }

    /// As [`Policy::check_url`], for a URL that is parsed already. Returns its port.
    pub(super) fn check(&self, url: &Url) -> Result<u16, Denied> {
        // What is escaped is longer than it was.
        if url.as_str().len() > URL_BYTES_MAX {
            return Err(Denied::TooLongUrl);
        }
        if url.host_str().is_some_and(|host| host.len() > HOST_BYTES_MAX) {
            return Err(Denied::TooLongHost);
        }
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Denied::InvalidScheme { scheme: url.scheme().to_owned() });
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Denied::InvalidUserinfo);
        }
        let empty_host = Denied::InvalidUrl(url::ParseError::EmptyHost);
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(empty_host);
        };
        if port == 0 {
            return Err(Denied::InvalidPort);
        }
        match host {
            Host::Ipv4(ip) => self.check_address(None, SocketAddr::new(ip.into(), port))?,
            Host::Ipv6(ip) => self.check_address(None, SocketAddr::new(ip.into(), port))?,
            Host::Domain(name) if plain(name).is_empty() => return Err(empty_host),
            Host::Domain(name) => self.check_name(name, port)?,
        }
        Ok(port)
    }

    /// The ports at which an address may be judged otherwise than at any other port.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> {
        let own = self.own.iter().map(SocketAddr::port);
        self.allow.iter().map(AllowEntry::port).chain(own)
    }

    fn check_name(&self, host: &str, port: u16) -> Result<(), Denied> {
        let permitted = self.allow.iter().any(|entry| entry.permits_name(plain(host), port))
            || (self.allow_loopback && is_localhost(host));
        if permitted || !LOCAL_LABELS.contains(&last_label(host)) {
            return Ok(());
        }
        Err(Denied::Name { host: host.to_owned(), port })
    }

    fn is_own(&self, address: SocketAddr) -> bool {
        let ip = address.ip();
        self.own.iter().filter(|own| own.port() == address.port()).any(|own| {
            let listening = own.ip().to_canonical();
            ip == listening
                || ip.is_loopback()
                || ip.is_unspecified()
                || (listening.is_unspecified() && (self.is_of_this_machine)(ip))
        })
    }
}

/// Whether a host is `localhost` or below it, which RFC 6761 gives to loopback.
pub(super) fn is_localhost(host: &str) -> bool {
    last_label(host) == LOCALHOST
}

fn last_label(host: &str) -> &str {
    let host = plain(host);
    host.rsplit_once('.').map_or(host, |(_, last)| last)
}

/// A host without the dot of the root: `localhost.` is `localhost`.
fn plain(host: &str) -> &str {
    host.trim_end_matches('.')
}

/// Asks the kernel from which address it would speak to this one; to one of its own it speaks from that. Nothing is sent,
/// and addresses that come and go are known at once. In doubt the answer is yes, which denies.
fn is_of_this_machine(ip: IpAddr) -> bool {
    let any = match ip {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = match UdpSocket::bind((any, 0)) {
        Ok(socket) => socket,
        // A machine without IPv6 has none of its addresses.
        Err(error) => return !is_without_such_addresses(&error),
    };
    match socket.connect((ip, 9)) {
        Ok(()) => socket.local_addr().is_ok_and(|from| from.ip() == ip),
        // There is no way there.
        Err(_unreachable) => false,
    }
}

fn is_without_such_addresses(error: &io::Error) -> bool {
    let of_family = Some(Errno::AFNOSUPPORT.raw_os_error());
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == of_family
}

/// Names the host but not what it resolved to: who may submit a job may not know that.
fn target(host: Option<&str>, address: SocketAddr) -> String {
    match host {
        Some(host) => format!("an address of {host}"),
        None => address.to_string(),
    }
}

fn remedy(host: Option<&str>, ip: Option<IpAddr>, port: u16) -> String {
    let entry = match (host, ip) {
        (None, Some(ip)) => SocketAddr::new(ip, port).to_string(),
        (host, _) => format!("{}:{port}", plain(host.unwrap_or_default())),
    };
    let loopback = host.is_some_and(is_localhost) || ip.is_some_and(|ip| ip.is_loopback());
    let flag = if loopback { " or --allow-loopback-egress" } else { "" };
    format!("an operator can permit it by egress.allow = [\"{entry}\"]{flag}")
}

#[cfg(test)]
mod tests;
