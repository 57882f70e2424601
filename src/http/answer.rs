//! Answers that succeed.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use uuid::Uuid;

use crate::domain::{Job, RunAt};

use super::job_body::{JobBody, View};
use super::proxies::prefix;
use super::room;
use super::wait::Wait;

/// Whoever waits for a job that starts later asks again after so many seconds at most.
const SCHEDULED_SECONDS_MAX: i64 = 60;

const FUTURITY_STATE: HeaderName = HeaderName::from_static("futurity-state");
const FUTURITY_DONE: HeaderName = HeaderName::from_static("futurity-done");
/// Header fields of a job's answer, with those that every answer has.
const JOB_HEADERS: usize = 13;

/// A value as JSON text.
pub(super) fn to_json<T: Serialize>(value: &T) -> String {
    match serde_json::to_string(value) {
        Ok(text) => text,
        // Our own types hold texts, numbers and JSON that was checked; only a mistake of ours gets here.
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            "null".to_owned()
        }
    }
}

/// JSON text as an answer.
pub(super) fn json_text(status: StatusCode, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// A value as an answer that no cache keeps.
pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    let mut response = json_text(status, to_json(value));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A job as an answer, with the headers that tell its state without its body.
pub(super) fn job(status: StatusCode, job: &Job, wait: &Wait, view: View) -> Response {
    job_text(status, JobBody::of(job, view).text(), job, wait)
}

/// The same as it is shown where one job is read.
pub(super) fn job_shown(body: &JobBody<'_>, job: &Job, wait: &Wait) -> Response {
    job_text(StatusCode::OK, body.text(), job, wait)
}

/// That the version of a job is one that the client has (RFC 9110, section 15.4.5).
pub(super) fn not_modified(job: &Job, wait: &Wait) -> Response {
    let mut response = job_text(StatusCode::NOT_MODIFIED, String::new(), job, wait);
    response.headers_mut().remove(header::CONTENT_TYPE);
    response.headers_mut().remove(header::LOCATION);
    response
}

fn job_text(status: StatusCode, text: String, job: &Job, wait: &Wait) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(JOB_HEADERS);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let done = if job.is_done() { "true" } else { "false" };
    // What became of its callbacks changes after the end, and moves no version.
    let (weak, cache) = if job.is_done() && !job.may_have_callbacks {
        ("", "private, max-age=3600, immutable")
    } else {
        ("W/", "no-store")
    };
    let mut digits = itoa::Buffer::new();
    let version = digits.format(job.version);
    insert(headers, header::ETAG, &[weak, "\"", version, "\""].concat());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(FUTURITY_STATE, HeaderValue::from_static(job.state.as_str()));
    headers.insert(FUTURITY_DONE, HeaderValue::from_static(done));
    if !job.is_done() {
        headers.insert(header::RETRY_AFTER, retry_after_of(job, wait));
    }
    wait.applied(headers);
    if status != StatusCode::OK {
        located(&mut response, job);
    }
    response
}

/// Says that the request was made before, and that this is what came of it.
pub(super) fn replayed(mut response: Response, is_replay: bool) -> Response {
    if is_replay {
        let yes = HeaderValue::from_static("true");
        response.headers_mut().insert("idempotent-replayed", yes);
    }
    response
}

/// Says where the job is.
pub(super) fn located(response: &mut Response, job: &Job) {
    let mut buffer = Uuid::encode_buffer();
    let id: &str = job.spec.id.0.hyphenated().encode_lower(&mut buffer);
    insert(response.headers_mut(), header::LOCATION, &[prefix(), "/v1/jobs/", id].concat());
}

/// Of a job that is to start later: not before then, or in a minute.
fn retry_after_of(job: &Job, wait: &Wait) -> HeaderValue {
    match job.run_at {
        Some(run_at) => {
            let left = match run_at {
                RunAt::Wall(at) => at.millis_since(wait.clock.wall_now()),
                RunAt::Monotonic(at) => at.millis_since(wait.clock.now()),
            };
            let seconds = left.saturating_add(999) / 1_000;
            HeaderValue::from(seconds.clamp(1, SCHEDULED_SECONDS_MAX))
        }
        None => retry_after(wait.is_wanted()),
    }
}

/// When to ask again for a job that is not done. After a wait that ran out, asking again at once is
/// right: the server holds the line.
pub(super) fn retry_after(waited: bool) -> HeaderValue {
    HeaderValue::from_static(if waited { "0" } else { "1" })
}

/// A result as it is: any JSON value. A browser must not take it for a page.
pub(super) fn result(text: impl Into<Body>, wait: &Wait) -> Response {
    let mut response = json_text(StatusCode::OK, text);
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = HeaderValue::from_static("sandbox; default-src 'none'");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    let cache = HeaderValue::from_static("private, max-age=3600, immutable");
    headers.insert(header::CACHE_CONTROL, cache);
    wait.applied(headers);
    response
}

/// A file of ours.
pub(super) fn text(content_type: &'static str, text: &'static str) -> Response {
    let answer = ([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))], text);
    room::of_our_own(answer.into_response())
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Numbers, words and ids of ours are always legal.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
