//! Lists of jobs, in pages.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use uuid::Uuid;

use crate::domain::{BatchId, FunctionName, Invalid, Ordinal, QueueName, State, Timestamp};
use crate::engine::{Filter, JOB_BYTES};

use super::Desk;
use super::answer;
use super::body::JobsBody;
use super::extract::Query;
use super::job_body::{JobBody, View};
use super::long_page::LongPage;
use super::members::Members;
use super::moment;
use super::problem::{FieldError, Problem};
use super::proxies::prefix;
use super::room::{self, Outgoing};
use super::wait::bad_query;

const PAGE_SIZE_DEFAULT: usize = 50;
pub(super) const PAGE_SIZE_MAX: usize = 1_000;
/// Parameters that choose jobs.
pub(super) const FILTERS: [&str; 7] =
    ["state", "function", "queue", "tag", "batch", "created_after", "created_before"];
const PARAMETERS: [&str; 10] = [
    "state",
    "function",
    "queue",
    "tag",
    "batch",
    "created_after",
    "created_before",
    "fields",
    "page_size",
    "page_token",
];

/// `GET /v1/jobs`: newest first. Only a missing token ends a list; a page may be short, even empty.
pub(super) async fn list(
    Shared(desk): Shared<Arc<Desk>>,
    query: Query,
    Outgoing(share): Outgoing,
) -> Result<Response, Problem> {
    let query = query.only(&PARAMETERS)?;
    let filter = filter(&query)?;
    let page_size = page_size(&query)?;
    let print = fingerprint(&filter);
    let below = query.get("page_token").map(|token| read_token(token, &print)).transpose()?;
    let members = Members::read(query.get("fields"))?;
    let (mut response, token) = if page_size <= PAGE_SIZE_DEFAULT {
        let held = desk.room(&share, page_size * JOB_BYTES).await?;
        let page = desk.engine.list(&filter, below, page_size).await?;
        let token = page.next.map(|next| token(next, &print));
        let jobs = page.jobs.iter().map(|job| JobBody::of(job, View::Brief).only(members.as_ref()));
        let body = JobsBody { jobs: jobs.collect(), next_page_token: token.clone() };
        (room::counted(answer::json(StatusCode::OK, &body), held), token)
    } else {
        let page = desk.engine.places(&filter, below, page_size).await?;
        let token = page.next.map(|next| token(next, &print));
        let (engine, state) = (desk.engine.clone(), filter.state);
        let page = LongPage { engine, share, places: page.places, state, members };
        let mut response = answer::json_text(StatusCode::OK, page.into_body(token.as_deref()));
        let uncached = HeaderValue::from_static("no-store");
        response.headers_mut().insert(header::CACHE_CONTROL, uncached);
        (response, token)
    };
    let link = token.and_then(|token| next_link("/v1/jobs", &query, &PARAMETERS, &token));
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

/// The filters of a request.
pub(super) fn filter(query: &Query) -> Result<Filter, Problem> {
    let state = |word: &str| {
        State::parse(word).ok_or_else(|| {
            let words: Vec<&str> = State::ALL.into_iter().map(State::as_str).collect();
            Invalid::new(format!("'{word}' is no state; there are: {}", words.join(", ")))
        })
    };
    Ok(Filter {
        state: parameter(query, "state", state)?,
        function: parameter(query, "function", FunctionName::new)?,
        queue: parameter(query, "queue", QueueName::kept)?,
        tag: query.get("tag").map(str::to_owned),
        created_after: parameter(query, "created_after", moment::not_after)?,
        created_before: parameter(query, "created_before", moment::not_before)?,
        batch: parameter(query, "batch", batch_id)?,
    })
}

pub(super) fn page_size(query: &Query) -> Result<usize, Problem> {
    let read = |text: &str| match text.parse() {
        Ok(size) if (1..=PAGE_SIZE_MAX).contains(&size) => Ok(size),
        _ => Err(Invalid::new(format!("must be a whole number from 1 to {PAGE_SIZE_MAX}"))),
    };
    Ok(parameter(query, "page_size", read)?.unwrap_or(PAGE_SIZE_DEFAULT))
}

/// A parameter of the query, read by `read`.
pub(super) fn parameter<T>(
    query: &Query,
    name: &str,
    read: impl FnOnce(&str) -> Result<T, Invalid>,
) -> Result<Option<T>, Problem> {
    let read = query.get(name).map(read).transpose();
    read.map_err(|error| FieldError { pointer: format!("/{name}"), detail: error.detail }.into())
}

/// A whole number in a query.
pub(super) fn whole<T: std::str::FromStr>(text: &str) -> Result<T, Invalid> {
    text.parse().map_err(|_other| Invalid::new("must be a whole number"))
}

/// Where the next page begins, tied to the `fingerprint` of the filters, so that it cannot be used with others.
pub(super) fn token(next: Ordinal, fingerprint: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}.{fingerprint}", next.0))
}

/// Reads what [`token`] made.
pub(super) fn read_token(token: &str, fingerprint: &str) -> Result<Ordinal, Problem> {
    let unknown = || bad_query("the page token is not one that this server gave".to_owned());
    let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.ok_or_else(unknown)?;
    let (ordinal, print) = text.split_once('.').ok_or_else(unknown)?;
    let ordinal = ordinal.parse().map_err(|_not_a_number| unknown())?;
    if print != fingerprint {
        return Err(bad_query("the page token belongs to a list with other filters".to_owned()));
    }
    Ok(Ordinal(ordinal))
}

/// Where the next page of a list without filters begins.
pub(super) fn read_plain_token(token: &str) -> Result<Ordinal, Problem> {
    let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let ordinal = text.and_then(|text| text.parse().ok()).map(Ordinal);
    ordinal.ok_or_else(|| bad_query("the page token is not one that this server gave".to_owned()))
}

/// The id of a batch.
pub(super) fn batch_id(text: &str) -> Result<BatchId, Invalid> {
    let id = Uuid::try_parse(text).map_err(|_not_a_uuid| {
        Invalid::new(format!("'{text}' is no batch's id: an id is a UUID"))
    })?;
    Ok(BatchId(id))
}

fn fingerprint(filter: &Filter) -> String {
    let Filter { state, function, queue, tag, created_after, created_before, batch } = filter;
    let batch = batch.map(|id| id.to_string()).unwrap_or_default();
    let state = state.map_or("", State::as_str);
    let function = function.as_ref().map_or("", FunctionName::as_str);
    let queue = queue.as_ref().map_or("", QueueName::as_str);
    let moment = |at: &Option<Timestamp>| at.map(|at| at.0.to_string()).unwrap_or_default();
    let (after, before) = (moment(created_after), moment(created_before));
    // A tag may hold anything, so it comes last.
    format!(
        "{state}/{function}/{queue}/{after}/{before}/{batch}/{}",
        tag.as_deref().unwrap_or_default()
    )
}

/// The page behind this one, with the same `parameters`, as a `Link` has it (RFC 8288).
pub(super) fn next_link(
    path: &str,
    query: &Query,
    parameters: &[&str],
    token: &str,
) -> Option<HeaderValue> {
    let mut next = url::form_urlencoded::Serializer::new(String::new());
    for name in parameters.iter().filter(|name| **name != "page_token") {
        if let Some(value) = query.get(name) {
            next.append_pair(name, value);
        }
    }
    next.append_pair("page_token", token);
    let link = format!("<{}{path}?{}>; rel=\"next\"", prefix(), next.finish());
    HeaderValue::from_str(&link).ok()
}
