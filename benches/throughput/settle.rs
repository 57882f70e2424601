//! From the end of a job to the answers of those who wait for it: one, and ten thousand. On a server of its own, which
//! also tells how soon it is ready and what it takes when it does nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::Value;
use tokio::time::sleep;

use crate::common::client::Connection;
use crate::common::process::Process;
use crate::common::stats::{Latency, micros};
use crate::crowd::{Body, Crowd};
use crate::site::{Site, make_key};
use crate::usage;

const RESULT: u64 = 42;
/// A server that has used less than a hundredth of this in it has nothing left to do.
const IDLE_WINDOW: Duration = Duration::from_millis(100);
const IDLE_LOOKS: usize = 300;
/// For one waiter's request to arrive: some hundred times what it takes.
const ONE_ARRIVES: Duration = Duration::from_millis(5);

/// The figures of one round.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Settled {
    /// From the start of the server's process until it answered that it is ready.
    pub ready_ms: f64,
    /// Its resident memory before its first job.
    pub idle_mib: f64,
    /// From the commit that settles the job to the answer of each waiter.
    pub many: Latency,
    /// From the first byte of the request that settles it to that commit, and to the answer of the request.
    pub committed_ms: f64,
    pub settled_ms: f64,
    /// The same connections ask for the job, now done, without waiting: from the first request.
    pub asked: Latency,
    /// The server's resident memory for each connection that has asked once, with its waiter.
    pub waiter_kib: f64,
    /// The part of it that a connection costs which is open and does nothing.
    pub connection_kib: f64,
    /// As `many`, with one waiter, over so many jobs.
    pub one: Latency,
    /// As `committed_ms` and `settled_ms`, with one waiter.
    pub one_committed: Latency,
    pub one_settled: Latency,
}

/// A client beside the crowd.
struct Hand {
    site: Site,
    connection: Connection,
    /// The server's high-water mark, which it writes after each commit, before anyone is told.
    mark: PathBuf,
}

/// A job that this client has settled.
struct Settlement {
    begun: Instant,
    committed: Instant,
    answered: Instant,
}

impl Settlement {
    fn committed_ms(&self) -> f64 {
        (self.committed - self.begun).as_secs_f64() * 1_000.0
    }

    fn settled_ms(&self) -> f64 {
        (self.answered - self.begun).as_secs_f64() * 1_000.0
    }
}

/// One round on the empty `data`.
pub async fn measure(data: &Path, waiters: usize, repeats: usize) -> Result<Settled> {
    let key = make_key(data)?;
    let begun = Instant::now();
    let server = Process::start(data, None, &data.with_extension("log")).await?;
    let ready_ms = begun.elapsed().as_secs_f64() * 1_000.0;
    let site = Site::new(server.address, Some(&key));
    let process = server.child.id();
    until_idle(process).await?;
    let idle_mib = usage::resident_kib(process)? / 1024.0;
    let connection = Connection::open(site.address).await?;
    let mut hand = Hand { site, connection, mark: data.join("high-water") };
    let [one, one_committed, one_settled] =
        hand.settle_one_by_one(repeats).await.context("one waiter")?;

    let id = hand.manual_job().await?;
    until_idle(process).await?;
    let empty = usage::resident_kib(process)?;
    let crowd = Crowd::open(&hand.site, waiters).await?;
    let idle = usage::resident_kib(process)?;
    let asking = crowd.ask(hand.get(&format!("/v1/jobs/{id}?wait=60")));
    until_idle(process).await?;
    let waiting = usage::resident_kib(process)?;

    let settlement = hand.settle(&id).await?;
    let body = Body { id: &id, result: RESULT };
    let told = asking.answered(settlement.committed, body).await;
    let (crowd, told) = told.context("many waiters")?;

    let begun = Instant::now();
    let asking = crowd.ask(hand.get(&format!("/v1/jobs/{id}")));
    let (_, asked) = asking.answered(begun, body).await.context("many that ask")?;
    let each = |kib: f64| kib / f64::from(u32::try_from(waiters).unwrap_or(u32::MAX));
    Ok(Settled {
        ready_ms,
        idle_mib,
        many: summary(told)?,
        committed_ms: settlement.committed_ms(),
        settled_ms: settlement.settled_ms(),
        asked: summary(asked)?,
        waiter_kib: each(waiting - empty),
        connection_kib: each(idle - empty),
        one,
        one_committed,
        one_settled,
    })
}

impl Hand {
    async fn settle_one_by_one(&mut self, repeats: usize) -> Result<[Latency; 3]> {
        let [mut waited, mut committed, mut settled] = [const { Vec::new() }; 3];
        let mut crowd = Crowd::open(&self.site, 1).await?;
        for _ in 0..repeats {
            let id = self.manual_job().await?;
            let asking = crowd.ask(self.get(&format!("/v1/jobs/{id}?wait=60")));
            sleep(ONE_ARRIVES).await;
            let settlement = self.settle(&id).await?;
            committed.push(micros(settlement.committed - settlement.begun));
            settled.push(micros(settlement.answered - settlement.begun));
            let body = Body { id: &id, result: RESULT };
            let (again, mut latency) = asking.answered(settlement.committed, body).await?;
            waited.append(&mut latency);
            crowd = again;
        }
        Ok([summary(waited)?, summary(committed)?, summary(settled)?])
    }

    async fn manual_job(&mut self) -> Result<String> {
        let job = self.send("POST", "/v1/jobs", r#"{"manual": true}"#, 202);
        let job = job.await?;
        job["id"].as_str().map(str::to_owned).context("a job without an id")
    }

    /// The moment of the commit is the time that the kernel notes when the mark is written. A file whose time was looked at
    /// gets one as fine as the clock (Linux 6.13 and later); a coarse one is seen by lying before the request.
    #[expect(clippy::disallowed_methods, reason = "a file's time is one of the wall clock")]
    async fn settle(&mut self, id: &str) -> Result<Settlement> {
        fs::metadata(&self.mark)?.modified()?;
        let (begun, begun_at) = (Instant::now(), SystemTime::now());
        self.send("PUT", &format!("/v1/jobs/{id}/result"), &RESULT.to_string(), 200).await?;
        let answered = Instant::now();
        let took = fs::metadata(&self.mark)?.modified()?.duration_since(begun_at);
        let committed = begun + took.context("the file system keeps no fine times")?;
        ensure!(committed <= answered, "a request was answered before its commit");
        Ok(Settlement { begun, committed, answered })
    }

    async fn send(&mut self, method: &str, path: &str, body: &str, status: u16) -> Result<Value> {
        let request = self.site.request(method, path, body);
        let answer = self.connection.exchange(&request).await?;
        let text = String::from_utf8_lossy(answer.body);
        ensure!(answer.status == status, "{method} {path}: {} {text}", answer.status);
        Ok(serde_json::from_slice(answer.body)?)
    }

    fn get(&self, path: &str) -> Vec<u8> {
        self.site.request("GET", path, "")
    }
}

fn summary(mut micros: Vec<u32>) -> Result<Latency> {
    Latency::of(&mut micros).context("nothing was measured")
}

/// Until the server has read all it was sent: it does nothing any more.
async fn until_idle(process: u32) -> Result<()> {
    let mut before = usage::cpu_time(process)?;
    for _ in 0..IDLE_LOOKS {
        sleep(IDLE_WINDOW).await;
        let now = usage::cpu_time(process)?;
        if now.saturating_sub(before) < IDLE_WINDOW / 100 {
            return Ok(());
        }
        before = now;
    }
    anyhow::bail!("the server does not come to rest")
}
