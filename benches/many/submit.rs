//! Jobs in batches, and line by line, beside requests to a bare echo.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use serde::Serialize;

use crate::common::client::Connection;
use crate::common::process::Process;
use crate::echo::Echo;
use crate::wire;

/// Connections to the echo: that many at once is what it is at its best with.
const ECHO_CONNECTIONS: usize = 64;
/// Requests under way at once.
const CONNECTIONS: usize = 4;
/// Jobs in a request.
const JOBS: usize = 10_000;

/// What one round found, each in its unit a second.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Round {
    pub echo_requests: f64,
    pub batch_jobs: f64,
    pub minimal_jobs: f64,
    pub answered_jobs: f64,
}

pub async fn round(echo: &Echo, server: &Process, nth: u16, seconds: f64) -> Result<Round> {
    let seconds = Duration::from_secs_f64(seconds);
    let address = server.address;
    let queue = async |kind: &str| {
        let name = format!("{kind}-{nth}");
        paused(address, &name).await.map(|()| name)
    };
    let (batch, minimal, answered) =
        (queue("batch").await?, queue("minimal").await?, queue("answered").await?);
    Ok(Round {
        echo_requests: echoes(echo.address, seconds).await.context("echo")?,
        batch_jobs: batches(address, &batch, seconds).await.context("batches")?,
        minimal_jobs: lines(address, &minimal, true, seconds).await.context("lines")?,
        answered_jobs: lines(address, &answered, false, seconds).await.context("lines")?,
    })
}

/// A queue that takes millions and starts none.
async fn paused(address: SocketAddr, name: &str) -> Result<()> {
    ask(address, "PUT", name, r#"{"max_workers":1,"max_pending":100000000}"#).await?;
    ask(address, "POST", &format!("{name}/pause"), "{}").await
}

/// A queue in which so many jobs run at once as a benchmark can have on their way.
pub async fn wide(address: SocketAddr, name: &str) -> Result<()> {
    ask(address, "PUT", name, r#"{"max_workers":1024}"#).await
}

async fn ask(address: SocketAddr, method: &str, queue: &str, body: &str) -> Result<()> {
    let mut connection = Connection::open(address).await?;
    let path = format!("/v1/queues/{queue}");
    let answer = connection.exchange(&request(address, method, &path, body)).await?;
    ensure!((200..300).contains(&answer.status), "{method} {path}: {}", answer.status);
    Ok(())
}

fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

async fn echoes(address: SocketAddr, seconds: Duration) -> Result<f64> {
    let request = request(address, "POST", "/", r#"{"function":"echo","args":[1]}"#);
    let begun = Instant::now();
    let one = || async {
        let mut connection = Connection::open(address).await?;
        let mut count = 0_u32;
        while begun.elapsed() < seconds {
            let answer = connection.exchange(&request).await?;
            ensure!(answer.status == 200, "status {}", answer.status);
            count += 1;
        }
        anyhow::Ok(count)
    };
    let counts = try_join_all((0..ECHO_CONNECTIONS).map(|_| one())).await?;
    Ok(f64::from(counts.iter().sum::<u32>()) / begun.elapsed().as_secs_f64())
}

async fn batches(address: SocketAddr, queue: &str, seconds: Duration) -> Result<f64> {
    let numbers: Vec<String> = (0..JOBS).map(|number| number.to_string()).collect();
    let iterables = numbers.join(",");
    let body = format!(r#"{{"function":"echo","queue":"{queue}","iterables":[[{iterables}]]}}"#);
    let request = request(address, "POST", "/v1/batches", &body);
    let begun = Instant::now();
    let one = || async {
        let mut connection = Connection::open(address).await?;
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

async fn lines(
    address: SocketAddr,
    queue: &str,
    is_minimal: bool,
    seconds: Duration,
) -> Result<f64> {
    let line =
        |number| format!("{{\"function\":\"echo\",\"queue\":\"{queue}\",\"args\":[{number}]}}\n");
    let body: String = (0..JOBS).map(line).collect();
    let prefer = if is_minimal { "\r\nPrefer: return=minimal" } else { "" };
    let head = format!(
        "POST /v1/jobs HTTP/1.1\r\nContent-Type: application/x-ndjson\r\n\
         Transfer-Encoding: chunked{prefer}"
    );
    let begun = Instant::now();
    let one = || async {
        let mut count = 0_u32;
        while begun.elapsed() < seconds {
            let (mut sender, mut receiver) = wire::open(address, &head).await?;
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
                false => lines == JOBS && told.contains("\"job\":"),
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
