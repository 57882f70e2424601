//! The same work here: durable jobs, one after the other and many at once.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::common::client::Connection;
use crate::common::process::Process;
use crate::common::stats::{Latency, micros};
use crate::wire;

/// Beyond its defaults the server has as many places as a client has connections.
const CONFIG: &str = "[queues.default]\nmax_workers = 1024\n";
const CONNECTIONS: u64 = 64;
const WARM: u64 = 2_000;
const ONE: u64 = 1_000;
const MANY: u64 = 64_000;
const BATCH: u64 = 10_000;

/// Jobs a second, and the median of one.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figures {
    pub one_ms: f64,
    /// A request for each, over 64 connections, each of which waits for the result.
    pub per_second: f64,
    /// One request for 10,000, from its submission to the last result that is read.
    pub batch_per_second: f64,
}

pub async fn measure(place: &Path, command_line: &mut String) -> Result<Figures> {
    std::fs::create_dir_all(place)?;
    let config = place.join("futurity.toml");
    std::fs::write(&config, CONFIG)?;
    let config = config.to_str().context("a path that is no text")?;
    let server = Process::start(&place.join("data"), Some(config), &place.join("log")).await?;
    command_line.clone_from(&server.command_line);
    let address = server.address;
    many(address, WARM).await?;
    let mut latencies = trips(address, 0..ONE).await?;
    let one = Latency::of(&mut latencies).context("not one job")?;
    Ok(Figures {
        one_ms: one.p50_ms,
        per_second: many(address, MANY).await?,
        batch_per_second: batch(address).await?,
    })
}

/// Submits and waits, one after the other; the microseconds of each.
async fn trips(address: SocketAddr, values: impl Iterator<Item = u64>) -> Result<Vec<u32>> {
    let mut connection = Connection::open(address).await?;
    let mut latencies = Vec::new();
    for value in values {
        let body = format!("{{\"function\":\"echo\",\"args\":[{value}]}}");
        let request = request(address, "POST", "/v1/jobs?wait=30", &body);
        let begun = Instant::now();
        let answer = connection.exchange(request.as_bytes()).await?;
        latencies.push(micros(begun.elapsed()));
        let text = String::from_utf8_lossy(answer.body);
        ensure!(answer.status == 200, "a submission is answered {}: {text}", answer.status);
        ensure!(text.contains(&format!("\"result\":{value},")), "a wrong result: {text}");
    }
    Ok(latencies)
}

async fn many(address: SocketAddr, count: u64) -> Result<f64> {
    let mut clients = JoinSet::new();
    let begun = Instant::now();
    for client in 0..CONNECTIONS {
        let values = (client..count).step_by(usize::try_from(CONNECTIONS)?);
        clients.spawn(trips(address, values));
    }
    let mut done = 0;
    while let Some(client) = clients.join_next().await {
        done += client??.len();
    }
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    Ok(done as f64 / begun.elapsed().as_secs_f64())
}

async fn batch(address: SocketAddr) -> Result<f64> {
    let calls: Vec<Value> = (0..BATCH).map(|value| json!({"args": [value]})).collect();
    let body = json!({"function": "echo", "calls": calls}).to_string();
    let mut connection = Connection::open(address).await?;
    let submit = request(address, "POST", "/v1/batches", &body);
    let begun = Instant::now();
    let answer = connection.exchange(submit.as_bytes()).await?;
    ensure!(answer.status == 202, "a batch is answered {}", answer.status);
    let batch: Value = serde_json::from_slice(answer.body)?;
    let path = batch["urls"]["self"].as_str().context("a batch without a URL")?;
    let head = format!("GET {path}/results HTTP/1.1");
    let (_sender, mut receiver) = wire::open(address, &head).await?;
    let mut lines = Vec::new();
    while let Some(chunk) = receiver.chunk().await? {
        lines.extend(chunk);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let mut results: Vec<Value> = Vec::new();
    for line in String::from_utf8(lines)?.lines() {
        let line: Value = serde_json::from_str(line)?;
        results.extend(line.get("result").cloned());
    }
    ensure!(results == (0..BATCH).map(Value::from).collect::<Vec<_>>(), "wrong results");
    #[expect(clippy::cast_precision_loss, reason = "ten thousand")]
    Ok(BATCH as f64 / seconds)
}

fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
