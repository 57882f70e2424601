//! One cell of the table: a scenario at a number of connections, in a closed loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use crate::answer::Answers;
use crate::common::stats::micros;
use crate::scenario::{Client, FIRST_NUMBER, Scenario, WAIT_SECONDS};
use crate::site::Site;

/// Beyond this a cell has got out of hand; a connection makes some 20,000 exchanges a second.
const EXCHANGE_LIMIT: usize = 5_000_000;

#[derive(Clone, Copy, Debug)]
pub struct Cell {
    pub scenario: Scenario,
    pub connections: usize,
    pub warm_up: Duration,
    pub measured: Duration,
}

/// The source of the numbers by which calls, and so their results, differ.
#[derive(Clone, Debug)]
pub struct Numbers(Arc<AtomicU64>);

/// A job and the number that its result must have.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    pub job: Uuid,
    pub number: u64,
}

#[derive(Debug, Default)]
pub struct Tally {
    /// Microseconds of each exchange that ended within the measured time.
    pub latencies: Vec<u32>,
    /// Every job that was made, in the warm-up too.
    pub made: Vec<Made>,
}

#[derive(Clone, Copy)]
struct Window {
    start: Instant,
    end: Instant,
}

impl Numbers {
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(FIRST_NUMBER)))
    }

    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl Cell {
    /// Runs the cell against the server of `site`; an error if any answer is wrong.
    pub async fn run(self, site: &Site, numbers: &Numbers) -> Result<Tally> {
        let limit = self.warm_up + self.measured + Duration::from_secs(WAIT_SECONDS + 15);
        timeout(limit, self.drive(site, numbers))
            .await
            .with_context(|| format!("not over after {} s", limit.as_secs()))?
            .with_context(|| {
                format!("{} at {} connections", self.scenario.name(), self.connections)
            })
    }

    async fn drive(self, site: &Site, numbers: &Numbers) -> Result<Tally> {
        let mut clients = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            let mut client = Client::connect(self.scenario, site).await?;
            client.prepare(numbers.next()).await?;
            clients.push(client);
        }
        let start = Instant::now() + self.warm_up;
        let window = Window { start, end: start + self.measured };
        let mut driven = JoinSet::new();
        for client in clients {
            driven.spawn(drive_client(client, window, numbers.clone()));
        }
        let mut tally = Tally::default();
        let mut answers = Vec::with_capacity(self.connections);
        while let Some(ended) = driven.join_next().await {
            let (latencies, of_client) = ended??;
            tally.latencies.extend(latencies);
            answers.push(of_client);
        }
        for of_client in answers {
            tally.made.extend(of_client.check(self.scenario)?);
        }
        ensure!(!tally.latencies.is_empty(), "not one exchange in the measured time");
        Ok(tally)
    }
}

/// Microseconds of each exchange within the window, and all answers.
async fn drive_client(
    mut client: Client,
    window: Window,
    numbers: Numbers,
) -> Result<(Vec<u32>, Answers)> {
    let (mut latencies, mut answers) = (Vec::new(), Answers::default());
    for _ in 0..EXCHANGE_LIMIT {
        let begun = Instant::now();
        if begun >= window.end {
            return Ok((latencies, answers));
        }
        let finished = client.exchange(numbers.next(), &mut answers).await?;
        if finished >= window.start && finished < window.end {
            latencies.push(micros(finished - begun));
        }
    }
    bail!("more than {EXCHANGE_LIMIT} exchanges on a connection")
}
