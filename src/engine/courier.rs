//! The courier: sends what the outbox holds, at least once, and writes down what came of it (F15, F16).

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::domain::callback::{Answer, DeliveryAttempt};
use crate::domain::{Ordinal, Timestamp};
use crate::outbound::{
    Client, Error as SendError, HeaderMap, HeaderName, HeaderValue, Method, Overflow, Request,
    Response, Secret, sign,
};
use crate::store::{self, DeliveryReport, DueDelivery, Told};

use super::Engine;
use super::seal::Confidence;

/// POSTs on their way at once.
const IN_FLIGHT_MAX: usize = 256;
/// Of these, to one receiver: a slow one never takes the place of the others.
const PER_HOST_MAX: usize = 16;
/// A POST takes at most this long, from connecting to the end of the answer.
const TIMEOUT: Duration = Duration::from_secs(20);
/// This much of an answer is read, so that the connection can be used again.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// This much of it is kept.
const KEPT_BYTES_MAX: usize = 256;
/// Between two looks at an outbox that could not be read.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The longest sleep; the outbox is looked at again even if nobody says that something is due.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// What is on its way.
#[derive(Default)]
struct Flight {
    sending: JoinSet<(Ordinal, String)>,
    callbacks: HashSet<Ordinal>,
    hosts: HashMap<String, usize>,
}

/// Runs until the server hushes it.
pub(super) async fn run(engine: Engine) {
    let mut flight = Flight::default();
    loop {
        let now = engine.now();
        let next = match engine.send_due(&mut flight, now).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(%error, "the outbox cannot be read; trying again");
                Some(now.plus_millis(i64::try_from(LOOK_AGAIN.as_millis()).unwrap_or(i64::MAX)))
            }
        };
        tokio::select! {
            () = engine.shared.hushed.cancelled() => break,
            () = engine.shared.deliveries_due.notified() => {}
            Some(sent) = flight.sending.join_next() => flight.landed(sent),
            () = tokio::time::sleep(until(next, now)) => {}
        }
        // Everything that has landed meanwhile makes one look at the outbox, not one each.
        while let Some(sent) = flight.sending.try_join_next() {
            flight.landed(sent);
        }
    }
    // What is on its way may arrive without being written down; then it is sent again, with the same id.
    flight.sending.shutdown().await;
}

impl Flight {
    fn room(&self) -> usize {
        IN_FLIGHT_MAX.saturating_sub(self.callbacks.len())
    }

    fn busy_hosts(&self) -> Vec<&str> {
        let busy = self.hosts.iter().filter(|(_, count)| **count >= PER_HOST_MAX);
        busy.map(|(host, _)| host.as_str()).collect()
    }

    fn takes(&self, due: &DueDelivery) -> bool {
        let to_host = self.hosts.get(&due.host).copied().unwrap_or(0);
        self.room() > 0 && to_host < PER_HOST_MAX && !self.callbacks.contains(&due.callback)
    }

    fn send(&mut self, engine: Engine, due: DueDelivery) {
        self.callbacks.insert(due.callback);
        *self.hosts.entry(due.host.clone()).or_default() += 1;
        let (callback, host) = (due.callback, due.host.clone());
        self.sending.spawn(async move {
            deliver(engine, due).await;
            (callback, host)
        });
    }

    fn landed(&mut self, sent: Result<(Ordinal, String), tokio::task::JoinError>) {
        let (callback, host) = match sent {
            Ok(sent) => sent,
            Err(error) => {
                tracing::error!(%error, "a delivery's task ended early");
                return;
            }
        };
        self.callbacks.remove(&callback);
        if let Some(count) = self.hosts.get_mut(&host) {
            *count -= 1;
            if *count == 0 {
                self.hosts.remove(&host);
            }
        }
    }
}

impl Engine {
    /// Sends what is due and has room; says when to look again.
    async fn send_due(
        &self,
        flight: &mut Flight,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, store::Error> {
        if flight.room() > 0 {
            // What is on its way is still due in the outbox, so it must not fill the page.
            let busy = flight.busy_hosts();
            let due = self.shared.store.due_deliveries(now, &busy, 2 * IN_FLIGHT_MAX).await?;
            for due in due {
                if flight.takes(&due) {
                    flight.send(self.clone(), due);
                }
            }
        }
        self.shared.store.next_delivery_at(now).await
    }
}

/// One POST of one delivery.
async fn deliver(engine: Engine, due: DueDelivery) {
    let sent = match engine.prepare_delivery(&due).await {
        Ok(prepared) => prepared.send(&engine.shared.client, &due, engine.now()).await,
        // Trying again does not mend it, but the schedule ends, and the log of the delivery says why.
        Err(store::Error::Damaged(detail)) => Sent::failed(engine.now(), detail),
        Err(error) => {
            tracing::error!(callback.id = %due.id, %error, "a delivery could not be prepared");
            tokio::time::sleep(LOOK_AGAIN).await;
            return;
        }
    };
    let number = due.attempts + 1;
    let now = engine.now();
    let chance = rand::random::<f64>();
    // A delivery that was asked for again has its whole schedule before it.
    let tried = number.saturating_sub(due.schedule_from);
    let (state, next_at) = engine.shared.config.schedule.after(tried, sent.answer, now, chance);
    let report =
        DeliveryReport { callback: due.callback, number, attempt: sent.attempt, state, next_at };
    if let Err(error) = engine.shared.store.record_delivery(report).await {
        // It stays due and is sent again: at least once.
        tracing::error!(callback.id = %due.id, %error, "a delivery was not recorded");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

struct Prepared {
    body: String,
    secrets: Vec<Secret>,
    headers: Vec<(String, String)>,
}

struct Sent {
    answer: Answer,
    attempt: DeliveryAttempt,
}

impl Sent {
    fn failed(at: Timestamp, error: String) -> Self {
        let (status, body, duration_ms) = (None, None, 0);
        let attempt = DeliveryAttempt { at, status, error: Some(error), body, duration_ms };
        Self { answer: Answer::None, attempt }
    }
}

impl Engine {
    /// Body, secret and headers of a delivery. The body is rendered once and kept before it is first
    /// sent, so that it is the same in every attempt.
    async fn prepare_delivery(&self, due: &DueDelivery) -> Result<Prepared, store::Error> {
        let confidence = match &due.sealed {
            Some(sealed) => self.shared.seal.open(due.id, sealed).ok_or_else(|| {
                store::Error::Damaged("the seal key does not open a callback's secret".to_owned())
            })?,
            None => Confidence::default(),
        };
        let body = match &due.body {
            Some(body) => body.clone(),
            None => {
                let body = self.render(due.of).await?;
                self.shared.store.keep_delivery_body(due.callback, body.clone()).await?;
                body
            }
        };
        let given = confidence.secret.as_deref().and_then(|secret| Secret::parse(secret).ok());
        let secrets = vec![given.unwrap_or_else(|| self.shared.secret.clone())];
        Ok(Prepared { body, secrets, headers: confidence.headers })
    }
}

impl Engine {
    /// The body that tells of a job that is done, or of a batch as it stands now.
    async fn render(&self, of: Told) -> Result<String, store::Error> {
        let render = &self.shared.config.render;
        let missing = || store::Error::Damaged("a delivery tells of what is not there".to_owned());
        match of {
            Told::Job(job) => {
                let jobs = self.shared.store.jobs_at(&[job]).await?;
                Ok((render.job)(jobs.first().ok_or_else(missing)?))
            }
            Told::Batch(batch, when) => {
                let batch = self.shared.store.batch_at(batch).await?.ok_or_else(missing)?;
                Ok((render.batch)(&batch, when))
            }
        }
    }
}

impl Prepared {
    async fn send(self, client: &Client, due: &DueDelivery, now: Timestamp) -> Sent {
        let started = Instant::now();
        let result = match client.policy().check_url(&due.url) {
            Ok(url) => {
                let request = Request {
                    method: Method::POST,
                    url,
                    headers: self.headers(due, now),
                    body: self.body.into(),
                    timeout: TIMEOUT,
                    max_body_bytes: ANSWER_BYTES_MAX,
                    overflow: Overflow::Truncate,
                    follow_redirects: false,
                };
                client.send(request).await
            }
            // The policy may have changed since the callback was added.
            Err(denied) => Err(SendError::Denied(denied)),
        };
        let duration_ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
        let attempt =
            DeliveryAttempt { at: now, status: None, error: None, body: None, duration_ms };
        match result {
            Ok(response) => Sent {
                answer: Answer::Status {
                    status: response.status,
                    retry_after_seconds: retry_after_seconds(&response, now),
                },
                attempt: DeliveryAttempt {
                    status: Some(response.status),
                    body: Some(kept(&response)),
                    ..attempt
                },
            },
            Err(error) => Sent {
                answer: Answer::None,
                attempt: DeliveryAttempt { error: Some(error.to_string()), ..attempt },
            },
        }
    }

    /// Headers by Standard Webhooks 1.0, after those that the callback asked for.
    fn headers(&self, due: &DueDelivery, now: Timestamp) -> HeaderMap {
        let id = due.id.to_string();
        let timestamp = now.0.div_euclid(1_000);
        let signature = sign(&self.secrets, &id, timestamp, self.body.as_bytes());
        let ours = [
            ("content-type", "application/json".to_owned()),
            ("webhook-id", id),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-signature", signature),
        ];
        let ours = ours.iter().map(|(name, value)| (*name, value.as_str()));
        let theirs = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut headers = HeaderMap::new();
        for (name, value) in theirs.chain(ours) {
            // Both were checked when the callback was added.
            if let (Ok(name), Ok(value)) =
                (name.parse::<HeaderName>(), HeaderValue::from_str(value))
            {
                headers.insert(name, value);
            }
        }
        headers
    }
}

/// The first bytes of an answer, as text.
fn kept(response: &Response) -> String {
    let length = response.body.len().min(KEPT_BYTES_MAX);
    String::from_utf8_lossy(&response.body[..length]).replace('\0', "\u{fffd}")
}

/// `Retry-After` as seconds or as a date (RFC 9110, section 10.2.3).
fn retry_after_seconds(response: &Response, now: Timestamp) -> Option<u64> {
    let text = response.headers.get("retry-after")?.to_str().ok()?.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits that are too many for a number still mean a long time.
        return Some(text.parse().unwrap_or(u64::MAX));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    u64::try_from((date.timestamp().as_millisecond() - now.0).max(0) / 1_000).ok()
}

fn until(next: Option<Timestamp>, now: Timestamp) -> Duration {
    let wait =
        next.map(|next| Duration::from_millis(u64::try_from(next.millis_since(now)).unwrap_or(0)));
    wait.unwrap_or(SLEEP_MAX).min(SLEEP_MAX)
}
