//! `GET /v1/server`: what this server is, and how much it takes. Clients ask before they send.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::Desk;
use super::answer;
use super::batches::CALLS_MAX;
use super::beats::ALIVE;
use super::extract::Query;
use super::limits::{BATCH, OTHER, SUBMISSION};
use super::list::PAGE_SIZE_MAX;
use super::map::BUFFERSIZE_MAX;
use super::problem::Problem;
use super::wait_many::IDS_MAX;

/// What a client can rely on beside what the first version had: words that are never taken back.
const FEATURES: [&str; 6] = [
    "as_completed_open",
    "function_scopes",
    "lines_counted",
    "max_result_bytes",
    "queue_expiry",
    "worker_retire",
];

#[derive(Serialize)]
struct ServerBody {
    version: &'static str,
    limits: LimitsBody,
    features: &'static [&'static str],
}

#[derive(Serialize)]
struct LimitsBody {
    wait_seconds: f64,
    beat_seconds: f64,
    idle_seconds: f64,
    submission_bytes: usize,
    batch_bytes: usize,
    body_bytes: usize,
    result_bytes: usize,
    batch_calls: usize,
    ids: usize,
    page_size: usize,
    buffersize: usize,
}

/// Whoever has a key may know it, whatever the key allows.
pub(super) async fn get(
    Shared(desk): Shared<Arc<Desk>>,
    query: Query,
) -> Result<Response, Problem> {
    query.only(&[])?;
    let limits = &desk.config.limits;
    let limits = LimitsBody {
        wait_seconds: desk.wait_max().as_secs_f64(),
        beat_seconds: ALIVE.as_secs_f64(),
        idle_seconds: limits.idle.as_secs_f64(),
        submission_bytes: limits.body_bytes[SUBMISSION],
        batch_bytes: limits.body_bytes[BATCH],
        body_bytes: limits.body_bytes[OTHER],
        result_bytes: limits.result_bytes,
        batch_calls: CALLS_MAX,
        ids: IDS_MAX,
        page_size: PAGE_SIZE_MAX,
        buffersize: BUFFERSIZE_MAX,
    };
    let body = ServerBody { version: env!("CARGO_PKG_VERSION"), limits, features: &FEATURES };
    Ok(answer::json(StatusCode::OK, &body))
}
