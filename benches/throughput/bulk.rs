//! Jobs in batches, and line by line, to queues that are paused: nothing but the submission is measured.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use serde::Serialize;

use crate::common::client::Connection;
use crate::site::Site;
use crate::wire;

/// Requests under way at once.
const CONNECTIONS: usize = 4;
/// Jobs in a request.
const JOBS: usize = 10_000;

/// Jobs a second of one round.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Bulk {
    /// In batches of ten thousand.
    pub batches: f64,
    /// Line by line, with one answer for all.
    pub minimal_lines: f64,
    /// Line by line, each with an answer of its own.
    pub answered_lines: f64,
}

impl Bulk {
    pub async fn measure(site: &Site, nth: usize, seconds: f64) -> Result<Self> {
        let seconds = Duration::from_secs_f64(seconds);
        let queue = async |kind: &str| {
            let name = format!("{kind}-{nth}");
            paused(site, &name).await.map(|()| name)
        };
        let (batch, minimal, answered) =
            (queue("batch").await?, queue("minimal").await?, queue("answered").await?);
        Ok(Self {
            batches: batches(site, &batch, seconds).await.context("batches")?,
            minimal_lines: lines(site, &minimal, true, seconds).await.context("lines")?,
            answered_lines: lines(site, &answered, false, seconds).await.context("lines")?,
        })
    }
}

/// A queue that takes millions and starts none.
async fn paused(site: &Site, name: &str) -> Result<()> {
    let made = r#"{"max_workers":1,"max_pending":100000000}"#;
    for (method, target, body) in [
        ("PUT", format!("/v1/queues/{name}"), made),
        ("POST", format!("/v1/queues/{name}/pause"), "{}"),
    ] {
        let mut connection = Connection::open(site.address).await?;
        let answer = connection.exchange(&site.request(method, &target, body)).await?;
        ensure!((200..300).contains(&answer.status), "{method} {target}: {}", answer.status);
    }
    Ok(())
}

async fn batches(site: &Site, queue: &str, seconds: Duration) -> Result<f64> {
    let numbers: Vec<String> = (0..JOBS).map(|number| number.to_string()).collect();
    let iterables = numbers.join(",");
    let body = format!(r#"{{"function":"echo","queue":"{queue}","iterables":[[{iterables}]]}}"#);
    let request = site.request("POST", "/v1/batches", &body);
    let begun = Instant::now();
    let one = || async {
        let mut connection = Connection::open(site.address).await?;
        let mut count = 0_u32;
        while begun.elapsed() < seconds {
            let answer = connection.exchange(&request).await?;
            let batch: serde_json::Value = serde_json::from_slice(answer.body)?;
            ensure!(answer.status == 202 && batch["total"] == JOBS, "{batch}");
            count += 1;
        }
        anyhow::Ok(count)
    };
    jobs(try_join_all((0..CONNECTIONS).map(|_| one())).await?, begun)
}

async fn lines(site: &Site, queue: &str, is_minimal: bool, seconds: Duration) -> Result<f64> {
    let line =
        |number| format!("{{\"function\":\"echo\",\"queue\":\"{queue}\",\"args\":[{number}]}}\n");
    let body: String = (0..JOBS).map(line).collect();
    let prefer = if is_minimal { "Prefer: return=minimal\r\n" } else { "" };
    let head = site.head("POST", "/v1/jobs");
    let chunked = "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n";
    let head = format!("{head}{chunked}{prefer}");
    let begun = Instant::now();
    let one = || async {
        let mut count = 0_u32;
        while begun.elapsed() < seconds {
            let (mut sender, mut receiver) = wire::open(site.address, &head).await?;
            let send = async {
                for chunk in body.as_bytes().chunks(32 * 1024) {
                    sender.chunk(chunk).await?;
                }
                sender.end().await
            };
            let receive = async {
                let (mut lines, mut last) = (0, Vec::new());
                while let Some(chunk) = receiver.chunk().await? {
                    lines += chunk.iter().filter(|byte| **byte == b'\n').count();
                    last = chunk;
                }
                anyhow::Ok((lines, last))
            };
            let ((), (lines, last)) = tokio::try_join!(send, receive)?;
            let told = String::from_utf8_lossy(&last);
            let is_whole = match is_minimal {
                true => told.contains(&format!("\"accepted\":{JOBS},\"refused\":0")),
                false => lines == JOBS + 1 && told.contains("\"job\":"),
            };
            ensure!(is_whole, "{lines} lines, the last {told}");
            count += 1;
        }
        anyhow::Ok(count)
    };
    jobs(try_join_all((0..CONNECTIONS).map(|_| one())).await?, begun)
}

/// Jobs a second, of so many requests.
fn jobs(requests: Vec<u32>, begun: Instant) -> Result<f64> {
    let jobs = f64::from(u32::try_from(JOBS)?);
    Ok(f64::from(requests.into_iter().sum::<u32>()) * jobs / begun.elapsed().as_secs_f64())
}
