//! Round trips: a job is submitted, and its result waited for in the same request.

use std::time::Instant;

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

use crate::common::client::Connection;
use crate::common::stats::micros;
use crate::site::Site;

const CONNECTIONS: u64 = 64;

/// One after the other, on one connection; the microseconds of each.
pub async fn in_turn(site: &Site, values: impl Iterator<Item = u64>) -> Result<Vec<u32>> {
    let mut connection = Connection::open(site.address).await?;
    let mut latencies = Vec::new();
    for value in values {
        let body = format!("{{\"function\":\"echo\",\"args\":[{value}]}}");
        let request = site.request("POST", "/v1/jobs?wait=30", &body);
        let begun = Instant::now();
        let answer = connection.exchange(&request).await?;
        latencies.push(micros(begun.elapsed()));
        let text = String::from_utf8_lossy(answer.body);
        ensure!(answer.status == 200, "a submission is answered {}: {text}", answer.status);
        ensure!(text.contains(&format!("\"result\":{value},")), "a wrong result: {text}");
    }
    Ok(latencies)
}

/// So many over 64 connections; how many a second.
pub async fn at_once(site: &Site, count: u64) -> Result<f64> {
    let mut clients = JoinSet::new();
    let begun = Instant::now();
    for client in 0..CONNECTIONS {
        let values = (client..count).step_by(usize::try_from(CONNECTIONS)?);
        let site = site.clone();
        clients.spawn(async move { in_turn(&site, values).await });
    }
    let mut done = 0;
    while let Some(client) = clients.join_next().await {
        done += client??.len();
    }
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    Ok(done as f64 / begun.elapsed().as_secs_f64())
}
