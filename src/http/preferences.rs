//! What a request prefers: the header `Prefer` (RFC 7240).

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};

use super::list_header;

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The preferences that mean something here. Others, and those with a value that means nothing, are ignored (RFC 7240,
/// section 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Preferences {
    /// `wait=N`: whole seconds.
    pub(super) wait_seconds: Option<u64>,
    /// `return=minimal`.
    pub(super) is_minimal: bool,
    /// Whether it says what is to be returned.
    has_return: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Preferences {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(&parts.headers))
    }
}

impl Preferences {
    fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        let given = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        given.flat_map(list_header::elements).for_each(|preference| found.add(preference));
        found
    }

    /// Of a preference that stands twice the first counts.
    pub(super) fn add(&mut self, preference: &str) {
        let without_parameters = list_header::without_parameters(preference);
        let Some((name, value)) = without_parameters.split_once('=') else { return };
        let (name, value) = (name.trim(), list_header::value(value));
        if name.eq_ignore_ascii_case("wait") {
            let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            // More than the type can hold is more than any server allows.
            let seconds = is_number.then(|| value.parse().unwrap_or(u64::MAX));
            self.wait_seconds = self.wait_seconds.or(seconds);
        } else if name.eq_ignore_ascii_case("return") && !self.has_return {
            (self.has_return, self.is_minimal) = (true, value.eq_ignore_ascii_case("minimal"));
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_first_wait_that_is_a_number_counts_and_the_rest_is_ignored() {
        for (given, wait_seconds, is_minimal) in [
            ("", None, false),
            ("wait=5", Some(5), false),
            ("respond-async, Wait = \"7\" ; x=1, wait=9", Some(7), false),
            ("wait, wait=, wait=-1, wait=1.5, wait=2", Some(2), false),
            ("wait=99999999999999999999", Some(u64::MAX), false),
            ("return=minimal", None, true),
            ("RETURN=\"Minimal\";a=b,wait=1", Some(1), true),
            ("return=representation", None, false),
            (r#"respond-async, foo="bar, wait=1", wait=9; x=y"#, Some(9), false),
            (r#"foo="a\", wait=1", wait="1\0""#, Some(10), false),
            (r#"foo; x="return=minimal, return=minimal""#, None, false),
            ("return=representation, return=minimal", None, false),
            ("return=minimal, return=representation", None, true),
        ] {
            let value = HeaderValue::from_str(given).expect("a header");
            let found = Preferences::of(&HeaderMap::from_iter([(PREFER, value)]));
            assert_eq!(
                (found.wait_seconds, found.is_minimal),
                (wait_seconds, is_minimal),
                "{given}"
            );
        }
    }
}
