//! JSON as text that is known to be valid: checked once, never rebuilt.

use std::sync::{Arc, LazyLock};

use serde_json::value::RawValue;

mod broken;
mod readable;

pub use broken::{explained, members};
pub use readable::{Keys, check, mended};

/// A valid JSON text. Cheap to clone; kept as it was written, so numbers lose no digit.
#[derive(Clone)]
pub struct Json(Arc<RawValue>);

impl Json {
    /// Checks `text`; whitespace around the value is dropped.
    ///
    /// # Errors
    /// The parser's message if `text` is not one JSON value.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<&RawValue>(text).map(Self::of)
    }

    /// Takes a value that a parser has checked. It becomes one line, as it is sent in streams of lines.
    #[must_use]
    pub fn of(raw: &RawValue) -> Self {
        Self::on_one_line(raw.get()).unwrap_or_else(|| Self(raw.to_owned().into()))
    }

    /// The value of a text that has several lines; none if it has one. A line ends only between two tokens, where
    /// a space is as good (RFC 8259, section 2).
    fn on_one_line(text: &str) -> Option<Self> {
        let has_lines = text.as_bytes().contains(&b'\n') || text.as_bytes().contains(&b'\r');
        has_lines.then(|| Self::trusted(text.replace(['\n', '\r'], " ")))
    }

    /// Takes a text that was checked when it was stored.
    ///
    /// # Errors
    /// The parser's message: what was stored has changed since.
    pub fn kept(text: String) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text).map(|raw| Self(raw.into()))
    }

    /// Takes a text that we printed ourselves, piece by piece of values that were checked.
    #[must_use]
    pub fn trusted(text: impl Into<String>) -> Self {
        let kept = Self::kept(text.into());
        debug_assert!(kept.is_ok(), "a text of ours is not JSON");
        kept.unwrap_or_else(|_misprint| Self::of(RawValue::NULL))
    }

    /// The empty array, `[]`.
    #[must_use]
    pub fn empty_array() -> Self {
        static EMPTY: LazyLock<Json> = LazyLock::new(|| Json::trusted("[]"));
        EMPTY.clone()
    }

    /// The empty object, `{}`.
    #[must_use]
    pub fn empty_object() -> Self {
        static EMPTY: LazyLock<Json> = LazyLock::new(|| Json::trusted("{}"));
        EMPTY.clone()
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The same, as a printer of JSON takes it over.
    #[must_use]
    pub fn raw(&self) -> &RawValue {
        &self.0
    }

    /// Its length in bytes.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "the shortest JSON value has one byte")]
    pub fn len(&self) -> usize {
        self.as_str().len()
    }
}

impl From<Box<RawValue>> for Json {
    fn from(raw: Box<RawValue>) -> Self {
        Self::on_one_line(raw.get()).unwrap_or_else(|| Self(raw.into()))
    }
}

/// Texts are compared, not values: `1.0` is not `1`.
impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Json {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_line_and_its_strings_stay() {
        let json = Json::parse("[1,\r\n  \"a\\nb\",\n{\"c\":\t2}]\n").unwrap();
        assert_eq!(json.as_str(), "[1,    \"a\\nb\", {\"c\":\t2}]");
        assert_eq!(Json::parse("{ }").unwrap().as_str(), "{ }", "a line is taken as it is");
    }
}
