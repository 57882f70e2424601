//! One POST: its body, its signature, and what the receiver said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::OnceCell;

use crate::domain::callback::{Answer, DeliveryAttempt};
use crate::domain::text::head;
use crate::domain::{Ordinal, ReceiverHealth, Timestamp};
use crate::engine::Engine;
use crate::engine::seal::CallbackSecrets;
use crate::outbound;
use crate::outbound::{
    CONNECT_TIMEOUT, End, Error as SendError, HeaderMap, HeaderName, HeaderValue, Method, Purpose,
    Request, Response, Secret, sign,
};
use crate::store::{self, BatchKey, DeliverySubject, DueDelivery, Failure, View};

/// This much of an answer is read, so that the connection can be used again.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// This much of it is kept.
const KEPT_BYTES_MAX: usize = DeliveryAttempt::TEXT_BYTES_MAX;
/// Bodies that are kept in one commit, in bytes, unless one alone is more.
const TOGETHER_BYTES_MAX: usize = 1024 * 1024;

/// What is sent.
struct Prepared {
    body: String,
    secrets: Vec<Secret>,
    headers: Vec<(String, String)>,
}

/// What came of it.
pub(super) struct Sent {
    pub(super) answer: Answer,
    pub(super) attempt: DeliveryAttempt,
}

impl Sent {
    fn failed(at: Timestamp, error: &str) -> Self {
        let (status, body, duration_ms) = (None, None, 0);
        let error = Some(cut(error));
        let attempt = DeliveryAttempt { at, status, error, body, duration_ms };
        Self { answer: Answer::None, attempt }
    }

    /// How the receiver answered.
    pub(super) fn health(&self) -> ReceiverHealth {
        ReceiverHealth::of(self.answer, self.attempt.duration_ms)
    }
}

/// Bodies that deliveries found in one look still need. They are made together, by the first that asks, and
/// kept before any is sent.
#[derive(Debug)]
pub(super) struct Bodies {
    of: Vec<(Ordinal, DeliverySubject)>,
    /// Those that have one, of an earlier attempt.
    again: Vec<Ordinal>,
    made: OnceCell<Arc<BTreeMap<Ordinal, String>>>,
}

impl Bodies {
    pub(super) fn of(found: &[DueDelivery]) -> Self {
        let (bare, again): (Vec<_>, Vec<_>) = found.iter().partition(|due| due.body.is_none());
        Self {
            of: bare.into_iter().map(|due| (due.callback, due.of)).collect(),
            again: again.into_iter().map(|due| due.callback).collect(),
            made: OnceCell::new(),
        }
    }
}

impl Engine {
    /// Makes one POST of a delivery.
    ///
    /// # Errors
    /// A failure of the database; then nothing was sent.
    pub(super) async fn post(
        &self,
        due: &DueDelivery,
        bodies: Arc<Bodies>,
    ) -> Result<Sent, store::Error> {
        match self.prepare_post(due, bodies).await {
            Ok(prepared) => Ok(self.send(prepared, due).await),
            // Trying again does not mend it, but the schedule ends, and the log of the delivery says why.
            Err(store::Error::Failed(Failure::Damaged(detail))) => {
                Ok(Sent::failed(self.clock().wall_now(), &detail))
            }
            Err(error) => Err(error),
        }
    }

    /// Body, secrets and headers of a delivery. The body is rendered once and kept before it is first sent,
    /// so that it is the same in every attempt.
    async fn prepare_post(
        &self,
        due: &DueDelivery,
        bodies: Arc<Bodies>,
    ) -> Result<Prepared, store::Error> {
        let confidence = match &due.sealed {
            Some(sealed) => self.shared.seal.open(due.id, sealed).ok_or_else(|| {
                Failure::Damaged("the seal key does not open a callback's secret".to_owned())
            })?,
            None => CallbackSecrets::default(),
        };
        // Before anything is sent it is known that it is: if the server dies meanwhile, the next one counts that.
        let made = bodies.made.get_or_try_init(|| self.make_bodies(&bodies)).await?;
        let body = due.body.as_ref().or_else(|| made.get(&due.callback)).cloned();
        let body = body
            .ok_or_else(|| Failure::Damaged("a delivery tells of what is not there".to_owned()))?;
        let given = confidence.secret.as_deref().and_then(|secret| Secret::parse(secret).ok());
        let secrets = match given {
            Some(given) => vec![given],
            None => self.shared.secrets.active(self.clock().wall_now()).await,
        };
        if secrets.is_empty() {
            // An empty signature would be taken for one by a receiver that does not look closely.
            let detail = "there is no secret to sign with: the file of them cannot be read";
            return Err(Failure::Damaged(detail.to_owned()).into());
        }
        Ok(Prepared { body, secrets, headers: confidence.headers })
    }

    /// Renders the bodies that tell of jobs that are done, or of batches as they stand now, and keeps them. Of
    /// what is gone meanwhile there is none.
    async fn make_bodies(
        &self,
        Bodies { of, again, .. }: &Bodies,
    ) -> Result<Arc<BTreeMap<Ordinal, String>>, store::Error> {
        let (store, render) = (&self.shared.store, &self.shared.config.render);
        let places = of.iter().filter_map(|(_, subject)| match subject {
            DeliverySubject::Job(job) => Some(*job),
            DeliverySubject::Batch(..) => None,
        });
        let places: BTreeSet<Ordinal> = places.collect();
        let places: Vec<Ordinal> = places.into_iter().collect();
        let jobs = store.jobs_at(&places, View::Brief, usize::MAX).await?.jobs;
        let (mut all, mut portion, mut bytes) = (BTreeMap::new(), BTreeMap::new(), 0);
        for (callback, subject) in of {
            let body = match subject {
                DeliverySubject::Job(place) => {
                    let job = jobs.binary_search_by_key(place, |job| job.ordinal);
                    job.ok().map(|found| (render.job)(&jobs[found]))
                }
                DeliverySubject::Batch(batch, when) => store
                    .batch(BatchKey::At(*batch))
                    .await?
                    .map(|batch| (render.batch)(&batch, *when)),
            };
            let Some(body) = body else { continue };
            if bytes + body.len() > TOGETHER_BYTES_MAX {
                all.append(&mut self.kept_bodies(std::mem::take(&mut portion), Vec::new()).await?);
                bytes = 0;
            }
            bytes += body.len();
            portion.insert(*callback, body);
        }
        all.append(&mut self.kept_bodies(portion, again.clone()).await?);
        Ok(Arc::new(all))
    }

    /// Keeps bodies, and notes that they and those of before are on their way, all in one commit. Gives them back.
    async fn kept_bodies(
        &self,
        bodies: BTreeMap<Ordinal, String>,
        again: Vec<Ordinal>,
    ) -> Result<BTreeMap<Ordinal, String>, store::Error> {
        if bodies.is_empty() && again.is_empty() {
            return Ok(bodies);
        }
        let rows = u32::try_from(bodies.len() + again.len()).unwrap_or(u32::MAX);
        let _turn = self.shared.delivery_writes.acquire_many(rows).await;
        let bodies = Arc::new(bodies);
        self.shared.store.begin_deliveries(Arc::clone(&bodies), again).await?;
        Ok(Arc::unwrap_or_clone(bodies))
    }

    async fn send(&self, prepared: Prepared, due: &DueDelivery) -> Sent {
        // What the receiver compares with its own clock.
        let (now, started) = (self.clock().wall_now(), Instant::now());
        let client = &self.shared.client;
        let answered = match client.policy().check_url(&due.url) {
            Ok(url) => {
                let request = Request {
                    method: Method::POST,
                    url,
                    headers: prepared.headers(due, now),
                    body: prepared.body.into(),
                    purpose: Purpose::Delivery,
                    connect_timeout: CONNECT_TIMEOUT,
                    timeout: self.shared.config.deliverer.timeout,
                    follow_redirects: false,
                };
                client.send(request).await
            }
            // The policy may have changed since the callback was added.
            Err(denied) => Err(SendError::Denied(denied)),
        };
        let mut sent = match answered {
            Ok(response) => heard(response, now).await,
            Err(error) => Sent::failed(now, &error.to_string()),
        };
        sent.attempt.duration_ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
        sent
    }
}

/// The status is the answer; the body is only for whoever looks at the log. One that is cut, or never ends,
/// does not turn a delivery that was taken into one that was not.
async fn heard(mut response: Response, now: Timestamp) -> Sent {
    let status = response.status;
    let retry_after = response.headers.get("retry-after").and_then(|it| it.to_str().ok());
    let retry_after_ms = retry_after.and_then(outbound::retry_after).map(|it| it.millis_from(now));
    // Not before the moment that was named.
    let retry_after_seconds = retry_after_ms.map(|ms| ms.unsigned_abs().div_ceil(1_000));
    let read = response.body.read(KEPT_BYTES_MAX, ANSWER_BYTES_MAX, |_bytes| {}).await;
    let error = match read.end {
        End::Whole | End::Cut => None,
        End::Failed(error) => Some(cut(&error.to_string())),
    };
    let body = Some(text(&read.bytes));
    Sent {
        answer: Answer::Status { status, retry_after_seconds },
        attempt: DeliveryAttempt { at: now, status: Some(status), error, body, duration_ms: 0 },
    }
}

impl Prepared {
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

/// The first bytes of an answer, as text; a byte that is none takes three.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}")
}

fn cut(error: &str) -> String {
    head(error, KEPT_BYTES_MAX).into_owned()
}
