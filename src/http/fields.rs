//! The fields of a request's body, read one by one: every fault gets its JSON Pointer.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::domain::Invalid;

use super::extract::{JsonBody, Query};
use super::limits::OTHER;
use super::problem::{Code, FieldError, Problem, invalid};

/// The object at `pointer`, whose fields are taken out one after the other.
pub(super) struct Fields<'a> {
    pointer: String,
    remaining: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// What is wrong inside the fields that were taken.
    faults: Faults,
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Fields(<{} of them>)", self.remaining.len())
    }
}

impl<'a> Fields<'a> {
    /// Reads `value`, which must be an object.
    pub(super) fn of(pointer: &str, value: &'a RawValue) -> Result<Self, FieldError> {
        match serde_json::from_str::<Entries<'a>>(value.get()) {
            Ok(entries) => {
                let pointer = pointer.to_owned();
                Ok(Self { pointer, remaining: entries.0, faults: Faults::default() })
            }
            Err(_not_an_object) => Err(FieldError {
                pointer: pointer.to_owned(),
                detail: format!("must be an object, not {}", kind(value)),
            }),
        }
    }

    /// The field `name` as it stands. `null` is a value, and of a wrong type wherever another is asked for.
    pub(super) fn raw(&mut self, name: &str) -> Option<&'a RawValue> {
        let place = self.remaining.iter().position(|(field, _)| field == name)?;
        Some(self.remaining.swap_remove(place).1)
    }

    /// The field `name` as a `T`, which is called `expected` in words.
    pub(super) fn take<T: DeserializeOwned>(&mut self, name: &str, expected: &str) -> Option<T> {
        let value = self.raw(name)?;
        let read = serde_json::from_str(without_fraction(value.get()));
        if read.is_err() {
            let detail = match kind(value) {
                kind if kind == expected => "is a number that is too large".to_owned(),
                kind => format!("must be {expected}, not {kind}"),
            };
            self.refuse(name, detail);
        }
        read.ok()
    }

    /// The field `name` as a `T`, checked by `check`.
    pub(super) fn checked<T: DeserializeOwned, U>(
        &mut self,
        name: &str,
        expected: &str,
        check: impl FnOnce(T) -> Result<U, Invalid>,
    ) -> Option<U> {
        let value = self.take(name, expected)?;
        check(value).map_err(|error| self.faults.values.push(invalid(self.at(name), error))).ok()
    }

    /// A field that must be given.
    pub(super) fn required<T>(&mut self, name: &str, found: Option<T>) -> Option<T> {
        if found.is_some() {
            return found;
        }
        let pointer = self.at(name);
        if !self.faults.values.iter().any(|error| error.pointer == pointer) {
            self.refuse(name, "is required".to_owned());
        }
        found
    }

    /// Says what is wrong with the field `name`.
    pub(super) fn refuse(&mut self, name: &str, detail: String) {
        self.faults.values.push(FieldError { pointer: self.at(name), detail });
    }

    /// Adds the faults of an object or array inside this one.
    pub(super) fn adopt(&mut self, faults: Faults) {
        self.faults.values.extend(faults.values);
        self.faults.unknown.extend(faults.unknown);
    }

    /// The pointer to the field `name`.
    pub(super) fn at(&self, name: &str) -> String {
        let name = name.replace('~', "~0").replace('/', "~1");
        format!("{}/{name}", self.pointer)
    }

    /// What is wrong, and what nobody asked for.
    pub(super) fn faults(mut self) -> Faults {
        let remaining = std::mem::take(&mut self.remaining);
        let unknown: Vec<String> = remaining.iter().map(|(name, _)| self.at(name)).collect();
        self.faults.unknown.extend(unknown);
        self.faults
    }
}

/// Everything that is wrong with an object.
#[derive(Default)]
pub(super) struct Faults {
    values: Vec<FieldError>,
    unknown: Vec<String>,
}

impl fmt::Debug for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Faults(<{} of them>)", self.values.len() + self.unknown.len())
    }
}

impl Faults {
    /// Nothing, or one problem that tells all of it.
    pub(super) fn into_result(self) -> Result<(), Problem> {
        if !self.unknown.is_empty() {
            let error =
                |pointer| FieldError { pointer, detail: "there is no such field".to_owned() };
            let errors = self.unknown.into_iter().map(error).collect();
            return Err(Problem::of_fields(Code::UnknownField, errors));
        }
        if !self.values.is_empty() {
            return Err(Problem::of_fields(Code::InvalidValue, self.values));
        }
        Ok(())
    }
}

impl From<FieldError> for Faults {
    fn from(error: FieldError) -> Self {
        Self { values: vec![error], unknown: Vec::new() }
    }
}

impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        Self::of_fields(Code::InvalidValue, vec![error])
    }
}

/// A number that is whole as an integer is written: in JSON Schema `4.0` is as whole as `4`, and `-0` is 0. Any
/// other text as it is.
fn without_fraction(text: &str) -> &str {
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => {
            whole
        }
        _ => text,
    };
    if !whole.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()) {
        return text;
    }
    if whole == "-0" { "0" } else { whole }
}

/// Checks a request that has nothing to say: no parameter, and a body, if there is one, of `{}`.
pub(super) fn nothing_asked(query: Query, body: &JsonBody<OTHER>) -> Result<(), Problem> {
    query.only(&[])?;
    match body.optional()? {
        Some(body) => Fields::of("", body)?.faults().into_result(),
        None => Ok(()),
    }
}

/// Whether a value is a list with nothing in it: clients in some languages send one where nothing is meant.
pub(super) fn is_empty_array(value: &RawValue) -> bool {
    let inner = value.get().strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    inner.is_some_and(|inner| inner.trim().is_empty())
}

/// What kind of JSON value it is, in words.
pub(super) fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ if value.get().contains(['.', 'e', 'E']) => "a number with a fraction or exponent",
        _ => "a whole number",
    }
}

/// A name, copied only if it is written with escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    entries.push((name, value));
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Visitor).map(Entries)
    }
}
