//! `GET /v1/jobs/{id}/events`: one job, followed by server-sent events; and `GET /v1/jobs/{id}/log`.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream;

use crate::domain::log::LOG_BYTES_MAX;
use crate::domain::{Invalid, LogLine, LogPlace};
use crate::engine::{Error, JobEvent, JobEvents, JobPlace};

use super::Desk;
use super::answer::to_json;
use super::body::ProgressBody;
use super::events::end;
use super::extract::{JobPath, Query};
use super::job_body::{JobBody, View};
use super::last_event_id::{Resumed, digits, end_for_good, nothing_more, resumed};
use super::lines::{Form, accepts, unbroken};
use super::list::parameter;
use super::problem::Problem;
use super::room::{self, Outgoing};
use super::streamed::{stream_of, streamed};

/// Follows a job until it is done: its states, how far it is, the lines of its log.
pub(super) async fn follow(
    Shared(desk): Shared<Arc<Desk>>,
    JobPath(id): JobPath,
    query: Query,
    headers: HeaderMap,
    Outgoing(share): Outgoing,
) -> Result<Response, Problem> {
    let query = query.only(&["after"])?;
    let after = parameter(&query, "after", place)?;
    let Resumed::Behind(after) = resumed(&headers, after, place)? else {
        return Ok(nothing_more());
    };
    let following = desk.engine.follow_job(id, after.unwrap_or_default(), share).await?;
    let pieces = stream::unfold(following, |mut it| async move {
        match next(&mut it).await {
            Ok(text) => text.map(|text| (Ok(text), it)),
            Err(error) => {
                tracing::error!(%error, "a job cannot be read; the stream is cut off");
                Some((Err::<Bytes, Error>(error), it))
            }
        }
    });
    Ok(streamed(Form::Events, pieces))
}

async fn next(following: &mut JobEvents) -> Result<Option<Bytes>, Error> {
    let Some((events, held)) = following.next().await? else { return Ok(None) };
    let text: String = events.iter().map(|(place, event)| printed(*place, event)).collect();
    Ok(Some(held.counted(text)))
}

fn printed(place: JobPlace, event: &JobEvent) -> String {
    let id = id(place);
    let text =
        |kind: &str, data: String| format!("id: {id}\nevent: {kind}\ndata: {}\n\n", unbroken(data));
    match event {
        JobEvent::State(job) => text("state", JobBody::of(job, View::Brief).text()),
        JobEvent::Progress(progress) => text("progress", to_json(&ProgressBody::of(progress))),
        JobEvent::Log { line, cut } => text("log", log_line(line, *cut)),
        JobEvent::Done => end("done", &end_for_good(&id)),
        JobEvent::Gone => end("gone", &end_for_good(&id)),
        JobEvent::Stopping => end("stopping", &id),
    }
}

/// A place as the id of an event: the change, and behind it the attempt and the line of its log.
fn id(place: JobPlace) -> String {
    format!("{}.{}.{}", place.seq, place.log.attempt, place.log.number)
}

fn place(text: &str) -> Result<JobPlace, Invalid> {
    let unknown = || Invalid::new(format!("'{text}' is no place that this server gave"));
    let (seq, log) = text.split_once('.').ok_or_else(unknown)?;
    let seq = digits(seq).ok_or_else(unknown)?;
    Ok(JobPlace { seq, log: log_place(log).map_err(|_other| unknown())? })
}

fn log_place(text: &str) -> Result<LogPlace, Invalid> {
    let numbers = text.split_once('.').and_then(|(attempt, number)| {
        Some(LogPlace { attempt: digits(attempt)?, number: digits(number)? })
    });
    numbers.ok_or_else(|| {
        Invalid::new(format!("'{text}' is no place in a log; one is like 1.17: attempt and line"))
    })
}

/// A line as one object; `cut` says how many are missing before it.
fn log_line(line: &LogLine, cut: i64) -> String {
    let LogLine { place, stream, text } = line;
    let cut = if cut > 0 { format!(",\"cut\":{cut}") } else { String::new() };
    format!(
        "{{\"id\":\"{}.{}\",\"stream\":\"{}\",\"line\":{}{cut}}}",
        place.attempt,
        place.number,
        stream.as_str(),
        to_json(text)
    )
}

/// The log of a job, while it runs and after: as text, or, if `Accept` asks for it, as lines of JSON.
pub(super) async fn log(
    Shared(desk): Shared<Arc<Desk>>,
    JobPath(id): JobPath,
    query: Query,
    headers: HeaderMap,
    Outgoing(share): Outgoing,
) -> Result<Response, Problem> {
    let query = query.only(&["after"])?;
    let after = parameter(&query, "after", log_place)?.unwrap_or_default();
    let held = desk.room(&share, LOG_BYTES_MAX).await?;
    let lines = desk.engine.log(id, after).await?;
    let wants_json = accepts(&headers, "application/x-ndjson");
    let mut before = after;
    let mut text = String::new();
    for line in &lines {
        let cut = line.cut_since(before);
        before = line.place;
        if wants_json {
            text.push_str(&unbroken(log_line(line, cut)));
        } else {
            if cut > 0 {
                text.push_str(&format!("[{cut} lines were cut here]\n"));
            }
            text.push_str(&line.text);
        }
        text.push('\n');
    }
    let response = if wants_json { stream_of(Form::Lines, Body::from(text)) } else { plain(text) };
    let mut response = room::counted(response, held);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

/// A browser must not take it for a page.
fn plain(text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, plain);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
