//! The two servers, each a process of its own, ended with the benchmark.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::client::Connection;

const START_LIMIT: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// What the server is given beyond its defaults, and why.
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/throughput/futurity.toml");
const ECHO_SOURCE: &str = include_str!("../echo.rs");

#[derive(Debug)]
pub struct Server {
    pub address: SocketAddr,
    pub command_line: String,
    _process: Process,
}

/// Kills the child at its end.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait().map(drop)) {
            eprintln!("cannot end process {}: {error}", self.0.id());
        }
    }
}

impl Server {
    /// Starts the echo server at `executable`.
    pub async fn echo(executable: &Path) -> Result<Self> {
        let mut command = Command::new(executable);
        command.arg("0").stdin(Stdio::piped()).stdout(Stdio::piped());
        let command_line = command_line(&command);
        let mut process = Process(command.spawn().context("cannot start the echo server")?);
        let stdout = process.0.stdout.take().context("the echo server has no output")?;
        let reading = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        });
        let line =
            timeout(START_LIMIT, reading).await.context("the echo server is silent")???;
        let address = line.trim().parse().context("the echo server printed no address")?;
        Ok(Self { address, command_line, _process: process })
    }

    /// Starts a Futurity server on the empty `data_directory` and waits until it is ready. No
    /// variable of this process's environment reaches it, so that it has its defaults but for the file.
    pub async fn futurity(data_directory: &Path, log: &Path) -> Result<Self> {
        let log_file = File::create(log)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_futurity"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data_directory);
        command.arg("--config").arg(CONFIG);
        command.env_clear().stdin(Stdio::null()).stdout(log_file.try_clone()?).stderr(log_file);
        let command_line = command_line(&command);
        let mut process = Process(command.spawn().context("cannot start the server")?);
        let address_file = data_directory.join("address");
        let address = timeout(START_LIMIT, ready(&mut process, &address_file))
            .await
            .with_context(|| format!("not ready in {} s", START_LIMIT.as_secs()))
            .and_then(|ready| ready)
            .with_context(|| format!("the server does not start, see {}", log.display()))?;
        Ok(Self { address, command_line, _process: process })
    }
}

/// Until the server has written where it listens and answers there.
async fn ready(process: &mut Process, address_file: &Path) -> Result<SocketAddr> {
    let mut looks = interval(LOOK_AGAIN);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if let Some(status) = process.0.try_wait()? {
            bail!("it has ended: {status}");
        }
        // Half an address can look like one: only an answer shows that it is whole.
        let Some(address) = read_address(address_file) else { continue };
        if is_ready(address).await.unwrap_or(false) {
            return Ok(address);
        }
    }
}

fn read_address(file: &Path) -> Option<SocketAddr> {
    let text = fs::read_to_string(file).ok()?;
    let text = text.trim();
    text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/').parse().ok()
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

/// The newest build of `benches/echo.rs` beside this executable, where Cargo puts it. Cargo tells
/// the paths of binaries only, and a binary would be installed with the server.
pub fn find_echo() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let directory = here.parent().context("this executable is in no directory")?;
    let mut builds: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let hash = name.to_str().and_then(|name| name.strip_prefix("echo-"));
        if hash.is_some_and(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            builds.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    builds.sort();
    builds
        .into_iter()
        .rev()
        .map(|(_, path)| path)
        .find(|path| check_echo(path).is_ok())
        .context("no build of the echo server: run `cargo bench --no-run --bench echo` first")
}

/// An error unless `executable` was built from `benches/echo.rs` as it is.
pub fn check_echo(executable: &Path) -> Result<()> {
    let output = Command::new(executable).arg("--source").stdin(Stdio::null()).output()?;
    ensure!(
        output.stdout == ECHO_SOURCE.as_bytes(),
        "{} was not built from benches/echo.rs as it is",
        executable.display()
    );
    Ok(())
}
