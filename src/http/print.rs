//! JSON objects, printed member by member. A job is printed in nearly every answer; names and words of
//! ours need no escape, and values that were checked are copied, so this takes a third of the time that
//! the general way takes.

use serde::Serialize;

use crate::domain::{Json, Timestamp};

use super::answer::to_json;
use super::body::At;

/// The name of a member, as it stands behind another member.
macro_rules! m {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}
pub(super) use m;

/// An object that is being printed, whose names are made by [`m`]. [`Object::end`] ends it.
#[derive(Debug)]
pub(super) struct Object<'a> {
    out: &'a mut String,
    first: bool,
}

impl<'a> Object<'a> {
    /// Begins an object at the end of `out`.
    pub(super) fn begin(out: &'a mut String) -> Self {
        out.push('{');
        Self { out, first: true }
    }

    /// Ends it.
    pub(super) fn end(self) {
        self.out.push('}');
    }

    /// Begins an object as a member; it must be ended before the next member.
    pub(super) fn object(&mut self, name: &'static str) -> Object<'_> {
        Object::begin(self.name(name))
    }

    /// A text that is known to need no escape: a word of ours, an id, a checked name, a path of those.
    pub(super) fn word(&mut self, name: &'static str, parts: &[&str]) {
        let out = self.name(name);
        out.push('"');
        parts.iter().for_each(|part| out.push_str(part));
        out.push('"');
    }

    /// A number.
    pub(super) fn number(&mut self, name: &'static str, number: impl Into<i64>) {
        let mut digits = itoa::Buffer::new();
        self.name(name).push_str(digits.format(number.into()));
    }

    /// A number, or null.
    pub(super) fn maybe_number(&mut self, name: &'static str, number: Option<i64>) {
        match number {
            Some(number) => self.number(name, number),
            None => self.null(name),
        }
    }

    /// A flag.
    pub(super) fn flag(&mut self, name: &'static str, flag: bool) {
        self.name(name).push_str(if flag { "true" } else { "false" });
    }

    /// A moment, or null.
    pub(super) fn at(&mut self, name: &'static str, at: Option<Timestamp>) {
        match at {
            Some(at) => self.word(name, &[At(at).text().as_str()]),
            None => self.null(name),
        }
    }

    /// JSON as it is, or null.
    pub(super) fn json(&mut self, name: &'static str, json: Option<&Json>) {
        self.name(name).push_str(json.map_or("null", Json::as_str));
    }

    /// Anything.
    pub(super) fn value<T: Serialize>(&mut self, name: &'static str, value: &T) {
        self.name(name).push_str(&to_json(value));
    }

    /// Anything, or null.
    pub(super) fn maybe<T: Serialize>(&mut self, name: &'static str, value: Option<T>) {
        match value {
            Some(value) => self.value(name, &value),
            None => self.null(name),
        }
    }

    /// An `empty` array or object.
    pub(super) fn none_of(&mut self, name: &'static str, empty: &'static str) {
        self.name(name).push_str(empty);
    }

    /// Null.
    pub(super) fn null(&mut self, name: &'static str) {
        self.name(name).push_str("null");
    }

    fn name(&mut self, name: &'static str) -> &mut String {
        let comma = usize::from(std::mem::take(&mut self.first));
        self.out.push_str(&name[comma..]);
        self.out
    }
}
