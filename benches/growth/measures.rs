//! What is measured, on either server in the same way.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::common::stats::{Latency, Spread, micros};
use crate::fill::{self, Amount};
use crate::server::Server;
use crate::{trips, usage};

/// Jobs that are done on both servers, to be read and waited for.
const OWN: usize = 1_000;
/// Pages of a thousand that are turned to get deep into the list.
const PAGES_DEEP: usize = 200;
const A_DAY: u32 = 86_400;
/// Round trips over many connections, so many at a time: what the machine does otherwise changes within seconds, so the
/// servers take short turns.
const TRIPS: u64 = 5_000;
const TURNS: usize = 5;
/// Jobs that go together when they have been kept for so many seconds.
const SHORT_LIVED: usize = 5_000;
const RETENTION_SECONDS: u32 = 2;
const GONE_WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A server and what is known of its jobs.
#[derive(Debug)]
pub struct Subject {
    server: Option<Server>,
    data: PathBuf,
    /// The job that has the only slot of the deep queue, and sleeps.
    blocker: String,
    own: Vec<String>,
    deep_token: Option<String>,
    amount: Amount,
    fill_seconds: f64,
    filled_bytes: u64,
}

/// What a server began with.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Filled {
    pub amount: Amount,
    pub fill_seconds: f64,
    /// Of the database, when it was filled, and after all rounds.
    pub filled_bytes: u64,
    pub last_bytes: u64,
}

/// What a request is but for its path, and the status that it must be answered with.
#[derive(Clone, Copy, Debug)]
struct Kind<'a> {
    status: u16,
    method: &'static str,
    body: Option<&'a Value>,
}

const GET: Kind<'static> = Kind { status: 200, method: "GET", body: None };

impl<'a> Kind<'a> {
    fn submit(body: &'a Value) -> Self {
        Self { status: 202, method: "POST", body: Some(body) }
    }

    fn post(body: Option<&'a Value>) -> Self {
        Self { status: 200, method: "POST", body }
    }
}

/// The figures of one server in one round.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figures {
    pub submit: Latency,
    /// Submitted and waited for, one after the other.
    pub trip: Latency,
    /// The same over 64 connections, at the end of the round.
    pub trips_per_second: f64,
    pub submit_deep: Latency,
    pub cancel: Latency,
    pub get: Latency,
    pub first_page: Latency,
    pub filtered_page: Latency,
    pub matchless_page: Latency,
    pub deep_page: Latency,
    /// Of one request that asks for a thousand jobs; none while the server has no such route.
    pub wait_many: Option<Latency>,
    /// For each job of a queue that drains, with all else behind it.
    pub drain_ms: f64,
    /// From the moment at which the last of some thousand jobs was over to its end, which is that of all.
    pub gone_ms: f64,
    pub start_ms: f64,
    /// Of a server that nobody asks for anything.
    pub idle_ms: f64,
    pub resident_mib: f64,
}

/// What happens to submits while all that waits is cancelled in one request.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Emptied {
    /// As the answer said.
    pub cancelled: u64,
    pub seconds: f64,
    /// Submits to another queue, one after another: before it, and while it lasted.
    pub before: Latency,
    pub meanwhile: Latency,
    /// Of those meanwhile.
    pub submits: usize,
}

/// All servers, once, in their order.
pub type Round = Vec<Figures>;

pub async fn round(subjects: &mut [Subject], requests: usize, nth: usize) -> Result<Round> {
    let count = subjects.len();
    let mut figures = vec![None; count];
    for turn in (0..count).map(|turn| (turn + nth) % count) {
        let of_turn = subjects[turn].figures(requests).await;
        figures[turn] = Some(of_turn.with_context(|| format!("server {turn}"))?);
    }
    let figures: Option<Round> = figures.into_iter().collect();
    let mut figures = figures.context("a round without a turn of each")?;
    let mut rates = vec![Vec::new(); count];
    for turn in (0..count * TURNS).map(|turn| (turn + nth) % count) {
        rates[turn].push(trips::at_once(&subjects[turn].server_mut()?.site(), TRIPS).await?);
    }
    for (figures, rates) in figures.iter_mut().zip(rates) {
        figures.trips_per_second = Spread::of(rates).context("no round trips")?.median;
    }
    Ok(figures)
}

impl Subject {
    /// A server on `data`, with so many jobs.
    pub async fn prepare(data: &Path, amount: Amount) -> Result<Self> {
        let (mut server, _) = Server::start(data).await?;
        let echo = json!({"function": "echo", "args": [1]});
        server.expect(200, "POST", "/v1/jobs?wait=60", Some(&echo)).await?;
        let sleep = json!({"function": "sleep", "args": [A_DAY], "queue": "deep"});
        let blocker = id(&server.expect(202, "POST", "/v1/jobs", Some(&sleep)).await?.0)?;
        // What is copied has a time to start by, so that a million of them are waited for as well.
        let mut waiting = sleep.clone();
        waiting["start_timeout_seconds"] = json!(30 * A_DAY);
        server.expect(202, "POST", "/v1/jobs", Some(&waiting)).await?;
        server.stop().await?;
        let begun = Instant::now();
        fill::multiply(&data.join("futurity.db"), amount)?;
        let fill_seconds = begun.elapsed().as_secs_f64();
        let filled_bytes = database_bytes(data)?;
        let (server, _) = Server::start(data).await?;
        let data = data.to_owned();
        let (own, deep_token) = (Vec::new(), None);
        let server = Some(server);
        let mut it =
            Self { server, data, blocker, own, deep_token, amount, fill_seconds, filled_bytes };
        for _ in 0..OWN {
            let (job, _) = it.ask(Kind::post(Some(&echo)), "/v1/jobs?wait=60").await?;
            it.own.push(id(&job)?);
        }
        it.deep_token = it.go_deep().await?;
        Ok(it)
    }

    pub fn command_line(&self) -> Result<String> {
        Ok(self.server.as_ref().context("no server")?.command_line().to_owned())
    }

    /// Cancels the deep queue, and submits to another one until that is done.
    pub async fn empty_deep_queue(&mut self, requests: usize) -> Result<Emptied> {
        let server = self.server_mut()?;
        server.connect_anew().await?;
        let echo = json!({"function": "echo", "args": [1]});
        let mut emptying = server.second_connection().await?;
        let (before, _) =
            self.repeat(requests, Kind::submit(&echo), |_| "/v1/jobs".to_owned()).await?;
        let begun = Instant::now();
        let emptying = tokio::spawn(async move {
            let all = json!({"queue": "deep", "state": "pending"});
            let (answer, _) = emptying.expect(200, "POST", "/v1/jobs/cancel", Some(&all)).await?;
            Ok::<_, anyhow::Error>((answer, begun.elapsed()))
        });
        let mut meanwhile = Vec::new();
        while !emptying.is_finished() {
            meanwhile.push(micros(self.ask(Kind::submit(&echo), "/v1/jobs").await?.1));
        }
        let (answer, took) = emptying.await??;
        Ok(Emptied {
            cancelled: answer["cancelled"].as_u64().context("no count")?,
            seconds: took.as_secs_f64(),
            before,
            submits: meanwhile.len(),
            meanwhile: Latency::of(&mut meanwhile).context("it was over before a submit")?,
        })
    }

    pub fn filled(&self) -> Result<Filled> {
        let Self { amount, fill_seconds, filled_bytes, .. } = *self;
        let last_bytes = database_bytes(&self.data)?;
        Ok(Filled { amount, fill_seconds, filled_bytes, last_bytes })
    }

    async fn figures(&mut self, requests: usize) -> Result<Figures> {
        let (idle_ms, resident_mib) = self.at_rest().await?;
        self.server_mut()?.connect_anew().await?;
        let echo = json!({"function": "echo", "args": [1]});
        let submit = self.repeat(requests, Kind::submit(&echo), |_| "/v1/jobs".to_owned());
        let submit = submit.await?.0;
        let site = self.server_mut()?.site();
        let mut trip = trips::in_turn(&site, 0..u64::try_from(requests)?).await?;
        let trip = Latency::of(&mut trip).context("no round trip")?;
        let sleep = json!({"function": "sleep", "args": [A_DAY], "queue": "deep"});
        let waiting = self.repeat(requests, Kind::submit(&sleep), |_| "/v1/jobs".to_owned());
        let (submit_deep, waiting) = waiting.await?;
        let ids = waiting.iter().map(id).collect::<Result<Vec<_>>>()?;
        let cancel = |nth: usize| format!("/v1/jobs/{}/cancel", ids[nth]);
        let (cancel, cancelled) = self.repeat(requests, Kind::post(None), cancel).await?;
        ensure!(cancelled.iter().all(|it| it["cancelled"] == true), "a cancel came too late");
        let own = self.own.clone();
        let get = |nth: usize| format!("/v1/jobs/{}", own[nth * 7 % own.len()]);
        let get = self.repeat(requests, GET, get).await?.0;
        let few = (requests / 10).max(5);
        let deep = match &self.deep_token {
            Some(token) => format!("/v1/jobs?page_size=50&page_token={token}"),
            None => "/v1/jobs?page_size=50".to_owned(),
        };
        Ok(Figures {
            submit,
            trip,
            trips_per_second: 0.0,
            submit_deep,
            cancel,
            get,
            first_page: self.page(few, "/v1/jobs?page_size=50").await?,
            filtered_page: self.page(few, "/v1/jobs?page_size=50&state=succeeded").await?,
            matchless_page: self.page(few, "/v1/jobs?page_size=50&function=no.such").await?,
            deep_page: self.page(few, &deep).await?,
            wait_many: self.wait_many(few).await?,
            drain_ms: self.drain(requests).await?,
            gone_ms: self.retain_briefly().await?,
            start_ms: self.kill_and_start().await?,
            idle_ms,
            resident_mib,
        })
    }

    /// The processor time of a second in which nobody asks for anything, in milliseconds, and the memory.
    async fn at_rest(&mut self) -> Result<(f64, f64)> {
        let process = self.server_mut()?.process_id();
        let before = usage::cpu_time(process)?;
        sleep(Duration::from_secs(1)).await;
        let used = usage::cpu_time(process)?.saturating_sub(before);
        Ok((used.as_secs_f64() * 1_000.0, usage::resident_kib(process)? / 1_024.0))
    }

    async fn page(&mut self, times: usize, path: &str) -> Result<Latency> {
        Ok(self.repeat(times, GET, |_| path.to_owned()).await?.0)
    }

    /// One request for a thousand jobs that are done.
    async fn wait_many(&mut self, times: usize) -> Result<Option<Latency>> {
        let body = json!({"ids": self.own, "timeout_seconds": 10});
        let server = self.server.as_mut().context("no server")?;
        if matches!(server.exchange("POST", "/v1/jobs/wait", Some(&body)).await?.0, 404 | 405) {
            // What is refused unread ends its connection.
            server.connect_anew().await?;
            return Ok(None);
        }
        let path = |_| "/v1/jobs/wait".to_owned();
        let (latency, answers) = self.repeat(times, Kind::post(Some(&body)), path).await?;
        let whole = |it: &Value| it["done"].as_array().is_some_and(|done| done.len() == OWN);
        ensure!(answers.iter().all(whole), "a wait did not give all that is done");
        Ok(Some(latency))
    }

    /// Lets so many urgent jobs through the deep queue, and then another one that sleeps.
    async fn drain(&mut self, count: usize) -> Result<f64> {
        let urgent = json!({"function": "echo", "queue": "deep", "priority": 100});
        let path = |_| "/v1/jobs".to_owned();
        let (_, waiting) = self.repeat(count, Kind::submit(&urgent), path).await?;
        let next = json!({"function": "sleep", "args": [A_DAY], "queue": "deep", "priority": 50});
        let next = id(&self.ask(Kind::submit(&next), "/v1/jobs").await?.0)?;
        let last = id(waiting.last().context("no job")?)?;
        let begun = Instant::now();
        let blocker = std::mem::replace(&mut self.blocker, next);
        let (status, ..) = self
            .server_mut()?
            .exchange("POST", &format!("/v1/jobs/{blocker}/cancel"), None)
            .await?;
        ensure!(status == 200 || status == 202, "the sleeping job cannot be cancelled: {status}");
        let (job, _) = self.ask(GET, &format!("/v1/jobs/{last}?wait=60")).await?;
        ensure!(job["state"] == "succeeded", "the queue did not drain in time: {job}");
        Ok(begun.elapsed().as_secs_f64() * 1_000.0 / f64::from(u32::try_from(count)?))
    }

    /// Jobs of one batch, which are done at nearly the same time, until the last of them is there no more.
    async fn retain_briefly(&mut self) -> Result<f64> {
        let calls = vec![json!({"args": [1]}); SHORT_LIVED];
        let body =
            json!({"function": "echo", "calls": calls, "retention_seconds": RETENTION_SECONDS});
        let (batch, _) = self.ask(Kind::submit(&body), "/v1/batches").await?;
        let batch = id(&batch)?;
        let (newest, _) = self.ask(GET, &format!("/v1/jobs?batch={batch}&page_size=1")).await?;
        let last = format!("/v1/jobs/{}", id(&newest["jobs"][0])?);
        let (done, _) = self.ask(GET, &format!("/v1/batches/{batch}?wait=60")).await?;
        ensure!(done["counts"]["succeeded"] == SHORT_LIVED, "a batch does not end: {done}");
        let done = Instant::now();
        loop {
            let (status, body, _) = self.server_mut()?.exchange("GET", &last, None).await?;
            if status == 404 || status == 410 {
                let after = done.elapsed().as_secs_f64() - f64::from(RETENTION_SECONDS);
                return Ok(after * 1_000.0);
            }
            ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(&body));
            ensure!(done.elapsed() < GONE_WITHIN, "a job stays");
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn kill_and_start(&mut self) -> Result<f64> {
        let server = self.server.take().context("no server")?;
        let (server, took) = server.killed_and_started().await?;
        self.server = Some(server);
        Ok(took.as_secs_f64() * 1_000.0)
    }

    /// The token of a page far from the first; none where there are not so many.
    async fn go_deep(&mut self) -> Result<Option<String>> {
        let mut token: Option<String> = None;
        for _ in 0..PAGES_DEEP {
            let mut path = "/v1/jobs?page_size=1000".to_owned();
            if let Some(token) = &token {
                path = format!("{path}&page_token={token}");
            }
            let (page, _) = self.ask(GET, &path).await?;
            let Some(next) = page["next_page_token"].as_str() else { break };
            token = Some(next.to_owned());
        }
        Ok(token)
    }

    /// The same request so many times, each with a path of its own.
    async fn repeat(
        &mut self,
        times: usize,
        kind: Kind<'_>,
        path: impl Fn(usize) -> String,
    ) -> Result<(Latency, Vec<Value>)> {
        let (mut latencies, mut answers) = (Vec::with_capacity(times), Vec::with_capacity(times));
        for nth in 0..times {
            let (answer, took) = self.ask(kind, &path(nth)).await?;
            latencies.push(micros(took));
            answers.push(answer);
        }
        Ok((Latency::of(&mut latencies).context("nothing was measured")?, answers))
    }

    async fn ask(&mut self, kind: Kind<'_>, path: &str) -> Result<(Value, Duration)> {
        let Kind { status, method, body } = kind;
        self.server_mut()?.expect(status, method, path, body).await
    }

    fn server_mut(&mut self) -> Result<&mut Server> {
        self.server.as_mut().context("no server")
    }
}

fn database_bytes(data: &Path) -> Result<u64> {
    Ok(std::fs::metadata(data.join("futurity.db"))?.len())
}

fn id(job: &Value) -> Result<String> {
    job["id"].as_str().map(str::to_owned).context("a job without an id")
}
