//! Workers: what an operator does with them.

use std::sync::Arc;

use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;

use super::Desk;
use super::answer;
use super::extract::{JsonBody, Query};
use super::fields::nothing_asked;
use super::function_body::WorkerBody;
use super::limits::OTHER;
use super::problem::{Code, Problem};

/// `POST /v1/workers/{name}/restart`: its processes give way to new ones, one after the other, each when its call is over.
pub(super) async fn restart(
    Shared(desk): Shared<Arc<Desk>>,
    Path(name): Path<String>,
    query: Query,
    body: JsonBody<OTHER>,
) -> Result<Response, Problem> {
    nothing_asked(query, &body)?;
    let worker = desk.engine.renew_worker(&name).ok_or_else(|| {
        let detail = format!("there is no worker '{name}'; /readyz?verbose lists them");
        Problem::new(Code::NotFound, detail)
    })?;
    Ok(answer::json(StatusCode::ACCEPTED, &WorkerBody::of(worker)))
}
