//! A job that is submitted again.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::value::RawValue;

use crate::domain::JobId;
use crate::engine::Submitted;

use super::Desk;
use super::answer;
use super::extract::{JobPath, JsonBody, Query};
use super::fields::Fields;
use super::idempotency::Keyed;
use super::job_body::View;
use super::limits::OTHER;
use super::problem::Problem;
use super::submission;
use super::wait::Wait;

/// `POST /v1/jobs/{id}/retry`: a job that failed or was cancelled, once more, as a new one. With a key, or an id for the
/// new one, it is one however often the request comes.
pub(super) async fn retry(
    Shared(desk): Shared<Arc<Desk>>,
    JobPath(id): JobPath,
    query: Query,
    key: Keyed,
    body: JsonBody<OTHER>,
) -> Result<Response, Problem> {
    query.only(&[])?;
    let chosen = body.optional()?.map(chosen_id).transpose()?.flatten();
    let asker = key.asker.clone();
    let identity = key.identity("POST", &format!("/v1/jobs/{id}/retry"), chosen, body.bytes());
    let Submitted { job, is_replay } = desk.engine.retry(id, chosen, identity, asker).await?;
    let mut response = answer::job(StatusCode::OK, &job, &Wait::none(&desk), View::Brief);
    answer::located(&mut response, &job);
    Ok(answer::replayed(response, is_replay))
}

fn chosen_id(body: &RawValue) -> Result<Option<JobId>, Problem> {
    let mut fields = Fields::of("", body)?;
    let id = fields.checked("id", "a string", |id: String| submission::job_id(&id));
    fields.faults().into_result()?;
    Ok(id)
}
