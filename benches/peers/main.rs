//! The peers benchmark: the same work, which gives back what it is given, done here and by those that a user would otherwise
//! take, in one interleaved run.
//!
//! `cargo bench --bench peers [-- --help]`
//!
//! `peers.py` installs them below the target directory, from PyPI, npm and Debian, and measures each with its own client. What
//! cannot be installed is skipped aloud. All of them, servers and clients, share the machine; every result is checked.

#![expect(clippy::print_stdout, reason = "the report is what this program is for")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/map.rs"]
mod map;
mod ours;
mod report;
#[expect(dead_code, reason = "servers ask for no key here")]
#[path = "../common/site.rs"]
mod site;
#[path = "../common/trips.rs"]
mod trips;
#[expect(dead_code, reason = "only memory is looked at here")]
#[path = "../common/usage.rs"]
mod usage;
#[path = "../common/wire.rs"]
mod wire;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use serde::{Deserialize, Serialize};

use crate::common::disk::WorkDirectory;
use crate::common::origin::{self, Origin};
use crate::report::Report;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/peers.py");

#[derive(Debug, Parser)]
#[command(bin_name = "cargo bench --bench peers --")]
struct Options {
    /// Rounds
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Where to work, on the disk to be measured [default: bench-data in the target directory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// A peer that was installed, or why it was not.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Peer {
    #[serde(rename = "peer")]
    pub name: String,
    pub version: Option<String>,
    pub skipped: Option<String>,
}

/// What one round says of one of them.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Figures {
    /// Median of jobs one after the other, from the submission to the result.
    pub one_ms: f64,
    /// Of many at once, from the first submission to the last result.
    pub per_second: f64,
}

/// One round: ours, and theirs in the order of the peers; none of one that is skipped.
#[derive(Debug, Serialize)]
pub struct Round {
    pub ours: ours::Figures,
    pub peers: Vec<Option<Figures>>,
}

fn main() -> ExitCode {
    common::run::run(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.context("no async threads")?;
        runtime.block_on(measure(&Options::parse())).map(|()| ExitCode::SUCCESS)
    })
}

async fn measure(options: &Options) -> Result<()> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().context("no target directory")?;
    let mut origin = Origin::now();
    let parent = options.data_dir.clone().unwrap_or_else(|| target.join("bench-data"));
    let directory = WorkDirectory::create(&parent)?;
    let sync = directory.measure_sync(Duration::from_secs(1))?;
    origin.file_system = directory.mount()?;
    let installed = target.join("peers");
    let peers: Vec<Peer> = serde_json::from_str(&script(&["install"], &installed)?)?;
    for Peer { name, skipped, .. } in &peers {
        if let Some(why) = skipped {
            eprintln!("NOTE: {name} is SKIPPED: {why}");
        }
    }
    let mut rounds = Vec::new();
    for nth in 0..usize::from(options.rounds) {
        eprintln!("round {} of {}", nth + 1, options.rounds);
        let place = directory.path().join(format!("round-{nth}"));
        rounds.push(round(nth, &place, &peers, &installed, &mut origin.server).await?);
    }
    let report = Report { origin, sync, peers, rounds };
    report.print();
    let json = target.join(format!("bench/peers-{}.json", report.origin.unix_seconds));
    origin::write(&report, &json)?;
    println!("raw rounds in {}", json.display());
    Ok(())
}

/// Each once, beginning with another one each time.
async fn round(
    nth: usize,
    place: &Path,
    peers: &[Peer],
    installed: &Path,
    command_line: &mut String,
) -> Result<Round> {
    let (mut own, mut theirs) = (None, vec![None; peers.len()]);
    let turns = peers.len() + 1;
    for turn in (0..turns).map(|turn| (turn + nth) % turns) {
        let Some(peer) = peers.get(turn) else {
            own = Some(ours::measure(place, command_line).await?);
            continue;
        };
        if peer.skipped.is_none() {
            let said = script(&["measure", &peer.name], installed)?;
            theirs[turn] = Some(serde_json::from_str(&said)?);
        }
    }
    Ok(Round { ours: own.context("a round without a turn of ours")?, peers: theirs })
}

fn script(arguments: &[&str], installed: &Path) -> Result<String> {
    let output = Command::new("python3")
        .arg(SCRIPT)
        .args(arguments)
        .arg(installed)
        .output()
        .context("python3 is missing")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "peers.py {arguments:?}: {errors}");
    Ok(String::from_utf8(output.stdout)?)
}
