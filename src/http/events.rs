//! `GET /v1/events`: every change, as server-sent events (WHATWG HTML, section 9.2), from where the reader was.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::stream;

use crate::engine::{Error, Followed, Following, JobChange, Left};

use super::Desk;
use super::beats::ALIVE;
use super::extract::Query;
use super::job_body::{JobBody, View};
use super::last_event_id::{Resumed, place, resumed};
use super::lines::{Form, unbroken};
use super::list::{FILTERS, filter, parameter};
use super::problem::Problem;
use super::room::Outgoing;
use super::streamed::stream_of;
use super::wait::bad_query;

/// What a reader is told once: how long to wait before it comes again.
/// It stands before the first event, without an end of its own: some readers make an event of every empty line.
pub(super) const RETRY: &str = "retry: 2000\n";

/// Follows all changes of the jobs that pass the filters, which are those of the list.
pub(super) async fn follow(
    Shared(desk): Shared<Arc<Desk>>,
    query: Query,
    headers: HeaderMap,
    Outgoing(share): Outgoing,
) -> Result<Response, Problem> {
    let known: Vec<&str> = FILTERS.into_iter().chain(["after"]).collect();
    let query = query.only(&known)?;
    let after = parameter(&query, "after", place)?;
    // Changes have no end, and no reader has seen one.
    let Resumed::Behind(after) = resumed(&headers, after, place)? else {
        return Err(bad_query("Last-Event-ID is of a stream that has an end".to_owned()));
    };
    let following = desk.engine.follow(filter(&query)?, after, share).await?;
    // The place comes at once: a reader that is cut before the first change would else come back to none.
    let begin = Some(format!("{RETRY}{}", alive(following.seq())).into());
    let body =
        Body::from_stream(stream::unfold((begin, following), |(begin, mut it)| async move {
            if let Some(begin) = begin {
                return Some((Ok(begin), (None, it)));
            }
            match next(&mut it).await {
                Ok(text) => text.map(|text| (Ok(text), (None, it))),
                Err(error) => {
                    tracing::error!(%error, "changes cannot be read; the stream is cut off");
                    Some((Err::<Bytes, Error>(error), (None, it)))
                }
            }
        }));
    Ok(stream_of(Form::Events, body))
}

async fn next(following: &mut Following) -> Result<Option<Bytes>, Error> {
    let followed = tokio::select! {
        biased;
        followed = following.next() => followed?,
        () = tokio::time::sleep(ALIVE) => return Ok(Some(alive(following.seq()).into())),
    };
    let text = match followed {
        None => return Ok(None),
        Some(Followed::Changes(text)) => return Ok(Some(text)),
        Some(Followed::Reset { floor, to }) => {
            format!("id: {to}\nevent: reset\ndata: {{\"floor\":{floor}}}\n\n")
        }
        Some(Followed::TooSlow) => end("too_slow", &following.seq().to_string()),
        Some(Followed::Stopping) => end("stopping", &following.seq().to_string()),
    };
    Ok(Some(text.into()))
}

/// Where the reader is: one whose filter lets nothing pass would else come back to where it began. It has data, for some
/// readers pass by an id without any.
fn alive(seq: i64) -> String {
    format!("id: {seq}\nevent: alive\ndata: {{}}\n\n")
}

/// The last event: why the stream ends, and where to go on.
pub(super) fn end(reason: &str, id: &str) -> String {
    format!("id: {id}\nevent: end\ndata: {{\"reason\":\"{reason}\"}}\n\n")
}

/// One change, as everyone who follows all changes is sent it.
#[must_use]
pub fn change_event(change: &JobChange) -> String {
    let (event, data) = match &change.left {
        Left::Job(job) => ("state", JobBody::of(job, View::Brief).text()),
        Left::Gone(id) => ("gone", format!("{{\"id\":\"{id}\"}}")),
    };
    format!("id: {}\nevent: {event}\ndata: {}\n\n", change.seq, unbroken(data))
}
