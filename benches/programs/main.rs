//! The programs benchmark: calls of worker processes and of commands, beside Python's own executors and a bare pipe, and
//! what a neighbour feels of programs that take all they can get.
//!
//! `cargo bench --bench programs [-- --help]`
//!
//! The functions are those of `examples/worker.py`, and two more. Each figure of the server is a batch: from its
//! submission to its last result. All that is compared runs in turn, in the same round.

#![expect(clippy::print_stdout, reason = "the report is what this program is for")]

#[path = "../common/mod.rs"]
mod common;
mod greed;
mod rounds;
#[path = "../common/usage.rs"]
mod usage;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use serde::Serialize;

use crate::common::disk::WorkDirectory;
use crate::common::origin::{self, Origin};
use crate::common::stats::{Latency, Spread};
use crate::greed::Neighbour;
use crate::rounds::Bench;

#[derive(Debug, Parser)]
#[command(bin_name = "cargo bench --bench programs --")]
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

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    origin: Origin,
    /// Of 4 KiB and fdatasync, before the first round.
    sync: Latency,
    /// By name, each round's figure.
    rounds: Vec<Vec<(String, f64)>>,
    neighbours: Vec<Neighbour>,
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
    let bench = Bench::start(directory.path()).await?;
    origin.server.clone_from(&bench.command_line());
    origin.file_system = directory.mount()?;
    let mut rounds = Vec::new();
    for nth in 0..options.rounds {
        eprintln!("round {} of {}", nth + 1, options.rounds);
        rounds.push(bench.round().await?);
    }
    let neighbours = greed::neighbours(&bench).await?;
    let report = Report { origin, sync, rounds, neighbours };
    report.print();
    let json = target.join(format!("bench/programs-{}.json", report.origin.unix_seconds));
    origin::write(&report, &json)?;
    println!("raw rounds in {}", json.display());
    Ok(())
}

impl Report {
    fn print(&self) {
        self.origin.print(&format!(
            "{} rounds; client, server and programs on the same cores",
            self.rounds.len()
        ));
        println!("append of 4 KiB and fdatasync: p50 {:.3} ms", self.sync.p50_ms);
        println!("\n{:64} {:>9} {:>22}", "", "median", "(min to max)");
        for (place, (name, _)) in self.rounds.first().into_iter().flatten().enumerate() {
            let figures = self.rounds.iter().map(|round| round[place].1);
            if let Some(Spread { median, min, max }) = Spread::of(figures) {
                println!("{name:64} {median:>9.2} {:>22}", format!("({min:.2} to {max:.2})"));
            }
        }
        println!(
            "\n{:18} {:>8} {:>8} {:>8} {:>12} {:>10}  its error",
            "a round trip", "p50, ms", "p99, ms", "max, ms", "server, MiB", "its cores"
        );
        for it in &self.neighbours {
            let (latency, memory, cores) = (it.latency, it.server_mib, it.server_cores);
            println!(
                "{:18} {:>8.3} {:>8.3} {:>8.3} {memory:>12.1} {cores:>10.2}  {}",
                it.beside, latency.p50_ms, latency.p99_ms, latency.max_ms, it.error
            );
        }
    }
}
