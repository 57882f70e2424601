//! A job that is submitted again.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::Response;

use super::Desk;
use super::answer;
use super::extract::{JobPath, JsonBody, Query};
use super::fields::nothing_asked;
use super::job_body::View;
use super::limits::OTHER;
use super::problem::Problem;
use super::wait::Wait;

/// `POST /v1/jobs/{id}/retry`: a job that failed or was cancelled, once more, as a new one.
pub(super) async fn retry(
    Shared(desk): Shared<Arc<Desk>>,
    JobPath(id): JobPath,
    query: Query,
    body: JsonBody<OTHER>,
) -> Result<Response, Problem> {
    nothing_asked(query, &body)?;
    let job = desk.engine.retry(id).await?;
    let mut response = answer::job(StatusCode::OK, &job, &Wait::none(&desk), View::Brief);
    answer::located(&mut response, &job);
    Ok(response)
}
