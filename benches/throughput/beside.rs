//! How long a liveness check and a poll take while the server computes, beside the same when it is idle.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use tokio::time::timeout;

use crate::answer;
use crate::common::client::Connection;
use crate::common::stats::{Latency, Spread, micros};
use crate::site::Site;

/// What is computed: so many calls of `math.factorial` with this argument.
const LOADS: [(u32, usize); 2] = [(3_000, 1_000), (30_000, 200)];
const ROUNDS: usize = 7;
const IDLE: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(120);

/// One kind of request, with the server idle and with a backlog of work.
#[derive(Debug, Serialize)]
pub struct Beside {
    factorial: u32,
    calls: usize,
    request: &'static str,
    idle_p50_ms: Spread,
    idle_p99_ms: Spread,
    busy_p50_ms: Spread,
    busy_p99_ms: Spread,
}

#[derive(Debug, Default)]
struct Probes {
    livez: Vec<u32>,
    poll: Vec<u32>,
}

impl Beside {
    /// A line of the report: medians over the rounds.
    pub fn print(&self) {
        let Self { factorial, calls, request, .. } = self;
        println!(
            "{:42}  {:6.3} / {:6.3}      {:6.3} / {:6.3}",
            format!("{calls} of {factorial}!: {request}"),
            self.idle_p50_ms.median,
            self.idle_p99_ms.median,
            self.busy_p50_ms.median,
            self.busy_p99_ms.median
        );
    }
}

/// Measures every load, in rounds that alternate idle and busy.
pub async fn measure(site: &Site) -> Result<Vec<Beside>> {
    let mut all = Vec::new();
    for (factorial, calls) in LOADS {
        let (mut idle, mut busy) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let load = timeout(LIMIT, one_round(site, factorial, calls)).await;
            let (quiet, loaded) = load.with_context(|| format!("round {round} is not over"))??;
            idle.push(quiet);
            busy.push(loaded);
        }
        all.push(line(("GET /livez", factorial, calls), &mut idle, &mut busy, livez)?);
        all.push(line(("GET /v1/jobs/{id}", factorial, calls), &mut idle, &mut busy, poll)?);
    }
    Ok(all)
}

fn livez(probes: &mut Probes) -> &mut Vec<u32> {
    &mut probes.livez
}

fn poll(probes: &mut Probes) -> &mut Vec<u32> {
    &mut probes.poll
}

fn line(
    (request, factorial, calls): (&'static str, u32, usize),
    idle: &mut [Probes],
    busy: &mut [Probes],
    of: fn(&mut Probes) -> &mut Vec<u32>,
) -> Result<Beside> {
    let latencies = |rounds: &mut [Probes]| -> Option<(Spread, Spread)> {
        let rounds: Vec<Latency> = rounds.iter_mut().filter_map(|it| Latency::of(of(it))).collect();
        let p50 = Spread::of(rounds.iter().map(|it| it.p50_ms))?;
        Some((p50, Spread::of(rounds.iter().map(|it| it.p99_ms))?))
    };
    let (idle_p50_ms, idle_p99_ms) = latencies(idle).context("nothing measured")?;
    let (busy_p50_ms, busy_p99_ms) = latencies(busy).context("nothing measured")?;
    Ok(Beside { factorial, calls, request, idle_p50_ms, idle_p99_ms, busy_p50_ms, busy_p99_ms })
}

/// Fills the paused queue, probes the idle server, lets the queue go, and probes until it is empty.
async fn one_round(site: &Site, factorial: u32, calls: usize) -> Result<(Probes, Probes)> {
    let mut connection = Connection::open(site.address).await?;
    post(&mut connection, site, "/v1/queues/default/pause", "").await?;
    let mut last = None;
    for _ in 0..calls {
        let body = format!("{{\"function\":\"math.factorial\",\"args\":[{factorial}]}}");
        let submitted = site.request("POST", "/v1/jobs", &body);
        last = Some(answer::id_of(connection.exchange(&submitted).await?)?);
    }
    let poll = format!("/v1/jobs/{}", last.context("no job")?);
    let mut idle = Probes::default();
    let end = Instant::now() + IDLE;
    while Instant::now() < end {
        probe(&mut connection, site, &poll, &mut idle).await?;
    }
    post(&mut connection, site, "/v1/queues/default/resume", "").await?;
    let mut busy = Probes::default();
    while !probe(&mut connection, site, &poll, &mut busy).await? {}
    Ok((idle, busy))
}

/// One of each request; whether the polled job is done.
async fn probe(
    connection: &mut Connection,
    site: &Site,
    poll: &str,
    probes: &mut Probes,
) -> Result<bool> {
    let begun = Instant::now();
    let livez = connection.exchange(&site.request("GET", "/livez", "")).await?;
    ensure!(livez.status == 200, "the server does not live");
    probes.livez.push(micros(begun.elapsed()));
    let begun = Instant::now();
    let job = connection.exchange(&site.request("GET", poll, "")).await?;
    probes.poll.push(micros(begun.elapsed()));
    ensure!(job.status == 200, "the job cannot be read");
    answer::is_done(job)
}

/// A POST that must be answered 200.
pub async fn post(connection: &mut Connection, site: &Site, path: &str, body: &str) -> Result<()> {
    let answer = connection.exchange(&site.request("POST", path, body)).await?;
    ensure!(answer.status == 200, "{path} was answered {}", answer.status);
    Ok(())
}
