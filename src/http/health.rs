//! Whether the server lives and is ready, and its contract.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;

use crate::domain::{CallbackState, StateCounts};
use crate::engine::keys::Scope;
use crate::engine::{Error, Layer};

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
    /// What is told only to those who may read.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    inside: Option<InsideBody>,
}

#[derive(Serialize)]
struct InsideBody {
    workers: Vec<WorkerBody>,
    /// Callbacks of jobs and batches that are done: how many are to be sent, and what became of the others.
    deliveries: DeliveriesBody,
    /// What bounds programs beside the look of their reapers; none where there are no programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroups: Option<CgroupsBody>,
    /// What keeps programs from this server; none where there are no programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    isolation: Option<Vec<LayerBody>>,
}

#[derive(Serialize)]
struct LayerBody {
    layer: &'static str,
    on: bool,
    detail: String,
}

impl From<Layer> for LayerBody {
    fn from(Layer { name, on, detail }: Layer) -> Self {
        Self { layer: name, on, detail }
    }
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

/// `GET /readyz`: submissions are taken. With `?verbose` it also tells what is wrong, and who may read is told of workers and
/// of deliveries.
pub(super) async fn readyz(
    Shared(desk): Shared<Arc<Desk>>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = query.only(&["verbose"])?;
    if desk.engine.has_little_room() {
        return Err(Problem::from(Error::StorageFull));
    }
    if !desk.engine.is_ready() {
        return Err(Problem::new(Code::Draining, "the server is stopping").retry_after(5));
    }
    if query.get("verbose").is_none() {
        return Ok(answer::json(StatusCode::OK, &StatusBody { status: "ready" }));
    }
    let inside = match desk.check_key(&headers, Scope::Read.into()).await {
        Ok(_key) => Some(desk.inside().await?),
        Err(_not_let_in) => None,
    };
    let body = ReadyBody { status: "ready", degraded: desk.degraded(), inside };
    Ok(answer::json(StatusCode::OK, &body))
}

impl Desk {
    fn degraded(&self) -> Vec<Cow<'static, str>> {
        let keys = self.door.trouble().map(Cow::Borrowed);
        self.engine.troubles().into_iter().chain(keys).collect()
    }

    async fn inside(&self) -> Result<InsideBody, Problem> {
        Ok(InsideBody {
            workers: self.engine.workers().iter().map(WorkerBody::brief).collect(),
            deliveries: DeliveriesBody::of(self.engine.delivery_counts().await?),
            cgroups: self.engine.cgroups().map(CgroupsBody::of),
            isolation: (self.engine.layers())
                .map(|layers| layers.into_iter().map(LayerBody::from).collect()),
        })
    }
}

/// `GET /openapi.yaml`: the contract.
pub(super) async fn openapi(query: Query) -> Result<Response, Problem> {
    query.only(&[])?;
    Ok(answer::text("application/yaml", include_str!("../../openapi.yaml")))
}
