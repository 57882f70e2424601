//! Many connections that ask for the same at once.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use tokio::task::JoinSet;

use crate::common::client::Connection;
use crate::common::stats::micros;
use crate::site::Site;

/// Open connections, each of which has asked and been answered.
#[derive(Debug)]
pub struct Crowd(Vec<Connection>);

/// What one of them was answered, and when.
struct Answer {
    connection: Connection,
    at: Instant,
    status: u16,
    body: Vec<u8>,
}

/// A crowd that has asked.
#[derive(Debug)]
pub struct Asking(JoinSet<Result<Answer>>);

impl Crowd {
    /// Opens so many, one after another.
    pub async fn open(site: &Site, count: usize) -> Result<Self> {
        let request = site.request("GET", "/livez", "");
        let mut connections = Vec::with_capacity(count);
        for nth in 0..count {
            let opened = async {
                let mut connection = Connection::open(site.address).await?;
                ensure!(connection.exchange(&request).await?.status == 200, "not live");
                Ok(connection)
            };
            connections.push(opened.await.with_context(|| format!("connection {nth}"))?);
        }
        Ok(Self(connections))
    }

    /// All of them send `request`.
    pub fn ask(self, request: Vec<u8>) -> Asking {
        let request: Arc<[u8]> = request.into();
        let mut asking = JoinSet::new();
        for mut connection in self.0 {
            let request = Arc::clone(&request);
            asking.spawn(async move {
                let answer = connection.exchange(&request).await?;
                let at = Instant::now();
                let (status, body) = (answer.status, answer.body.to_vec());
                Ok(Answer { connection, at, status, body })
            });
        }
        Asking(asking)
    }
}

impl Asking {
    /// The crowd when the last has its answer, and the microseconds that each waited since `begun`. Whoever was
    /// answered before it, or otherwise than with 200 and `body`, makes it an error.
    pub async fn answered(mut self, begun: Instant, body: Body<'_>) -> Result<(Crowd, Vec<u32>)> {
        let mut crowd = Vec::with_capacity(self.0.len());
        let mut latencies = Vec::with_capacity(self.0.len());
        let mut bodies = Vec::with_capacity(self.0.len());
        while let Some(answer) = self.0.join_next().await {
            let Answer { connection, at, status, body } = answer??;
            ensure!(status == 200, "a waiter was answered {status}");
            let waited = at.checked_duration_since(begun).context("an answer before its time")?;
            latencies.push(micros(waited));
            bodies.push(body);
            crowd.push(connection);
        }
        body.check(&bodies)?;
        Ok((Crowd(crowd), latencies))
    }
}

/// What all must have been told: a settled job.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a> {
    pub id: &'a str,
    pub result: u64,
}

impl Body<'_> {
    fn check(self, bodies: &[Vec<u8>]) -> Result<()> {
        let first = bodies.first().context("nobody was told")?;
        ensure!(bodies.iter().all(|body| body == first), "not all were told the same");
        let job: serde_json::Value = serde_json::from_slice(first)?;
        let is_right =
            job["id"] == self.id && job["state"] == "succeeded" && job["result"] == self.result;
        ensure!(is_right, "the waiters were told something else: {job}");
        Ok(())
    }
}
