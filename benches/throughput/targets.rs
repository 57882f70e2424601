//! The targets of the first gate, and whether a run met them.

use serde::Serialize;

use crate::common::stats::Spread;
use crate::rounds::Round;
use crate::scenario::Scenario;

/// With fewer rounds a verdict is no more than a hint.
pub const ROUNDS_TO_JUDGE: usize = 5;
const CONNECTIONS: usize = 64;

#[derive(Clone, Copy, Debug)]
enum Target {
    /// The rate of a scenario at 64 connections, of the echo's.
    OfEcho { scenario: Scenario, at_least: f64 },
    /// The median latency of a lone submit, of one fdatasync's.
    SubmitOfFdatasync { at_most: f64 },
}

const FIRST_GATE: [Target; 4] = [
    Target::OfEcho { scenario: Scenario::Submit, at_least: 0.40 },
    Target::OfEcho { scenario: Scenario::RoundTrip, at_least: 0.28 },
    Target::OfEcho { scenario: Scenario::LongPoll, at_least: 0.18 },
    Target::SubmitOfFdatasync { at_most: 4.0 },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Met,
    Missed,
    NotMeasured,
    /// Better than a durable job can be: a fault in the server or in this benchmark.
    Implausible,
}

#[derive(Debug, Serialize)]
pub struct Judged {
    pub ratio: String,
    pub target: String,
    pub measured: Option<Spread>,
    pub verdict: Verdict,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::NotMeasured => "not measured",
            Self::Implausible => "implausible",
        }
    }
}

pub fn judge(rounds: &[Round]) -> Vec<Judged> {
    FIRST_GATE.iter().map(|target| target.judge(rounds)).collect()
}

impl Target {
    fn judge(self, rounds: &[Round]) -> Judged {
        let measured = Spread::of(rounds.iter().filter_map(|round| self.ratio(round)));
        let verdict = measured.map_or(Verdict::NotMeasured, |ratio| self.verdict(ratio.median));
        Judged { ratio: self.name(), target: self.bound(), measured, verdict }
    }

    fn ratio(self, round: &Round) -> Option<f64> {
        match self {
            Self::OfEcho { scenario, .. } => round.of_echo(scenario, CONNECTIONS),
            Self::SubmitOfFdatasync { .. } => round.submit_of_fdatasync(),
        }
    }

    /// No job costs less than an echo, and no commit much less than an append: overwriting a log
    /// takes two thirds of the time of appending to it.
    fn verdict(self, median: f64) -> Verdict {
        let (met, plausible) = match self {
            Self::OfEcho { at_least, .. } => (median >= at_least, median <= 1.0),
            Self::SubmitOfFdatasync { at_most } => (median <= at_most, median >= 0.5),
        };
        match (plausible, met) {
            (false, _) => Verdict::Implausible,
            (true, true) => Verdict::Met,
            (true, false) => Verdict::Missed,
        }
    }

    fn name(self) -> String {
        match self {
            Self::OfEcho { scenario, .. } => {
                format!("{} / echo, {CONNECTIONS} connections", scenario.name())
            }
            Self::SubmitOfFdatasync { .. } => "submit p50 / fdatasync p50, 1 connection".to_owned(),
        }
    }

    fn bound(self) -> String {
        match self {
            Self::OfEcho { at_least, .. } => format!(">= {at_least:.2}"),
            Self::SubmitOfFdatasync { at_most } => format!("<= {at_most:.2}"),
        }
    }
}
