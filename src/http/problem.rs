//! Failures in words: `application/problem+json` (RFC 9457). The only file with failure status codes.

use std::any::Any;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use uuid::Uuid;

use crate::domain::{Invalid, Job};
use crate::engine::{Caller, Error, Fault, Refusal};

use super::answer;
use super::body::JobErrorBody;
use super::extract::Query;

macro_rules! codes {
    ($($code:ident $word:literal $status:literal $title:literal $explanation:literal)*) => {
        /// Every code that an answer can carry; clients tell failures apart by it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Code { $($code),* }

        impl Code {
            fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$code),)* _ => None }
            }

            fn word(self) -> &'static str {
                match self { $(Self::$code => $word),* }
            }

            fn status(self) -> u16 {
                match self { $(Self::$code => $status),* }
            }

            fn title(self) -> &'static str {
                match self { $(Self::$code => $title),* }
            }

            fn explanation(self) -> &'static str {
                match self { $(Self::$code => $explanation),* }
            }
        }
    };
}

codes! {
    BadRequest "bad_request" 400 "The request cannot be understood"
        "A query parameter or header is not one that this route takes, or a page token is not one that it gave. The detail says which."
    MalformedJson "malformed_json" 400 "The body is not acceptable JSON"
        "The body does not parse, has a key twice, is nested deeper than 64 levels, or contains U+0000. Nothing was written."
    UnknownField "unknown_field" 400 "The body has a field that is not known"
        "A misspelt option would be ignored silently, so it is refused. The pointers say which fields; the contract lists those that exist. Nothing was written."
    Unauthenticated "unauthenticated" 401 "A key is needed"
        "Send `Authorization: Bearer fut_…`. An operator makes a key with `futurity keys create`. A key that was revoked is not known any more."
    NotFound "not_found" 404 "There is nothing here"
        "No route, job, batch, function, queue or problem has this name. An id is a UUID."
    MethodNotAllowed "method_not_allowed" 405 "This route does not take this method"
        "The `Allow` header lists those that it takes."
    RequestTimeout "request_timeout" 408 "The body did not arrive in time"
        "A body must arrive within 30 seconds. Nothing was written."
    Cancelled "cancelled" 409 "The job was cancelled"
        "A cancelled job has neither result nor exception, as Python's `CancelledError` has it."
    QueueShutdown "queue_shutdown" 409 "The queue is shut down"
        "It takes no more jobs, as Python's executor after `shutdown`. What it holds still runs, unless the shutdown cancelled it. `PUT /v1/queues/{name}` opens it again. Nothing was written."
    InvalidState "invalid_state" 409 "It does not stand so that this can be done"
        "Only a manual job is completed by a request, and only once: its first end stands, and the same one again is answered with it (Python's `InvalidStateError`). Only a job that is done, and of which no delivery is open, can be deleted; only a callback whose delivery is over can be delivered again. Nothing was changed."
    IdConflict "id_conflict" 409 "The id belongs to another request"
        "A job with the chosen id exists, and another body made it. The same body again is answered with that job. Nothing was written."
    Expired "expired" 410 "The job has expired"
        "A job that is done is kept for its retention, and until its deliveries have ended. For a day after that it answers so, then as a job that never was."
    TooLarge "too_large" 413 "The body is too large"
        "A submission, a result or a list of ids may have 1 MiB, a batch 8 MiB, any other body 64 KiB. Nothing was written."
    UriTooLong "uri_too_long" 414 "The address is too long"
        "A path with its query may have 8 KiB."
    UnsupportedMediaType "unsupported_media_type" 415 "The body must be JSON"
        "Send `Content-Type: application/json` and no `Content-Encoding`."
    Misdirected "misdirected" 421 "The server does not go by this name"
        "The `Host` header names neither localhost, nor a loopback address, nor a name in the configuration. This protects a local server from web pages that rebind a name to it. An operator adds names with `--host`."
    UnknownFunction "unknown_function" 422 "There is no such function"
        "`GET /v1/functions` lists those that there are."
    InvalidArguments "invalid_arguments" 422 "The arguments do not fit the function"
        "Arguments are bound to the signature at submission, as Python binds them. `GET /v1/functions/{name}` shows it. Nothing was written."
    InvalidValue "invalid_value" 422 "A value cannot be taken"
        "A known field or parameter has the wrong type or is out of range. The pointers say which. Nothing was written."
    IdempotencyMismatch "idempotency_mismatch" 422 "The idempotency key belongs to another request"
        "The key was given with another method, path or body. The same request again is answered with its job; a new request needs a new key. Nothing was written."
    EgressDenied "egress_denied" 422 "The address is not allowed"
        "Callbacks and `http.request` reach public addresses only. An operator allows others with `egress.allow` in the configuration file, or loopback with `--allow-loopback-egress`."
    Raised "raised" 424 "The job failed"
        "The function raised, or the job ended with an error of ours; it stands under `error`. The request itself was fine."
    HeadersTooLarge "headers_too_large" 431 "The header fields are too large"
        "A request may have 64 fields and 32 KiB of them."
    QueueFull "queue_full" 429 "The queue is full"
        "The queue holds as many waiting jobs as it may. Try again when some have run. Nothing was written."
    TooManyWaiters "too_many_waiters" 429 "Too many requests are waiting"
        "Ask again without `wait`, or later."
    Internal "internal" 500 "The server failed"
        "It is our mistake, and it is in the server's log under the request id."
    Draining "draining" 503 "The server is stopping"
        "It takes no more jobs. What it accepted is safe and goes on at the next start."
    StorageFull "storage_full" 503 "The disk is full"
        "Nothing was written. What was accepted before is safe. An operator makes room; the server recovers by itself."
    Overloaded "overloaded" 503 "The server is overloaded"
        "Try again later. Nothing was written."
    OutcomeUnknown "outcome_unknown" 503 "It is not known whether the write happened"
        "The disk failed during the commit. Look for the job before you send it again."
}

/// A failure, on its way to the client. The front desk adds the request's id and path.
#[derive(Clone, Debug)]
pub(super) struct Problem(Box<Content>);

#[derive(Clone, Debug)]
struct Content {
    code: Code,
    detail: String,
    errors: Vec<FieldError>,
    job: Option<Job>,
    gone: Option<Uuid>,
    headers: HeaderMap,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct FieldError {
    /// JSON Pointer (RFC 6901) into the body.
    pub(super) pointer: String,
    pub(super) detail: String,
}

#[derive(Serialize)]
struct ProblemBody<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    instance: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<JobErrorBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
}

impl Problem {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let (errors, job, gone, headers) = (Vec::new(), None, None, HeaderMap::new());
        Self(Box::new(Content { code, detail, errors, job, gone, headers }))
    }

    /// A failure of certain fields.
    pub(super) fn of_fields(code: Code, errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => format!("{}: {}", one.pointer, one.detail),
            many => format!("{} fields cannot be taken", many.len()),
        };
        let mut problem = Self::new(code, detail);
        problem.0.errors = errors;
        problem
    }

    /// Of a call that a function refuses; with a pointer to each value that does not fit.
    fn of_refusal(refusal: Refusal, detail: String) -> Self {
        match refusal {
            Refusal::Values { faults, .. } => {
                let error = |Fault { pointer, detail }| FieldError { pointer, detail };
                let mut problem = Self::new(Code::InvalidArguments, detail);
                problem.0.errors = faults.into_iter().map(error).collect();
                problem
            }
            Refusal::Invalid(_) | Refusal::EgressDenied(_) => {
                Self::new(Code::InvalidArguments, detail)
            }
        }
    }

    /// The answer to who asks for the result of a job that has none (F9, F10).
    pub(super) fn of_job(job: Job) -> Self {
        let mut problem = match &job.error {
            Some(error) => {
                Self::new(Code::Raised, format!("{}: {}", error.kind.as_str(), error.message))
            }
            None => Self::new(Code::Cancelled, "the job was cancelled"),
        };
        problem.0.job = Some(job);
        problem
    }

    /// The answer to who would complete a job that does not stand so (F20).
    fn of_state(job: Job, detail: String) -> Self {
        let mut problem = Self::new(Code::InvalidState, detail);
        problem.0.job = Some(job);
        problem
    }

    /// The answer to who asks for a job or batch that is gone (F22).
    fn of_gone(id: Uuid, detail: String) -> Self {
        let mut problem = Self::new(Code::Expired, detail);
        problem.0.gone = Some(id);
        problem
    }

    /// The answer to who would have an address called that is not allowed.
    fn of_denied(of: Caller, detail: String) -> Self {
        let pointer = match of {
            Caller::Function => return Self::new(Code::EgressDenied, detail),
            Caller::Callback(None) => "/url".to_owned(),
            Caller::Callback(Some(place)) => format!("/callbacks/{place}/url"),
        };
        Self::of_fields(Code::EgressDenied, vec![FieldError { pointer, detail }])
    }

    /// The same, with a header.
    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// The same, to be tried again after so many seconds.
    pub(super) fn retry_after(self, seconds: u16) -> Self {
        self.with_header(header::RETRY_AFTER, seconds.into())
    }

    /// What is wrong, in words.
    pub(super) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The body of the answer.
    pub(super) fn text(&self, instance: &str, request_id: &str) -> String {
        let Content { code, detail, errors, job, gone, headers: _ } = &*self.0;
        let job = job.as_ref();
        let raised = job.filter(|_| *code == Code::Raised);
        answer::to_json(&ProblemBody {
            r#type: format!("/problems/{}", code.word()),
            title: code.title(),
            status: code.status(),
            detail,
            code: code.word(),
            instance,
            request_id,
            errors,
            error: raised.and_then(|job| job.error.as_ref()).map(JobErrorBody::of),
            id: job.map(|job| job.spec.id.0).or(*gone).map(|id| id.to_string()),
            state: job.map(|job| job.state.as_str()),
        })
    }

    /// The whole answer.
    pub(super) fn respond(&self, instance: &str, request_id: &str) -> Response {
        let Content { code, headers, .. } = &*self.0;
        let text = self.text(instance, request_id);
        let mut response = (status(*code), text).into_response();
        let all = response.headers_mut();
        all.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        all.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        all.extend(headers.clone());
        response
    }

    /// Whether it is our mistake, or our disk's.
    pub(super) fn is_ours(&self) -> bool {
        self.0.code.status() >= 500
    }
}

impl IntoResponse for Problem {
    /// An empty answer that carries the problem; the front desk writes it out.
    fn into_response(self) -> Response {
        let mut response = status(self.0.code).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        let at = |pointer: &str, detail| vec![FieldError { pointer: pointer.to_owned(), detail }];
        match error {
            Error::NotFound(_) | Error::BatchNotFound(_) | Error::CallbackNotFound(_) => {
                Self::new(Code::NotFound, detail)
            }
            Error::Expired(id) => Self::of_gone(id, detail),
            Error::NotDone(_)
            | Error::OfBatch(_)
            | Error::BatchClosed
            | Error::NotRetried { .. }
            | Error::DeliveryOpen(_)
            | Error::CallbackWaits(_)
            | Error::CallbackPending(_) => Self::new(Code::InvalidState, detail),
            Error::IdConflict => Self::of_fields(Code::IdConflict, at("/id", detail)),
            Error::KeyMismatch(_) => Self::new(Code::IdempotencyMismatch, detail),
            Error::NotManual(job) | Error::AlreadyDone(job) => Self::of_state(*job, detail),
            Error::InvalidLabel(_) => Self::of_fields(Code::InvalidValue, at("/function", detail)),
            Error::UnknownFunction { .. } => {
                Self::of_fields(Code::UnknownFunction, at("/function", detail))
            }
            Error::InvalidCall { refusal, .. } | Error::InvalidArguments(refusal) => {
                Self::of_refusal(refusal, detail)
            }
            Error::BatchTooLarge { .. } => {
                Self::of_fields(Code::InvalidValue, at("/batch", detail))
            }
            Error::EgressDenied { of, detail } => Self::of_denied(of, detail),
            Error::InvalidCallback { callback, field, detail } => {
                let pointer = match callback {
                    Some(place) => format!("/callbacks/{place}/{field}"),
                    None => format!("/{field}"),
                };
                Self::of_fields(Code::InvalidValue, at(&pointer, detail))
            }
            Error::UnknownQueue(_) => Self::of_fields(Code::InvalidValue, at("/queue", detail)),
            Error::QueueNotFound(_) => Self::new(Code::NotFound, detail),
            Error::QueueShutdown(_) => Self::new(Code::QueueShutdown, detail),
            Error::TooManyQueues(_) => Self::new(Code::InvalidValue, detail),
            Error::QueueFull { .. } => Self::new(Code::QueueFull, detail).retry_after(1),
            Error::NoneOf(ids) => {
                let error = |(place, id)| FieldError {
                    pointer: format!("/ids/{place}"),
                    detail: format!("there is no job {id}"),
                };
                Self::of_fields(Code::NotFound, ids.into_iter().map(error).collect())
            }
            Error::TooManyWatched(_) | Error::TooManyWaiters(_) => {
                Self::new(Code::TooManyWaiters, detail).retry_after(1)
            }
            Error::Draining => Self::new(Code::Draining, detail).retry_after(5),
            Error::StorageFull => Self::new(Code::StorageFull, detail).retry_after(5),
            Error::OutcomeUnknown => Self::new(Code::OutcomeUnknown, detail).retry_after(5),
            Error::Internal(cause) => {
                tracing::error!(%cause, "a request failed");
                Self::new(Code::Internal, detail)
            }
        }
    }
}

/// A value of the body that does not follow its rule.
pub(super) fn invalid(pointer: impl Into<String>, invalid: Invalid) -> FieldError {
    FieldError { pointer: pointer.into(), detail: invalid.detail }
}

/// The problem that the framework meant by an answer of its own.
pub(super) fn of_framework(response: &Response) -> Option<Problem> {
    let code = match response.status().as_u16() {
        404 => Code::NotFound,
        405 => Code::MethodNotAllowed,
        413 => Code::TooLarge,
        status if status >= 500 => Code::Internal,
        status if status >= 400 => Code::BadRequest,
        _ => return None,
    };
    let problem = Problem::new(code, code.title().to_lowercase());
    match response.headers().get(header::ALLOW) {
        Some(allow) => Some(problem.with_header(header::ALLOW, allow.clone())),
        None => Some(problem),
    }
}

/// For every path that no route has.
pub(super) async fn no_route(uri: Uri) -> Problem {
    Problem::new(
        Code::NotFound,
        format!("there is no route {}; /openapi.yaml lists them all", uri.path()),
    )
}

/// For a handler that panicked: the cause stays in the log.
#[expect(clippy::needless_pass_by_value, reason = "the form that the layer asks for")]
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    tracing::error!(panic = text.as_deref().unwrap_or("without words"), "a handler panicked");
    Problem::new(Code::Internal, "internal error").into_response()
}

/// `GET /problems/{code}`: what a code means, and what to do.
pub(super) async fn explain(Path(word): Path<String>, query: Query) -> Result<Response, Problem> {
    query.only(&[])?;
    let Some(code) = Code::parse(&word) else {
        return Err(Problem::new(Code::NotFound, format!("there is no problem named '{word}'")));
    };
    let (word, title, status) = (code.word(), code.title(), code.status());
    let text = format!("# {title}\n\n`{word}`, HTTP status {status}.\n\n{}\n", code.explanation());
    let markdown = HeaderValue::from_static("text/markdown; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, markdown)], text).into_response())
}

fn status(code: Code) -> StatusCode {
    StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
