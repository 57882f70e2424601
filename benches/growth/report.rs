//! What a run leaves: a table on standard output and the raw rounds as JSON.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::fill::Amount;
use crate::machine::{Build, Machine};
use crate::measures::{Figures, Round};
use crate::stats::{Latency, Spread};

#[derive(Debug, Serialize)]
pub struct Report {
    pub unix_seconds: i64,
    pub machine: Machine,
    pub build: Build,
    pub file_system: String,
    /// Of 4 KiB and fdatasync, before the first round.
    pub sync: Latency,
    pub amount: Amount,
    pub fill_seconds: f64,
    pub database_bytes: u64,
    /// Of each kind in a round.
    pub requests: usize,
    pub rounds: Vec<Round>,
    pub summary: Vec<Line>,
}

/// One thing over all rounds: medians of the rounds' medians, and of their ratios.
#[derive(Debug, Serialize)]
pub struct Line {
    what: &'static str,
    grown_ms: Spread,
    empty_ms: Spread,
    ratio: Spread,
}

type Figure = fn(&Figures) -> Option<f64>;

const FIGURES: [(&str, Figure); 11] = [
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
];

pub fn summarise(rounds: &[Round]) -> Vec<Line> {
    let line = |(what, figure): &(&'static str, Figure)| {
        let both = |round: &Round| Some((figure(&round.grown)?, figure(&round.empty)?));
        let pairs: Vec<(f64, f64)> = rounds.iter().filter_map(both).collect();
        Some(Line {
            what,
            grown_ms: Spread::of(pairs.iter().map(|(grown, _)| *grown))?,
            empty_ms: Spread::of(pairs.iter().map(|(_, empty)| *empty))?,
            ratio: Spread::of(pairs.iter().map(|(grown, empty)| grown / empty))?,
        })
    };
    FIGURES.iter().filter_map(line).collect()
}

impl Report {
    pub fn print(&self) {
        let Self { machine, build, amount, .. } = self;
        println!("{} x {}, {}", machine.cores, machine.processor, machine.kernel);
        println!("load before: {}; {}", machine.load, self.file_system);
        let kind = if build.optimised { "release" } else { "DEBUG BUILD, not a measurement" };
        println!("{} ({}{})", build.commit, kind, if build.dirty { ", changed" } else { "" });
        println!(
            "{} done and {} waiting jobs, {} MiB, filled in {:.0} s; fdatasync p50 {:.3} ms",
            amount.finished,
            amount.pending,
            self.database_bytes >> 20,
            self.fill_seconds,
            self.sync.p50_ms
        );
        println!("{} rounds of {} requests\n", self.rounds.len(), self.requests);
        println!(
            "{:32} {:>10} {:>10} {:>8} {:>15}",
            "p50", "grown", "empty", "ratio", "(min to max)"
        );
        for Line { what, grown_ms, empty_ms, ratio } in &self.summary {
            println!(
                "{what:32} {:>7.3} ms {:>7.3} ms {:>8.2} {:>15}",
                grown_ms.median,
                empty_ms.median,
                ratio.median,
                format!("({:.2} to {:.2})", ratio.min, ratio.max)
            );
        }
    }

    pub fn write(&self, file: &Path) -> Result<()> {
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(file, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("cannot write {}", file.display()))
    }
}
