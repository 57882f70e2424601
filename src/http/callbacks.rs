//! Callbacks: `Future.add_done_callback`, at any time, and what became of them (F13 to F17).

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::domain::{CallbackState, Invalid, Ordinal, Timestamp};
use crate::engine::{CallbackFilter, CallbackPage};

use super::Desk;
use super::answer;
use super::callback_body::{CallbackBody, CallbacksBody};
use super::extract::{BatchPath, CallbackPath, JobPath, JsonBody, Query};
use super::fields::{Fields, nothing_asked};
use super::limits::OTHER;
use super::list::{next_link, page_size, parameter, read_token, token};
use super::moment;
use super::problem::{Code, Problem};
use super::proxies::prefix;
use super::room::{self, Outgoing};
use super::submission;

const PARAMETERS: [&str; 6] =
    ["state", "host", "created_after", "created_before", "page_size", "page_token"];
/// What a callback with its attempts may take, about, as text.
const CALLBACK_BYTES: usize = 16 * 1024;
/// Longest host and port of a filter, in bytes: no name is longer.
const HOST_BYTES_MAX: usize = 260;

/// `POST /v1/jobs/{id}/callbacks`: adds one. The same one twice is two (F13).
pub(super) async fn add(
    Shared(desk): Shared<Arc<Desk>>,
    JobPath(id): JobPath,
    query: Query,
    body: JsonBody<OTHER>,
) -> Result<Response, Problem> {
    query.only(&[])?;
    let asked = submission::callback(body.required()?)?;
    let callback = desk.engine.add_callback(id, asked).await?;
    let mut response = answer::json(StatusCode::CREATED, &CallbackBody::of(&callback));
    if let Ok(location) = HeaderValue::from_str(&format!("{}/v1/jobs/{id}/callbacks", prefix())) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `GET /v1/jobs/{id}/callbacks`: each with its delivery, in the order they were added.
pub(super) async fn of_job(
    Shared(desk): Shared<Arc<Desk>>,
    JobPath(id): JobPath,
    query: Query,
    Outgoing(share): Outgoing,
) -> Result<Response, Problem> {
    let asked = PageRequest::read(query, id.0)?;
    let held = desk.room(&share, asked.page.1 * CALLBACK_BYTES).await?;
    let page = desk.engine.callbacks(id, asked.page).await?;
    Ok(room::counted(asked.answered(&format!("/v1/jobs/{id}/callbacks"), &page), held))
}

/// `GET /v1/batches/{id}/callbacks`: the same of a batch.
pub(super) async fn of_batch(
    Shared(desk): Shared<Arc<Desk>>,
    BatchPath(id): BatchPath,
    query: Query,
    Outgoing(share): Outgoing,
) -> Result<Response, Problem> {
    let asked = PageRequest::read(query, id.0)?;
    let held = desk.room(&share, asked.page.1 * CALLBACK_BYTES).await?;
    let page = desk.engine.batch_callbacks(id, asked.page).await?;
    Ok(room::counted(asked.answered(&format!("/v1/batches/{id}/callbacks"), &page), held))
}

/// Which page of the callbacks of one job or batch is asked for.
struct PageRequest {
    query: Query,
    print: String,
    page: (Option<Ordinal>, usize),
}

impl PageRequest {
    const PARAMETERS: [&'static str; 2] = ["page_size", "page_token"];

    fn read(query: Query, owner: Uuid) -> Result<Self, Problem> {
        let query = query.only(&Self::PARAMETERS)?;
        let print = owner.to_string();
        let after = query.get("page_token").map(|token| read_token(token, &print)).transpose()?;
        let page = (after, page_size(&query)?);
        Ok(Self { query, print, page })
    }

    fn answered(&self, path: &str, page: &CallbackPage) -> Response {
        paged(page, &self.print, (path, &self.query, &Self::PARAMETERS))
    }
}

/// A page of callbacks, with the way to the next.
fn paged(
    page: &CallbackPage,
    print: &str,
    (path, query, parameters): (&str, &Query, &[&str]),
) -> Response {
    let next_page_token = page.next.map(|next| token(next, print));
    let link = next_page_token.as_ref().and_then(|it| next_link(path, query, parameters, it));
    let callbacks = page.callbacks.iter().map(CallbackBody::of).collect();
    let mut response = answer::json(StatusCode::OK, &CallbacksBody { callbacks, next_page_token });
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

/// `GET /v1/callbacks`: those of all jobs and batches, newest first. Only a missing token ends a list; a
/// page may be short, even empty.
pub(super) async fn list(
    Shared(desk): Shared<Arc<Desk>>,
    query: Query,
    Outgoing(share): Outgoing,
) -> Result<Response, Problem> {
    let query = query.only(&PARAMETERS)?;
    let filter = CallbackFilter {
        state: parameter(&query, "state", state)?,
        host: parameter(&query, "host", host)?,
        created_after: parameter(&query, "created_after", moment::not_after)?,
        created_before: parameter(&query, "created_before", moment::not_before)?,
    };
    let print = fingerprint(&filter);
    let page_size = page_size(&query)?;
    let below = query.get("page_token").map(|token| read_token(token, &print)).transpose()?;
    let held = desk.room(&share, page_size * CALLBACK_BYTES).await?;
    let page = desk.engine.list_callbacks(&filter, below, page_size).await?;
    Ok(room::counted(paged(&page, &print, ("/v1/callbacks", &query, &PARAMETERS)), held))
}

/// `DELETE /v1/callbacks/{id}`: tells it no more.
pub(super) async fn delete(
    Shared(desk): Shared<Arc<Desk>>,
    CallbackPath(id): CallbackPath,
    query: Query,
) -> Result<Response, Problem> {
    query.only(&[])?;
    desk.engine.drop_callback(id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /v1/callbacks/{id}/redeliver`: tells it once more (F16).
pub(super) async fn redeliver(
    Shared(desk): Shared<Arc<Desk>>,
    CallbackPath(id): CallbackPath,
    query: Query,
    body: JsonBody<OTHER>,
) -> Result<Response, Problem> {
    nothing_asked(query, &body)?;
    let callback = desk.engine.redeliver(id).await?;
    let mut response = answer::json(StatusCode::ACCEPTED, &CallbackBody::of(&callback));
    response.headers_mut().insert(header::RETRY_AFTER, answer::retry_after(false));
    Ok(response)
}

/// What became of many.
#[derive(Serialize)]
struct CountsBody {
    matched: usize,
    redelivered: usize,
}

/// `POST /v1/callbacks/redeliver`: tells all that are meant once more, or counts them.
pub(super) async fn redeliver_many(
    Shared(desk): Shared<Arc<Desk>>,
    query: Query,
    body: JsonBody<OTHER>,
) -> Result<Response, Problem> {
    query.only(&[])?;
    let (filter, is_dry) = meant(body.required()?)?;
    let counts = desk.engine.redeliver_many(filter, is_dry).await?;
    let body = CountsBody { matched: counts.matched, redelivered: counts.redelivered };
    Ok(answer::json(StatusCode::ACCEPTED, &body))
}

fn meant(body: &RawValue) -> Result<(CallbackFilter, bool), Problem> {
    let mut fields = Fields::of("", body)?;
    let over = |word: String| {
        state(&word).ok().filter(|state| state.is_over()).ok_or_else(|| {
            let over = CallbackState::ALL.into_iter().filter(|state| state.is_over());
            let words: Vec<&str> = over.map(CallbackState::as_str).collect();
            Invalid::new(format!("must be one whose delivery is over: {}", words.join(", ")))
        })
    };
    let filter = CallbackFilter {
        state: fields.checked("state", "a string", over),
        host: fields.checked("host", "a string", |it: String| host(&it)),
        created_after: fields
            .checked("created_after", "a string", |it: String| moment::not_after(&it)),
        created_before: fields
            .checked("created_before", "a string", |it: String| moment::not_before(&it)),
    };
    let is_dry = fields.take("dry_run", "a boolean").unwrap_or_default();
    fields.faults().into_result()?;
    // To tell everybody everything again by a slip is too easy.
    if filter.state.is_none() {
        let detail =
            "the request does not say which callbacks are meant; name a state, such as \"failed\"";
        return Err(Problem::new(Code::InvalidValue, detail));
    }
    Ok((filter, is_dry))
}

fn state(word: &str) -> Result<CallbackState, Invalid> {
    CallbackState::parse(word).ok_or_else(|| {
        let words: Vec<&str> = CallbackState::ALL.into_iter().map(CallbackState::as_str).collect();
        Invalid::new(format!("'{word}' is no state of a callback; there are: {}", words.join(", ")))
    })
}

/// A host with its port, as callbacks are kept apart by: `hooks.example:443`.
fn host(text: &str) -> Result<String, Invalid> {
    let has_port = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if has_port && text.len() <= HOST_BYTES_MAX {
        return Ok(text.to_lowercase());
    }
    Err(Invalid::new("must be a host with its port, such as hooks.example:443"))
}

fn fingerprint(filter: &CallbackFilter) -> String {
    let CallbackFilter { state, host, created_after, created_before } = filter;
    let moment = |at: &Option<Timestamp>| at.map(|at| at.0.to_string()).unwrap_or_default();
    let state = state.map_or("", CallbackState::as_str);
    let host = host.as_deref().unwrap_or_default();
    format!("{state}/{}/{}/{host}", moment(created_after), moment(created_before))
}
