//! What a run leaves: tables on standard output and the raw rounds as JSON.

use serde::Serialize;

use crate::common::origin::Origin;
use crate::common::stats::{Latency, Spread};
use crate::followers::Followed;
use crate::map::Mapped;
use crate::submit::Round;

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub origin: Origin,
    /// Of 4 KiB and fdatasync, before the first round.
    pub sync: Latency,
    pub rounds: Vec<Round>,
    pub summary: Vec<Line>,
    pub maps: Vec<Mapped>,
    pub slow: Mapped,
    pub followed: Vec<Followed>,
}

/// One thing over all rounds.
#[derive(Debug, Serialize)]
pub struct Line {
    what: &'static str,
    spread: Spread,
}

type Figure = fn(&Round) -> f64;

const FIGURES: [(&str, Figure); 7] = [
    ("echo, requests/s", |it| it.echo_requests),
    ("batches of 10,000, jobs/s", |it| it.batch_jobs),
    ("lines, return=minimal, jobs/s", |it| it.minimal_jobs),
    ("lines, each answered, jobs/s", |it| it.answered_jobs),
    ("batches / echo", |it| it.batch_jobs / it.echo_requests),
    ("lines, minimal / echo", |it| it.minimal_jobs / it.echo_requests),
    ("lines, answered / echo", |it| it.answered_jobs / it.echo_requests),
];

pub fn summarise(rounds: &[Round]) -> Vec<Line> {
    let line = |(what, figure): &(&'static str, Figure)| {
        Some(Line { what, spread: Spread::of(rounds.iter().map(figure))? })
    };
    FIGURES.iter().filter_map(line).collect()
}

impl Report {
    pub fn print(&self) {
        self.origin.print(&format!("{} rounds, 4 connections (echo: 64)", self.rounds.len()));
        println!("append of 4 KiB and fdatasync: p50 {:.3} ms", self.sync.p50_ms);
        println!("\n{:32} {:>11} {:>24}", "", "median", "(min to max)");
        for Line { what, spread: Spread { median, min, max } } in &self.summary {
            println!("{what:32} {median:>11.2} {:>24}", format!("({min:.2} to {max:.2})"));
        }
        println!(
            "\n{:24} {:>10} {:>10} {:>12} {:>10}",
            "streaming map", "lines", "lines/s", "before, MiB", "peak, MiB"
        );
        let maps = self.maps.iter().map(|it| ("as fast as it goes", it));
        for (what, it) in maps.chain([("1,000 lines/s are read", &self.slow)]) {
            println!(
                "{what:24} {:>10} {:>10.0} {:>12.1} {:>10.1}",
                it.lines,
                it.lines_per_second(),
                it.before_mib,
                it.peak_mib
            );
        }
        println!(
            "\n{:>8} {:>9} {:>9} {:>9} {:>7} {:>10} {:>9} {:>10} {:>7} {:>9} {:>6}",
            "readers",
            "jobs/s",
            "p50, ms",
            "p99, ms",
            "cores",
            "after, MiB",
            "peak, MiB",
            "sent, MiB",
            "cuts",
            "last, s",
            "late"
        );
        for it in &self.followed {
            println!(
                "{:>8} {:>9.0} {:>9.3} {:>9.3} {:>7.2} {:>10.1} {:>9.1} {:>10.0} {:>7} {:>9.3} {:>6}",
                it.readers,
                it.jobs_per_second,
                it.round_trip.p50_ms,
                it.round_trip.p99_ms,
                it.cores,
                it.resident_mib,
                it.peak_mib,
                it.sent_mib,
                it.cuts,
                it.slowest_seconds,
                it.late
            );
        }
    }
}
