//! What a run leaves: the table on standard output and the raw rounds as JSON.

use serde::Serialize;

use crate::beside::Beside;
use crate::common::origin::Origin;
use crate::common::stats::Spread;
use crate::rounds::{Measured, Round, Settings};
use crate::scenario::Scenario;
use crate::targets::{Judged, ROUNDS_TO_JUDGE};

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub origin: Origin,
    pub settings: Settings,
    pub echo: String,
    pub rounds: Vec<Round>,
    pub beside: Vec<Beside>,
    pub summary: Vec<Line>,
    pub targets: Vec<Judged>,
}

/// A cell over all rounds.
#[derive(Debug, Serialize)]
pub struct Line {
    scenario: Scenario,
    connections: usize,
    per_second: Spread,
    p50_ms: Spread,
    p99_ms: Spread,
    of_echo: Spread,
    #[serde(skip_serializing_if = "Option::is_none")]
    drained_ms: Option<Spread>,
}

type Figure = fn(&Round) -> f64;

impl Report {
    pub fn passes(&self) -> bool {
        self.targets.iter().all(|judged| judged.verdict.is_passed())
    }

    pub fn print(&self) {
        self.print_origin();
        self.print_cells();
        self.print_rest();
        self.print_targets();
        println!(
            "\nwhile math.factorial is computed            idle p50 / p99 ms   busy p50 / p99 ms"
        );
        self.beside.iter().for_each(Beside::print);
    }

    fn print_origin(&self) {
        let Settings { rounds, warm_up_seconds, measured_seconds, connections, .. } =
            &self.settings;
        self.origin.print(&format!(
            "{rounds} rounds, {measured_seconds} s a cell after {warm_up_seconds:.2} s of warm-up, at \
             {connections:?} connections; every request brings a key"
        ));
        println!("echo      {}", self.echo);
    }

    /// Medians over the rounds.
    fn print_cells(&self) {
        println!("\nconnections  scenario        /s   p50 ms   p99 ms  of echo [min..max]");
        for line in &self.summary {
            let Spread { median, min, max } = line.of_echo;
            let drained = line.drained_ms.map(|ms| format!("  drained in {:.0} ms", ms.median));
            println!(
                "{:11}  {:10} {:9.0} {:8.3} {:8.3}  {median:7.3} [{min:.3}..{max:.3}]{}",
                line.connections,
                line.scenario.name(),
                line.per_second.median,
                line.p50_ms.median,
                line.p99_ms.median,
                drained.unwrap_or_default()
            );
        }
        if let Some(sync) = Spread::of(self.rounds.iter().map(|round| round.fdatasync.p50_ms)) {
            let Spread { median, min, max } = sync;
            println!("append of 4 KiB and fdatasync: p50 {median:.3} ms [{min:.3}..{max:.3}]");
        }
    }

    /// What is no cell. Medians over the rounds.
    fn print_rest(&self) {
        let Settings { waiters, lines, .. } = self.settings;
        let rest: [(String, Figure); 15] = [
            ("batches of 10,000, 4 connections, jobs/s".into(), |it| it.bulk.batches),
            ("lines, one answer, 4 connections, jobs/s".into(), |it| it.bulk.minimal_lines),
            ("lines, each answered, 4 connections, jobs/s".into(), |it| it.bulk.answered_lines),
            (format!("map of {lines} lines, results/s"), |it| it.map.lines_per_second()),
            ("PUT of a result to its commit, p50 ms".into(), |it| it.settled.one_committed.p50_ms),
            ("PUT of a result to its own answer, p50 ms".into(), |it| {
                it.settled.one_settled.p50_ms
            }),
            ("commit to answer, 1 waiter, p50 ms".into(), |it| it.settled.one.p50_ms),
            ("commit to answer, 1 waiter, p99 ms".into(), |it| it.settled.one.p99_ms),
            (format!("commit to half of {waiters} answers, ms"), |it| it.settled.many.p50_ms),
            (format!("commit to the last of {waiters}, ms"), |it| it.settled.many.max_ms),
            ("a connection and its waiter, KiB".into(), |it| it.settled.waiter_kib),
            ("a connection alone, KiB".into(), |it| it.settled.connection_kib),
            ("idle server, MiB".into(), |it| it.settled.idle_mib),
            ("loaded server, most so far, MiB".into(), |it| it.loaded_mib),
            ("start to ready, ms".into(), |it| it.settled.ready_ms),
        ];
        println!("\n{:46} {:>10}  [min..max]", "", "median");
        for (what, of) in rest {
            if let Some(Spread { median, min, max }) = Spread::of(self.rounds.iter().map(of)) {
                println!("{what:46} {median:10.2}  [{min:.2}..{max:.2}]");
            }
        }
    }

    fn print_targets(&self) {
        println!("\n{:38} {:>8} {:>8}  measured [min..max]", "at 64 connections", "gate", "goal");
        for Judged { what, gate, goal, measured, verdict } in &self.targets {
            let measured = measured.map_or_else(String::new, |Spread { median, min, max }| {
                format!("{median:.3} [{min:.3}..{max:.3}] ")
            });
            println!("{what:38} {gate:>8} {goal:>8}  {measured}{}", verdict.name());
        }
        if self.rounds.len() < ROUNDS_TO_JUDGE {
            println!("fewer than {ROUNDS_TO_JUDGE} rounds: a hint, not a verdict");
        }
    }
}

/// One line for each cell, by connections and then in the order of the scenarios.
pub fn summarise(rounds: &[Round], connections: &[usize]) -> Vec<Line> {
    let cells = connections.iter().flat_map(|it| Scenario::ALL.map(|scenario| (scenario, *it)));
    cells.filter_map(|(scenario, connections)| line(rounds, scenario, connections)).collect()
}

fn line(rounds: &[Round], scenario: Scenario, connections: usize) -> Option<Line> {
    let over = |value: fn(&Measured) -> f64| {
        Spread::of(rounds.iter().filter_map(|it| it.cell(scenario, connections)).map(value))
    };
    let cells = || rounds.iter().filter_map(|round| round.cell(scenario, connections));
    let ratios = rounds.iter().filter_map(|round| round.of_echo(scenario, connections));
    Some(Line {
        scenario,
        connections,
        per_second: over(|cell| cell.per_second)?,
        p50_ms: over(|cell| cell.latency.p50_ms)?,
        p99_ms: over(|cell| cell.latency.p99_ms)?,
        of_echo: Spread::of(ratios)?,
        drained_ms: Spread::of(cells().filter_map(|cell| cell.drained_ms)),
    })
}
