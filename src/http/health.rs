//! Whether the server lives and is ready, and its contract.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use crate::domain::{CallbackState, StateCounts};
use crate::engine::Error;

use super::Desk;
use super::answer;
use super::extract::Query;
use super::function_body::WorkerBody;
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

/// What [`readyz`] tells who wants to know more.
#[derive(Serialize)]
struct ReadyBody {
    status: &'static str,
    /// What is wrong though the server goes on, each in a sentence.
    degraded: Vec<Cow<'static, str>>,
    workers: Vec<WorkerBody>,
    /// Callbacks of jobs and batches that are done: how many are to be sent, and what became of the others.
    deliveries: DeliveriesBody,
    /// What bounds programs beside the look of their keepers; none where there are no programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroups: Option<CgroupsBody>,
}

#[derive(Serialize)]
struct DeliveriesBody {
    pending: usize,
    delivered: usize,
    failed: usize,
    disabled: usize,
}

impl DeliveriesBody {
    fn of(counts: StateCounts) -> Self {
        Self {
            pending: counts.of(CallbackState::Pending),
            delivered: counts.of(CallbackState::Delivered),
            failed: counts.of(CallbackState::Failed),
            disabled: counts.of(CallbackState::Disabled),
        }
    }
}

#[derive(Serialize)]
struct CgroupsBody {
    used: bool,
    controllers: Vec<String>,
    /// Why they are not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl CgroupsBody {
    fn of(cgroups: Result<&[String], &str>) -> Self {
        match cgroups {
            Ok(controllers) => Self { used: true, controllers: controllers.to_vec(), reason: None },
            Err(reason) => {
                Self { used: false, controllers: Vec::new(), reason: Some(reason.to_owned()) }
            }
        }
    }
}

/// `GET /readyz`: submissions are taken. With `?verbose` it also tells of workers and of deliveries.
pub(super) async fn readyz(
    Shared(desk): Shared<Arc<Desk>>,
    query: Query,
) -> Result<Response, Problem> {
    let query = query.only(&["verbose"])?;
    let is_verbose = query.get("verbose").is_some();
    if desk.engine.has_little_room() {
        return Err(Problem::from(Error::StorageFull));
    }
    if desk.engine.is_ready() && is_verbose {
        let body = ReadyBody {
            status: "ready",
            degraded: desk.degraded(),
            workers: desk.engine.workers().iter().map(WorkerBody::brief).collect(),
            deliveries: DeliveriesBody::of(desk.engine.delivery_counts().await?),
            cgroups: desk.engine.cgroups().map(CgroupsBody::of),
        };
        return Ok(answer::json(StatusCode::OK, &body));
    }
    if desk.engine.is_ready() {
        return Ok(answer::json(StatusCode::OK, &StatusBody { status: "ready" }));
    }
    Err(Problem::new(Code::Draining, "the server is stopping").retry_after(5))
}

impl Desk {
    fn degraded(&self) -> Vec<Cow<'static, str>> {
        let mut troubles = self.engine.troubles();
        if self.keys.list().is_err() {
            troubles.push(Cow::Borrowed("the file of keys cannot be read: nobody is let in"));
        }
        troubles
    }
}

/// `GET /openapi.yaml`: the contract.
pub(super) async fn openapi(query: Query) -> Result<Response, Problem> {
    query.only(&[])?;
    Ok(answer::text("application/yaml", include_str!("../../openapi.yaml")))
}
