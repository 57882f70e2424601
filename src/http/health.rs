//! Whether the server lives and is ready, and its contract.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::Desk;
use super::answer;
use super::extract::Query;
use super::problem::{Code, Problem};

#[derive(Serialize)]
struct StatusBody {
    status: &'static str,
}

/// `GET /livez`: the process answers. It never touches the database.
pub(super) async fn livez(query: Query) -> Result<Response, Problem> {
    query.only(&[])?;
    Ok(answer::json(StatusCode::OK, &StatusBody { status: "ok" }))
}

/// `GET /readyz`: submissions are taken.
pub(super) async fn readyz(
    Shared(desk): Shared<Arc<Desk>>,
    query: Query,
) -> Result<Response, Problem> {
    query.only(&[])?;
    if desk.engine.is_ready() {
        return Ok(answer::json(StatusCode::OK, &StatusBody { status: "ready" }));
    }
    Err(Problem::new(Code::Draining, "the server is stopping").retry_after(5))
}

/// `GET /openapi.yaml`: the contract.
pub(super) async fn openapi(query: Query) -> Result<Response, Problem> {
    query.only(&[])?;
    Ok(answer::text("application/yaml", include_str!("../../openapi.yaml")))
}
