//! The throughput benchmark: a Futurity server beside a bare echo, in one interleaved run.
//!
//! `cargo bench --no-run --bench echo && cargo bench --bench throughput [-- --help]`
//!
//! Each round runs every scenario at every number of connections, in another order, against two
//! servers that live as long as the run; what counts is the ratio of two cells of one round.
//! Client and servers share the machine, and all traffic stays on the loopback interface. Every
//! answer is checked and a wrong one ends the run, so that no figure can come from an error.

#![expect(clippy::print_stdout, reason = "the report is what this program is for")]

mod answer;
mod beside;
mod bulk;
mod cell;
#[path = "../common/mod.rs"]
mod common;
mod crowd;
mod echo;
#[path = "../common/map.rs"]
mod map;
mod report;
mod rounds;
mod scenario;
mod settle;
#[path = "../common/site.rs"]
mod site;
mod targets;
#[path = "../common/usage.rs"]
mod usage;
mod verify;
#[path = "../common/wire.rs"]
mod wire;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::cell::Numbers;
use crate::common::disk::WorkDirectory;
use crate::common::origin::{self, Origin};
use crate::echo::Echo;
use crate::report::{Report, summarise};
use crate::rounds::{Bench, Settings};
use crate::site::{Site, start_with_key};

/// What the server is given beyond its defaults, and why.
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/throughput/futurity.toml");
/// Of `--gate`, when a first gate was not passed; a wrong answer ends with 1.
const GATE_SHUT: u8 = 3;

#[derive(Debug, Parser)]
#[command(bin_name = "cargo bench --bench throughput --")]
struct Options {
    /// Rounds; 5 or more are needed to judge
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Measured seconds of each cell, 0.1 to 60; a sixth of it more to warm up
    #[arg(long, default_value = "3", value_parser = seconds)]
    seconds: f64,
    /// Numbers of connections, 1 to 4096
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256",
          value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: Vec<u16>,
    /// Requests that wait for one job, each on a connection of its own
    #[arg(long, default_value = "10000", value_parser = clap::value_parser!(u16).range(1..))]
    waiters: u16,
    /// Where to write the raw rounds [default: bench/<unix seconds>.json in the target directory]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Two rounds of half a second at 1 and 64 connections, to see that all works
    #[arg(long, conflicts_with_all = ["rounds", "seconds", "connections", "waiters"])]
    quick: bool,
    /// Where to work, on the disk to be measured [default: bench-data in the target directory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The echo server's executable [default: the newest beside this one]
    #[arg(long, value_name = "FILE")]
    echo: Option<PathBuf>,
    /// End with exit code 3 unless every first gate is passed
    #[arg(long)]
    gate: bool,
    /// Passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    common::run::run(|| run(&Options::parse()))
}

fn run(options: &Options) -> Result<ExitCode> {
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
    let json = options.json.clone().unwrap_or_else(|| raw_file(target, report.origin.unix_seconds));
    report.print();
    origin::write(&report, &json)?;
    println!("raw rounds in {}", json.display());
    let shut = options.gate && !report.passes();
    Ok(if shut { ExitCode::from(GATE_SHUT) } else { ExitCode::SUCCESS })
}

/// The server's log has the same name but for its extension.
fn raw_file(target: &Path, unix_seconds: i64) -> PathBuf {
    target.join(format!("bench/{unix_seconds}.json"))
}

async fn measure(options: &Options, target: &Path) -> Result<Report> {
    let (mut origin, settings) = (Origin::now(), options.settings());
    let parent = options.data_dir.clone().unwrap_or_else(|| target.join("bench-data"));
    let directory = WorkDirectory::create(&parent)?;
    let log = raw_file(target, origin.unix_seconds).with_extension("log");
    std::fs::create_dir_all(log.parent().context("no directory for the log")?)?;
    let executable = options.echo_executable()?;
    let echo = Echo::start(&executable).await?;
    let data = directory.path().join("data");
    let (process, futurity) = start_with_key(&data, Some(CONFIG), &log).await?;
    let bare = Site::new(echo.address, None);
    let bench = Bench {
        settings: &settings,
        echo: &bare,
        futurity: &futurity,
        process: &process,
        directory: &directory,
    };
    let numbers = Numbers::new();
    let mut rounds = Vec::with_capacity(settings.rounds);
    for nth in 0..settings.rounds {
        eprintln!("round {} of {}", nth + 1, settings.rounds);
        let round = bench.round(nth, &numbers).await;
        rounds.push(round.with_context(|| format!("see the server's log, {}", log.display()))?);
    }
    let beside = beside::measure(&futurity).await?;
    origin.file_system = directory.mount()?;
    origin.server.clone_from(&process.command_line);
    Ok(Report {
        origin,
        beside,
        echo: executable.display().to_string(),
        summary: summarise(&rounds, &settings.connections),
        targets: targets::judge(&rounds),
        rounds,
        settings,
    })
}

impl Options {
    fn settings(&self) -> Settings {
        if self.quick {
            return Settings {
                rounds: 2,
                warm_up_seconds: 0.1,
                measured_seconds: 0.5,
                connections: vec![1, 64],
                lines: 10_000,
                waiters: 1_000,
                repeats: 20,
            };
        }
        let mut connections: Vec<_> = self.connections.iter().copied().map(usize::from).collect();
        connections.sort_unstable();
        connections.dedup();
        Settings {
            rounds: usize::from(self.rounds),
            warm_up_seconds: self.seconds / 6.0,
            measured_seconds: self.seconds,
            connections,
            lines: 100_000,
            waiters: usize::from(self.waiters),
            repeats: 200,
        }
    }

    fn echo_executable(&self) -> Result<PathBuf> {
        match &self.echo {
            Some(echo) => echo::check(echo).map(|()| echo.clone()),
            None => echo::find(),
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    let allowed = (0.1..=60.0).contains(&seconds);
    allowed.then_some(seconds).ok_or_else(|| "not between 0.1 and 60".to_owned())
}
