//! The waiters benchmark: ten thousand requests, each on a socket of its own, wait for one job of a server in another
//! process.
//!
//! `cargo bench --bench waiters [-- --help]`
//!
//! Each round has a server of its own. One waiter first, over many jobs; then all of them for one. The same connections
//! then ask for the same job, which is done: that is what the server and this client need to exchange so many answers,
//! and what the waiters are measured against. Client and server share the machine, and all traffic stays on the
//! loopback interface. Every answer is checked, and a wrong one ends the run.

#![expect(clippy::print_stdout, reason = "the report is what this program is for")]

#[path = "../common/mod.rs"]
mod common;
mod crowd;
mod report;
mod rounds;
#[path = "../common/usage.rs"]
mod usage;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::common::disk::WorkDirectory;
use crate::common::origin::{self, Origin};
use crate::report::Report;

#[derive(Debug, Parser)]
#[command(bin_name = "cargo bench --bench waiters --")]
struct Options {
    /// Requests that wait for one job; each needs a descriptor here and one in the server
    #[arg(long, default_value = "10000", value_parser = clap::value_parser!(u16).range(1..=16_000))]
    waiters: u16,
    /// Jobs with one waiter, in each round
    #[arg(long, default_value = "200", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    repeats: u16,
    /// Rounds
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Where to work, on the disk to be measured [default: bench-data in the target directory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where to write the raw rounds [default: bench/waiters-<unix seconds>.json in the target directory]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    common::run::run(|| run(&Options::parse()).map(|()| ExitCode::SUCCESS))
}

fn run(options: &Options) -> Result<()> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().context("no target directory")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        // Dropping the measurement ends the server and removes its data.
        tokio::select! {
            report = measure(options, target) => report,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            _ = terminate.recv() => bail!("terminated"),
        }
    })?;
    let json = options.json.clone().unwrap_or_else(|| {
        target.join(format!("bench/waiters-{}.json", report.origin.unix_seconds))
    });
    report.print();
    origin::write(&report, &json)?;
    println!("raw rounds in {}", json.display());
    Ok(())
}

async fn measure(options: &Options, target: &Path) -> Result<Report> {
    let mut origin = Origin::now();
    let parent = options.data_dir.clone().unwrap_or_else(|| target.join("bench-data"));
    let directory = WorkDirectory::create(&parent)?;
    let sync = directory.measure_sync(Duration::from_secs(1))?;
    let (waiters, repeats) = (usize::from(options.waiters), usize::from(options.repeats));
    let mut rounds = Vec::new();
    for nth in 0..options.rounds {
        eprintln!("round {} of {}", nth + 1, options.rounds);
        let data = directory.path().join(format!("data-{nth}"));
        let round;
        (round, origin.server) = rounds::round(&data, waiters, repeats).await?;
        rounds.push(round);
    }
    origin.file_system = directory.mount()?;
    Ok(Report { origin, sync, waiters, repeats, summary: report::summarise(&rounds), rounds })
}
