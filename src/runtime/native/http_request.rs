//! `http.request`: one outgoing request under the egress policy, as a task.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use crate::domain::{ErrorType, JobError, Json};
pub use crate::outbound::Client;
use crate::outbound::{
    self, CONNECT_TIMEOUT, CONTENT_TYPE, End, Error, HeaderMap, HeaderName, HeaderValue, Method,
    Purpose, Request, Response,
};
use crate::runtime::Fault;

use super::{Call, CallSecrets, Native, Refusal, task};

/// Longest time-out a call may ask for, in seconds.
const TIMEOUT_SECONDS_MAX: f64 = 3_600.0;
/// Largest body a call may ask to read: the largest result, less room for the rest of it.
const BODY_BYTES_MAX: usize = 6 * 1024 * 1024;
/// A body tells how far it is after so many more bytes.
const TOLD_BYTES: usize = 64 * 1024;
/// Statuses below 500 that mean "later": time-out, too early, too many requests.
const LATER: [u16; 3] = [408, 425, 429];

/// Whether `Retry-After` beside that status says when to ask again.
fn says_when(status: u16) -> bool {
    matches!(status, 429 | 503)
}

#[derive(Deserialize, JsonSchema)]
struct HttpRequest {
    url: String,
    #[serde(default = "get")]
    method: String,
    #[serde(default)]
    headers: BTreeMap<String, HeaderText>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    body_base64: Option<String>,
    #[serde(default)]
    #[schemars(with = "Value", default = "no_json")]
    json: Option<Box<RawValue>>,
    #[serde(default = "thirty")]
    timeout_seconds: f64,
    #[serde(default = "ten")]
    connect_timeout_seconds: f64,
    #[serde(default = "one_mebibyte")]
    max_body_bytes: usize,
    #[serde(default)]
    follow_redirects: bool,
    #[serde(default)]
    raise_for_status: bool,
}

/// The value of a header.
#[derive(Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "the value of a header is a text, or {\"secret\": NAME, \"prefix\": TEXT}"
)]
enum HeaderText {
    Text(String),
    Secret(Named),
}

/// A secret that the server keeps: only its name is in the job.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Named {
    secret: String,
    /// What stands before it, such as `"Bearer "`.
    #[serde(default)]
    prefix: String,
}

fn get() -> String {
    "GET".to_owned()
}

fn no_json() -> Value {
    Value::Null
}

fn thirty() -> f64 {
    30.0
}

fn ten() -> f64 {
    CONNECT_TIMEOUT.as_secs_f64()
}

fn one_mebibyte() -> usize {
    1024 * 1024
}

#[derive(Serialize)]
struct HttpResponse {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
    body_encoding: &'static str,
    url: String,
    elapsed_ms: u64,
}

/// `http.request`, sending through `client`, and of `secrets` what a call names. A literal address that the policy denies is refused at
/// submission; a name is resolved, and may be denied, at each attempt.
pub(super) fn function(client: &Client, secrets: &CallSecrets) -> Native {
    let (client, policy) = (client.clone(), client.clone());
    let (secrets, known) = (secrets.clone(), secrets.clone());
    task(move |call, arguments| request(client.clone(), secrets.clone(), call, arguments))
        .describe(
            "Sends an HTTP request and returns status, headers and body. An answer of 4xx or 5xx is a \
             result, unless raise_for_status is true. The value of a header may be {\"secret\": NAME, \"prefix\": \
             TEXT}: a secret that the server keeps.",
        )
        .check(move |arguments: &HttpRequest| {
            let url = policy.policy().check_url(&arguments.url).map_err(|denied| {
                if denied.is_policy() {
                    Refusal::EgressDenied(denied.to_string())
                } else {
                    unfit("/url", denied.to_string()).into()
                }
            })?;
            let faults = unsent(arguments, &known, &url);
            if !faults.is_empty() {
                return Err(Refusal::values(faults));
            }
            Ok(prepared(arguments, &known, &url).map(drop)?)
        })
}

/// Secrets that are not sent there, or are not known.
fn unsent(asked: &HttpRequest, secrets: &CallSecrets, url: &Url) -> Vec<Fault> {
    let fault = |(header, value): (&String, &HeaderText)| match value {
        HeaderText::Text(_) => None,
        HeaderText::Secret(named) => {
            let detail = secrets.value(&named.secret, url).err()?.to_string();
            let header = header.replace('~', "~0").replace('/', "~1");
            Some(Fault { pointer: format!("/headers/{header}/secret"), detail })
        }
    };
    asked.headers.iter().filter_map(fault).collect()
}

async fn request(
    client: Client,
    secrets: CallSecrets,
    call: Call,
    asked: HttpRequest,
) -> Result<HttpResponse, JobError> {
    tokio::select! {
        answered = exchange(client, &secrets, &call, asked) => answered,
        () = call.cancelled() => Err(JobError::new("CancelledError", "asked to stop")),
    }
}

async fn exchange(
    client: Client,
    secrets: &CallSecrets,
    call: &Call,
    asked: HttpRequest,
) -> Result<HttpResponse, JobError> {
    let url =
        client.policy().check_url(&asked.url).map_err(|denied| raised(&Error::Denied(denied)))?;
    let (method, headers, body) = prepared(&asked, secrets, &url)?;
    let request = Request {
        method,
        url,
        headers,
        body,
        purpose: Purpose::Call,
        connect_timeout: Duration::from_secs_f64(asked.connect_timeout_seconds),
        timeout: Duration::from_secs_f64(asked.timeout_seconds),
        follow_redirects: asked.follow_redirects,
    };
    let started = Instant::now();
    let mut response = client.send(request).await.map_err(|error| raised(&error))?;
    if asked.raise_for_status && response.status >= 400 {
        return Err(status_error(&response));
    }
    let body = whole_body(&mut response, call, asked.max_body_bytes).await?;
    Ok(shown(&response, &body, started.elapsed()))
}

/// Reads the body, and tells how far it is while it is a long one.
async fn whole_body(
    response: &mut Response,
    call: &Call,
    limit_bytes: usize,
) -> Result<Bytes, JobError> {
    let announced = response.body.announced_bytes();
    let mut told_to = 0;
    let read = response.body.read(limit_bytes, limit_bytes, |bytes| {
        if bytes - told_to >= TOLD_BYTES {
            told_to = bytes;
            tell(call, bytes, announced);
        }
    });
    let read = read.await;
    match read.end {
        End::Whole => Ok(read.bytes),
        End::Cut => {
            let message = format!("the body of the answer is larger than {limit_bytes} bytes");
            Err(JobError::new("HTTPError", message))
        }
        End::Failed(error) => Err(raised(&error)),
    }
}

fn tell(call: &Call, bytes: usize, announced: Option<u64>) {
    #[expect(clippy::cast_precision_loss, reason = "a fraction needs no more than a few digits")]
    let fraction = announced.map(|all| bytes as f64 / all as f64);
    let message = match announced {
        Some(all) => format!("{bytes} of {all} bytes"),
        None => format!("{bytes} bytes"),
    };
    call.progress(fraction, message);
}

/// What is wrong with a value, and the name of its error once the job runs.
struct Unfit {
    name: &'static str,
    fault: Fault,
}

/// What is wrong with a value, which stands there in the arguments.
fn unfit(pointer: impl AsRef<str>, detail: impl AsRef<str>) -> Unfit {
    Unfit { name: "ValueError", fault: Fault::new(pointer.as_ref(), detail.as_ref()) }
}

impl From<Unfit> for Refusal {
    fn from(Unfit { fault, .. }: Unfit) -> Self {
        fault.into()
    }
}

impl From<Unfit> for JobError {
    fn from(unfit: Unfit) -> Self {
        Self::new(unfit.name, unfit.fault.detail)
    }
}

/// Method, headers and body of the request, or why there can be none.
fn prepared(
    asked: &HttpRequest,
    secrets: &CallSecrets,
    url: &Url,
) -> Result<(Method, HeaderMap, Bytes), Unfit> {
    let timeouts = [
        ("timeout_seconds", asked.timeout_seconds),
        ("connect_timeout_seconds", asked.connect_timeout_seconds),
    ];
    for (name, seconds) in timeouts {
        if !(0.001..=TIMEOUT_SECONDS_MAX).contains(&seconds) {
            let detail = format!("{name} is from 0.001 to {TIMEOUT_SECONDS_MAX}");
            return Err(unfit(format!("/{name}"), detail));
        }
    }
    if asked.max_body_bytes > BODY_BYTES_MAX {
        let detail = format!("max_body_bytes is at most {BODY_BYTES_MAX}");
        return Err(unfit("/max_body_bytes", detail));
    }
    let mut headers = headers(asked, secrets, url)?;
    let (method, body) = (method(asked)?, body(asked)?);
    if asked.json.is_some() {
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    }
    Ok((method, headers, body))
}

/// Servers know methods by capital letters only.
fn method(asked: &HttpRequest) -> Result<Method, Unfit> {
    let name = asked.method.to_ascii_uppercase();
    let no_method = || unfit("/method", format!("'{}' is no HTTP method", asked.method));
    let method = Method::from_bytes(name.as_bytes()).map_err(|_invalid| no_method())?;
    if outbound::is_forbidden(&method) {
        let detail = format!("the method {method} is not sent to other servers");
        return Err(unfit("/method", detail));
    }
    Ok(method)
}

/// No header that is given is left out silently.
fn headers(asked: &HttpRequest, secrets: &CallSecrets, url: &Url) -> Result<HeaderMap, Unfit> {
    let mut headers = HeaderMap::new();
    for (given, value) in &asked.headers {
        let at = || format!("/headers/{}", given.replace('~', "~0").replace('/', "~1"));
        let name = HeaderName::from_bytes(given.as_bytes())
            .map_err(|_invalid| unfit(at(), format!("'{given}' is no header name")))?;
        if outbound::is_of_connection(&name) {
            let detail = format!("header '{given}' belongs to the connection, and is set for it");
            return Err(unfit(at(), detail));
        }
        let illegal = || unfit(at(), format!("the value of header '{given}' is not legal"));
        let value = match value {
            HeaderText::Text(text) => HeaderValue::from_str(text).map_err(|_invalid| illegal())?,
            HeaderText::Secret(Named { secret, prefix }) => {
                // The settings may be others than at the submission.
                let kept = secrets.value(secret, url);
                let kept = kept.map_err(|error| Unfit {
                    name: "PermissionError",
                    ..unfit(format!("{}/secret", at()), error.to_string())
                })?;
                let text = format!("{prefix}{kept}");
                let mut value = HeaderValue::from_str(&text).map_err(|_invalid| illegal())?;
                // It is not taken along to another origin.
                value.set_sensitive(true);
                value
            }
        };
        if headers.insert(name, value).is_some() {
            let detail = format!("header '{given}' stands there twice, in other letters");
            return Err(unfit(at(), detail));
        }
    }
    Ok(headers)
}

fn body(asked: &HttpRequest) -> Result<Bytes, Unfit> {
    let bodies = [
        ("/body", asked.body.is_some()),
        ("/body_base64", asked.body_base64.is_some()),
        ("/json", asked.json.is_some()),
    ];
    let second = bodies.into_iter().filter(|(_, is_given)| *is_given).nth(1);
    if let Some((pointer, _)) = second {
        return Err(unfit(pointer, "give one of body, body_base64 and json"));
    }
    let texts = [asked.json.as_deref().map(RawValue::get), asked.body.as_deref()];
    if let Some(text) = texts.into_iter().flatten().next() {
        return Ok(Bytes::copy_from_slice(text.as_bytes()));
    }
    let encoded = asked.body_base64.as_deref().unwrap_or_default();
    let no_base64 = |error| unfit("/body_base64", format!("body_base64 is no base64: {error}"));
    STANDARD.decode(encoded).map(Bytes::from).map_err(no_base64)
}

fn shown(response: &Response, body: &[u8], elapsed: Duration) -> HttpResponse {
    // No text has U+0000, so that every reader of JSON takes it.
    let (body, body_encoding) = match std::str::from_utf8(body) {
        Ok(text) if !text.contains('\0') => (text.to_owned(), "utf-8"),
        Ok(_) | Err(_) => (STANDARD.encode(body), "base64"),
    };
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in &response.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        // Repeated fields are one list, as RFC 9110, section 5.3 has it.
        headers
            .entry(name.to_string())
            .and_modify(|list| *list = format!("{list}, {value}"))
            .or_insert_with(|| value.into_owned());
    }
    HttpResponse {
        status: response.status,
        headers,
        body,
        body_encoding,
        url: response.url.to_string(),
        elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
    }
}

/// An answer that says "later" is worth another attempt, when the server wants it.
fn status_error(response: &Response) -> JobError {
    let status = response.status;
    let details = Json::trusted(format!("{{\"status\":{status}}}"));
    let error = JobError::new("HTTPError", format!("the server answered {status}"));
    let retry_after = response.headers.get("retry-after").and_then(|it| it.to_str().ok());
    let retry_after = retry_after.and_then(outbound::retry_after);
    let error = error.with_retry_after(retry_after.filter(|_| says_when(status)));
    error.retryable(status >= 500 || LATER.contains(&status)).with_details(details)
}

/// The error a Python programmer would expect, by name.
fn raised(error: &Error) -> JobError {
    let message = error.to_string();
    match error {
        Error::Denied(denied) if denied.is_policy() => {
            JobError::of(ErrorType::EgressDenied, message)
        }
        Error::Denied(_) => JobError::new("ValueError", message),
        Error::Timeout { .. } | Error::ConnectTimeout { .. } => {
            JobError::new("TimeoutError", message).retryable(true)
        }
        Error::TooManyRedirects { .. } => JobError::new("HTTPError", message),
        _ => JobError::new("ConnectionError", message).retryable(true),
    }
}
