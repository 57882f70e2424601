//! Jobs that are done are forgotten on request.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::Desk;
use super::extract::{JobPath, Query};
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
