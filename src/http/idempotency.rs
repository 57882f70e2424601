//! The header `Idempotency-Key`, and what makes two requests the same.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};

use crate::domain::{Fingerprint, IdempotencyKey, Identity, JobId, OwnedKey};
use crate::engine::Who;
use crate::engine::keys::Asker;

use super::Desk;
use super::problem::{Code, Problem};

pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Whose request it is, and the keys of its lines.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    id: String,
    /// The same, for what it may call.
    pub(super) asker: Asker,
}

impl Owner {
    /// Whose request it is.
    pub(super) fn of(parts: &Parts, desk: &Desk) -> Self {
        let key = match parts.extensions.get::<Who>() {
            Some(Who::Key(id)) => Some(id.as_ref().to_owned()),
            Some(Who::Connection(_) | Who::Strangers) | None => None,
        };
        Self { id: key.clone().unwrap_or_default(), asker: desk.door.asker(key) }
    }

    /// The key of a line, if it has one.
    pub(super) fn keyed(&self, key: Option<IdempotencyKey>) -> Keyed {
        let key = key.map(|key| OwnedKey { owner: self.id.clone(), key });
        Keyed { key, asker: self.asker.clone() }
    }
}

/// The request's idempotency key, if it has one, and who asks.
#[derive(Clone, Debug)]
pub(super) struct Keyed {
    key: Option<OwnedKey>,
    pub(super) asker: Asker,
}

impl FromRequestParts<Arc<Desk>> for Keyed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Arc<Desk>) -> Result<Self, Problem> {
        let mut given = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = given.next() else { return Ok(Owner::of(parts, desk).keyed(None)) };
        if given.next().is_some() {
            return Err(Problem::new(Code::BadRequest, "the header Idempotency-Key stands twice"));
        }
        let key = read(value).ok_or_else(|| {
            let detail = format!(
                "an Idempotency-Key is 1 to {} printable characters of ASCII, bare or in double quotes",
                IdempotencyKey::LENGTH_MAX
            );
            Problem::new(Code::BadRequest, detail)
        })?;
        Ok(Owner::of(parts, desk).keyed(Some(key)))
    }
}

impl Keyed {
    /// What the request is known by when it comes again; none if it has neither a key nor a chosen id. How
    /// long it waits stands in the query, and makes no other request of it.
    pub(super) fn identity(
        self,
        method: &str,
        path: &str,
        chosen: Option<JobId>,
        body: &[u8],
    ) -> Option<Box<Identity>> {
        let (key, chooses_id) = (self.key, chosen.is_some());
        if key.is_none() && !chooses_id {
            return None;
        }
        let fingerprint = fingerprint(method, path, body);
        Some(Box::new(Identity { key, chooses_id, fingerprint }))
    }
}

/// A method has no space and a path no line end, so no two requests give the same bytes.
fn fingerprint(method: &str, path: &str, body: &[u8]) -> Fingerprint {
    let mut digest = Sha256::new();
    for part in [method.as_bytes(), b" ", path.as_bytes(), b"\n", body] {
        digest.update(part);
    }
    Fingerprint(digest.finalize().into())
}

/// A key is bare, or in quotes as RFC 9651 (section 3.3.3) has strings: the same characters, the same key.
pub(super) fn read(value: &HeaderValue) -> Option<IdempotencyKey> {
    let text = value.to_str().ok()?;
    let key = match text.strip_prefix('"') {
        None => IdempotencyKey::new(text),
        Some(quoted) => IdempotencyKey::new(&unquoted(quoted)?),
    };
    key.ok()
}

/// What stands before the closing quote, which must be the end.
fn unquoted(quoted: &str) -> Option<String> {
    let mut text = String::with_capacity(quoted.len());
    let mut rest = quoted.chars();
    loop {
        match rest.next()? {
            '"' => return rest.next().is_none().then_some(text),
            '\\' => text.push(rest.next().filter(|next| matches!(next, '"' | '\\'))?),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value: &str) -> Option<String> {
        read(&HeaderValue::from_str(value).expect("a header")).map(|key| key.as_str().to_owned())
    }

    #[test]
    fn g8_quoted_and_bare_keys_with_the_same_characters_are_the_same() {
        for (value, expected) in [
            ("abc", "abc"),
            ("\"abc\"", "abc"),
            ("a b", "a b"),
            ("\"a b\"", "a b"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            (r#"a"b\c"#, r#"a"b\c"#),
            (r#""\"a\"""#, r#""a""#),
        ] {
            assert_eq!(key(value).as_deref(), Some(expected), "{value}");
        }
        let longest = "x".repeat(IdempotencyKey::LENGTH_MAX);
        assert_eq!(key(&longest), key(&format!("\"{longest}\"")));
        assert!(key(&longest).is_some());
    }

    #[test]
    fn g8_a_key_that_is_empty_too_long_or_not_closed_is_none() {
        let long = "x".repeat(IdempotencyKey::LENGTH_MAX + 1);
        let quoted = format!("\"{long}\"");
        for value in ["", "\"\"", "\"abc", "\"", "\"a\"b", "\"a\";q=1", r#""a\n""#, &long, &quoted]
        {
            assert_eq!(key(value), None, "{value}");
        }
        let bytes = HeaderValue::from_bytes("schlüssel".as_bytes()).expect("a header");
        assert_eq!(read(&bytes), None);
    }

    #[test]
    fn g8_method_path_and_body_make_the_fingerprint() {
        let one = fingerprint("POST", "/v1/jobs", b"{}");
        assert_eq!(one, fingerprint("POST", "/v1/jobs", b"{}"));
        for other in [
            fingerprint("PUT", "/v1/jobs", b"{}"),
            fingerprint("POST", "/v1/batches", b"{}"),
            fingerprint("POST", "/v1/jobs", b"{} "),
            fingerprint("POST", "/v1/jobs\n", b"{}"),
        ] {
            assert_ne!(one, other);
        }
    }
}
