//! Functions: what there is to call.

use std::sync::Arc;

use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;

use super::Desk;
use super::answer;
use super::extract::Query;
use super::function_body::{FunctionBody, FunctionsBody};
use super::problem::{Code, Problem};

/// `GET /v1/functions`.
pub(super) async fn list(
    Shared(desk): Shared<Arc<Desk>>,
    query: Query,
) -> Result<Response, Problem> {
    query.only(&[])?;
    let functions = desk.engine.functions().map(|function| FunctionBody::of(function)).collect();
    Ok(answer::json(StatusCode::OK, &FunctionsBody { functions }))
}

/// `GET /v1/functions/{name}`.
pub(super) async fn get(
    Shared(desk): Shared<Arc<Desk>>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, Problem> {
    query.only(&[])?;
    let function = desk.engine.function(&name).ok_or_else(|| {
        Problem::new(
            Code::NotFound,
            format!("there is no function '{name}'; /v1/functions lists them"),
        )
    })?;
    Ok(answer::json(StatusCode::OK, &FunctionBody::of(function)))
}
