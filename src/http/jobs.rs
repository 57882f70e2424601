//! Jobs: submit, get, result, exception, cancel.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::Response;
use serde_json::value::RawValue;

use crate::domain::{Invalid, Job, JobId, Json, State};
use crate::engine::{CancelMode, CancelRequest, Cancellation, Submitted};

use super::Desk;
use super::answer;
use super::body::{CancelBody, JobErrorBody};
use super::extract::{JobPath, JsonBody, OneOrLines, Query};
use super::fields::Fields;
use super::idempotency::Keyed;
use super::job_body::{JobBody, View};
use super::limits::OTHER;
use super::preferences::Preferences;
use super::problem::{FieldError, Problem};
use super::room::{self, Outgoing};
use super::submission;
use super::submit_lines;
use super::wait::{Wait, checked_seconds, wait_of};

/// Longest grace that a cancel may give.
const GRACE_SECONDS_MAX: f64 = 3_600.0;
/// The grace of a cancel that names none.
const GRACE_SECONDS_DEFAULT: f64 = 5.0;

/// `POST /v1/jobs`: `Executor.submit` (E1).
pub(super) async fn submit(
    Shared(desk): Shared<Arc<Desk>>,
    query: Query,
    preferences: Preferences,
    key: Keyed,
    body: OneOrLines,
) -> Result<Response, Problem> {
    let body = match body {
        OneOrLines::One(body) => body,
        OneOrLines::Lines(lines) => {
            let query = query.only(&["wait", "lines", "end"])?;
            if query.get("wait").is_some() {
                let detail = "lines wait for no job; leave it out".to_owned();
                return Err(FieldError { pointer: "/wait".to_owned(), detail }.into());
            }
            return Box::pin(submit_lines::submit(desk, &query, preferences, *lines)).await;
        }
    };
    let wait = desk.wait(query, preferences)?;
    let mut new = submission::new_job(body.required()?)?;
    new.asker = key.asker.clone();
    new.identity = key.identity("POST", "/v1/jobs", new.id, body.bytes());
    let held = body.into_held();
    let submitted = if wait.is_wanted() {
        desk.engine.submit_and_wait(new, wait.duration, held).await?
    } else {
        let submitted = desk.engine.submit(new).await;
        drop(held);
        submitted?
    };
    let Submitted { job, is_replay } = submitted;
    let done_in_time = (wait.is_wanted() || is_replay) && job.is_done();
    let status = if done_in_time { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok(answer::replayed(answer::job(status, &job, &wait, View::Brief), is_replay))
}

/// `GET /v1/jobs/{id}/result`: `Future.result(timeout)` (F7 to F10). The value itself; 202 while there
/// is none, so a function's own `TimeoutError` is never taken for a wait that ran out (F12).
pub(super) async fn result(
    Shared(desk): Shared<Arc<Desk>>,
    JobPath(id): JobPath,
    query: Query,
    preferences: Preferences,
    Outgoing(share): Outgoing,
) -> Result<Response, Problem> {
    let (job, wait) = desk.waited(id, query, preferences).await?;
    match job.state {
        State::Pending | State::Running => {
            Ok(answer::job(StatusCode::ACCEPTED, &job, &wait, View::Brief))
        }
        State::Succeeded => {
            let bytes = job.result.as_ref().map_or(0, Json::len);
            let (job, held) = desk.with_room(&share, job, bytes).await?;
            let value = job.result.clone().unwrap_or_else(|| Json::trusted("null"));
            Ok(room::of_our_own(answer::result(room::value(value, held), &wait)))
        }
        State::Failed | State::Cancelled => Err(Problem::of_job(job)),
    }
}

/// `GET /v1/jobs/{id}/exception`: `Future.exception(timeout)` (F9, F11).
pub(super) async fn exception(
    Shared(desk): Shared<Arc<Desk>>,
    JobPath(id): JobPath,
    query: Query,
    preferences: Preferences,
) -> Result<Response, Problem> {
    let (job, wait) = desk.waited(id, query, preferences).await?;
    match job.state {
        State::Pending | State::Running => {
            Ok(answer::job(StatusCode::ACCEPTED, &job, &wait, View::Brief))
        }
        State::Succeeded | State::Failed => {
            let error = job.error.as_ref().map(JobErrorBody::of);
            Ok(answer::result(answer::to_json(&error), &wait))
        }
        State::Cancelled => Err(Problem::of_job(job)),
    }
}

/// `POST /v1/jobs/{id}/cancel`: `Future.cancel` (F1 to F5). A job that cannot be cancelled is no error.
pub(super) async fn cancel(
    Shared(desk): Shared<Arc<Desk>>,
    JobPath(id): JobPath,
    query: Query,
    body: JsonBody<OTHER>,
) -> Result<Response, Problem> {
    query.only(&[])?;
    let asked = cancel_request(body.optional()?, &desk)?;
    let (cancellation, job) = desk.engine.cancel(id, asked).await?;
    Ok(cancel_answer(cancellation, &job, !asked.wait.is_zero()))
}

fn cancel_request(body: Option<&RawValue>, desk: &Desk) -> Result<CancelRequest, Problem> {
    let mut asked = CancelRequest {
        mode: CancelMode::default(),
        grace_seconds: GRACE_SECONDS_DEFAULT,
        wait: std::time::Duration::ZERO,
    };
    let Some(body) = body else { return Ok(asked) };
    let mut fields = Fields::of("", body)?;
    let mode = fields.checked("mode", "a string", |word: String| match word.as_str() {
        "terminate" => Ok(CancelMode::Terminate),
        "pending" => Ok(CancelMode::Pending),
        _ => Err(Invalid::new("must be \"terminate\" or \"pending\"")),
    });
    let grace = fields.checked("grace_seconds", "a number", |seconds: f64| {
        checked_seconds(seconds, GRACE_SECONDS_MAX)
    });
    let wait = fields.take("wait_seconds", "a number").map(wait_of);
    fields.faults().into_result()?;
    asked.mode = mode.unwrap_or(asked.mode);
    asked.grace_seconds = grace.map_or(asked.grace_seconds, |grace| grace.as_secs_f64());
    asked.wait = wait.unwrap_or(asked.wait).min(desk.wait_max());
    Ok(asked)
}

/// 202 only while a running job has been asked to stop and has not ended: it may still succeed (F4).
fn cancel_answer(cancellation: Cancellation, job: &Job, waited: bool) -> Response {
    let asked = cancellation == Cancellation::Requested && !job.is_done();
    let status = if asked { StatusCode::ACCEPTED } else { StatusCode::OK };
    let mut response = answer::json(
        status,
        &CancelBody {
            cancelled: job.state == State::Cancelled,
            state: job.state.as_str(),
            job: JobBody::of(job, View::Brief),
        },
    );
    if asked {
        response.headers_mut().insert(header::RETRY_AFTER, answer::retry_after(waited));
    }
    response
}

impl Desk {
    /// The job when it is done, or as it stands when the request's wait has run out, for whoever asks what came of it.
    pub(super) async fn waited(
        &self,
        id: JobId,
        query: Query,
        preferences: Preferences,
    ) -> Result<(Arc<Job>, Wait), Problem> {
        let wait = self.wait(query, preferences)?;
        let job = self.engine.wait(id, wait.duration).await?;
        if job.damage.outcome {
            return Err(Problem::of_damaged(job));
        }
        Ok((job, wait))
    }

    /// The wait of a request that takes no other parameter.
    pub(super) fn wait(&self, query: Query, preferences: Preferences) -> Result<Wait, Problem> {
        Wait::read(&query.only(&["wait"])?, preferences, self)
    }
}
