//! The bare echo, a process of its own, ended with the benchmark.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use tokio::time::timeout;

const START_LIMIT: Duration = Duration::from_secs(30);
const SOURCE: &str = include_str!("../echo.rs");

/// The echo server, killed at its end.
#[derive(Debug)]
pub struct Echo {
    pub address: SocketAddr,
    child: Child,
}

impl Echo {
    /// Starts the one at `executable`.
    pub async fn start(executable: &Path) -> Result<Self> {
        let mut command = Command::new(executable);
        command.arg("0").stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn().context("cannot start the echo server")?;
        let mut echo = Self { address: SocketAddr::from(([127, 0, 0, 1], 0)), child };
        let stdout = echo.child.stdout.take().context("the echo server has no output")?;
        let reading = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        });
        let line =
            timeout(START_LIMIT, reading).await.context("the echo server is silent")???;
        echo.address = line.trim().parse().context("the echo server printed no address")?;
        Ok(echo)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            eprintln!("cannot end process {}: {error}", self.child.id());
        }
    }
}

/// The newest build of `benches/echo.rs` beside this executable, where Cargo puts it. Cargo tells
/// the paths of binaries only, and a binary would be installed with the server.
pub fn find() -> Result<PathBuf> {
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
        .find(|path| check(path).is_ok())
        .context("no build of the echo server: run `cargo bench --no-run --bench echo` first")
}

/// An error unless `executable` was built from `benches/echo.rs` as it is.
pub fn check(executable: &Path) -> Result<()> {
    let output = Command::new(executable).arg("--source").stdin(Stdio::null()).output()?;
    ensure!(
        output.stdout == SOURCE.as_bytes(),
        "{} was not built from benches/echo.rs as it is",
        executable.display()
    );
    Ok(())
}
