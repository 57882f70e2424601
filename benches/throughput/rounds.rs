//! The rounds: every scenario at every number of connections once, each round in another order.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::beside;
use crate::bulk::Bulk;
use crate::cell::{Cell, Numbers};
use crate::common::client::Connection;
use crate::common::disk::WorkDirectory;
use crate::common::process::Process;
use crate::common::stats::Latency;
use crate::map::{self, Mapped};
use crate::scenario::{BACKLOG, Scenario};
use crate::settle::{self, Settled};
use crate::site::Site;
use crate::verify::{Seen, drain};

const SYNC_DURATION: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    pub rounds: usize,
    pub warm_up_seconds: f64,
    pub measured_seconds: f64,
    /// Ascending.
    pub connections: Vec<usize>,
    /// Lines of a streaming map.
    pub lines: u64,
    /// Requests that wait for one job.
    pub waiters: usize,
    /// Jobs with one waiter each.
    pub repeats: usize,
}

#[derive(Debug)]
pub struct Bench<'a> {
    pub settings: &'a Settings,
    pub echo: &'a Site,
    pub futurity: &'a Site,
    /// The process behind it.
    pub process: &'a Process,
    pub directory: &'a WorkDirectory,
}

/// One round as it was, cells in the order in which they ran.
#[derive(Debug, Serialize)]
pub struct Round {
    pub cells: Vec<Measured>,
    pub bulk: Bulk,
    pub map: Mapped,
    pub settled: Settled,
    /// The most memory that the loaded server has had so far.
    pub loaded_mib: f64,
    pub fdatasync: Latency,
}

#[derive(Debug, Serialize)]
pub struct Measured {
    pub scenario: Scenario,
    pub connections: usize,
    /// Exchanges that ended within the measured time; with a job each, except of the echo.
    pub exchanges: usize,
    pub per_second: f64,
    #[serde(flatten)]
    pub latency: Latency,
    /// From the end of a submit cell until the last job was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drained_ms: Option<f64>,
}

#[derive(Clone, Copy)]
enum Step {
    Cell(Scenario, usize),
    /// Beside the cells of the fewest connections, whose latency is compared to it.
    Sync,
}

impl Bench<'_> {
    /// Runs one round; an error at the first wrong answer.
    pub async fn round(&self, nth: usize, numbers: &Numbers) -> Result<Round> {
        let mut seen = Seen::default();
        let mut cells = Vec::new();
        let mut fdatasync = None;
        for step in plan(nth, &self.settings.connections) {
            match step {
                Step::Sync => fdatasync = Some(self.directory.measure_sync(SYNC_DURATION)?),
                Step::Cell(scenario, connections) => {
                    let measured = self.cell(scenario, connections, numbers, &mut seen).await?;
                    eprintln!(
                        "  {:10} {connections:4}  {:8.0}/s",
                        scenario.name(),
                        measured.per_second
                    );
                    cells.push(measured);
                }
            }
        }
        let bulk = Bulk::measure(self.futurity, nth, self.settings.measured_seconds / 2.0).await?;
        eprintln!("  in batches {:9.0} jobs/s", bulk.batches);
        let map = map::whole(self.process, self.futurity, self.settings.lines).await?;
        let data = self.directory.path().join(format!("settle-{nth}"));
        let settled = settle::measure(&data, self.settings.waiters, self.settings.repeats).await?;
        Ok(Round {
            cells,
            bulk,
            map,
            settled,
            loaded_mib: map::peak_mib(self.process.child.id())?,
            fdatasync: fdatasync.context("no number of connections")?,
        })
    }

    async fn cell(
        &self,
        scenario: Scenario,
        connections: usize,
        numbers: &Numbers,
        seen: &mut Seen,
    ) -> Result<Measured> {
        let cell = Cell {
            scenario,
            connections,
            warm_up: Duration::from_secs_f64(self.settings.warm_up_seconds),
            measured: Duration::from_secs_f64(self.settings.measured_seconds),
        };
        if scenario == Scenario::Submit {
            queue_verb(self.futurity, "pause").await?;
        }
        let mut tally = cell.run(self.site(scenario), numbers).await?;
        if scenario == Scenario::Submit {
            queue_verb(self.futurity, "resume").await?;
        }
        let drained = match scenario {
            Scenario::Submit | Scenario::SubmitAndRun => Some(tally.made.clone()),
            Scenario::Echo | Scenario::RoundTrip | Scenario::LongPoll | Scenario::Get => None,
        };
        let drained_ms = match drained {
            Some(made) => Some(drain(self.futurity, made).await?.as_secs_f64() * 1000.0),
            None => None,
        };
        seen.admit(&tally.made)?;
        Ok(Measured {
            scenario,
            connections,
            exchanges: tally.latencies.len(),
            per_second: tally.latencies.len() as f64 / self.settings.measured_seconds,
            latency: Latency::of(&mut tally.latencies).context("not one exchange")?,
            drained_ms,
        })
    }

    fn site(&self, scenario: Scenario) -> &Site {
        if scenario == Scenario::Echo { self.echo } else { self.futurity }
    }
}

impl Round {
    pub fn cell(&self, scenario: Scenario, connections: usize) -> Option<&Measured> {
        let is_it = |cell: &&Measured| cell.scenario == scenario && cell.connections == connections;
        self.cells.iter().find(is_it)
    }

    /// What the scenario does a second, of what the echo did in this round at as many connections.
    pub fn of_echo(&self, scenario: Scenario, connections: usize) -> Option<f64> {
        let echo = self.cell(Scenario::Echo, connections)?;
        Some(self.cell(scenario, connections)?.per_second / echo.per_second)
    }

    /// Jobs a second, for each request a second of this round's echo at `connections`.
    pub fn jobs_of_echo(&self, jobs_per_second: f64, connections: usize) -> Option<f64> {
        Some(jobs_per_second / self.cell(Scenario::Echo, connections)?.per_second)
    }

    /// How many times as long as one fdatasync a lone submit takes.
    pub fn submit_of_fdatasync(&self) -> Option<f64> {
        let submit = self.cell(Scenario::Submit, 1)?;
        Some(submit.latency.p50_ms / self.fdatasync.p50_ms)
    }
}

/// Pauses the backlog's queue, or lets it go.
async fn queue_verb(site: &Site, verb: &str) -> Result<()> {
    let mut connection = Connection::open(site.address).await?;
    let path = format!("/v1/queues/{BACKLOG}/{verb}");
    beside::post(&mut connection, site, &path, "").await
}

/// Scenarios that are compared run one after the other, at the same number of connections.
fn plan(nth: usize, connections: &[usize]) -> Vec<Step> {
    let mut plan = Vec::new();
    for index in 0..connections.len() {
        let index = (index + nth) % connections.len();
        let mut steps = Scenario::ALL.map(|it| Step::Cell(it, connections[index])).to_vec();
        if index == 0 {
            steps.push(Step::Sync);
        }
        let turn = nth % steps.len();
        steps.rotate_left(turn);
        plan.extend(steps);
    }
    plan
}
