//! What is taken away on request: jobs that are done, and callbacks; and callbacks that are told once more.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::Desk;
use super::answer;
use super::body::CallbackBody;
use super::extract::{BODY_BYTES_MAX, CallbackPath, JobPath, JsonBody, Query};
use super::fields::nothing_asked;
use super::problem::Problem;

/// `DELETE /v1/jobs/{id}`: forgets a job that is done.
pub(super) async fn job(
    Shared(desk): Shared<Arc<Desk>>,
    JobPath(id): JobPath,
    query: Query,
) -> Result<Response, Problem> {
    query.only(&[])?;
    desk.engine.forget(id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `DELETE /v1/callbacks/{id}`: tells it no more.
pub(super) async fn callback(
    Shared(desk): Shared<Arc<Desk>>,
    CallbackPath(id): CallbackPath,
    query: Query,
) -> Result<Response, Problem> {
    query.only(&[])?;
    desk.engine.drop_callback(id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /v1/callbacks/{id}/redeliver`: tells it once more (F16).
pub(super) async fn redeliver(
    Shared(desk): Shared<Arc<Desk>>,
    CallbackPath(id): CallbackPath,
    query: Query,
    body: JsonBody<BODY_BYTES_MAX>,
) -> Result<Response, Problem> {
    nothing_asked(query, &body)?;
    let callback = desk.engine.redeliver(id).await?;
    let mut response = answer::json(StatusCode::ACCEPTED, &CallbackBody::of(&callback));
    response.headers_mut().insert(header::RETRY_AFTER, answer::retry_after(false));
    Ok(response)
}
