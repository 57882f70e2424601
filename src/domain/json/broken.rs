//! What can be read of a text that is not JSON, or not as it should be: where it breaks, and the members of an object.

use std::borrow::Cow;

use super::readable::{DEPTH_MAX, string_end, unquoted};
use crate::domain::text;

/// Longest place that is told.
const PLACE_BYTES_MAX: usize = 256;
/// So many characters are shown of what a parser did not expect.
const NEAR_CHARS: usize = 24;

/// What is open at a place.
enum Open<'t> {
    Array(usize),
    /// With the key of the member that is being read.
    Object(Option<&'t str>),
}

/// What a parser did not take of `text`, and where: in words for whoever wrote it.
#[must_use]
pub fn explained(text: &str, error: &serde_json::Error) -> String {
    let whole = error.to_string();
    if !(error.is_syntax() || error.is_eof()) {
        return whole;
    }
    let what = whole.rsplit_once(" at line ").map_or(whole.as_str(), |(what, _)| what);
    let before = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    let at = before.map(str::len).sum::<usize>() + error.column().saturating_sub(1);
    let rest = &text[text.floor_char_boundary(at)..];
    let near: String = rest.chars().take_while(|it| *it != '\n').take(NEAR_CHARS).collect();
    let place = located(text, at);
    if near.is_empty() || error.is_eof() {
        format!("{what}{place}")
    } else {
        format!("{what}{place}, near '{near}'")
    }
}

/// ` at ` and the JSON pointer (RFC 6901) of the innermost value around byte `at`; nothing if that is the whole text.
#[must_use]
pub(super) fn located(text: &str, at: usize) -> String {
    let pointer = pointer(text, at);
    if pointer.is_empty() {
        return pointer;
    }
    format!(" at {}", text::head(&pointer, PLACE_BYTES_MAX))
}

fn pointer(text: &str, at: usize) -> String {
    let bytes = text.as_bytes();
    let (mut open, mut here) = (Vec::new(), 0);
    while here < at.min(bytes.len()) && open.len() <= DEPTH_MAX {
        match (bytes[here], open.last_mut()) {
            (b'{', _) => open.push(Open::Object(None)),
            (b'[', _) => open.push(Open::Array(0)),
            (b'}' | b']', _) => drop(open.pop()),
            (b',', Some(Open::Array(place))) => *place += 1,
            (b',', Some(Open::Object(key))) => *key = None,
            (b'"', within) => {
                let (end, _) = string_end(bytes, here);
                if end > at {
                    break;
                }
                if let Some(Open::Object(key @ None)) = within {
                    *key = Some(&text[here..end]);
                }
                here = end;
                continue;
            }
            _ => {}
        }
        here += 1;
    }
    let steps = open.into_iter().filter_map(|it| match it {
        Open::Array(place) => Some(format!("/{place}")),
        Open::Object(key) => {
            let key = unquoted(key?, true);
            Some(format!("/{}", key.replace('~', "~0").replace('/', "~1")))
        }
    });
    steps.collect()
}

/// The texts of the members of these names of an object, whatever else stands in it, and whether the object is whole. None of
/// a name that stands there twice.
#[must_use]
pub fn members<'t, const N: usize>(
    object: &'t str,
    names: [&str; N],
) -> ([Option<&'t str>; N], bool) {
    let text = object.trim();
    let mut found = Found { names, seen: [0; N], members: [None; N] };
    if !text.starts_with('{') {
        return (found.members, false);
    }
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (1_usize, 1);
    let (mut key, mut value): (Option<&str>, Option<usize>) = (None, None);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let (end, _) = string_end(bytes, at);
                if depth == 1 && value.is_none() {
                    key = Some(&text[at..end]);
                }
                at = end;
                continue;
            }
            b':' if depth == 1 => value = value.or(Some(at + 1)),
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 1 => depth -= 1,
            b',' | b'}' | b']' if depth == 1 => {
                found.take(key.take(), value.take().map(|from| &text[from..at]));
                if byte != b',' {
                    let is_whole = byte == b'}' && at + 1 == bytes.len();
                    return (found.members, is_whole);
                }
            }
            _ => {}
        }
        at += 1;
    }
    (found.members, false)
}

struct Found<'n, 't, const N: usize> {
    names: [&'n str; N],
    seen: [usize; N],
    members: [Option<&'t str>; N],
}

impl<'t, const N: usize> Found<'_, 't, N> {
    fn take(&mut self, key: Option<&str>, value: Option<&'t str>) {
        let (Some(key), Some(value)) = (key.map(|key| unquoted(key, true)), value) else { return };
        let known = self.names.iter().position(|name| Cow::Borrowed(*name) == key);
        if let Some(place) = known {
            self.seen[place] += 1;
            self.members[place] = (self.seen[place] == 1).then(|| value.trim());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn a_text_that_is_not_json_is_told_where_and_near_what() {
        for (text, told) in [
            (
                r#"{"rows":[1,{"a/b":2,"price": NaN}]}"#,
                "expected value at /rows/1/price, near 'NaN}]}'",
            ),
            (r#"[[],[1,-Infinity]]"#, "invalid number at /1/1, near 'Infinity]]'"),
            ("{\"a\":\n  {\"b\": None}\n}", "expected value at /a/b, near 'None}'"),
            (r#"{"a/b":{"~":[1,]}}"#, "expected value at /a~1b/~0/1, near ']}}'"),
            ("{'a': 1}", "key must be a string, near ''a': 1}'"),
            (r#"["ab"#, "EOF while parsing a string at /0"),
            ("", "EOF while parsing a value"),
            ("é x", "expected value, near 'é x'"),
        ] {
            let error = serde_json::from_str::<&RawValue>(text).expect_err(text);
            assert_eq!(explained(text, &error), told, "{text}");
        }
    }

    #[test]
    fn members_are_read_of_a_whole_object_whatever_stands_in_it() {
        let read = |text: &'static str| members(text, ["id", "method"]);
        for text in [
            r#"{"id":3,"result":NaN}"#,
            r#" {"result":{"id":4,"method":["}"]},"id" : 3 } "#,
            r#"{"result":[None, 'x', {1}],"\u0069d":3}"#,
            r#"{"result":"\"id\":4","id":3,}"#,
        ] {
            assert_eq!(read(text), ([Some("3"), None], true), "{text}");
        }
        assert_eq!(read(r#"{"id":3,"result":[1,"x"#), ([Some("3"), None], false), "its beginning");
        assert_eq!(read(r#"{"id":3}{"id":3}"#), ([Some("3"), None], false), "two of them");
        assert_eq!(read(r#"{"id":3,"id":4}"#), ([None, None], true), "which of them?");
        for text in ["", "{", "[]", "\"id\":3", r#"["id",3]"#, "{\"id", "id:3}"] {
            assert_eq!(read(text).0, [None, None], "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_panic(text in r#"[\[\]{}":,\\a1é\n ]{0,40}"#, at in 0_usize..50) {
            prop_assert!(located(&text, at).len() < 300);
            let (found, is_whole) = members(&text, ["a", "1"]);
            prop_assert!(!is_whole || text.trim().ends_with('}'), "{found:?}");
            if let Err(error) = serde_json::from_str::<&RawValue>(&text) {
                prop_assert!(!explained(&text, &error).is_empty());
            }
        }
    }
}
