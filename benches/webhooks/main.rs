//! The webhooks benchmark: a hundred thousand callbacks that are due at once, with receivers that hang among them and
//! without, what a submission feels of them, and `http.request` beside Python's threads.
//!
//! `cargo bench --bench webhooks [-- --help]`
//!
//! The jobs wait in a paused queue; when it is resumed they are done within seconds, and all callbacks are due. Each
//! figure has a server of its own, for what hangs is tried again later. Receivers are sockets of this process.

#![expect(clippy::print_stdout, reason = "the report is what this program is for")]

#[path = "../common/mod.rs"]
mod common;
mod deliveries;
mod receiver;
mod requests;
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
use crate::deliveries::Delivered;
use crate::requests::Requested;

#[derive(Debug, Parser)]
#[command(bin_name = "cargo bench --bench webhooks --")]
struct Options {
    /// Rounds
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Callbacks to each of 100 receivers
    #[arg(long, default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    callbacks: u32,
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
    all_living: Vec<Delivered>,
    with_dead: Vec<Delivered>,
    requests: Vec<Requested>,
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
    let (mut all_living, mut with_dead, mut requests) = (Vec::new(), Vec::new(), Vec::new());
    let callbacks = usize::try_from(options.callbacks)?;
    for nth in 0..options.rounds {
        eprintln!("round {} of {}", nth + 1, options.rounds);
        let place = directory.path().join(format!("round-{nth}"));
        all_living.push(deliveries::measure(&place.join("living"), 0, callbacks).await?);
        with_dead.push(deliveries::measure(&place.join("dead"), 10, callbacks).await?);
        requests.push(requests::measure(&place.join("requests"), &mut origin.server).await?);
    }
    let report = Report { origin, sync, all_living, with_dead, requests };
    report.print(options);
    let json = target.join(format!("bench/webhooks-{}.json", report.origin.unix_seconds));
    origin::write(&report, &json)?;
    println!("raw rounds in {}", json.display());
    Ok(())
}

/// What is shown of a run, by name.
type Figures<T, const N: usize> = [(&'static str, fn(&T) -> f64); N];

const DELIVERED: Figures<Delivered, 10> = [
    ("  deliveries to the living, a second", |it| it.deliveries_a_second),
    ("  submit, idle: p50, ms", |it| it.idle.p50_ms),
    ("  submit, idle: p99, ms", |it| it.idle.p99_ms),
    ("  submit, while the jobs run too: p50, ms", |it| it.with_jobs.p50_ms),
    ("  submit, while the jobs run too: p99, ms", |it| it.with_jobs.p99_ms),
    ("  submit, while deliveries are made: p50, ms", |it| it.meanwhile.p50_ms),
    ("  submit, while deliveries are made: p99, ms", |it| it.meanwhile.p99_ms),
    ("  processor time of the server for a job and its delivery, us", |it| it.cpu_micros),
    ("  memory before it is due, MiB", |it| it.before_mib),
    ("  memory at most, MiB", |it| it.most_mib),
];
const REQUESTED: Figures<Requested, 5> = [
    ("  http.request, a second", |it| it.ours),
    ("  requests.Session in ThreadPoolExecutor(64), a second", |it| it.session),
    ("  requests.get in ThreadPoolExecutor(64), a second", |it| it.get),
    ("  http.request / requests.Session", |it| it.ours / it.session),
    ("  http.request / requests.get", |it| it.ours / it.get),
];

fn line(name: &str, values: impl Iterator<Item = f64>) {
    if let Some(Spread { median, min, max }) = Spread::of(values) {
        println!("{name:66} {median:>10.2} {:>24}", format!("({min:.2} to {max:.2})"));
    }
}

impl Report {
    fn print(&self, options: &Options) {
        let Options { rounds, callbacks, .. } = options;
        self.origin.print(&format!(
            "{rounds} rounds; {callbacks} callbacks to each of 100 receivers; client, receivers and server on the same cores"
        ));
        println!("append of 4 KiB and fdatasync: p50 {:.3} ms", self.sync.p50_ms);
        println!("\n{:66} {:>10} {:>24}", "", "median", "(min to max)");
        let runs = [("90 living", &self.all_living), ("90 living, 10 that hang", &self.with_dead)];
        for (name, rounds) in runs {
            println!("{name}");
            for (name, figure) in DELIVERED {
                line(name, rounds.iter().map(figure));
            }
        }
        let pairs = self.with_dead.iter().zip(&self.all_living);
        line(
            "with those that hang / without: deliveries to the living",
            pairs.map(|(dead, living)| dead.deliveries_a_second / living.deliveries_a_second),
        );
        println!("1,000 URLs, 64 at once");
        for (name, figure) in REQUESTED {
            line(name, self.requests.iter().map(figure));
        }
    }
}
