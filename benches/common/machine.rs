//! What the figures were measured on, and of what.

use std::fs;
use std::process::Command;

use serde::Serialize;

const LOCK_FILE: &str = include_str!("../../Cargo.lock");
/// The packages on the hot path.
const PACKAGES: [&str; 6] = ["axum", "hyper", "tokio", "serde_json", "sqlx", "libsqlite3-sys"];
const UNKNOWN: &str = "unknown";

#[derive(Debug, Serialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub kernel: String,
    /// Averages over 1, 5 and 15 minutes before the first round.
    pub load: String,
}

#[derive(Debug, Serialize)]
pub struct Build {
    pub commit: String,
    /// Whether the working tree differs from the commit.
    pub dirty: bool,
    pub optimised: bool,
    pub rustc: String,
    pub packages: Vec<String>,
}

impl Machine {
    pub fn read() -> Self {
        let processor = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim()))
            .unwrap_or(UNKNOWN)
            .to_owned();
        let load: Vec<_> =
            read("/proc/loadavg").split(' ').take(3).map(ToOwned::to_owned).collect();
        Self {
            processor,
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: load.join(" "),
        }
    }
}

impl Build {
    pub fn read() -> Self {
        let futurity = format!("futurity {}", env!("CARGO_PKG_VERSION"));
        let locked = PACKAGES.iter().map(|name| format!("{name} {}", locked_version(name)));
        Self {
            commit: output("git", &["rev-parse", "HEAD"]).unwrap_or_else(|| UNKNOWN.to_owned()),
            dirty: output("git", &["status", "--porcelain"])
                .is_none_or(|changes| !changes.is_empty()),
            optimised: !cfg!(debug_assertions),
            rustc: output("rustc", &["--version"]).unwrap_or_else(|| UNKNOWN.to_owned()),
            packages: std::iter::once(futurity).chain(locked).collect(),
        }
    }
}

fn read(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_else(|_| UNKNOWN.to_owned())
}

/// What a command says of this package; `None` if it fails.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let directory = env!("CARGO_MANIFEST_DIR");
    let output = Command::new(program).args(arguments).current_dir(directory).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn locked_version(name: &str) -> &'static str {
    let (_, rest) =
        LOCK_FILE.split_once(&format!("name = \"{name}\"\nversion = \"")).unwrap_or_default();
    rest.split_once('"').map_or(UNKNOWN, |(version, _)| version)
}
