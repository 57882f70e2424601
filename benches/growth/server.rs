//! One server that is started, told to stop, killed, and started again on the same directory.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::time::{interval, timeout};

use crate::common::client::Connection;
use crate::common::process::Process;
use crate::site::Site;

const STOP_LIMIT: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(2);
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/growth/futurity.toml");

/// A server in a process of its own. It is killed at its end.
#[derive(Debug)]
pub struct Server {
    process: Process,
    data: PathBuf,
    client: Client,
}

impl Server {
    /// Starts one on `data` and waits until it is ready; how long that took.
    pub async fn start(data: &Path) -> Result<(Self, Duration)> {
        let begun = Instant::now();
        let process = Process::start(data, Some(CONFIG), &data.with_extension("log")).await?;
        let took = begun.elapsed();
        let client = Client::open(process.address).await?;
        Ok((Self { process, data: data.to_owned(), client }, took))
    }

    /// SIGTERM, which puts back what runs.
    pub async fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.process.child), Signal::TERM)?;
        let mut looks = interval(LOOK_AGAIN);
        let ended = async {
            loop {
                looks.tick().await;
                if let Some(status) = self.process.child.try_wait()? {
                    ensure!(status.success(), "the server ended with {status}");
                    return Ok(());
                }
            }
        };
        timeout(STOP_LIMIT, ended).await.context("the server does not stop")?
    }

    /// kill -9, and the next server on what it leaves; how long that one took to be ready.
    pub async fn killed_and_started(self) -> Result<(Self, Duration)> {
        let Self { process, data, .. } = self;
        drop(process);
        Self::start(&data).await
    }

    pub fn site(&self) -> Site {
        self.client.site.clone()
    }

    pub fn process_id(&self) -> u32 {
        self.process.child.id()
    }

    pub fn command_line(&self) -> &str {
        &self.process.command_line
    }

    /// A new connection, for a server that was left alone longer than it keeps one open.
    pub async fn connect_anew(&mut self) -> Result<()> {
        self.client = Client::open(self.process.address).await?;
        Ok(())
    }

    /// Another client of this server.
    pub async fn second_connection(&self) -> Result<Client> {
        Client::open(self.process.address).await
    }

    /// As [`Client::exchange`].
    pub async fn exchange(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Vec<u8>, Duration)> {
        self.client.exchange(method, path, body).await
    }

    /// As [`Client::expect`].
    pub async fn expect(
        &mut self,
        status: u16,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(Value, Duration)> {
        self.client.expect(status, method, path, body).await
    }
}

/// Asks one thing after another.
#[derive(Debug)]
pub struct Client {
    site: Site,
    connection: Connection,
}

impl Client {
    async fn open(address: SocketAddr) -> Result<Self> {
        let connection = Connection::open(address).await?;
        Ok(Self { site: Site::new(address, None), connection })
    }

    /// Sends one request and gives status, body, and how long the answer took.
    pub async fn exchange(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Vec<u8>, Duration)> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = self.site.request(method, path, &body);
        let begun = Instant::now();
        let answer = self.connection.exchange(&request).await;
        let answer = answer.with_context(|| format!("{method} {path}"))?;
        Ok((answer.status, answer.body.to_vec(), begun.elapsed()))
    }

    /// As [`Client::exchange`], for an answer that must have this status and be JSON.
    pub async fn expect(
        &mut self,
        status: u16,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(Value, Duration)> {
        let (found, answer, took) = self.exchange(method, path, body).await?;
        ensure!(
            found == status,
            "{method} {path}: {found}, not {status}: {}",
            String::from_utf8_lossy(&answer)
        );
        Ok((serde_json::from_slice(&answer)?, took))
    }
}
