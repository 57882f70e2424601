//! What a run leaves: a table on standard output and the raw rounds as JSON.

use serde::Serialize;

use crate::common::origin::Origin;
use crate::common::stats::{Latency, Spread};
use crate::fill::Amount;
use crate::measures::{Emptied, Figures, Round};

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub origin: Origin,
    /// Of 4 KiB and fdatasync, before the first round.
    pub sync: Latency,
    pub amount: Amount,
    pub fill_seconds: f64,
    pub database_bytes: u64,
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
    grown: Spread,
    empty: Spread,
    /// None where nothing was measured that can be divided by.
    ratio: Option<Spread>,
}

type Figure = fn(&Figures) -> Option<f64>;

const FIGURES: [(&str, Figure); 13] = [
    ("submit, starts at once", |it| Some(it.submit.p50_ms)),
    ("submit, waits in the deep queue", |it| Some(it.submit_deep.p50_ms)),
    ("cancel in the deep queue", |it| Some(it.cancel.p50_ms)),
    ("get", |it| Some(it.get.p50_ms)),
    ("list, first page", |it| Some(it.first_page.p50_ms)),
    ("list, a common state", |it| Some(it.filtered_page.p50_ms)),
    ("list, nothing matches", |it| Some(it.matchless_page.p50_ms)),
    ("list, a deep page", |it| Some(it.deep_page.p50_ms)),
    ("wait for 1,000 jobs", |it| it.wait_many.map(|latency| latency.p50_ms)),
    ("drain, each job", |it| Some(it.drain_ms)),
    ("ready after kill -9", |it| Some(it.start_ms)),
    ("processor time in an idle second", |it| Some(it.idle_ms)),
    ("resident memory, MiB", |it| Some(it.resident_mib)),
];

pub fn summarise(rounds: &[Round]) -> Vec<Line> {
    let line = |(what, figure): &(&'static str, Figure)| {
        let both = |round: &Round| Some((figure(&round.grown)?, figure(&round.empty)?));
        let pairs: Vec<(f64, f64)> = rounds.iter().filter_map(both).collect();
        Some(Line {
            what,
            grown: Spread::of(pairs.iter().map(|(grown, _)| *grown))?,
            empty: Spread::of(pairs.iter().map(|(_, empty)| *empty))?,
            ratio: Spread::of(
                pairs.iter().filter(|(_, empty)| *empty > 0.0).map(|(grown, empty)| grown / empty),
            ),
        })
    };
    FIGURES.iter().filter_map(line).collect()
}

impl Report {
    pub fn print(&self) {
        let Self { amount, requests, .. } = self;
        self.origin.print(&format!("{} rounds of {requests} requests", self.rounds.len()));
        println!(
            "{} done and {} waiting jobs, {} MiB, filled in {:.0} s; fdatasync p50 {:.3} ms\n",
            amount.finished,
            amount.pending,
            self.database_bytes >> 20,
            self.fill_seconds,
            self.sync.p50_ms
        );
        println!(
            "{:34} {:>9} {:>9} {:>8} {:>18}",
            "p50, ms unless said", "grown", "empty", "ratio", "(min to max)"
        );
        for Line { what, grown, empty, ratio } in &self.summary {
            let ratio = ratio.map_or_else(String::new, |Spread { median, min, max }| {
                format!("{median:>8.2} {:>18}", format!("({min:.2} to {max:.2})"))
            });
            println!("{what:34} {:>9.3} {:>9.3} {ratio}", grown.median, empty.median);
        }
        let Emptied { cancelled, seconds, before, meanwhile, submits } = self.emptied;
        println!("\n{cancelled} waiting jobs cancelled in one request: {seconds:.1} s");
        for (what, it) in [("submits before it", before), ("submits meanwhile", meanwhile)] {
            let Latency { p50_ms, p99_ms, max_ms } = it;
            println!("{what:34} p50 {p50_ms:.3}, p99 {p99_ms:.3}, longest {max_ms:.3}");
        }
        println!("{:34} {submits}", "number of the latter");
    }
}
