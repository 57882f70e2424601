//! A Futurity server in a process of its own.

use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::client::Connection;

/// The promise is 5 s and a second more for each 100,000 jobs that are not done; this is far beyond.
const START_LIMIT: Duration = Duration::from_secs(600);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// A server, killed at its end.
#[derive(Debug)]
pub struct Process {
    pub address: SocketAddr,
    pub child: Child,
    pub command_line: String,
}

impl Process {
    /// Starts one on `data` with the settings of the file `config`, if any, and waits until it is ready. No
    /// variable of this process's environment reaches it, so that it has its defaults but for the file.
    pub async fn start(data: &Path, config: Option<&str>, log: &Path) -> Result<Self> {
        fs::create_dir_all(data)?;
        let address_file = data.join("address");
        if address_file.exists() {
            fs::remove_file(&address_file)?;
        }
        let output = OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_futurity"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--grace-seconds", "0"]);
        command.arg("--data-dir").arg(data);
        if let Some(config) = config {
            command.args(["--config", config]);
        }
        command.env_clear().stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().context("cannot start the server")?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut process = Self { address, child, command_line: command_line(&command) };
        process.address = timeout(START_LIMIT, ready(&mut process.child, &address_file))
            .await
            .with_context(|| format!("not ready in {} s", START_LIMIT.as_secs()))
            .and_then(|ready| ready)
            .with_context(|| format!("the server does not start, see {}", log.display()))?;
        Ok(process)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            eprintln!("cannot end process {}: {error}", self.child.id());
        }
    }
}

/// Until the server has written where it listens and answers there.
async fn ready(child: &mut Child, address_file: &Path) -> Result<SocketAddr> {
    let mut looks = interval(LOOK_AGAIN);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if let Some(status) = child.try_wait()? {
            bail!("it has ended: {status}");
        }
        // Half an address can look like one: only an answer shows that it is whole.
        let address = fs::read_to_string(address_file).ok();
        let Some(address) = address.and_then(|text| text.trim().parse().ok()) else { continue };
        if is_ready(address).await.unwrap_or(false) {
            return Ok(address);
        }
    }
}

async fn is_ready(address: SocketAddr) -> Result<bool> {
    let mut connection = Connection::open(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\n\r\n");
    Ok(connection.exchange(request.as_bytes()).await?.status == 200)
}

/// With paths relative to the package, so that reports can be shown.
fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    line.replace(concat!(env!("CARGO_MANIFEST_DIR"), "/"), "")
}
