//! What callers ask for, and the checks that need functions, queues and the egress policy.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use uuid::Uuid;

use crate::domain::{
    CallbackId, FunctionName, Hidden, Identity, JobId, Json, Metadata, NewCallback, OnInterrupt,
    Options, Pool, Priority, QueueName, Retry, RunAt, Spec, Start, Tags, Timestamp, text,
};
use crate::outbound::{HeaderName, HeaderValue, Secret};
use crate::runtime::{Function, Refusal};
use crate::store::Submission;

use super::keys::Asker;
use super::seal::CallbackSecrets;
use super::{Caller, Engine, Error, manual};

/// A call to be submitted.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Who asks for it.
    pub asker: Asker,
    /// The id that the client chose.
    pub id: Option<JobId>,
    /// The function's name; of a manual job a label, or none.
    pub function: Option<String>,
    /// Positional arguments, a JSON array.
    pub args: Json,
    /// Keyword arguments, a JSON object.
    pub kwargs: Json,
    /// The queue; if none is named that of the function, else `default`. A manual job is in none.
    pub queue: Option<QueueName>,
    /// How urgent it is there.
    pub priority: Priority,
    /// What becomes of it when the server does not survive an attempt; none: what its function says.
    pub on_interrupt: Option<OnInterrupt>,
    /// Words to find it by.
    pub tags: Tags,
    /// The client's notes.
    pub metadata: Metadata,
    /// When a failed attempt is followed by another; none: what its function says.
    pub retry: Option<Retry>,
    /// Limits of time, retention. Its retries are not used.
    pub options: Options,
    /// What the request is known by when it comes again.
    pub identity: Option<Box<Identity>>,
    /// When it may start.
    pub start: Start,
    /// Whom to tell when it is done, in order.
    pub callbacks: Vec<CallbackRequest>,
}

impl Default for NewJob {
    /// A call of nothing, without arguments, and with every option left out.
    fn default() -> Self {
        Self {
            asker: Asker::default(),
            id: None,
            function: None,
            args: Json::empty_array(),
            kwargs: Json::empty_object(),
            queue: None,
            priority: Priority::default(),
            on_interrupt: None,
            tags: Tags::default(),
            metadata: Metadata::default(),
            retry: None,
            options: Options::default(),
            identity: None,
            start: Start::default(),
            callbacks: Vec::new(),
        }
    }
}

/// A callback to be added.
#[derive(Clone)]
pub struct CallbackRequest {
    /// Where to POST.
    pub url: String,
    /// The secret to sign with, `whsec_…`; the server's if none is given.
    pub secret: Option<String>,
    /// Headers to send along.
    pub headers: Vec<(String, String)>,
}

impl std::fmt::Debug for CallbackRequest {
    /// Leaves out what was given in confidence.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let url = Hidden::of(&self.url);
        formatter.debug_struct("CallbackRequest").field("url", &url).finish_non_exhaustive()
    }
}

/// How far a cancel goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CancelMode {
    /// A running job is asked to stop, and given up after its grace (F4).
    #[default]
    Terminate,
    /// A running job is left alone, as Python's `cancel()` does (F1).
    Pending,
}

/// A cancel.
#[derive(Clone, Copy, Debug)]
pub struct CancelRequest {
    /// How far it goes.
    pub mode: CancelMode,
    /// How long a job that is asked to stop may take.
    pub grace_seconds: f64,
    /// How long to wait for its end.
    pub wait: Duration,
}

/// What a job calls.
struct Callee {
    name: FunctionName,
    pool: Pool,
    arguments: Json,
    function: Option<Arc<Function>>,
}

impl NewJob {
    /// The same, with what its function asks for where the request says nothing.
    pub(super) fn with(mut self, function: Option<&Function>) -> Self {
        let Some(Function { defaults, .. }) = function else { return self };
        self.queue = self.queue.or_else(|| defaults.queue.clone());
        self.on_interrupt = self.on_interrupt.or(defaults.on_interrupt);
        self.options.retry = self.retry.or(defaults.retry).unwrap_or_default();
        self.options.clocks = self.options.clocks.or(defaults.clocks);
        self
    }
}

impl Engine {
    /// The submission that `new` asks for, with its id and its time.
    pub(super) fn checked(&self, new: NewJob) -> Result<Submission, Error> {
        if self.shared.shutdown.draining.load(Ordering::Relaxed) {
            return Err(Error::Draining);
        }
        let callee = self.callee(&new)?;
        let new = new.with(callee.function.as_deref());
        let mut callbacks = Vec::with_capacity(new.callbacks.len());
        for (place, asked) in new.callbacks.iter().enumerate() {
            callbacks.push(self.checked_callback(Some(place), asked)?);
        }
        let created_at = self.now();
        let run_at = self.run_at(new.start, created_at);
        let spec = Spec {
            id: new.id.unwrap_or_else(|| JobId(Uuid::now_v7())),
            function: callee.name,
            args: Some(new.args),
            kwargs: Some(new.kwargs),
            queue: match new.options.manual {
                true => QueueName::none(),
                false => new.queue.unwrap_or_else(QueueName::default_queue),
            },
            priority: new.priority,
            on_interrupt: new.on_interrupt.unwrap_or_default(),
            tags: new.tags,
            metadata: new.metadata,
            options: Options {
                wall_ahead_ms: self.clock().wall_ahead_ms(),
                start_at: run_at,
                ..new.options
            },
            batch: None,
            created_at,
        };
        Ok(Submission {
            spec: Arc::new(spec),
            pool: callee.pool,
            run_at,
            callbacks,
            bound: callee.arguments,
            identity: new.identity,
        })
    }

    /// When a job that is submitted at `created_at` may start; none: at once.
    pub(super) fn run_at(&self, start: Start, created_at: Timestamp) -> Option<RunAt> {
        match start {
            Start::AtOnce | Start::After(0) => None,
            Start::After(milliseconds) => {
                Some(RunAt::Monotonic(created_at.plus_millis(milliseconds)))
            }
            Start::At(at) => (at > self.shared.clock.wall_now()).then_some(RunAt::Wall(at)),
        }
    }

    /// The function of that name.
    pub(super) fn known_function(&self, name: &str) -> Result<&Arc<Function>, Error> {
        self.function(name).ok_or_else(|| {
            let known = self.functions().map(|function| function.name.to_string()).collect();
            // A name that cannot be one leaves room for those that there are.
            let name = text::head(name, FunctionName::LENGTH_MAX).into_owned();
            Error::UnknownFunction { name, known }
        })
    }

    /// That whoever asks may call this function.
    pub(super) fn check_asker(function: &Function, asker: &Asker) -> Result<(), Error> {
        match function.scope() {
            Some(scope) if !asker.may_call(scope) => {
                Err(Error::NotAllowed { function: function.name.clone(), scope: scope.clone() })
            }
            _ => Ok(()),
        }
    }

    /// The function with its bound arguments. A manual job calls none.
    fn callee(&self, new: &NewJob) -> Result<Callee, Error> {
        if new.options.manual {
            let name = manual::label(new.function.as_deref()).map_err(Error::InvalidLabel)?;
            let arguments = Json::empty_object();
            return Ok(Callee { name, pool: Pool::Absent, arguments, function: None });
        }
        let function = self.known_function(new.function.as_deref().unwrap_or_default())?;
        Self::check_asker(function, &new.asker)?;
        let arguments = function.bind(&new.args, &new.kwargs).map_err(|refusal| match refusal {
            Refusal::EgressDenied(detail) => Error::EgressDenied { of: Caller::Function, detail },
            other => Error::InvalidArguments(other),
        })?;
        let (name, pool) = (function.name.clone(), function.pool());
        Ok(Callee { name, pool, arguments, function: Some(Arc::clone(function)) })
    }

    /// The callback that was asked for, with its id; `place` is where it stands in the request.
    pub(super) fn checked_callback(
        &self,
        place: Option<usize>,
        asked: &CallbackRequest,
    ) -> Result<NewCallback, Error> {
        let invalid = |field, detail| Error::InvalidCallback { callback: place, field, detail };
        check_sizes(asked).map_err(|(field, detail)| invalid(field, detail))?;
        let url = self.shared.client.policy().check_url(&asked.url).map_err(|denied| {
            let detail = denied.to_string();
            if denied.is_policy() {
                Error::EgressDenied { of: Caller::Callback(place), detail }
            } else {
                invalid("url", detail)
            }
        })?;
        if url.as_str().len() > NewCallback::URL_BYTES_MAX {
            return Err(invalid(
                "url",
                too_long("as it is sent, the URL", NewCallback::URL_BYTES_MAX),
            ));
        }
        if let Some(secret) = &asked.secret {
            Secret::parse(secret).map_err(|error| invalid("secret", error.to_string()))?;
        }
        for (name, value) in &asked.headers {
            check_header(name, value).map_err(|detail| invalid("headers", detail))?;
        }
        let id = CallbackId(Uuid::now_v7());
        let confidence =
            CallbackSecrets { secret: asked.secret.clone(), headers: asked.headers.clone() };
        let host = match (url.host_str(), url.port_or_known_default()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            _ => String::new(),
        };
        Ok(NewCallback {
            id,
            url: url.to_string(),
            host,
            sealed: self.shared.seal.seal(id, &confidence),
            created_at: self.clock().wall_now(),
            due_at: self.now(),
        })
    }
}

/// Headers that a callback may not set: ours, and those of the connection.
const HEADERS_OURS: [&str; 8] = [
    "connection",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];

/// What is kept of a callback has a limit: it stands with each of its deliveries, and on each page that shows it.
fn check_sizes(asked: &CallbackRequest) -> Result<(), (&'static str, String)> {
    let headers: usize = asked.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    let sizes = [
        ("url", "the URL", asked.url.len(), NewCallback::URL_BYTES_MAX),
        ("headers", "all headers together", headers, NewCallback::HEADERS_BYTES_MAX),
    ];
    match sizes.into_iter().find(|(_, _, bytes, most)| bytes > most) {
        Some((field, what, _, most)) => Err((field, too_long(what, most))),
        None => Ok(()),
    }
}

fn too_long(what: &str, bytes_max: usize) -> String {
    format!("{what} may have at most {bytes_max} bytes")
}

fn check_header(name: &str, value: &str) -> Result<(), String> {
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_invalid| format!("'{name}' is no header name"))?;
    if HEADERS_OURS.contains(&parsed.as_str()) {
        return Err(format!("header '{name}' is set by the server"));
    }
    HeaderValue::from_str(value)
        .map(drop)
        .map_err(|_invalid| format!("the value of header '{name}' is not legal"))
}
