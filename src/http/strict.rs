//! What a body must be beyond valid JSON: no key twice, no deep nesting, no U+0000.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::value::RawValue;

/// Deepest nesting that a body may have.
const DEPTH_MAX: usize = 64;

/// Reads `body` as one JSON value and checks it strictly.
///
/// # Errors
/// A sentence on what is wrong and where.
pub(super) fn parse(body: &[u8]) -> Result<&RawValue, String> {
    let text =
        std::str::from_utf8(body).map_err(|error| format!("the body is not UTF-8: {error}"))?;
    let raw: &RawValue =
        serde_json::from_str(text).map_err(|error| format!("the body is not JSON: {error}"))?;
    check(raw.get())?;
    Ok(raw)
}

/// The keys of one object. Most have few, and those are compared faster than they are hashed.
#[derive(Debug, Default)]
struct Keys<'t> {
    few: Vec<Cow<'t, str>>,
    many: HashSet<Cow<'t, str>>,
}

impl<'t> Keys<'t> {
    const FEW: usize = 16;

    /// Takes a key; false if it was there before.
    fn insert(&mut self, key: Cow<'t, str>) -> bool {
        if self.few.contains(&key) {
            return false;
        }
        if self.few.len() < Self::FEW {
            self.few.push(key);
            return true;
        }
        self.many.insert(key)
    }
}

/// Walks a text that is known to be valid JSON; so a string ends where the next bare quote stands, and
/// a string is a key exactly if it follows `{` or, in an object, a comma.
fn check(text: &str) -> Result<(), String> {
    let bytes = text.as_bytes();
    let mut open: Vec<Option<Keys<'_>>> = Vec::new();
    let mut key_follows = false;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => {
                key_follows = byte == b'{';
                open.push(key_follows.then(Keys::default));
                if open.len() > DEPTH_MAX {
                    return Err(format!("the body is nested deeper than {DEPTH_MAX} levels"));
                }
            }
            b'}' | b']' => drop(open.pop()),
            b',' => key_follows = matches!(open.last(), Some(Some(_))),
            b'"' => {
                let (end, is_escaped) = string_end(bytes, at);
                let string = &text[at..end];
                if is_escaped {
                    refuse_nul(string)?;
                }
                if std::mem::take(&mut key_follows)
                    && let Some(Some(keys)) = open.last_mut()
                    && !keys.insert(unquoted(string, is_escaped))
                {
                    return Err(format!("the key {string} stands twice in one object"));
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Behind the closing quote of the string that begins at `start`, and whether there is an escape in it.
fn string_end(bytes: &[u8], start: usize) -> (usize, bool) {
    let (mut at, mut is_escaped) = (start + 1, false);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return (at + 1, is_escaped),
            b'\\' => {
                is_escaped = true;
                at += 2;
            }
            _ => at += 1,
        }
    }
    (bytes.len(), is_escaped)
}

/// `\u0000` would end a text early in whatever is written in C.
fn refuse_nul(string: &str) -> Result<(), String> {
    let mut rest = string;
    while let Some(place) = rest.find('\\') {
        if rest[place..].starts_with("\\u0000") {
            return Err("the body contains U+0000".to_owned());
        }
        // Behind the backslash and what it escapes, which is one byte or begins with `u`.
        rest = rest.get(place + 2..).unwrap_or("");
    }
    Ok(())
}

/// Two spellings of one key are the same key.
fn unquoted(string: &str, is_escaped: bool) -> Cow<'_, str> {
    if is_escaped && let Ok(unescaped) = serde_json::from_str::<String>(string) {
        return Cow::Owned(unescaped);
    }
    Cow::Borrowed(string.get(1..string.len() - 1).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An object of so many keys, and one of them again.
    fn many_keys(count: usize, again: usize) -> String {
        let keys = (0..count).chain([again]).map(|key| format!("\"k{key}\":1"));
        format!("{{{}}}", keys.collect::<Vec<_>>().join(","))
    }

    #[test]
    fn good_bodies_pass_and_bad_ones_say_why() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let good = [
            r#"{"a":1,"b":{"a":2},"c":[{"a":1},{"a":1}]}"#.to_owned(),
            r#"["a","a",{"\"":1,"\\":2,"":3}]"#.to_owned(),
            r#"{"a":"x,\"a\":1","b":"\\u0000"}"#.to_owned(),
            "1e400".to_owned(),
            many_keys(40, 40),
            deep(DEPTH_MAX),
        ];
        for body in good {
            assert_eq!(parse(body.as_bytes()).map(RawValue::get), Ok(body.as_str()));
        }
        let bad = [
            (r#"{"a":1,"a":2}"#.to_owned(), "twice"),
            (r#"{"a":1,"\u0061":2}"#.to_owned(), "twice"),
            (r#"[{"x":{"b":[],"c":{},"b":0}}]"#.to_owned(), "twice"),
            (many_keys(40, 3), "twice"),
            (many_keys(40, 30), "twice"),
            (r#"{"a":"\u0000"}"#.to_owned(), "U+0000"),
            (r#"{"\u0000":1}"#.to_owned(), "U+0000"),
            (deep(DEPTH_MAX + 1), "deeper"),
            ("{} {}".to_owned(), "not JSON"),
            ("{".to_owned(), "not JSON"),
            (String::new(), "not JSON"),
            ("{'a':1}".to_owned(), "not JSON"),
        ];
        for (body, why) in bad {
            let error = parse(body.as_bytes()).expect_err(&body);
            assert!(error.contains(why), "{body}: {error}");
        }
        assert!(parse(b"\"\xff\"").is_err_and(|error| error.contains("UTF-8")));
    }
}
