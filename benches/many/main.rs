//! The benchmark of many at once: a streaming map of a million lines beside one of ten thousand, and a thousand readers
//! of every change.
//!
//! `cargo bench --bench many [-- --help]`
//!
//! Client and servers share the machine, and all traffic stays on the loopback interface. Every answer is counted and
//! every result is checked; a wrong one ends the run.

#![expect(clippy::print_stdout, reason = "the report is what this program is for")]

#[path = "../common/mod.rs"]
mod common;
mod followers;
#[path = "../common/map.rs"]
mod map;
mod report;
#[path = "../common/site.rs"]
mod site;
mod slow;
#[path = "../common/usage.rs"]
mod usage;
#[path = "../common/wire.rs"]
mod wire;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::common::disk::WorkDirectory;
use crate::common::origin::{self, Origin};
use crate::common::process::Process;
use crate::report::Report;
use crate::site::start_with_key;

#[derive(Debug, Parser)]
#[command(bin_name = "cargo bench --bench many --")]
struct Options {
    /// Rounds of each map
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Lines of the long map
    #[arg(long, default_value = "1000000", value_parser = clap::value_parser!(u32).range(1..))]
    lines: u32,
    /// Seconds for which a map is read slowly
    #[arg(long, default_value = "60")]
    slow_seconds: u64,
    /// Readers of every change
    #[arg(long, value_delimiter = ',', default_value = "0,1,100,1000")]
    readers: Vec<usize>,
    /// Where to work, on the disk to be measured [default: bench-data in the target directory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where to write the raw rounds [default: bench/many-<unix seconds>.json in the target directory]
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
        // Dropping the measurement ends the servers and removes their data.
        tokio::select! {
            report = measure(options, target) => report,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            _ = terminate.recv() => bail!("terminated"),
        }
    })?;
    let json = options
        .json
        .clone()
        .unwrap_or_else(|| target.join(format!("bench/many-{}.json", report.origin.unix_seconds)));
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
    let server = |name: &str| {
        let data = directory.path().join(name);
        async move { start_with_key(&data, None, &data.with_extension("log")).await }
    };
    let mut maps = Vec::new();
    for lines in [10_000, options.lines] {
        let mut rounds = Vec::new();
        for nth in 0..options.rounds {
            eprintln!("a map of {lines} lines, round {} of {}", nth + 1, options.rounds);
            let (server, site) = server(&format!("map-{lines}-{nth}")).await?;
            rounds.push(map::whole(&server, &site, u64::from(lines)).await?);
            origin.server.clone_from(&server.command_line);
        }
        maps.push(rounds);
    }
    eprintln!("a map that is read slowly");
    let (slowed, site) = server("slow").await?;
    let slow = slow::slow(&slowed, &site, options.slow_seconds).await?;
    drop(slowed);
    let mut followed = Vec::new();
    for readers in &options.readers {
        eprintln!("{readers} readers of every change");
        let data = directory.path().join(format!("followed-{readers}"));
        let server = Process::start(&data, None, &data.with_extension("log")).await?;
        followed.push(followers::measure(&server, *readers).await?);
    }
    origin.file_system = directory.mount()?;
    Ok(Report { origin, sync, maps, slow, followed })
}
