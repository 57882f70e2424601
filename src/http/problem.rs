//! Failures in words: `application/problem+json` (RFC 9457). With its table of codes the only place of failure status codes.

mod code;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tower_http::csrf::{ProtectionError, ProtectionErrorKind};
use uuid::Uuid;

use crate::domain::{Hidden, Invalid, Job, JobId, text};
use crate::engine::{Caller, Error, Fault, Refusal};

use super::answer;
use super::body::JobErrorBody;
use super::proxies::prefix;

pub(super) use code::{Code, explain};

/// Longest sentence on what is wrong, which may repeat what was sent, in bytes.
const DETAIL_BYTES_MAX: usize = 4 * 1024;
/// The same of one field, and of its pointer.
const FIELD_BYTES_MAX: usize = 1_024;
/// Fields of which it is told what is wrong.
const FIELDS_MAX: usize = 1_000;

/// A failure, on its way to the client. The front desk adds the request's id and path.
#[derive(Clone)]
pub(super) struct Problem(Box<Content>);

#[derive(Clone)]
struct Content {
    code: Code,
    detail: String,
    errors: Vec<FieldError>,
    job: Option<Arc<Job>>,
    gone: Option<Uuid>,
    headers: HeaderMap,
}

/// What is wrong with one field.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub(super) struct FieldError {
    /// JSON Pointer (RFC 6901) into the body.
    pub(super) pointer: String,
    pub(super) detail: String,
}

impl fmt::Debug for Problem {
    /// For the log: without the words, which may repeat what a client sent, and the job, which is it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let job = self.0.job.as_ref().map(|job| job.spec.id);
        formatter.debug_struct("Problem").field("code", &self.0.code).field("job", &job).finish()
    }
}

impl fmt::Debug for FieldError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "FieldError({:?})", Hidden::of(&self.detail))
    }
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
        let detail: String = detail.into();
        let detail = text::head(&detail, DETAIL_BYTES_MAX).into_owned();
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
        problem.0.errors = fitting(errors);
        problem
    }

    /// Of a call that a function refuses; with a pointer to each value that does not fit.
    fn of_refusal(refusal: Refusal, detail: String) -> Self {
        match refusal {
            Refusal::Values { faults, .. } => {
                let error = |Fault { pointer, detail }| FieldError { pointer, detail };
                let mut problem = Self::new(Code::InvalidArguments, detail);
                problem.0.errors = fitting(faults.into_iter().map(error).collect());
                problem
            }
            Refusal::Invalid(_) | Refusal::EgressDenied(_) => {
                Self::new(Code::InvalidArguments, detail)
            }
        }
    }

    /// The answer to who asks for the result of a job that has none (F9, F10).
    pub(super) fn of_job(job: Arc<Job>) -> Self {
        let mut problem = match &job.error {
            Some(error) => {
                Self::new(Code::Raised, format!("{}: {}", error.kind().as_str(), error.message()))
            }
            None => Self::new(Code::Cancelled, "the job was cancelled"),
        };
        problem.0.job = Some(job);
        problem
    }

    /// The answer to who asks for what does not read back (G3).
    pub(super) fn of_damaged(job: Arc<Job>) -> Self {
        let detail = "what came of the job does not read back from the disk as it was written";
        let mut problem = Self::new(Code::Damaged, detail);
        problem.0.job = Some(job);
        problem
    }

    /// The answer to who would complete a job that does not stand so (F20).
    fn of_state(job: Arc<Job>, detail: String) -> Self {
        let mut problem = Self::new(Code::InvalidState, detail);
        problem.0.job = Some(job);
        problem
    }

    /// The answer to who asks for jobs that are not there, by their places among those that were asked for.
    fn of_none(ids: &[(usize, JobId)]) -> Self {
        let error = |(place, id): &(usize, JobId)| FieldError {
            pointer: format!("/ids/{place}"),
            detail: format!("there is no job {id}"),
        };
        Self::of_fields(Code::NotFound, ids.iter().map(error).collect())
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

    /// The body of the answer.
    pub(super) fn text(&self, instance: &str, request_id: &str) -> String {
        let Content { code, detail, errors, job, gone, headers: _ } = &*self.0;
        let job = job.as_ref();
        let raised = job.filter(|_| *code == Code::Raised);
        answer::to_json(&ProblemBody {
            r#type: format!("{}/problems/{}", prefix(), code.word()),
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
        let mut response = (code.http(), text).into_response();
        let all = response.headers_mut();
        all.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        all.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        all.extend(headers.clone());
        response
    }

    /// Whether it is our mistake, or our disk's. That the server takes nothing just now is neither: it is said once,
    /// when it begins and when it ends.
    pub(super) fn is_ours(&self) -> bool {
        let code = self.0.code;
        code.status() >= 500 && !matches!(code.status(), 501 | 503)
    }

    /// Its code in a word, and the job that it is about.
    pub(super) fn in_short(&self) -> (&'static str, Option<JobId>) {
        (self.0.code.word(), self.0.job.as_ref().map(|job| job.spec.id))
    }
}

impl IntoResponse for Problem {
    /// An empty answer that carries the problem; the front desk writes it out.
    fn into_response(self) -> Response {
        let mut response = self.0.code.http().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        let at = |pointer: &str, detail| vec![FieldError { pointer: pointer.to_owned(), detail }];
        match error {
            Error::NotFound(_)
            | Error::BatchNotFound(_)
            | Error::CallbackNotFound(_)
            | Error::QueueNotFound(_) => Self::new(Code::NotFound, detail),
            Error::Expired(id) => Self::of_gone(id, detail),
            Error::NotDone(_)
            | Error::OfBatch(_)
            | Error::BatchClosed
            | Error::NotRetried { .. }
            | Error::DeliveryOpen(_)
            | Error::TooManyCallbacks(_)
            | Error::CallbackWaits(_)
            | Error::CallbackPending(_) => Self::new(Code::InvalidState, detail),
            Error::IdConflict => Self::of_fields(Code::IdConflict, at("/id", detail)),
            Error::KeyMismatch(_) => Self::new(Code::IdempotencyMismatch, detail),
            Error::NotManual(job) | Error::AlreadyDone(job) => Self::of_state(job, detail),
            Error::InvalidLabel(_) => Self::of_fields(Code::InvalidValue, at("/function", detail)),
            Error::UnknownFunction { .. } => {
                Self::of_fields(Code::UnknownFunction, at("/function", detail))
            }
            Error::NotAllowed { .. } => Self::new(Code::Forbidden, detail),
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
            Error::QueueShutdown(_) => Self::new(Code::QueueShutdown, detail),
            Error::TooManyQueues(_) => Self::new(Code::InvalidValue, detail),
            Error::QueueFull { .. } | Error::TooManyManual(_) => {
                Self::new(Code::QueueFull, detail).retry_after(1)
            }
            Error::UnknownPlace => Self::of_fields(Code::InvalidValue, at("/after", detail)),
            Error::NoneOf(ids) => Self::of_none(&ids),
            Error::TooManyWatched(_) | Error::TooManyWaiters(_) => {
                Self::new(Code::TooManyWaiters, detail).retry_after(1)
            }
            Error::HungUp => Self::new(Code::BadRequest, detail),
            Error::Draining => Self::new(Code::Draining, detail).retry_after(5),
            Error::StorageFull => Self::new(Code::StorageFull, detail).retry_after(5),
            Error::DatabaseBusy => Self::new(Code::DatabaseBusy, detail).retry_after(1),
            Error::OutcomeUnknown => Self::new(Code::OutcomeUnknown, detail).retry_after(5),
            Error::Damaged(_) => Self::new(Code::Damaged, detail),
            Error::Internal(cause) => {
                tracing::error!(%cause, "a request failed");
                Self::new(Code::Internal, detail)
            }
        }
    }
}

/// As many as are told, none longer than it may be.
fn fitting(mut errors: Vec<FieldError>) -> Vec<FieldError> {
    errors.truncate(FIELDS_MAX);
    for FieldError { pointer, detail } in &mut errors {
        for long in [pointer, detail].into_iter().filter(|text| text.len() > FIELD_BYTES_MAX) {
            *long = text::head(long, FIELD_BYTES_MAX).into_owned();
        }
    }
    errors
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

/// For a request that another web site's page may have sent.
#[expect(clippy::needless_pass_by_value, reason = "the form that the layer asks for")]
pub(super) fn cross_origin(why: ProtectionError) -> Response {
    let detail = match why.kind() {
        ProtectionErrorKind::CrossOriginRequestFromOldBrowser => {
            "the Origin of the request is neither what its Host names nor a name that an operator gave with --host"
        }
        _ => "the browser says that a page of another origin sent the request",
    };
    Problem::new(Code::CrossOrigin, detail).into_response()
}

/// For a handler that panicked: the cause stays in the log.
#[expect(clippy::needless_pass_by_value, reason = "the form that the layer asks for")]
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    // Words that are made of values may hold what the client sent. Where it was, the panic itself has logged.
    let words = panic.downcast_ref::<&'static str>().copied();
    tracing::error!(panic = words.unwrap_or("(made of values)"), "a handler panicked");
    Problem::new(Code::Internal, "internal error").into_response()
}
