//! `futurity health`: for a container's health check, which has no curl.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::app::Failure;
use crate::config::Config;

use super::say;

const TIMEOUT: Duration = Duration::from_secs(3);
const READY: &str = "HTTP/1.1 200";

/// Asks `/readyz` of the server whose address stands in the data directory.
pub(super) fn ask(config: &Config) -> Result<(), Failure> {
    let file = config.data_dir.join("address");
    let context = |what: &str| format!("{what} ({})", file.display());
    let failure = |what: &str| {
        let context = context(what);
        move |source| Failure::Io { context, source }
    };
    let text =
        std::fs::read_to_string(&file).map_err(failure("no server has written its address"))?;
    let address: SocketAddr = text.trim().parse().map_err(|_not_an_address| {
        failure("not an address")(std::io::ErrorKind::InvalidData.into())
    })?;
    let status = status_line(reachable(address)).map_err(failure("the server does not answer"))?;
    if status.starts_with(READY) {
        return say("ready");
    }
    Err(failure("the server is not ready")(std::io::Error::other(status)))
}

fn status_line(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(16 * 1024).read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// A server that listens everywhere is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
