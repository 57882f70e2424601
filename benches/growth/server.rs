//! One server that is started, told to stop, killed, and started again on the same directory.

use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::client::Connection;

/// The promise is 5 s and a second more for each 100,000 jobs that are not done; this is far beyond.
const START_LIMIT: Duration = Duration::from_secs(600);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(2);
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/growth/futurity.toml");

/// A server in a process of its own. It is killed at its end.
#[derive(Debug)]
pub struct Server {
    process: Child,
    data: PathBuf,
    address: SocketAddr,
    connection: Connection,
}

impl Server {
    /// Starts one on `data` and waits until it is ready; how long that took.
    pub async fn start(data: &Path) -> Result<(Self, Duration)> {
        fs::create_dir_all(data)?;
        let file = data.join("address");
        if file.exists() {
            fs::remove_file(&file)?;
        }
        let log = OpenOptions::new().create(true).append(true).open(data.with_extension("log"))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_futurity"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--grace-seconds", "0", "--data-dir"]);
        command.arg(data).args(["--config", CONFIG]);
        command.env_clear().stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let begun = Instant::now();
        let mut process = command.spawn().context("cannot start the server")?;
        let ready = timeout(START_LIMIT, ready(&mut process, &file)).await;
        let ready = ready.context("not ready in time").and_then(|ready| ready);
        match ready {
            Ok((address, connection)) => {
                let server = Self { process, data: data.to_owned(), address, connection };
                Ok((server, begun.elapsed()))
            }
            Err(error) => {
                process.kill()?;
                process.wait()?;
                Err(error)
            }
        }
    }

    /// SIGTERM, which puts back what runs.
    pub async fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.process), Signal::TERM)?;
        let mut looks = interval(LOOK_AGAIN);
        let ended = async {
            loop {
                looks.tick().await;
                if let Some(status) = self.process.try_wait()? {
                    ensure!(status.success(), "the server ended with {status}");
                    return Ok(());
                }
            }
        };
        timeout(STOP_LIMIT, ended).await.context("the server does not stop")?
    }

    /// kill -9, and the next server on what it leaves; how long that one took to be ready.
    pub async fn killed_and_started(mut self) -> Result<(Self, Duration)> {
        self.process.kill()?;
        self.process.wait()?;
        Self::start(&self.data).await
    }

    /// A new connection, for a server that was left alone longer than it keeps one open.
    pub async fn connect_anew(&mut self) -> Result<()> {
        self.connection = Connection::open(self.address).await?;
        Ok(())
    }

    /// Sends one request and gives status, body, and how long the answer took.
    pub async fn exchange(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Vec<u8>, Duration)> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let begun = Instant::now();
        let answer = self.connection.exchange(request.as_bytes()).await;
        let answer = answer.with_context(|| format!("{method} {path}"))?;
        Ok((answer.status, answer.body.to_vec(), begun.elapsed()))
    }

    /// As [`Server::exchange`], for an answer that must have this status and be JSON.
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

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait().map(drop)) {
            eprintln!("cannot end process {}: {error}", self.process.id());
        }
    }
}

/// Until the server has written where it listens and answers there.
async fn ready(process: &mut Child, file: &Path) -> Result<(SocketAddr, Connection)> {
    let mut looks = interval(LOOK_AGAIN);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if let Some(status) = process.try_wait()? {
            bail!("the server has ended: {status}");
        }
        // Half an address can look like one: only an answer shows that it is whole.
        let address = fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok());
        let Some(address) = address else { continue };
        let Ok(mut connection) = Connection::open(address).await else { continue };
        let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\n\r\n");
        if connection.exchange(request.as_bytes()).await.is_ok_and(|answer| answer.status == 200) {
            return Ok((address, connection));
        }
    }
}
