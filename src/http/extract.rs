//! What handlers take out of a request, with failures in our own words.

use std::fmt;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use bytes::BytesMut;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Frame};
use serde_json::value::RawValue;
use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::{BatchId, CallbackId, Hidden, JobId};
use crate::engine::{FREE_BYTES, Held, Share};

use super::Desk;
use super::idempotency::{IDEMPOTENCY_KEY, Owner};
use super::limits::SUBMISSION;
use super::line_reader::LineReader;
use super::origin::Origin;
use super::problem::{Code, Problem};
use super::room::{Pace, counted_in, first_piece, overloaded, who_of};
use super::strict;
use super::wait::bad_query;

/// How the letter that stands for what is none is written in a query.
const REPLACEMENT_ESCAPED: &str = "%EF%BF%BD";

/// A body is held as it came, and as what is made of it.
const HELD_TIMES: usize = 2;
/// More than any route takes.
const PARAMETERS_MAX: usize = 32;

/// The id in a path. What is no UUID names nothing, so it is not found.
#[derive(Clone, Copy, Debug)]
pub(super) struct JobPath(pub(super) JobId);

impl<S: Send + Sync> FromRequestParts<S> for JobPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        id_in_path(parts, state, "job").await.map(|id| Self(JobId(id)))
    }
}

/// The id of a callback in a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallbackPath(pub(super) CallbackId);

impl<S: Send + Sync> FromRequestParts<S> for CallbackPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        id_in_path(parts, state, "callback").await.map(|id| Self(CallbackId(id)))
    }
}

/// The id of a batch in a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchPath(pub(super) BatchId);

impl<S: Send + Sync> FromRequestParts<S> for BatchPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        id_in_path(parts, state, "batch").await.map(|id| Self(BatchId(id)))
    }
}

async fn id_in_path<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    thing: &str,
) -> Result<Uuid, Problem> {
    let path = Path::<String>::from_request_parts(parts, state).await;
    let text = path.map(|Path(text)| text).unwrap_or_default();
    let id =
        Uuid::try_parse(&text).ok().filter(|id| id.hyphenated().to_string() == text.to_lowercase());
    id.ok_or_else(|| {
        Problem::new(Code::NotFound, format!("there is no {thing} '{text}': an id is a UUID"))
    })
}

/// The query's parameters. None may stand twice.
#[derive(Clone)]
pub(super) struct Query(Vec<(String, String)>);

impl fmt::Debug for Query {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Query(<{} parameters>)", self.0.len())
    }
}

impl Query {
    /// The value of the parameter `name`.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(given, _)| given == name)?;
        Some(&found.1)
    }

    /// Refuses every parameter that is not among `known`: a misspelt one would be ignored silently.
    pub(super) fn only(self, known: &[&str]) -> Result<Self, Problem> {
        match self.0.iter().map(|(name, _)| name).find(|name| !known.contains(&name.as_str())) {
            None => Ok(self),
            Some(name) if known.is_empty() => {
                Err(bad_query(format!("there is no parameter '{name}': this route takes none")))
            }
            Some(name) => Err(bad_query(format!(
                "there is no parameter '{name}'; there are: {}",
                known.join(", ")
            ))),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let Some(query) = parts.uri.query() else { return Ok(Self(Vec::new())) };
        let mut found: Vec<(String, String)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            // What is no UTF-8 is read as this letter.
            let is_replaced =
                [&name, &value].iter().any(|it| it.contains(char::REPLACEMENT_CHARACTER));
            if is_replaced && !query.to_ascii_uppercase().contains(REPLACEMENT_ESCAPED) {
                return Err(bad_query("the query is not UTF-8".to_owned()));
            }
            if found.iter().any(|(known, _)| *known == name) {
                return Err(bad_query(format!("the parameter '{name}' stands twice")));
            }
            if found.len() == PARAMETERS_MAX {
                return Err(bad_query(format!("a query has at most {PARAMETERS_MAX} parameters")));
            }
            found.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(found))
    }
}

/// A body of JSON, as large as one of its kind may be, checked strictly. Empty if the request has none. The kind is
/// [`SUBMISSION`], [`BATCH`](super::limits::BATCH) or [`OTHER`](super::limits::OTHER).
pub(super) struct JsonBody<const KIND: usize> {
    bytes: Bytes,
    held: Held,
}

impl<const KIND: usize> fmt::Debug for JsonBody<KIND> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "JsonBody({:?})", Hidden::of(&self.bytes))
    }
}

impl<const KIND: usize> JsonBody<KIND> {
    /// The body as it came.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The room that is held for it, and for what was made of it. The bytes themselves are let go.
    pub(super) fn into_held(self) -> Held {
        self.held
    }

    /// The value; none for an empty body, or for `null`, which clients send that must send something.
    pub(super) fn optional(&self) -> Result<Option<&RawValue>, Problem> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        self.parsed().map(|value| Some(value).filter(|value| value.get() != "null"))
    }

    /// The value, which must be given.
    pub(super) fn required(&self) -> Result<&RawValue, Problem> {
        if self.bytes.is_empty() {
            return Err(Problem::new(Code::MalformedJson, "the body is empty; send JSON"));
        }
        self.parsed()
    }

    fn parsed(&self) -> Result<&RawValue, Problem> {
        strict::parse(&self.bytes).map_err(|detail| Problem::new(Code::MalformedJson, detail))
    }
}

impl<const KIND: usize> FromRequest<Arc<Desk>> for JsonBody<KIND> {
    type Rejection = Problem;

    async fn from_request(request: Request, desk: &Arc<Desk>) -> Result<Self, Problem> {
        let limit = desk.config.limits.body_bytes[KIND];
        let (parts, body) = request.into_parts();
        let typed = check_media_type(&parts.headers, "application/json");
        let declared = content_length(&parts.headers);
        if declared.is_some_and(|length| length > limit) {
            return Err(too_large(limit));
        }
        let within = desk.config.limits.body;
        let share = desk.incoming.share(who_of(&parts.extensions));
        // The header lies in the first buffer of the connection, which is free again without it.
        drop(parts);
        let room = first_piece(&body, HELD_TIMES).map(|first| Room {
            share: share.clone(),
            pace: Pace::new(desk.room_within()),
            first,
        });
        let reader = BodyReader {
            desk,
            room,
            body: Limited::new(body, limit),
            declared: declared.unwrap_or_default(),
            deadline: Instant::now() + within,
        };
        let read = tokio::time::timeout(within + desk.room_within(), reader.read(limit)).await;
        let (bytes, held) = read.unwrap_or_else(|_elapsed| Err(overloaded(&share)))?;
        // A request without a body needs no type.
        if !bytes.is_empty() {
            typed?;
        }
        Ok(Self { bytes, held })
    }
}

/// A body that comes in.
struct BodyReader<'a> {
    desk: &'a Desk,
    /// None for a body that is small.
    room: Option<Room>,
    body: Limited<Body>,
    /// How long it said that it is.
    declared: usize,
    deadline: Instant,
}

/// Room for a body that may be large.
struct Room {
    share: Share,
    pace: Pace,
    /// What the first piece may count for.
    first: usize,
}

impl BodyReader<'_> {
    /// Reads it. What has come is counted, once it is more than what is free.
    async fn read(mut self, limit: usize) -> Result<(Bytes, Held), Problem> {
        let data = |frame: Frame<Bytes>| frame.into_data().unwrap_or_default();
        let (mut whole, mut held) = (BytesMut::new(), Held::default());
        if let Some(Room { share, first, .. }) = &self.room {
            self.desk.look(share, *first).await?;
        }
        while let Some(frame) = self.next().await? {
            let data = frame.map(data).map_err(|error| unreadable(&*error, limit))?;
            let length = whole.len() + data.len();
            if length > FREE_BYTES
                && let Some(Room { share, pace, .. }) = &mut self.room
            {
                let bytes = counted_in(HELD_TIMES * length);
                if !share.try_grow(&mut held, bytes) {
                    self.desk.grow(share, &mut held, bytes).await?;
                    pace.begins_again();
                }
                pace.holds(true);
            }
            if whole.is_empty() && self.body.is_end_stream() {
                return Ok((data, held));
            }
            if whole.capacity() < length {
                // Twice what has come, as it is counted; as much as is free, if it is not; and no more than what will.
                let most = if length > FREE_BYTES { HELD_TIMES * length } else { FREE_BYTES };
                let more = self.declared.min(most).max(length) - whole.len();
                whole.reserve(more);
            }
            whole.extend_from_slice(&data);
        }
        Ok((whole.freeze(), held))
    }

    async fn next(&mut self) -> Result<Option<Read>, Problem> {
        let frame = async {
            let frame = self.body.frame();
            match &mut self.room {
                None => Ok(frame.await),
                Some(Room { share, pace, .. }) => pace.next(share, frame).await,
            }
        };
        tokio::time::timeout_at(self.deadline, frame).await.unwrap_or_else(|_elapsed| {
            let within = self.desk.config.limits.body.as_secs_f64();
            let detail = format!("the body did not arrive within {within} seconds");
            Err(Problem::new(Code::RequestTimeout, detail))
        })
    }
}

/// What comes next of a body.
type Read = Result<Frame<Bytes>, Box<dyn std::error::Error + Send + Sync>>;

fn unreadable(error: &(dyn std::error::Error + Send + Sync + 'static), limit: usize) -> Problem {
    if error.downcast_ref::<LengthLimitError>().is_some() {
        return too_large(limit);
    }
    Problem::new(Code::BadRequest, format!("the body cannot be read: {error}"))
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Code::TooLarge, format!("the body may have {limit} bytes"))
}

/// Only JSON, and not encoded: a form of another web site can send neither.
fn check_media_type(headers: &HeaderMap, wanted: &str) -> Result<(), Problem> {
    let unsupported = |detail: String| Err(Problem::new(Code::UnsupportedMediaType, detail));
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && encoding != "identity"
    {
        return unsupported("a content encoding is not taken; send the JSON as it is".to_owned());
    }
    let given = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    let Some(given) = given else {
        return unsupported(format!("the content type is missing; send {wanted}"));
    };
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    unsupported(format!("'{essence}' is not taken; send {wanted}"))
}

const LINES: &str = "application/x-ndjson";

/// Whether the body of a request is lines, each of them JSON.
pub(super) fn has_lines(headers: &HeaderMap) -> bool {
    let given = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    given.is_some_and(|given| {
        given.len() >= LINES.len() && given[..LINES.len()].eq_ignore_ascii_case(LINES.as_bytes())
    })
}

impl FromRequest<Arc<Desk>> for LineReader {
    type Rejection = Problem;

    async fn from_request(request: Request, desk: &Arc<Desk>) -> Result<Self, Problem> {
        check_media_type(request.headers(), LINES)?;
        let line_bytes_max = desk.config.limits.body_bytes[SUBMISSION];
        let share = desk.incoming.share(who_of(request.extensions()));
        Ok(Self::new(request.into_body(), line_bytes_max, share, Pace::new(desk.room_within())))
    }
}

/// One submission, or many, a line each.
#[derive(Debug)]
pub(super) enum OneOrLines {
    One(JsonBody<SUBMISSION>),
    Lines(Box<ManyLines>),
}

/// Submissions that come line by line, and whose they are.
#[derive(Debug)]
pub(super) struct ManyLines {
    pub(super) owner: Owner,
    pub(super) origin: Origin,
    pub(super) reader: LineReader,
    /// Whether the request has an idempotency key, which belongs to one job.
    pub(super) has_key: bool,
}

impl FromRequest<Arc<Desk>> for ManyLines {
    type Rejection = Problem;

    async fn from_request(request: Request, desk: &Arc<Desk>) -> Result<Self, Problem> {
        let has_key = request.headers().contains_key(IDEMPOTENCY_KEY);
        let (parts, body) = request.into_parts();
        let (owner, origin) = (Owner::of(&parts, desk), Origin::of(&parts));
        let reader = LineReader::from_request(Request::from_parts(parts, body), desk).await?;
        Ok(Self { owner, origin, reader, has_key })
    }
}

impl FromRequest<Arc<Desk>> for OneOrLines {
    type Rejection = Problem;

    async fn from_request(request: Request, desk: &Arc<Desk>) -> Result<Self, Problem> {
        if has_lines(request.headers()) {
            return Box::pin(ManyLines::from_request(request, desk))
                .await
                .map(|it| Self::Lines(Box::new(it)));
        }
        JsonBody::from_request(request, desk).await.map(Self::One)
    }
}
