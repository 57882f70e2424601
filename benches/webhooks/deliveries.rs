//! Callbacks that are due at once: how fast they are delivered, and what a submission feels of it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use crate::common::client::Connection;
use crate::common::process::Process;
use crate::common::stats::{Latency, micros};
use crate::receiver::Receivers;
use crate::usage::{cpu_time, resident_kib};

/// Receivers, those that hang among them.
const RECEIVERS: usize = 100;
/// Those of them that answer, in every run.
const LIVING: usize = 90;
const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
const CONFIG: &str = "[queues.default]\nmax_workers = 1024\n[queues.held]\nmax_workers = 1024\n\
                      [egress]\nallow_loopback = true\n";
/// Jobs in one request.
const LINES: usize = 5_000;
/// How long submissions are measured while nothing is delivered.
const IDLE: Duration = Duration::from_secs(3);
/// Between two submissions: they are to feel the deliveries, and not to be a load of their own.
const PAUSE: Duration = Duration::from_millis(2);
/// After so many submissions it is looked whether the jobs are done.
const LOOK_EVERY: usize = 20;
/// All is delivered within this, or there is no result.
const LIMIT: Duration = Duration::from_secs(900);

/// What one run found.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Delivered {
    pub deliveries_a_second: f64,
    pub idle: Latency,
    /// While the jobs run, whose callbacks these are, and deliveries are made.
    pub with_jobs: Latency,
    /// While deliveries are made, and nothing else is done.
    pub meanwhile: Latency,
    /// Of the server, for each delivery, with the job that it tells of.
    pub cpu_micros: f64,
    pub before_mib: f64,
    pub most_mib: f64,
}

/// Delivers `callbacks` to each of 90 receivers, and as many to each of `hanging` others.
pub async fn measure(place: &Path, hanging: usize, callbacks: usize) -> Result<Delivered> {
    std::fs::create_dir_all(place)?;
    let config = place.join("futurity.toml");
    std::fs::write(&config, CONFIG)?;
    let config = config.to_str().context("a path that is no text")?;
    let server = Process::start(&place.join("data"), Some(config), &place.join("log")).await?;
    ensure!(LIVING + hanging <= RECEIVERS, "so many receivers are not meant");
    let living = Receivers::start(LIVING, ANSWER).await?;
    // Connections to them are made by the kernel; nobody ever reads what comes.
    let silent = || std::net::TcpListener::bind("127.0.0.1:0").context("a port");
    let silent: Vec<_> = (0..hanging).map(|_| silent()).collect::<Result<_>>()?;
    let mut addresses = living.addresses.clone();
    for listener in &silent {
        addresses.push(listener.local_addr()?);
    }
    ask(server.address, "POST", "/v1/queues/held/pause", "{}", "application/json").await?;
    submit(server.address, &addresses, callbacks).await?;
    let (mut idle, mut with_jobs, mut meanwhile) = (Vec::new(), Vec::new(), Vec::new());
    let mut connection = Connection::open(server.address).await?;
    let begun = Instant::now();
    while begun.elapsed() < IDLE {
        idle.push(submit_one(&mut connection, server.address).await?);
    }
    let before = resident_kib(server.child.id())?;
    let (mut most, wanted) = (before, LIVING * callbacks);
    let used = cpu_time(server.child.id())?;
    ask(server.address, "POST", "/v1/queues/held/resume", "{}", "application/json").await?;
    let begun = Instant::now();
    let mut are_done = false;
    while living.taken() < wanted {
        let phase = if are_done { &mut meanwhile } else { &mut with_jobs };
        phase.push(submit_one(&mut connection, server.address).await?);
        if !are_done && with_jobs.len().is_multiple_of(LOOK_EVERY) {
            are_done = is_empty(&mut connection, server.address).await?;
        }
        most = most.max(resident_kib(server.child.id())?);
        ensure!(begun.elapsed() < LIMIT, "only {} of {wanted} are delivered", living.taken());
    }
    #[expect(clippy::cast_precision_loss, reason = "some hundred thousand")]
    let deliveries_a_second = wanted as f64 / begun.elapsed().as_secs_f64();
    let used = cpu_time(server.child.id())?.saturating_sub(used);
    Ok(Delivered {
        deliveries_a_second,
        idle: Latency::of(&mut idle).context("no submission")?,
        with_jobs: Latency::of(&mut with_jobs).context("no submission")?,
        meanwhile: Latency::of(&mut meanwhile).context("no submission")?,
        #[expect(clippy::cast_precision_loss, reason = "some hundred thousand")]
        cpu_micros: used.as_secs_f64() * 1e6 / wanted as f64,
        before_mib: before / 1024.0,
        most_mib: most / 1024.0,
    })
}

/// The jobs, with a callback each, to all receivers in turn.
async fn submit(server: SocketAddr, receivers: &[SocketAddr], callbacks: usize) -> Result<()> {
    let lines: Vec<String> = (0..callbacks * receivers.len())
        .map(|number| {
            let to = receivers[number % receivers.len()];
            format!(
                r#"{{"function":"echo","args":[{number}],"queue":"held","callbacks":[{{"url":"http://{to}/"}}]}}"#
            )
        })
        .collect();
    for lines in lines.chunks(LINES) {
        let body = lines.join("\n");
        let path = "/v1/jobs";
        ask(server, "POST", path, &body, "application/x-ndjson\r\nPrefer: return=minimal").await?;
    }
    Ok(())
}

/// Whether all jobs of the held queue are done.
async fn is_empty(connection: &mut Connection, server: SocketAddr) -> Result<bool> {
    let request = request(server, "GET", "/v1/queues/held", "", "application/json");
    let answer = connection.exchange(request.as_bytes()).await?;
    let queue: serde_json::Value = serde_json::from_slice(answer.body)?;
    Ok(queue["depth"]["pending"] == 0 && queue["depth"]["running"] == 0)
}

/// How long one submission takes, in microseconds.
async fn submit_one(connection: &mut Connection, server: SocketAddr) -> Result<u32> {
    tokio::time::sleep(PAUSE).await;
    let body = r#"{"function":"echo","args":["x"]}"#;
    let request = request(server, "POST", "/v1/jobs", body, "application/json");
    let begun = Instant::now();
    let answer = connection.exchange(request.as_bytes()).await?;
    ensure!(answer.status == 202, "a submission is answered {}", answer.status);
    Ok(micros(begun.elapsed()))
}

fn request(server: SocketAddr, method: &str, path: &str, body: &str, kind: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {server}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A request on a connection of its own, which must succeed.
pub async fn ask(
    server: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
    kind: &str,
) -> Result<String> {
    let mut connection = Connection::open(server).await?;
    let request = request(server, method, path, body, kind);
    let answer = connection.exchange(request.as_bytes()).await?;
    let text = String::from_utf8_lossy(answer.body).into_owned();
    ensure!(answer.status < 300, "{method} {path} is answered {}: {text}", answer.status);
    Ok(text)
}
