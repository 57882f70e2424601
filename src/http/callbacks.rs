//! Callbacks: `Future.add_done_callback`, at any time (F13 to F17).

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use super::Desk;
use super::answer;
use super::body::{CallbackBody, CallbacksBody};
use super::extract::{BODY_BYTES_MAX, JobPath, JsonBody, Query};
use super::problem::Problem;
use super::submission;

/// `POST /v1/jobs/{id}/callbacks`: adds one. The same one twice is two (F13).
pub(super) async fn add(
    Shared(desk): Shared<Arc<Desk>>,
    JobPath(id): JobPath,
    query: Query,
    body: JsonBody<BODY_BYTES_MAX>,
) -> Result<Response, Problem> {
    query.only(&[])?;
    let asked = submission::callback(body.required()?)?;
    let callback = desk.engine.add_callback(id, asked).await?;
    let mut response = answer::json(StatusCode::CREATED, &CallbackBody::of(&callback));
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/jobs/{id}/callbacks")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `GET /v1/jobs/{id}/callbacks`: each with its delivery.
pub(super) async fn list(
    Shared(desk): Shared<Arc<Desk>>,
    JobPath(id): JobPath,
    query: Query,
) -> Result<Response, Problem> {
    query.only(&[])?;
    let callbacks = desk.engine.callbacks(id).await?;
    let callbacks = callbacks.iter().map(CallbackBody::of).collect();
    Ok(answer::json(StatusCode::OK, &CallbacksBody { callbacks }))
}
