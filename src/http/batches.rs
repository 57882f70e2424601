//! Batches: `Executor.map` (E4 to E9), all or nothing.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::value::RawValue;

use crate::domain::{Batch, Invalid, Json, OnError};
use crate::engine::{BatchCall, Error, Fault, NewBatch, Refusal, SubmittedBatch};

use super::Desk;
use super::answer;
use super::batch_body::{BatchBody, BatchesBody};
use super::callback_body::CallbackBody;
use super::extract::{BatchPath, JsonBody, Query};
use super::fields::{Fields, is_empty_array, kind};
use super::idempotency::Keyed;
use super::limits::{BATCH, OTHER};
use super::list::{page_size, read_plain_token};
use super::preferences::Preferences;
use super::problem::{Code, FieldError, Problem};
use super::proxies::prefix;
use super::submission;
use super::wait::{Wait, wait_of};

/// Calls of a batch that is submitted whole.
pub(super) const CALLS_MAX: usize = 10_000;
/// Batches that are read and written at once; the next ones wait for their turn.
pub(super) const AT_ONCE_MAX: usize = 4;
/// What to do with more of them.
const MORE: &str =
    "more go through POST /v1/map, or as lines of application/x-ndjson to POST /v1/jobs/lines";

/// `POST /v1/batches`: all of its calls, or none (E4).
pub(super) async fn submit(
    Shared(desk): Shared<Arc<Desk>>,
    query: Query,
    preferences: Preferences,
    key: Keyed,
    body: JsonBody<BATCH>,
) -> Result<Response, Problem> {
    let wait = desk.wait(query, preferences)?;
    let turn = desk.batches.acquire().await;
    let (mut new, source) = new_batch(body.required()?)?;
    new.common.asker = key.asker.clone();
    new.common.identity = key.identity("POST", "/v1/batches", None, body.bytes());
    let held = body.into_held();
    let submitted = desk.engine.submit_batch(new).await;
    drop((turn, held));
    let submitted = submitted.map_err(|error| source.problem(error))?;
    let SubmittedBatch { mut batch, is_replay } = submitted;
    if wait.is_wanted() && !batch.is_done() {
        batch = desk.engine.wait_batch(batch.id, wait.duration).await?;
    }
    let is_answered = (wait.is_wanted() || is_replay) && batch.is_done();
    let status = if is_answered { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok(answer::replayed(answered(status, &batch, &wait), is_replay))
}

/// `GET /v1/batches/{id}`: counts by state, and whether all is done; with `wait` when it is.
pub(super) async fn get(
    Shared(desk): Shared<Arc<Desk>>,
    BatchPath(id): BatchPath,
    query: Query,
    preferences: Preferences,
) -> Result<Response, Problem> {
    let wait = desk.wait(query, preferences)?;
    let batch = desk.engine.wait_batch(id, wait.duration).await?;
    Ok(answered(StatusCode::OK, &batch, &wait))
}

/// `GET /v1/batches`: newest first, in pages.
pub(super) async fn list(
    Shared(desk): Shared<Arc<Desk>>,
    query: Query,
) -> Result<Response, Problem> {
    let query = query.only(&["page_size", "page_token"])?;
    let below = query.get("page_token").map(read_plain_token).transpose()?;
    let page = desk.engine.batches(below, page_size(&query)?).await?;
    let body = BatchesBody::of(&page);
    let link = body.next_link(&query);
    let mut response = answer::json(StatusCode::OK, &body);
    if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

/// `POST /v1/batches/{id}/cancel`: none of it starts any more, and what runs is asked to stop. 202 until all
/// of it is done.
pub(super) async fn cancel(
    Shared(desk): Shared<Arc<Desk>>,
    BatchPath(id): BatchPath,
    query: Query,
    body: JsonBody<OTHER>,
) -> Result<Response, Problem> {
    query.only(&[])?;
    let mut asked = None;
    if let Some(body) = body.optional()? {
        let mut fields = Fields::of("", body)?;
        asked = fields.take("wait_seconds", "a number").map(wait_of);
        fields.faults().into_result()?;
    }
    let wait = asked.unwrap_or_default().min(desk.wait_max());
    let batch = desk.engine.cancel_batch(id, wait).await?;
    let status = if batch.is_done() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let wait = Wait::of(wait, &desk);
    Ok(answered(status, &batch, &wait))
}

/// `POST /v1/batches/{id}/callbacks`: adds one, at any time.
pub(super) async fn callback(
    Shared(desk): Shared<Arc<Desk>>,
    BatchPath(id): BatchPath,
    query: Query,
    body: JsonBody<OTHER>,
) -> Result<Response, Problem> {
    query.only(&[])?;
    let (asked, when) = submission::batch_callback(body.required()?)?;
    let callback = desk.engine.add_batch_callback(id, asked, when).await?;
    let mut response = answer::json(StatusCode::CREATED, &CallbackBody::of(&callback));
    if let Ok(location) = HeaderValue::from_str(&format!("{}/v1/batches/{id}/callbacks", prefix()))
    {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// A batch as an answer.
fn answered(status: StatusCode, batch: &Batch, wait: &Wait) -> Response {
    let mut response = answer::json(status, &BatchBody::of(batch));
    let headers = response.headers_mut();
    if !batch.is_done() {
        headers.insert(header::RETRY_AFTER, answer::retry_after(wait.is_wanted()));
    }
    wait.applied(headers);
    if status != StatusCode::OK
        && let Ok(location) =
            HeaderValue::from_str(&format!("{}/v1/batches/{}", prefix(), batch.id))
    {
        headers.insert(header::LOCATION, location);
    }
    response
}

/// How a request names its calls.
#[derive(Clone, Copy, Debug)]
enum Source {
    Calls,
    Iterables,
}

impl Source {
    /// A refusal, with a pointer to the call that it is about.
    fn problem(self, error: Error) -> Problem {
        let Error::InvalidCall { call, refusal } = &error else { return error.into() };
        let code = match refusal {
            Refusal::EgressDenied(_) => Code::EgressDenied,
            Refusal::Invalid(_) | Refusal::Values { .. } => Code::InvalidArguments,
        };
        let errors = match refusal {
            Refusal::Values { faults, .. } => {
                faults.iter().map(|fault| self.fault(*call, fault)).collect()
            }
            Refusal::Invalid(_) | Refusal::EgressDenied(_) => {
                let pointer = match self {
                    Self::Calls => format!("/calls/{call}"),
                    Self::Iterables => "/iterables".to_owned(),
                };
                vec![FieldError { pointer, detail: error.to_string() }]
            }
        };
        Problem::of_fields(code, errors)
    }

    /// A value of a call that does not fit. That of the first list in call 7 is its number 7.
    fn fault(self, call: usize, fault: &Fault) -> FieldError {
        let in_lists = || {
            let place = fault.pointer.strip_prefix("/args/")?;
            let (list, rest) = place.split_at(place.find('/').unwrap_or(place.len()));
            Some(format!("/iterables/{list}/{call}{rest}"))
        };
        let in_calls = || format!("/calls/{call}{}", fault.pointer);
        let pointer = match self {
            Self::Calls => in_calls(),
            Self::Iterables => in_lists().unwrap_or_else(in_calls),
        };
        FieldError { pointer, detail: fault.detail.clone() }
    }
}

fn new_batch(body: &RawValue) -> Result<(NewBatch, Source), Problem> {
    let mut fields = Fields::of("", body)?;
    let (mut calls, mut iterables) = (fields.raw("calls"), fields.raw("iterables"));
    // An empty one of the two is none.
    match (calls.map(is_empty_array), iterables.map(is_empty_array)) {
        (Some(true), Some(false)) => calls = None,
        (Some(false), Some(true)) => iterables = None,
        _ => {}
    }
    let (calls, source) = match (calls, iterables) {
        (Some(list), None) => (listed(&mut fields, list), Source::Calls),
        (None, Some(lists)) => (zipped(&mut fields, lists), Source::Iterables),
        (Some(_), Some(_)) => {
            fields.refuse("calls", "iterables are given as well; give one of them".to_owned());
            (Vec::new(), Source::Calls)
        }
        (None, None) => {
            fields.refuse("calls", "is required, or iterables in its place".to_owned());
            (Vec::new(), Source::Calls)
        }
    };
    let on_error = fields.checked("on_error", "a string", |word: String| on_error(&word));
    let callbacks = submission::batch_callbacks(&mut fields);
    let common = submission::common(&mut fields);
    fields.faults().into_result()?;
    let on_error = on_error.unwrap_or_default();
    Ok((NewBatch { common, calls, on_error, callbacks }, source))
}

/// What is to become of the rest when a job fails.
pub(super) fn on_error(word: &str) -> Result<OnError, Invalid> {
    OnError::parse(word).ok_or_else(|| Invalid::new("must be \"continue\" or \"cancel\""))
}

/// The calls as they are listed, each with arguments of its own.
fn listed(fields: &mut Fields<'_>, list: &RawValue) -> Vec<BatchCall> {
    let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(list.get()) else {
        fields.refuse("calls", format!("must be an array, not {}", kind(list)));
        return Vec::new();
    };
    if list.len() > CALLS_MAX {
        let detail = format!("at most {CALLS_MAX} calls, and there are {}; {MORE}", list.len());
        fields.refuse("calls", detail);
        return Vec::new();
    }
    let mut calls = Vec::with_capacity(list.len());
    for (place, call) in list.into_iter().enumerate() {
        match Fields::of(&format!("/calls/{place}"), call) {
            Ok(mut inner) => {
                calls.push(submission::call(&mut inner));
                fields.adopt(inner.faults());
            }
            Err(error) => fields.adopt(error.into()),
        }
    }
    calls
}

/// One call for each place that all of the iterables have: the shortest wins, as in Python's `map`.
fn zipped(fields: &mut Fields<'_>, lists: &RawValue) -> Vec<BatchCall> {
    let Ok(lists) = serde_json::from_str::<Vec<Vec<&RawValue>>>(lists.get()) else {
        let detail = format!("must be an array of arrays, not {}", kind(lists));
        fields.refuse("iterables", detail);
        return Vec::new();
    };
    let Some(shortest) = lists.iter().map(Vec::len).min() else {
        fields.refuse("iterables", "must hold one array for each argument".to_owned());
        return Vec::new();
    };
    if shortest > CALLS_MAX {
        let detail = format!("at most {CALLS_MAX} calls, and there are {shortest}; {MORE}");
        fields.refuse("iterables", detail);
        return Vec::new();
    }
    let call = |place: usize| {
        let args: Vec<&str> = lists.iter().map(|list| list[place].get()).collect();
        let args = Json::trusted(["[", &args.join(","), "]"].concat());
        BatchCall { args, kwargs: Json::empty_object() }
    };
    (0..shortest).map(call).collect()
}
