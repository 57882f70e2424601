//! From the end of a job to the answers of those who wait for it: one, and ten thousand. On a server of its own, which
//! also tells how soon it is ready and what it takes when it does nothing.

use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::inotify;
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
/// For the news of a commit that was answered.
const COMMIT_SEEN: Duration = Duration::from_secs(1);

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
    commits: Commits,
}

/// When commits are seen, by a thread that sleeps until the server writes its high-water mark: after each commit, before anyone
/// is told. It wakes as late as a client does, so the time between a commit and an answer is neither shortened nor stretched.
struct Commits(Receiver<Instant>);

impl Commits {
    fn of(mark: &Path) -> Result<Self> {
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC)?;
        inotify::add_watch(&watch, mark, inotify::WatchFlags::MODIFY)?;
        let (sender, receiver) = channel();
        thread::spawn(move || {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut events = inotify::Reader::new(&watch, &mut buffer);
            while events.next().is_ok() && sender.send(Instant::now()).is_ok() {}
        });
        Ok(Self(receiver))
    }

    /// Forgets those that were seen.
    fn forget(&self) {
        self.0.try_iter().for_each(drop);
    }

    fn next(&self) -> Result<Instant> {
        self.0.recv_timeout(COMMIT_SEEN).context("no commit was seen")
    }
}

/// A job that this client has settled: when the request went out, and how long until its commit and its answer.
struct Settlement {
    begun: Instant,
    committed: Duration,
    answered: Duration,
}

impl Settlement {
    /// The microseconds since the request as those since its commit.
    fn since_commit(&self, waited: &mut [u32]) {
        waited.iter_mut().for_each(|it| *it = it.saturating_sub(micros(self.committed)));
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
    let mut hand = Hand { site, connection, commits: Commits::of(&data.join("high-water"))? };
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
    let told = asking.answered(settlement.begun, body).await;
    let (crowd, mut told) = told.context("many waiters")?;
    settlement.since_commit(&mut told);

    let begun = Instant::now();
    let asking = crowd.ask(hand.get(&format!("/v1/jobs/{id}")));
    let (_, asked) = asking.answered(begun, body).await.context("many that ask")?;
    let each = |kib: f64| kib / f64::from(u32::try_from(waiters).unwrap_or(u32::MAX));
    Ok(Settled {
        ready_ms,
        idle_mib,
        many: summary(told)?,
        committed_ms: settlement.committed.as_secs_f64() * 1_000.0,
        settled_ms: settlement.answered.as_secs_f64() * 1_000.0,
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
            committed.push(micros(settlement.committed));
            settled.push(micros(settlement.answered));
            let body = Body { id: &id, result: RESULT };
            let (again, mut latency) = asking.answered(settlement.begun, body).await?;
            settlement.since_commit(&mut latency);
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

    async fn settle(&mut self, id: &str) -> Result<Settlement> {
        self.commits.forget();
        let begun = Instant::now();
        self.send("PUT", &format!("/v1/jobs/{id}/result"), &RESULT.to_string(), 200).await?;
        let answered = begun.elapsed();
        let committed = self.commits.next()?.saturating_duration_since(begun);
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
