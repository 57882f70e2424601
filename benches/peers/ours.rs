//! The same work here: durable jobs, one after the other and many at once.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use crate::common::client::Connection;
use crate::common::process::Process;
use crate::common::stats::Latency;
use crate::map;
use crate::site::Site;
use crate::trips;
use crate::wire;

/// Beyond its defaults the server has as many places as a client has connections.
const CONFIG: &str = "[queues.default]\nmax_workers = 1024\n";
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
    /// One request for as many, a streaming map, until the last result is read.
    pub map_per_second: f64,
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
    let site = Site::new(server.address, None);
    trips::at_once(&site, WARM).await?;
    let mut latencies = trips::in_turn(&site, 0..ONE).await?;
    let one = Latency::of(&mut latencies).context("not one job")?;
    Ok(Figures {
        one_ms: one.p50_ms,
        per_second: trips::at_once(&site, MANY).await?,
        map_per_second: map::whole(&server, &site, MANY).await?.lines_per_second(),
        batch_per_second: batch(&site).await?,
    })
}

async fn batch(site: &Site) -> Result<f64> {
    let calls: Vec<Value> = (0..BATCH).map(|value| json!({"args": [value]})).collect();
    let body = json!({"function": "echo", "calls": calls}).to_string();
    let mut connection = Connection::open(site.address).await?;
    let submit = site.request("POST", "/v1/batches", &body);
    let begun = Instant::now();
    let answer = connection.exchange(&submit).await?;
    ensure!(answer.status == 202, "a batch is answered {}", answer.status);
    let batch: Value = serde_json::from_slice(answer.body)?;
    let path = batch["urls"]["self"].as_str().context("a batch without a URL")?;
    let head = site.head("GET", &format!("{path}/results"));
    let (_sender, mut receiver) = wire::open(site.address, &head).await?;
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
