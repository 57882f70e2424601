//! `POST /v1/jobs/cancel`: many jobs at once.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::domain::{FunctionName, Invalid, JobId, QueueName, State, Tags};
use crate::engine::{CancelFilter, CancelMany, CancelMode, Filter};

use super::Desk;
use super::answer;
use super::extract::{JsonBody, Query};
use super::fields::Fields;
use super::limits::SUBMISSION;
use super::list::batch_id;
use super::moment;
use super::problem::{Code, FieldError, Problem};

/// Most ids of one request.
const IDS_MAX: usize = 10_000;
/// What a request may name beside `mode` and `dry_run`; it must name something.
const MEANT: &str =
    "ids, or some of state, function, queue, tag, batch, created_after and created_before";

/// What became of many.
#[derive(Serialize)]
struct CountsBody {
    matched: usize,
    cancelled: usize,
    terminating: usize,
}

/// Cancels those that are meant, or counts them. Answers when all is done.
pub(super) async fn cancel(
    Shared(desk): Shared<Arc<Desk>>,
    query: Query,
    body: JsonBody<SUBMISSION>,
) -> Result<Response, Problem> {
    query.only(&[])?;
    let counts = desk.engine.cancel_many(cancel_many(body.required()?)?).await?;
    let body = CountsBody {
        matched: counts.matched,
        cancelled: counts.cancelled,
        terminating: counts.terminating,
    };
    Ok(answer::json(StatusCode::OK, &body))
}

fn cancel_many(body: &RawValue) -> Result<CancelMany, Problem> {
    let mut fields = Fields::of("", body)?;
    let ids = fields.checked("ids", "an array of strings", |it: Vec<String>| ids(&it));
    let names_ids = ids.is_some();
    let filter = filter(&mut fields);
    let mode = fields.checked("mode", "a string", |word: String| match word.as_str() {
        "terminate" => Ok(CancelMode::Terminate),
        "pending" => Ok(CancelMode::Pending),
        _ => Err(Invalid::new("must be \"terminate\" or \"pending\"")),
    });
    let dry_run = fields.take("dry_run", "a boolean");
    fields.faults().into_result()?;
    let filters = filter != Filter::default();
    let meant = match (ids, filters) {
        (Some(ids), false) => CancelFilter::Jobs(ids),
        (None, true) => CancelFilter::Matching(filter),
        (Some(ids), true) if ids.is_empty() => CancelFilter::Matching(filter),
        _ => return Err(not_one(names_ids)),
    };
    Ok(CancelMany {
        filter: meant,
        mode: mode.unwrap_or_default(),
        dry_run: dry_run.unwrap_or_default(),
    })
}

/// To cancel everything by a slip is too easy, and both at once would mean one thing or the other.
fn not_one(names_ids: bool) -> Problem {
    if names_ids {
        let detail = "ids and filters exclude each other; send one of them".to_owned();
        return FieldError { pointer: "/ids".to_owned(), detail }.into();
    }
    let detail = format!("the request does not say which jobs are meant; name {MEANT}");
    Problem::new(Code::InvalidValue, detail)
}

fn ids(texts: &[String]) -> Result<Vec<JobId>, Invalid> {
    if texts.len() > IDS_MAX {
        return Err(Invalid::new(format!("at most {IDS_MAX} ids, and there are {}", texts.len())));
    }
    let id = |text: &String| {
        Uuid::try_parse(text).map(JobId).map_err(|_not_a_uuid| {
            Invalid::new(format!("'{text}' is no job's id: an id is a UUID"))
        })
    };
    texts.iter().map(id).collect()
}

fn filter(fields: &mut Fields<'_>) -> Filter {
    let state = fields.checked("state", "a string", |word: String| {
        State::parse(&word).ok_or_else(|| {
            let words: Vec<&str> = State::ALL.into_iter().map(State::as_str).collect();
            Invalid::new(format!("'{word}' is no state; there are: {}", words.join(", ")))
        })
    });
    Filter {
        state,
        function: fields.checked("function", "a string", |it: String| FunctionName::new(&it)),
        queue: fields.checked("queue", "a string", |it: String| QueueName::kept(&it)),
        tag: fields.checked("tag", "a string", tag),
        created_after: fields
            .checked("created_after", "a string", |it: String| moment::not_after(&it)),
        created_before: fields
            .checked("created_before", "a string", |it: String| moment::not_before(&it)),
        batch: fields.checked("batch", "a string", |it: String| batch_id(&it)),
    }
}

/// A tag as a job can have it.
fn tag(text: String) -> Result<String, Invalid> {
    Tags::new(vec![text.clone()])?;
    Ok(text)
}
