//! Readers of every change, while jobs pass: what they cost the others, and how far they fall behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use crate::common::client::Connection;
use crate::common::process::Process;
use crate::common::stats::{Latency, micros};
use crate::map::peak_mib;
use crate::usage;
use crate::wire;

/// For how long jobs pass.
const SECONDS: u64 = 10;
/// So many lines every ten milliseconds are ten thousand jobs a second.
const LINES_AT_ONCE: usize = 100;
const TICK: Duration = Duration::from_millis(10);
/// A reader that was cut comes again no more often than a browser would.
const COME_AGAIN: Duration = Duration::from_secs(2);
/// After the last job, those who are behind may take so long.
const CATCH_UP: Duration = Duration::from_secs(60);

/// What so many readers came to.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Followed {
    pub readers: usize,
    pub jobs_per_second: f64,
    /// A job submitted and waited for, one after the other, meanwhile.
    pub round_trip: Latency,
    /// Of the machine's cores the server used so many.
    pub cores: f64,
    pub resident_mib: f64,
    pub peak_mib: f64,
    /// What all of them were sent.
    pub sent_mib: f64,
    /// How often one was cut, all together.
    pub cuts: u64,
    /// From the last job's end to when the last reader had seen it; those who had not are counted.
    pub slowest_seconds: f64,
    pub late: usize,
}

#[derive(Debug, Default)]
struct Seen {
    bytes: AtomicU64,
    cuts: AtomicU64,
    /// The last place that there is, once nothing more comes.
    last: AtomicU64,
    is_over: AtomicBool,
}

pub async fn measure(server: &Process, readers: usize) -> Result<Followed> {
    let address = server.address;
    let seen = Arc::new(Seen::default());
    let following: Vec<_> =
        (0..readers).map(|_| tokio::spawn(follow(address, Arc::clone(&seen)))).collect();
    let (begun, used) = (Instant::now(), usage::cpu_time(server.child.id())?);
    let (jobs, mut round_trips) = tokio::try_join!(feed(address, begun), probe(address, begun))?;
    let passed = begun.elapsed();
    let used = usage::cpu_time(server.child.id())?.saturating_sub(used);
    let resident_mib = usage::resident_kib(server.child.id())? / 1024.0;
    let last = last_place(address).await?;
    seen.last.store(last, Ordering::Relaxed);
    seen.is_over.store(true, Ordering::Relaxed);
    let ended = Instant::now();
    let (mut slowest, mut late) = (Duration::ZERO, 0);
    for reader in following {
        match tokio::time::timeout_at((ended + CATCH_UP).into(), reader).await {
            Ok(there) => slowest = slowest.max(there??.saturating_duration_since(ended)),
            Err(_elapsed) => late += 1,
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    Ok(Followed {
        readers,
        jobs_per_second: jobs as f64 / passed.as_secs_f64(),
        round_trip: Latency::of(&mut round_trips).context("no round trip")?,
        cores: used.as_secs_f64() / passed.as_secs_f64(),
        resident_mib,
        peak_mib: peak_mib(server.child.id())?,
        sent_mib: seen.bytes.load(Ordering::Relaxed) as f64 / 1024.0 / 1024.0,
        cuts: seen.cuts.load(Ordering::Relaxed),
        slowest_seconds: slowest.as_secs_f64(),
        late,
    })
}

/// Ten thousand jobs a second, or as many as the server takes.
async fn feed(address: std::net::SocketAddr, begun: Instant) -> Result<u64> {
    let head = format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-ndjson\r\n\
         Transfer-Encoding: chunked\r\nPrefer: return=minimal\r\n"
    );
    let (mut sender, mut receiver) = wire::open(address, &head).await?;
    let lines = "{\"function\":\"echo\",\"args\":[1]}\n".repeat(LINES_AT_ONCE);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut jobs = 0;
    while begun.elapsed().as_secs() < SECONDS {
        ticks.tick().await;
        sender.chunk(lines.as_bytes()).await?;
        jobs += u64::try_from(LINES_AT_ONCE)?;
    }
    sender.end().await?;
    let end = receiver.chunk().await?.context("no end")?;
    let end = String::from_utf8_lossy(&end);
    ensure!(end.contains(&format!("\"accepted\":{jobs},\"refused\":0")), "{end}");
    Ok(jobs)
}

/// Round trips, one after the other.
async fn probe(address: std::net::SocketAddr, begun: Instant) -> Result<Vec<u32>> {
    let mut connection = Connection::open(address).await?;
    let body = r#"{"function":"echo","args":[1],"priority":100}"#;
    let request = format!(
        "POST /v1/jobs?wait=30 HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut latencies = Vec::new();
    while begun.elapsed().as_secs() < SECONDS {
        let sent = Instant::now();
        let answer = connection.exchange(request.as_bytes()).await?;
        ensure!(answer.status == 200, "status {}", answer.status);
        latencies.push(micros(sent.elapsed()));
    }
    Ok(latencies)
}

/// The place of the last change, once all jobs are done.
async fn last_place(address: std::net::SocketAddr) -> Result<u64> {
    let mut connection = Connection::open(address).await?;
    let pending =
        format!("GET /v1/jobs?state=pending&page_size=1 HTTP/1.1\r\nHost: {address}\r\n\r\n");
    loop {
        let answer = connection.exchange(pending.as_bytes()).await?;
        let page: serde_json::Value = serde_json::from_slice(answer.body)?;
        if page["jobs"].as_array().is_some_and(Vec::is_empty) {
            break;
        }
        tokio::time::sleep(TICK).await;
    }
    // The end of one more job is behind all others.
    let job = r#"{"function":"echo","args":[1]}"#;
    let request = format!(
        "POST /v1/jobs/as-completed HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
    );
    let submit = format!(
        "POST /v1/jobs?wait=30 HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{job}",
        job.len()
    );
    let answer = connection.exchange(submit.as_bytes()).await?;
    let job: serde_json::Value = serde_json::from_slice(answer.body)?;
    let body = format!("{{\"ids\":[{}]}}", job["id"]);
    let ask = format!("{request}Content-Length: {}\r\n\r\n{body}", body.len());
    let answer = connection.exchange(ask.as_bytes()).await?;
    let line = answer.body.split(|byte| *byte == b'\n').next().context("no line")?;
    let line: serde_json::Value = serde_json::from_slice(line)?;
    line["seq"].as_u64().context("no place")
}

/// Follows until the last place is seen, coming again whenever it is cut. Gives when that was.
async fn follow(address: std::net::SocketAddr, seen: Arc<Seen>) -> Result<Instant> {
    let mut place = None;
    loop {
        let last_id =
            place.map_or_else(String::new, |place: u64| format!("Last-Event-ID: {place}\r\n"));
        let head = format!("GET /v1/events HTTP/1.1\r\nHost: {address}\r\n{last_id}");
        let (_sender, mut receiver) = wire::open(address, &head).await?;
        while let Some(chunk) = receiver.chunk().await? {
            seen.bytes.fetch_add(u64::try_from(chunk.len())?, Ordering::Relaxed);
            place = last_id_in(&chunk).or(place);
            let is_there = place.is_some_and(|it| it >= seen.last.load(Ordering::Relaxed));
            if seen.is_over.load(Ordering::Relaxed) && is_there {
                return Ok(Instant::now());
            }
        }
        seen.cuts.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(COME_AGAIN).await;
    }
}

/// The last id in a chunk, which holds whole events.
fn last_id_in(chunk: &[u8]) -> Option<u64> {
    let begin = chunk.windows(4).rposition(|window| window == b"id: ")?;
    let digits = chunk[begin + 4..].iter().take_while(|byte| byte.is_ascii_digit());
    let digits: Vec<u8> = digits.copied().collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}
