//! What is to be reached, and whether a run reached it.

use serde::Serialize;

use crate::common::stats::Spread;
use crate::rounds::Round;
use crate::scenario::Scenario;

/// With fewer rounds a verdict is no more than a hint.
pub const ROUNDS_TO_JUDGE: usize = 5;
const CONNECTIONS: usize = 64;

/// A figure of each round, and how large or small its median is to be.
#[derive(Clone, Copy, Debug)]
struct Target {
    what: &'static str,
    of: fn(&Round) -> Option<f64>,
    bound: Bound,
    /// What is not to be fallen short of.
    gate: f64,
    goal: f64,
    /// Beyond this it is better than it can be: a fault in the server or in this benchmark.
    plausible: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    AtLeast,
    AtMost,
}

const fn at_least(
    what: &'static str,
    of: fn(&Round) -> Option<f64>,
    (gate, goal, plausible): (f64, f64, f64),
) -> Target {
    Target { what, of, bound: Bound::AtLeast, gate, goal, plausible }
}

const fn at_most(
    what: &'static str,
    of: fn(&Round) -> Option<f64>,
    (gate, goal, plausible): (f64, f64, f64),
) -> Target {
    Target { what, of, bound: Bound::AtMost, gate, goal, plausible }
}

/// No job costs less than an echo of it, and no commit much less than an append: to overwrite a log takes two thirds of
/// the time of appending to it. Many jobs of one request cost less than as many echoes.
const TARGETS: [Target; 11] = [
    at_least("submit / echo", |it| of_echo(it, Scenario::Submit), (0.40, 0.60, 1.0)),
    at_least("round trip / echo", |it| of_echo(it, Scenario::RoundTrip), (0.28, 0.40, 1.0)),
    at_least("long poll / echo", |it| of_echo(it, Scenario::LongPoll), (0.18, 0.28, 1.0)),
    at_least("jobs of batches / echo", |it| jobs(it, it.bulk.batches), (2.0, 4.0, 100.0)),
    at_least("jobs line by line / echo", |it| jobs(it, it.bulk.minimal_lines), (2.0, 4.0, 100.0)),
    at_most("submit p50 / fdatasync p50, alone", Round::submit_of_fdatasync, (4.0, 2.5, 0.5)),
    at_most(
        "commit to answer, 1 waiter, p50 ms",
        |it| Some(it.settled.one.p50_ms),
        (1.0, 0.2, 0.0),
    ),
    at_most(
        "the same, last of all waiters, ms",
        |it| Some(it.settled.many.max_ms),
        (250.0, 100.0, 0.0),
    ),
    at_most("memory of a waiter, KiB", |it| Some(waiter_kib(it)), (8.0, 4.0, 0.0)),
    at_most("memory of an idle server, MiB", |it| Some(it.settled.idle_mib), (30.0, 15.0, 0.0)),
    at_most("start to ready, ms", |it| Some(it.settled.ready_ms), (100.0, 30.0, 0.0)),
];

fn of_echo(round: &Round, scenario: Scenario) -> Option<f64> {
    round.of_echo(scenario, CONNECTIONS)
}

fn jobs(round: &Round, per_second: f64) -> Option<f64> {
    round.jobs_of_echo(per_second, CONNECTIONS)
}

/// Without its connection, which is open whether it waits or not.
fn waiter_kib(round: &Round) -> f64 {
    round.settled.waiter_kib - round.settled.connection_kib
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The goal is reached.
    Reached,
    /// The first gate is passed, the goal is missed.
    Passed,
    Missed,
    NotMeasured,
    Implausible,
}

#[derive(Debug, Serialize)]
pub struct Judged {
    pub what: &'static str,
    pub gate: String,
    pub goal: String,
    pub measured: Option<Spread>,
    pub verdict: Verdict,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::Passed => "gate passed, goal missed",
            Self::Missed => "missed",
            Self::NotMeasured => "not measured",
            Self::Implausible => "implausible",
        }
    }

    /// Whether the first gate is passed.
    pub fn is_passed(self) -> bool {
        matches!(self, Self::Reached | Self::Passed)
    }
}

pub fn judge(rounds: &[Round]) -> Vec<Judged> {
    TARGETS.iter().map(|target| target.judge(rounds)).collect()
}

impl Target {
    fn judge(self, rounds: &[Round]) -> Judged {
        let measured = Spread::of(rounds.iter().filter_map(self.of));
        let verdict = measured.map_or(Verdict::NotMeasured, |it| self.verdict(it.median));
        let bound = |value: f64| match self.bound {
            Bound::AtLeast => format!(">= {value:.2}"),
            Bound::AtMost => format!("<= {value:.2}"),
        };
        let (gate, goal) = (bound(self.gate), bound(self.goal));
        Judged { what: self.what, gate, goal, measured, verdict }
    }

    fn verdict(self, median: f64) -> Verdict {
        let is_as_good = |as_what: f64| match self.bound {
            Bound::AtLeast => median >= as_what,
            Bound::AtMost => median <= as_what,
        };
        if is_as_good(self.plausible) {
            Verdict::Implausible
        } else if is_as_good(self.goal) {
            Verdict::Reached
        } else if is_as_good(self.gate) {
            Verdict::Passed
        } else {
            Verdict::Missed
        }
    }
}
