//! What strangers send over HTTP, read without a server: no bytes make a reader panic, and what is taken keeps its promise.

use std::hint::black_box;

use axum::http::{HeaderMap, HeaderValue, header};

use super::members::Members;
use super::{admit, clocks, conditional, idempotency, list, moment, strict, submission};

/// A body: what is taken is JSON, has no U+0000, and is no deeper than allowed.
pub fn body(bytes: &[u8]) {
    let Ok(raw) = strict::parse(bytes) else { return };
    let value: serde_json::Value = match serde_json::from_str(raw.get()) {
        Ok(value) => value,
        Err(error) => return assert!(is_kept_as_written(&error.to_string()), "{error}"),
    };
    assert!(!has_nul(&value), "U+0000 was taken");
    drop(submission::new_job(raw));
    drop(submission::callback(raw));
    drop(submission::batch_callback(raw));
}

/// Numbers beyond all doubles and halves of surrogate pairs are JSON that no Rust value can hold: they are kept as written.
fn is_kept_as_written(error: &str) -> bool {
    error.contains("number out of range") || error.contains("hex escape")
}

fn has_nul(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => text.contains('\0'),
        serde_json::Value::Array(items) => items.iter().any(has_nul),
        serde_json::Value::Object(fields) => {
            fields.iter().any(|(key, value)| key.contains('\0') || has_nul(value))
        }
        _ => false,
    }
}

/// The values of parameters.
pub fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    drop(moment::not_before(text));
    drop(list::read_plain_token(text));
    drop(list::read_token(text, "0123"));
    drop(list::batch_id(text));
    drop(clocks::timeout_ms(text));
    drop(clocks::retention_ms(text));
    drop(Members::read(Some(text)));
}

/// The values of header fields.
pub fn headers(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    if let Ok(text) = value.to_str() {
        let name = admit::without_port(text);
        assert!(text.starts_with(name), "a part of what was given");
        assert!(
            !admit::is_local(name) || !name.contains('.') || name.starts_with("127."),
            "{name}"
        );
        super::preferences::Preferences::default().add(black_box(text));
    }
    drop(idempotency::read(&value));
    let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, value)]);
    drop(conditional::Known::read(&headers));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::domain::example::mangled;

    const BODIES: &[&str] = &[
        r#"{"function":"echo","args":["\ud800", "\udead\ud800"]}"#,
        r#"{"function":"echo","args":[1,"\ud83d\ude00"],"kwargs":{"a":{"b":[null,1e9]}}}"#,
        r#"{"function":"f","delay_seconds":1.5,"retry":{"max_attempts":3},"tags":["a"],"metadata":{"k":"v"}}"#,
        r#"{"url":"https://example.com/","secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw","headers":{"x":"y"}}"#,
        r#"{"manual":true,"id":"0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e6f","run_at":"2026-01-01T00:00:00Z"}"#,
    ];
    const TEXTS: &[&str] = &[
        "2026-01-31T12:00:00.000Z",
        "wait=10; a=b, respond-async",
        "\"3\", W/\"4\", *",
        "id,state,done",
        "1.5",
        "localhost:8080",
        "[::1]:80",
        "127.0.0.1",
        "0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e6f",
        "MTIzNA",
    ];

    proptest! {
        #[test]
        fn no_body_makes_a_reader_panic(bytes in mangled(BODIES)) {
            super::body(&bytes);
        }

        #[test]
        fn no_parameter_and_no_field_makes_a_reader_panic(bytes in mangled(TEXTS)) {
            super::query(&bytes);
            super::headers(&bytes);
        }
    }
}
