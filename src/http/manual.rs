//! Manual jobs: `Future.set_result` and `Future.set_exception` (F20, F21).

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::value::RawValue;

use crate::domain::{ErrorType, Invalid, JobError, Json};
use crate::engine::Completed;

use super::Desk;
use super::answer;
use super::extract::{JobPath, JsonBody, Query};
use super::fields::Fields;
use super::job_body::View;
use super::limits::{OTHER, SUBMISSION};
use super::problem::Problem;
use super::wait::Wait;

const TYPE_LENGTH_MAX: usize = JobError::TYPE_LENGTH_MAX;

/// `PUT /v1/jobs/{id}/result`: the body is the value itself.
pub(super) async fn set_result(
    Shared(desk): Shared<Arc<Desk>>,
    JobPath(id): JobPath,
    query: Query,
    body: JsonBody<SUBMISSION>,
) -> Result<Response, Problem> {
    query.only(&[])?;
    let value = Json::of(body.required()?);
    Ok(completed(&desk, &desk.engine.complete(id, Ok(value)).await?))
}

/// `PUT /v1/jobs/{id}/exception`: the body is the error.
pub(super) async fn set_exception(
    Shared(desk): Shared<Arc<Desk>>,
    JobPath(id): JobPath,
    query: Query,
    body: JsonBody<OTHER>,
) -> Result<Response, Problem> {
    query.only(&[])?;
    let error = job_error(body.required()?)?;
    Ok(completed(&desk, &desk.engine.complete(id, Err(error)).await?))
}

fn completed(desk: &Desk, it: &Completed) -> Response {
    let response = answer::job(StatusCode::OK, &it.job, &Wait::none(desk), View::Brief);
    answer::replayed(response, it.is_replay)
}

/// Reads an error. Which attempt failed is not for a client to say.
fn job_error(body: &RawValue) -> Result<JobError, Problem> {
    let mut fields = Fields::of("", body)?;
    let kind = fields.checked("type", "a string", |name: String| {
        if (1..=TYPE_LENGTH_MAX).contains(&name.chars().count()) {
            return Ok(ErrorType::parse(&name));
        }
        Err(Invalid::new(format!("a type has 1 to {TYPE_LENGTH_MAX} characters")))
    });
    let kind = fields.required("type", kind);
    let message = fields.take("message", "a string");
    let message: Option<String> = fields.required("message", message);
    let traceback: Option<String> = fields.take("traceback", "a string");
    // Kept, `null` would read back as no details.
    let details = fields.raw("details").filter(|it| it.get() != "null").map(Json::of);
    let retryable = fields.take("retryable", "a boolean").unwrap_or_default();
    fields.faults().into_result()?;
    let kind = kind.unwrap_or_else(|| ErrorType::parse(""));
    let mut error = JobError::of(kind, message.unwrap_or_default());
    if let Some(traceback) = traceback {
        error = error.with_traceback(&traceback);
    }
    if let Some(details) = details {
        error = error.with_details(details);
    }
    Ok(error.retryable(retryable))
}
