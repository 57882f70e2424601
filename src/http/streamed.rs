//! Streams as answers.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::stream::{self, Stream, StreamExt as _};

use super::beats::beating;
use super::lines::Form;

/// Pieces of a stream as an answer, which is kept alive while they do not come. Each piece begins a new line.
pub(super) fn streamed<E>(
    form: Form,
    pieces: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> Response
where
    E: std::error::Error + Send + Sync + 'static,
{
    let begin = Some(form.begin()).filter(|begin| !begin.is_empty());
    let begin = stream::iter(begin.map(|begin| Ok(Bytes::from_static(begin.as_bytes()))));
    stream_of(form, beating(begin.chain(pieces), form.beat()))
}

/// A body that is a stream, as an answer.
pub(super) fn stream_of(form: Form, body: Body) -> Response {
    let mut response = Response::new(body);
    let media_type = match form {
        Form::Lines => "application/x-ndjson",
        // Its encoding is never another one, and there are readers that guess if it is not said.
        Form::Events => "text/event-stream; charset=utf-8",
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A proxy that collects an answer before it hands it on would hold back a stream.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
