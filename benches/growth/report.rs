//! What a run leaves: a table on standard output and the raw rounds as JSON.

use serde::Serialize;

use crate::common::origin::Origin;
use crate::common::stats::{Latency, Spread};
use crate::measures::{Emptied, Figures, Filled, Round};

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub origin: Origin,
    /// Of 4 KiB and fdatasync, before the first round.
    pub sync: Latency,
    /// In the order of the rounds' figures; the first is what the others are compared to.
    pub subjects: Vec<Filled>,
    /// Of each kind in a round.
    pub requests: usize,
    pub rounds: Vec<Round>,
    pub summary: Vec<Line>,
    pub emptied: Emptied,
}

/// One thing over all rounds: medians of the rounds' medians, and of their ratios.
#[derive(Debug, Serialize)]
pub struct Line {
    what: &'static str,
    subjects: Vec<Cell>,
}

/// On one of the servers.
#[derive(Debug, Serialize)]
struct Cell {
    measured: Spread,
    /// To the first server; none where there is nothing to divide by.
    ratio: Option<Spread>,
}

type Figure = fn(&Figures) -> Option<f64>;

const FIGURES: [(&str, Figure); 16] = [
    ("submit, starts at once", |it| Some(it.submit.p50_ms)),
    ("submit and wait", |it| Some(it.trip.p50_ms)),
    ("the same, 64 connections, a second", |it| Some(it.trips_per_second)),
    ("submit, waits in the deep queue", |it| Some(it.submit_deep.p50_ms)),
    ("cancel in the deep queue", |it| Some(it.cancel.p50_ms)),
    ("get", |it| Some(it.get.p50_ms)),
    ("list, first page", |it| Some(it.first_page.p50_ms)),
    ("list, a common state", |it| Some(it.filtered_page.p50_ms)),
    ("list, nothing matches", |it| Some(it.matchless_page.p50_ms)),
    ("list, a deep page", |it| Some(it.deep_page.p50_ms)),
    ("wait for 1,000 jobs", |it| it.wait_many.map(|latency| latency.p50_ms)),
    ("settle one, claim the next", |it| Some(it.drain_ms)),
    ("5,000 over, until all are gone", |it| Some(it.gone_ms)),
    ("ready after kill -9", |it| Some(it.start_ms)),
    ("processor time in an idle second", |it| Some(it.idle_ms)),
    ("resident memory, MiB", |it| Some(it.resident_mib)),
];

pub fn summarise(rounds: &[Round]) -> Vec<Line> {
    let subjects = rounds.first().map_or(0, Vec::len);
    let line = |(what, figure): &(&'static str, Figure)| {
        let cell = |subject: usize| {
            let both =
                |round: &Round| Some((figure(round.get(subject)?)?, figure(round.first()?)?));
            let pairs: Vec<(f64, f64)> = rounds.iter().filter_map(both).collect();
            let divisible = pairs.iter().filter(|(_, first)| *first > 0.0);
            Some(Cell {
                measured: Spread::of(pairs.iter().map(|(measured, _)| *measured))?,
                ratio: Spread::of(divisible.map(|(measured, first)| measured / first)),
            })
        };
        let subjects = (0..subjects).map(cell).collect::<Option<Vec<_>>>()?;
        Some(Line { what, subjects })
    };
    FIGURES.iter().filter_map(line).collect()
}

impl Report {
    pub fn print(&self) {
        let Self { requests, rounds, .. } = self;
        self.origin.print(&format!("{} rounds of {requests} requests", rounds.len()));
        println!("fdatasync p50 {:.3} ms", self.sync.p50_ms);
        self.print_subjects();
        for Line { what, subjects } in &self.summary {
            print!("{what:34}");
            for (nth, Cell { measured, ratio }) in subjects.iter().enumerate() {
                print!(" {:>9.3}", measured.median);
                let ratio = ratio.filter(|_| nth > 0).map(|Spread { median, min, max }| {
                    format!("{median:.2} ({min:.2} to {max:.2})")
                });
                if nth > 0 {
                    print!(" {:>20}", ratio.unwrap_or_default());
                }
            }
            println!();
        }
        self.print_emptied();
    }

    fn print_subjects(&self) {
        for (nth, it) in self.subjects.iter().enumerate() {
            println!(
                "server {nth}: {} done, {} waiting; {:.0} MiB when filled in {:.0} s, {:.0} MiB after all rounds",
                it.amount.finished,
                it.amount.pending,
                mib(it.filled_bytes),
                it.fill_seconds,
                mib(it.last_bytes)
            );
        }
        print!("\n{:34} {:>9}", "p50, ms unless said", "server 0");
        for nth in 1..self.subjects.len() {
            print!(" {:>9} {:>20}", format!("server {nth}"), "ratio (min to max)");
        }
        println!();
    }

    fn print_emptied(&self) {
        let Emptied { cancelled, seconds, before, meanwhile, submits } = self.emptied;
        println!(
            "\n{cancelled} waiting jobs of the last server cancelled in one request: {seconds:.1} s"
        );
        for (what, it) in [("submits before it", before), ("submits meanwhile", meanwhile)] {
            let Latency { p50_ms, p99_ms, max_ms } = it;
            println!("{what:34} p50 {p50_ms:.3}, p99 {p99_ms:.3}, longest {max_ms:.3}");
        }
        println!("{:34} {submits}", "number of the latter");
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
