//! The growth benchmark: servers with millions of jobs in their databases beside one with next to none, in one run.
//!
//! `cargo bench --bench growth [-- --help]`
//!
//! Each round does the same things to all servers, beginning with another one each time; what counts is the ratio of two
//! medians of one round. All traffic stays on the loopback interface, and but for the round trips on one connection, one
//! request at a time: what is looked for is what grows with the database, not how much a server can take. Every answer is
//! checked, and a wrong one ends the run.

#![expect(clippy::print_stdout, reason = "the report is what this program is for")]

#[path = "../common/mod.rs"]
mod common;
mod fill;
mod measures;
mod report;
mod server;
#[expect(dead_code, reason = "servers ask for no key here")]
#[path = "../common/site.rs"]
mod site;
#[path = "../common/trips.rs"]
mod trips;
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
use crate::fill::Amount;
use crate::measures::Subject;
use crate::report::Report;

#[derive(Debug, Parser)]
#[command(bin_name = "cargo bench --bench growth --")]
struct Options {
    /// Jobs that are done, on one server after the other
    #[arg(long, value_delimiter = ',', default_value = "0,1000000,5000000",
          value_parser = clap::value_parser!(u32).range(..=50_000_000))]
    finished: Vec<u32>,
    /// Jobs that wait, on each of them
    #[arg(long, default_value = "1000000", value_parser = clap::value_parser!(u32).range(1..=9_000_000))]
    pending: u32,
    /// Rounds; each kills all servers once
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Requests of each kind in a round
    #[arg(long, default_value = "200", value_parser = clap::value_parser!(u16).range(10..=10_000))]
    requests: u16,
    /// Where to work, on the disk to be measured [default: bench-data in the target directory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where to write the raw rounds [default: bench/growth-<unix seconds>.json in the target directory]
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
    let json = options.json.clone().unwrap_or_else(|| {
        target.join(format!("bench/growth-{}.json", report.origin.unix_seconds))
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
    let amounts =
        options.finished.iter().map(|it| Amount { finished: *it, pending: options.pending });
    let none = Amount { finished: 0, pending: 0 };
    let mut subjects = Vec::new();
    for (nth, amount) in std::iter::once(none).chain(amounts).enumerate() {
        eprintln!("filling {} + {}", amount.finished, amount.pending);
        let place = directory.path().join(nth.to_string());
        subjects.push(Subject::prepare(&place, amount).await?);
    }
    let requests = usize::from(options.requests);
    let mut rounds = Vec::new();
    for nth in 0..usize::from(options.rounds) {
        eprintln!("round {} of {}", nth + 1, options.rounds);
        rounds.push(measures::round(&mut subjects, requests, nth).await?);
    }
    let last = subjects.last_mut().context("no server")?;
    let emptied = last.empty_deep_queue(requests).await.context("a cancel of all that waits")?;
    origin.file_system = directory.mount()?;
    origin.server = last.command_line()?;
    Ok(Report {
        origin,
        sync,
        subjects: subjects.iter().map(Subject::filled).collect::<Result<_>>()?,
        requests,
        emptied,
        summary: report::summarise(&rounds),
        rounds,
    })
}
