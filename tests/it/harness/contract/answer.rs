//! One answer as it was seen, held against its description.

use std::collections::BTreeMap;
use std::sync::Arc;

use jsonschema::{ValidationError, Validator, error::ValidationErrorKind};
use serde_json::Value;

pub(super) const PROBLEM: &str = "application/problem+json";

pub(super) type Answers = BTreeMap<u16, Answer>;

pub(super) struct Answer {
    /// By media type without parameters. Empty: this answer has no body.
    pub(super) bodies: BTreeMap<String, Body>,
    pub(super) headers: Vec<Header>,
}

pub(super) enum Body {
    /// Only documented, not looked into.
    Opaque,
    /// JSON of any shape. Not read into a `Value`, which cannot hold every number.
    AnyJson,
    Json(Arc<Validator>),
}

pub(super) struct Header {
    pub(super) name: String,
    pub(super) required: bool,
    /// The schema speaks of a number or a boolean, which the text of the header stands for.
    pub(super) typed: bool,
    pub(super) validator: Arc<Validator>,
}

/// What a client saw.
pub(super) struct Seen<'a> {
    /// The operation and status, the beginning of every complaint.
    pub(super) place: String,
    pub(super) head: bool,
    pub(super) status: u16,
    pub(super) content_type: Option<&'a str>,
    pub(super) headers: &'a [(String, String)],
    pub(super) body: &'a [u8],
}

impl Answer {
    pub(super) fn check(&self, seen: &Seen<'_>) -> Result<(), String> {
        let place = &seen.place;
        for header in &self.headers {
            header.check(seen.headers).map_err(|wrong| format!("{place}: {wrong}"))?;
        }
        if (seen.head || self.bodies.is_empty()) && !seen.body.is_empty() {
            return Err(format!("{place}: a body of {} bytes, none is allowed", seen.body.len()));
        }
        let Some(content_type) = seen.content_type else {
            let may_lack = seen.head || self.bodies.is_empty();
            return if may_lack { Ok(()) } else { Err(format!("{place}: no media type")) };
        };
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let essence = essence.to_ascii_lowercase();
        let body = self.bodies.get(&essence).ok_or_else(|| {
            let listed: Vec<&str> = self.bodies.keys().map(String::as_str).collect();
            format!("{place}: media type {essence} not documented, only [{}]", listed.join(", "))
        })?;
        if seen.head {
            return Ok(());
        }
        body.check(seen.body).map_err(|wrong| format!("{place}: body {wrong}"))?;
        if essence == PROBLEM { seen.check_problem() } else { Ok(()) }
    }
}

impl Body {
    fn check(&self, body: &[u8]) -> Result<(), String> {
        let not_json = |error: serde_json::Error| format!("is not JSON: {error}");
        match self {
            Self::Opaque => Ok(()),
            Self::AnyJson => {
                let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
                let read: Result<serde::de::IgnoredAny, _> = serde_json::from_str(text);
                read.map(|_| ()).map_err(not_json)
            }
            Self::Json(validator) => {
                fits(validator, &serde_json::from_slice(body).map_err(not_json)?)
            }
        }
    }
}

impl Header {
    fn check(&self, headers: &[(String, String)]) -> Result<(), String> {
        let named = |(name, _): &&(String, String)| name.eq_ignore_ascii_case(&self.name);
        let Some((_, text)) = headers.iter().find(named) else {
            let missing = format!("header {} is missing", self.name);
            return if self.required { Err(missing) } else { Ok(()) };
        };
        let as_text = || Value::String(text.clone());
        let value = match serde_json::from_str(text) {
            Ok(value) if self.typed => value,
            _ => as_text(),
        };
        fits(&self.validator, &value).map_err(|wrong| format!("header {} {wrong}", self.name))
    }
}

impl Seen<'_> {
    /// What a schema cannot say: a problem repeats the answer's status, its own code and the request's id.
    fn check_problem(&self) -> Result<(), String> {
        let place = &self.place;
        let problem: Value = serde_json::from_slice(self.body)
            .map_err(|error| format!("{place}: body is not JSON: {error}"))?;
        let named = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("x-request-id");
        let request_id = self.headers.iter().find(named).map(|(_, value)| value.as_str());
        let code = problem["code"].as_str().unwrap_or_default();
        let expected = [
            ("status", Value::from(self.status)),
            ("type", Value::from(format!("/problems/{code}"))),
            ("request_id", Value::from(request_id)),
        ];
        for (name, value) in expected {
            if problem[name] != value {
                return Err(format!("{place}: body at /{name}: {}, not {value}", problem[name]));
            }
        }
        Ok(())
    }
}

pub(super) fn fits(validator: &Validator, value: &Value) -> Result<(), String> {
    validator.validate(value).map_err(|error| explain(&error))
}

/// A failed `oneOf` alone says little: what each branch missed is what one wants to know.
fn explain(error: &ValidationError<'_>) -> String {
    let pointer = match error.instance_path().as_str() {
        "" => "at the top",
        pointer => &format!("at {pointer}"),
    };
    match error.kind() {
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            let branches: Vec<String> =
                context.iter().filter_map(|branch| branch.first()).map(explain).collect();
            format!("{pointer}: fits no branch: {}", branches.join("; or "))
        }
        _ => format!("{pointer}: {}", error.to_string().chars().take(300).collect::<String>()),
    }
}
