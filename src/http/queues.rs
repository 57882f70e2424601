//! Queues: Python's executors, with `max_workers`, pause and `shutdown`.

use std::sync::Arc;

use axum::extract::{Path, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::Response;
use serde::Serialize;

use crate::domain::{Invalid, MAX_PENDING_MAX, MAX_WORKERS_MAX, QueueName};
use crate::engine::{QueueNow, ShutdownRequest};

use super::Desk;
use super::answer;
use super::extract::{JsonBody, Query};
use super::fields::{Fields, nothing_asked};
use super::limits::OTHER;
use super::problem::{Code, Problem, invalid};
use super::strict;
use super::wait::{checked_seconds, wait_of};

/// Queues whose name begins so are made by whoever submits.
pub(super) const OWN_PREFIX: &str = "executor-";
/// They are there for a day without a job, at most.
const OWN_SECONDS_MAX: f64 = 86_400.0;
/// The same of others: ten years.
const SECONDS_MAX: f64 = 315_619_200.0;

/// A queue.
#[derive(Serialize)]
struct QueueBody<'a> {
    name: &'a str,
    max_workers: usize,
    max_pending: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_seconds: Option<f64>,
    paused: bool,
    shutdown: bool,
    depth: DepthBody,
    oldest_pending_ms: Option<i64>,
}

#[derive(Serialize)]
struct DepthBody {
    pending: usize,
    running: usize,
}

/// All queues.
#[derive(Serialize)]
struct QueuesBody<'a> {
    queues: Vec<QueueBody<'a>>,
}

/// What came of a shutdown.
#[derive(Serialize)]
struct ShutdownBody<'a> {
    queue: QueueBody<'a>,
    cancelled: usize,
}

impl<'a> QueueBody<'a> {
    fn of(now: &'a QueueNow) -> Self {
        let queue = &now.queue;
        Self {
            name: queue.name.as_str(),
            max_workers: queue.settings.max_workers,
            max_pending: queue.settings.max_pending,
            expires_seconds: queue.expires_ms.map(seconds),
            paused: queue.paused,
            shutdown: queue.shutdown,
            depth: DepthBody { pending: queue.pending, running: queue.running },
            oldest_pending_ms: now.oldest_pending_ms,
        }
    }
}

/// `GET /v1/queues`.
pub(super) async fn list(
    Shared(desk): Shared<Arc<Desk>>,
    query: Query,
) -> Result<Response, Problem> {
    query.only(&[])?;
    let found = desk.engine.queues().await?;
    let queues = found.iter().map(QueueBody::of).collect();
    Ok(answer::json(StatusCode::OK, &QueuesBody { queues }))
}

/// `GET /v1/queues/{name}`.
pub(super) async fn get(
    Shared(desk): Shared<Arc<Desk>>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, Problem> {
    query.only(&[])?;
    Ok(shown(&desk.engine.queue(&found(&name)?).await?))
}

/// `PUT /v1/queues/{name}`: `Executor(max_workers)` (E17). Makes the queue, or changes what is given.
pub(super) async fn put(
    Shared(desk): Shared<Arc<Desk>>,
    Path(name): Path<String>,
    query: Query,
    body: JsonBody<OTHER>,
) -> Result<Response, Problem> {
    query.only(&[])?;
    let name = QueueName::new(&name).map_err(|error| Problem::from(invalid("", error)))?;
    let nothing = strict::parse(b"{}").map_err(|detail| Problem::new(Code::Internal, detail))?;
    let mut fields = Fields::of("", body.optional()?.unwrap_or(nothing))?;
    let max_workers = limit(&mut fields, "max_workers", MAX_WORKERS_MAX);
    let max_pending = limit(&mut fields, "max_pending", MAX_PENDING_MAX);
    let expires_ms = expiry(&mut fields, &name);
    fields.faults().into_result()?;
    Ok(shown(&desk.engine.set_queue(&name, max_workers, max_pending, expires_ms).await?))
}

/// After how long a queue goes that is empty. One that needs no administrator to be made must go again.
fn expiry(fields: &mut Fields<'_>, name: &QueueName) -> Option<i64> {
    let is_own = name.as_str().starts_with(OWN_PREFIX);
    let most = if is_own { OWN_SECONDS_MAX } else { SECONDS_MAX };
    let given = fields.checked("expires_seconds", "a number", |seconds: f64| {
        if *name == QueueName::default_queue() {
            return Err(Invalid::new("the default queue stays"));
        }
        let length = checked_seconds(seconds, most).ok().filter(|length| !length.is_zero());
        let length = length.map(|length| i64::try_from(length.as_millis()).unwrap_or(i64::MAX));
        length
            .map(|length| length.max(1))
            .ok_or_else(|| Invalid::new(format!("must be more than 0 and at most {most}")))
    });
    if is_own { fields.required("expires_seconds", given) } else { given }
}

/// `POST /v1/queues/{name}/pause`: nothing more is started from it.
pub(super) async fn pause(
    Shared(desk): Shared<Arc<Desk>>,
    Path(name): Path<String>,
    query: Query,
    body: JsonBody<OTHER>,
) -> Result<Response, Problem> {
    nothing_asked(query, &body)?;
    Ok(shown(&desk.engine.pause_queue(&found(&name)?, true).await?))
}

/// `POST /v1/queues/{name}/resume`: what waits is started.
pub(super) async fn resume(
    Shared(desk): Shared<Arc<Desk>>,
    Path(name): Path<String>,
    query: Query,
    body: JsonBody<OTHER>,
) -> Result<Response, Problem> {
    nothing_asked(query, &body)?;
    Ok(shown(&desk.engine.pause_queue(&found(&name)?, false).await?))
}

/// `POST /v1/queues/{name}/shutdown`: `Executor.shutdown(wait, cancel_futures)` (E12 to E15). 202 while
/// jobs of the queue are not done.
pub(super) async fn shutdown(
    Shared(desk): Shared<Arc<Desk>>,
    Path(name): Path<String>,
    query: Query,
    body: JsonBody<OTHER>,
) -> Result<Response, Problem> {
    query.only(&[])?;
    let (mut cancel_futures, mut wait) = (None, None);
    if let Some(body) = body.optional()? {
        let mut fields = Fields::of("", body)?;
        cancel_futures = fields.take("cancel_futures", "a boolean");
        wait = fields.take("wait_seconds", "a number").map(wait_of);
        fields.faults().into_result()?;
    }
    let asked = ShutdownRequest {
        cancel_futures: cancel_futures.unwrap_or(false),
        wait: wait.unwrap_or_default().min(desk.wait_max()),
    };
    let (now, cancelled) = desk.engine.shut_down_queue(&found(&name)?, asked).await?;
    let status = if now.is_drained() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let body = ShutdownBody { queue: QueueBody::of(&now), cancelled };
    let mut response = answer::json(status, &body);
    if status == StatusCode::ACCEPTED {
        let retry_after = answer::retry_after(!asked.wait.is_zero());
        response.headers_mut().insert(header::RETRY_AFTER, retry_after);
    }
    Ok(response)
}

#[expect(clippy::cast_precision_loss, reason = "ten years of milliseconds are exact")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1_000.0
}

fn shown(now: &QueueNow) -> Response {
    answer::json(StatusCode::OK, &QueueBody::of(now))
}

/// The name in a path. What is no queue's name names nothing, so it is not found.
fn found(name: &str) -> Result<QueueName, Problem> {
    QueueName::new(name).map_err(|error| {
        Problem::new(Code::NotFound, format!("there is no queue '{name}': {}", error.detail))
    })
}

/// A number of workers or jobs: more than none.
fn limit(fields: &mut Fields<'_>, name: &str, most: usize) -> Option<usize> {
    fields.checked(name, "a whole number", |value: i64| {
        let value = usize::try_from(value).ok().filter(|value| (1..=most).contains(value));
        value.ok_or_else(|| Invalid::new(format!("must be from 1 to {most}")))
    })
}
