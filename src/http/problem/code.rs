//! Every code that a failed answer can carry, with its status and what it means.

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use crate::http::extract::Query;

use super::Problem;

macro_rules! codes {
    ($($code:ident $word:literal $status:literal $title:literal $explanation:literal)*) => {
        /// Every code that an answer can carry; clients tell failures apart by it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(in crate::http) enum Code { $($code),* }

        impl Code {
            fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$code),)* _ => None }
            }

            pub(super) fn word(self) -> &'static str {
                match self { $(Self::$code => $word),* }
            }

            pub(super) fn status(self) -> u16 {
                match self { $(Self::$code => $status),* }
            }

            pub(super) fn title(self) -> &'static str {
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
        "The body does not parse, has a key twice, is nested deeper than 64 levels, or contains what not every reader takes: U+0000, one half of a surrogate pair, or a number beyond a double. Nothing was written."
    UnknownField "unknown_field" 400 "The body has a field that is not known"
        "A misspelt option would be ignored silently, so it is refused. The pointers say which fields; the contract lists those that exist. Nothing was written."
    LinesLost "lines_lost" 400 "Other lines came than the client sent"
        "The client said how many lines it sends, and another number came. Each line that came has its answer, and what was accepted stands; but something between the client and the server has lost some, or added some. Some proxies do so with a body that is sent bit by bit: send `Connection: close` or `Expect: 100-continue` through them, or have them replaced."
    HalfDuplex "half_duplex" 400 "Answers must be read while lines are sent"
        "The client sends all of its lines before it reads an answer, and the answers to those that came filled all that lies between it and the server: neither could go on. What it sent since was thrown away; each line that came has its answer, and what was accepted stands. Read while you send (curl, aiohttp, Node's fetch do), submit a batch and read its results, or, with `POST /v1/jobs/lines`, ask for `Prefer: return=minimal`."
    Unauthenticated "unauthenticated" 401 "A key is needed"
        "Send `Authorization: Bearer fut_…`. An operator makes a key with `futurity keys create`. A key that was revoked is not known any more; one may also have expired. If that happens while a request is under way, it ends so, unless its answer has begun."
    Forbidden "forbidden" 403 "The key does not allow this"
        "A key allows what its scopes say: `submit`, `read`, `manage`, or `admin` for everything. The detail says which is needed. An operator makes one with `futurity keys create --scope …`."
    CrossOrigin "cross_origin" 403 "A page of another origin may not do this"
        "A browser sends what any page tells it to, so whatever changes something is refused if it comes from another origin than the server's own. The headers `Sec-Fetch-Site` and `Origin` say where it comes from; programs that are no browsers send neither. Nothing was written."
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
        "Only a manual job is completed by a request, and only once: its first end stands, and the same one again is answered with it (Python's `InvalidStateError`). Only a job that is done, and of which no delivery is open, can be deleted; only a callback whose delivery is over can be delivered again; a job, and a batch, has at most 1,000 callbacks. Nothing was changed."
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
        "The queue holds as many waiting jobs as it may: try again when some have run. Or as many manual jobs wait as may: complete or cancel some, or raise `manual_jobs` in `[limits]`. The detail says which. Nothing was written."
    TooManyWaiters "too_many_waiters" 429 "Too many requests are waiting"
        "Ask again without `wait`, or later."
    Internal "internal" 500 "The server failed"
        "It is our mistake, and it is in the server's log under the request id."
    Damaged "damaged" 500 "What is kept does not read back as it was written"
        "The disk, or something that wrote to it, has altered a value. It is not shown as if nothing had happened. An operator restores a backup; `futurity fsck` lists what is damaged."
    NotImplemented "not_implemented" 501 "The transfer coding is not known"
        "A body comes in chunks (`Transfer-Encoding: chunked`) or as long as its `Content-Length` says. Nothing was written."
    Draining "draining" 503 "The server is stopping"
        "It takes no more jobs. What it accepted is safe and goes on at the next start."
    StorageFull "storage_full" 503 "The disk is full"
        "Nothing was written. What was accepted before is safe. An operator makes room; the server recovers by itself."
    DatabaseBusy "database_busy" 503 "The database cannot be written now"
        "Another process has locked the database file, or memory is short. Nothing was written. What was accepted before is safe, and what runs goes on; its outcomes are recorded when the database is free. Try again."
    Overloaded "overloaded" 503 "The server is overloaded"
        "Other requests hold all the memory that bodies and answers of this key may have. Try again after `Retry-After`. Nothing was written. An operator sets `incoming_bytes` and `outgoing_bytes` in `[limits]`."
    KeysUnreadable "keys_unreadable" 503 "The keys cannot be read"
        "While the file of keys cannot be read nobody is let in. Nothing was written. An operator mends it; the server recovers by itself."
    OutcomeUnknown "outcome_unknown" 503 "It is not known whether the write happened"
        "The disk failed during the commit. Look for the job before you send it again."
}

impl Code {
    /// Its status, as the framework has it.
    pub(super) fn http(self) -> StatusCode {
        StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// `GET /problems/{code}`: what a code means, and what to do.
pub(in crate::http) async fn explain(
    Path(word): Path<String>,
    query: Query,
) -> Result<Response, Problem> {
    query.only(&[])?;
    let Some(code) = Code::parse(&word) else {
        return Err(Problem::new(Code::NotFound, format!("there is no problem named '{word}'")));
    };
    let (word, title, status) = (code.word(), code.title(), code.status());
    let text = format!("# {title}\n\n`{word}`, HTTP status {status}.\n\n{}\n", code.explanation());
    let markdown = HeaderValue::from_static("text/markdown; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, markdown)], text).into_response())
}
