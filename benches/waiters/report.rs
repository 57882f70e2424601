//! What a run leaves: a table on standard output and the raw rounds as JSON.

use serde::Serialize;

use crate::common::origin::Origin;
use crate::common::stats::{Latency, Spread};
use crate::rounds::Round;

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub origin: Origin,
    /// Of 4 KiB and fdatasync, before the first round.
    pub sync: Latency,
    pub waiters: usize,
    /// Jobs with one waiter in a round.
    pub repeats: usize,
    pub rounds: Vec<Round>,
    pub summary: Vec<Line>,
}

/// One thing over all rounds.
#[derive(Debug, Serialize)]
pub struct Line {
    what: &'static str,
    spread: Spread,
}

type Figure = fn(&Round) -> f64;

const FIGURES: [(&str, Figure); 12] = [
    ("one waiter: settling request to its answer, p50, ms", |it| it.one.p50_ms),
    ("one waiter: settling request to its answer, p99, ms", |it| it.one.p99_ms),
    ("one waiter: settling request answered, p50, ms", |it| it.one_settled.p50_ms),
    ("all: settling request answered, ms", |it| it.settled_ms),
    ("all: settling request to half of the answers, ms", |it| it.many.p50_ms),
    ("all: settling request to the last answer, ms", |it| it.many.max_ms),
    ("all: they ask for the done job, half of the answers, ms", |it| it.asked.p50_ms),
    ("all: they ask for the done job, last answer, ms", |it| it.asked.max_ms),
    ("ratio of the two last answers", |it| it.many.max_ms / it.asked.max_ms),
    ("memory of a waiter and its connection, KiB", |it| it.waiter_kib),
    ("  of it the open connection, KiB", |it| it.connection_kib),
    ("  of it what is added by waiting, KiB", |it| it.waiter_kib - it.connection_kib),
];

pub fn summarise(rounds: &[Round]) -> Vec<Line> {
    let line = |(what, figure): &(&'static str, Figure)| {
        Some(Line { what, spread: Spread::of(rounds.iter().map(figure))? })
    };
    FIGURES.iter().filter_map(line).collect()
}

impl Report {
    pub fn print(&self) {
        let Self { waiters, repeats, .. } = self;
        self.origin.print(&format!(
            "{} rounds, {waiters} waiters of one job, {repeats} jobs with one waiter",
            self.rounds.len()
        ));
        println!("append of 4 KiB and fdatasync: p50 {:.3} ms\n", self.sync.p50_ms);
        println!("{:56} {:>9} {:>20}", "", "median", "(min to max)");
        for Line { what, spread: Spread { median, min, max } } in &self.summary {
            println!("{what:56} {median:>9.3} {:>20}", format!("({min:.3} to {max:.3})"));
        }
    }
}
