//! Where requests go, and what all of them bring: the name of the server, and a key if it asks for one.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};

use crate::common::process::Process;

/// A server as its clients know it.
#[derive(Clone, Debug)]
pub struct Site {
    pub address: SocketAddr,
    /// Whole lines.
    headers: Arc<str>,
}

impl Site {
    /// At `address`, with the key that it asks for, if any.
    pub fn new(address: SocketAddr, key: Option<&str>) -> Self {
        let key = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
        Self { address, headers: format!("Host: {address}\r\n{key}").into() }
    }

    /// The lines of a request that has no body, or of one whose body's own lines follow; without the empty one.
    pub fn head(&self, method: &str, target: &str) -> String {
        format!("{method} {target} HTTP/1.1\r\n{}", self.headers)
    }

    /// A whole request with a body of JSON, or with none.
    pub fn request(&self, method: &str, target: &str, body: &str) -> Vec<u8> {
        let head = self.head(method, target);
        let length = body.len();
        format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
            .into_bytes()
    }
}

/// Makes a key for the server that is to have `data`: from then on it asks every request for one.
pub fn make_key(data: &Path) -> Result<String> {
    let mut create = Command::new(env!("CARGO_BIN_EXE_futurity"));
    create.args(["keys", "create", "--data-dir"]).arg(data).env_clear();
    let created = create.output().context("cannot make a key")?;
    ensure!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let said = String::from_utf8(created.stdout)?;
    let key = said.split_whitespace().find(|word| word.starts_with("fut_"));
    key.map(str::to_owned).context("no key was shown")
}

/// Starts a server that asks for a key.
pub async fn start_with_key(
    data: &Path,
    config: Option<&str>,
    log: &Path,
) -> Result<(Process, Site)> {
    let key = make_key(data)?;
    let process = Process::start(data, config, log).await?;
    let site = Site::new(process.address, Some(&key));
    Ok((process, site))
}
