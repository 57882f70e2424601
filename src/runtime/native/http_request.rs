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

use crate::domain::{ErrorType, JobError, Json};
pub use crate::outbound::Client;
use crate::outbound::{
    CONTENT_TYPE, Error, HeaderMap, HeaderName, HeaderValue, Method, Overflow, Request, Response,
};

use super::{Call, Native, Refusal, task};

/// Longest time-out a call may ask for, in seconds.
const TIMEOUT_SECONDS_MAX: f64 = 3_600.0;
/// Largest body a call may ask to read: the largest result, less room for the rest of it.
const BODY_BYTES_MAX: usize = 6 * 1024 * 1024;

#[derive(Deserialize, JsonSchema)]
struct HttpRequest {
    url: String,
    #[serde(default = "get")]
    method: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    #[schemars(with = "Value", default = "no_json")]
    json: Option<Box<RawValue>>,
    #[serde(default = "thirty")]
    timeout_seconds: f64,
    #[serde(default = "one_mebibyte")]
    max_body_bytes: usize,
    #[serde(default)]
    follow_redirects: bool,
    #[serde(default)]
    raise_for_status: bool,
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

/// `http.request`, sending through `client`. A literal address that the policy denies is refused at
/// submission; a name is resolved, and may be denied, at each attempt.
pub(super) fn function(client: &Client) -> Native {
    let (client, policy) = (client.clone(), client.clone());
    task(move |call, arguments| request(client.clone(), call, arguments))
        .describe(
            "Sends an HTTP request and returns status, headers and body. An answer of 4xx or 5xx is a \
             result, unless raise_for_status is true.",
        )
        .check(move |arguments: &HttpRequest| {
            policy.policy().check_url(&arguments.url).map(drop).map_err(|denied| {
                if denied.is_policy() {
                    Refusal::EgressDenied(denied.to_string())
                } else {
                    Refusal::Invalid(denied.to_string())
                }
            })?;
            prepared(arguments).map(drop).map_err(|error| Refusal::Invalid(error.message))
        })
}

async fn request(client: Client, call: Call, asked: HttpRequest) -> Result<HttpResponse, JobError> {
    let (method, headers, body) = prepared(&asked)?;
    let url =
        client.policy().check_url(&asked.url).map_err(|denied| raised(&Error::Denied(denied)))?;
    let request = Request {
        method,
        url,
        headers,
        body,
        timeout: Duration::from_secs_f64(asked.timeout_seconds),
        max_body_bytes: asked.max_body_bytes,
        overflow: Overflow::Fail,
        follow_redirects: asked.follow_redirects,
    };
    let started = Instant::now();
    let response = tokio::select! {
        response = client.send(request) => response.map_err(|error| raised(&error))?,
        () = call.cancelled() => return Err(JobError::new("CancelledError", "asked to stop")),
    };
    if asked.raise_for_status && response.status >= 400 {
        return Err(status_error(&response));
    }
    Ok(shown(&response, started.elapsed()))
}

/// Method, headers and body of the request, or why there can be none.
fn prepared(asked: &HttpRequest) -> Result<(Method, HeaderMap, Bytes), JobError> {
    let refused = |message: String| JobError::new("ValueError", message);
    if !(0.001..=TIMEOUT_SECONDS_MAX).contains(&asked.timeout_seconds) {
        return Err(refused(format!("timeout_seconds is from 0.001 to {TIMEOUT_SECONDS_MAX}")));
    }
    if asked.max_body_bytes > BODY_BYTES_MAX {
        return Err(refused(format!("max_body_bytes is at most {BODY_BYTES_MAX}")));
    }
    if asked.body.is_some() && asked.json.is_some() {
        return Err(refused("give body or json, not both".to_owned()));
    }
    let method = Method::from_bytes(asked.method.as_bytes())
        .map_err(|_invalid| refused(format!("'{}' is no HTTP method", asked.method)))?;
    let mut headers = HeaderMap::new();
    for (name, value) in &asked.headers {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_invalid| refused(format!("'{name}' is no header name")))?;
        let value = HeaderValue::from_str(value)
            .map_err(|_invalid| refused(format!("the value of header '{name}' is not legal")))?;
        headers.insert(name, value);
    }
    let body = match (&asked.json, &asked.body) {
        (Some(json), _) => {
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
            Bytes::copy_from_slice(json.get().as_bytes())
        }
        (None, Some(body)) => Bytes::copy_from_slice(body.as_bytes()),
        (None, None) => Bytes::new(),
    };
    Ok((method, headers, body))
}

fn shown(response: &Response, elapsed: Duration) -> HttpResponse {
    let (body, body_encoding) = match std::str::from_utf8(&response.body) {
        Ok(text) => (text.to_owned(), "utf-8"),
        Err(_binary) => (STANDARD.encode(&response.body), "base64"),
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

fn status_error(response: &Response) -> JobError {
    let message = format!("the server answered {}", response.status);
    let details = Json::trusted(format!("{{\"status\":{}}}", response.status));
    JobError::new("HTTPError", message).retryable(response.status >= 500).with_details(details)
}

/// The error a Python programmer would expect, by name.
fn raised(error: &Error) -> JobError {
    let message = error.to_string();
    match error {
        Error::Denied(denied) if denied.is_policy() => {
            JobError::of(ErrorType::EgressDenied, message)
        }
        Error::Denied(_) => JobError::new("ValueError", message),
        Error::Timeout { .. } => JobError::new("TimeoutError", message).retryable(true),
        Error::TooLarge { .. } | Error::TooManyRedirects { .. } => {
            JobError::new("HTTPError", message)
        }
        _ => JobError::new("ConnectionError", message).retryable(true),
    }
}
