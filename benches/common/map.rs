//! A streaming map of many lines.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use crate::common::client::Connection;
use crate::common::process::Process;
use crate::site::Site;
use crate::usage;
use crate::wire;

/// Lines under way at once.
const BUFFERSIZE: usize = 1_000;
const SENT_AT_ONCE: u64 = 500;

/// What a map came to.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Mapped {
    pub lines: u64,
    pub seconds: f64,
    /// The server's memory when it was ready, and the most that it had.
    pub before_mib: f64,
    pub peak_mib: f64,
}

impl Mapped {
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    pub fn lines_per_second(self) -> f64 {
        self.lines as f64 / self.seconds
    }
}

/// Maps so many lines as fast as it goes.
pub async fn whole(server: &Process, site: &Site, lines: u64) -> Result<Mapped> {
    let before_mib = usage::resident_kib(server.child.id())? / 1024.0;
    let (mut sender, receiver) = open(site).await?;
    let begun = Instant::now();
    let send = async {
        let mut from = 0;
        while from < lines {
            let to = lines.min(from + SENT_AT_ONCE);
            let chunk: String = (from..to).map(|number| format!("[{number}]\n")).collect();
            sender.chunk(chunk.as_bytes()).await?;
            from = to;
        }
        sender.end().await
    };
    let ((), read) = tokio::try_join!(send, read(receiver, None))?;
    ensure!(read == lines, "{read} results of {lines} lines");
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Mapped { lines, seconds, before_mib, peak_mib: peak_mib(server.child.id())? })
}

/// Begins a map, in a queue in which so many jobs run at once as it may have on their way: with the default queue's
/// handful of workers, their number would be measured.
pub async fn open(site: &Site) -> Result<(wire::Sender, wire::Receiver)> {
    let mut connection = Connection::open(site.address).await?;
    let wide = site.request("PUT", "/v1/queues/wide", r#"{"max_workers":1024}"#);
    let answer = connection.exchange(&wide).await?;
    ensure!((200..300).contains(&answer.status), "a queue: {}", answer.status);
    let target = format!("/v1/map?function=echo&queue=wide&buffersize={BUFFERSIZE}");
    let head = site.head("POST", &target);
    let body = "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n";
    wire::open(site.address, &format!("{head}{body}")).await
}

/// Reads and checks results; for so long, a thousand a second, or else all. Gives how many there were.
pub async fn read(mut receiver: wire::Receiver, slowly: Option<Duration>) -> Result<u64> {
    let begun = Instant::now();
    let mut ticks = interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut read, mut rest) = (0_u64, Vec::new());
    while let Some(chunk) = receiver.chunk().await? {
        rest.extend_from_slice(&chunk);
        let mut from = 0;
        while let Some(length) = rest[from..].iter().position(|byte| *byte == b'\n') {
            let line = std::str::from_utf8(&rest[from..from + length])?;
            from += length + 1;
            if line.starts_with("{\"end\"") {
                ensure!(line.contains(&format!("\"completed\":{read},\"unfinished\":0")), "{line}");
                return Ok(read);
            }
            ensure!(is_result(line, read), "result {read}: {line}");
            read += 1;
            if let Some(seconds) = slowly {
                ticks.tick().await;
                if begun.elapsed() > seconds {
                    return Ok(read);
                }
            }
        }
        rest.drain(..from);
    }
    anyhow::bail!("the stream ended without its end, after {read} results")
}

/// Whether the line is the result of that call, which is its own number.
fn is_result(line: &str, number: u64) -> bool {
    let mut digits = itoa::Buffer::new();
    let number = digits.format(number);
    let index = line.strip_prefix("{\"index\":").and_then(|rest| rest.strip_prefix(number));
    let result = line.strip_suffix('}').and_then(|rest| rest.strip_suffix(number));
    index.is_some_and(|rest| rest.starts_with(','))
        && result.is_some_and(|rest| rest.ends_with("\"result\":"))
}

/// The most memory that a process has had.
pub fn peak_mib(process: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let word = line.and_then(|line| line.split_whitespace().next());
    Ok(word.context("a status without VmHWM")?.parse::<f64>()? / 1024.0)
}
