//! What JSON allows and not every reader takes: the one rule for whatever others will read, wherever it comes from.

use std::borrow::Cow;
use std::collections::HashSet;

use super::broken::located;

/// Deepest nesting.
pub const DEPTH_MAX: usize = 64;
/// So many characters a number may have without being looked at: none of them is beyond a double without an exponent.
const SHORT_NUMBER: usize = 300;

/// Why a value is refused that is valid JSON, and where that stands in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}{place}")]
pub struct Unreadable {
    why: Why,
    place: String,
}

/// Why a value is refused that is valid JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Why {
    /// Readers that descend call by call end there.
    #[error("is nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// It would end a text early in whatever is written in C.
    #[error("contains U+0000")]
    Nul,
    /// Half of a pair of UTF-16 is no character, and no text in UTF-8 can hold it.
    #[error("contains U+{code:04X}, one half of a surrogate pair without the other")]
    LoneSurrogate {
        /// Its number; its escape would be one more half in a text that others search for some.
        code: u32,
    },
    /// Most readers make a double of a number, and this would be infinite.
    #[error("contains a number beyond the range of a double (IEEE 754)")]
    TooLargeNumber,
    /// Readers differ in which of the two they take.
    #[error("has the key {key} twice in one object")]
    TwiceKey {
        /// As it is written there.
        key: String,
    },
}

/// Whether a key may stand twice in one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// It may not: who wrote it can mend it.
    Once,
    /// It may, as in what programs print.
    Any,
}

/// The keys of one object. Most have few, and those are compared faster than they are hashed.
#[derive(Debug, Default)]
struct Seen<'t> {
    few: Vec<Cow<'t, str>>,
    many: HashSet<Cow<'t, str>>,
}

impl<'t> Seen<'t> {
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
pub fn check(text: &str, keys: Keys) -> Result<(), Unreadable> {
    checked(text, keys).map_err(|(at, why)| Unreadable { why, place: located(text, at) })
}

fn checked(text: &str, keys: Keys) -> Result<(), (usize, Why)> {
    let bytes = text.as_bytes();
    let mut open: Vec<Option<Seen<'_>>> = Vec::new();
    let (mut key_follows, mut at) = (false, 0);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => {
                key_follows = byte == b'{' && keys == Keys::Once;
                open.push(key_follows.then(Seen::default));
                if open.len() > DEPTH_MAX {
                    return Err((at, Why::TooDeep));
                }
            }
            b'}' | b']' => drop(open.pop()),
            b',' => key_follows = matches!(open.last(), Some(Some(_))),
            b'"' => {
                let (end, is_escaped) = string_end(bytes, at);
                let string = &text[at..end];
                if is_escaped && let Some((_, why)) = bad_escape(string, 0) {
                    return Err((at, why));
                }
                if std::mem::take(&mut key_follows)
                    && let Some(Some(seen)) = open.last_mut()
                    && !seen.insert(unquoted(string, is_escaped))
                {
                    let key = crate::domain::text::head(string, 256).into_owned();
                    return Err((at, Why::TwiceKey { key }));
                }
                at = end;
                continue;
            }
            b'-' | b'0'..=b'9' => {
                at = number_end(text, at).map_err(|why| (at, why))?;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// The same text, with U+FFFD for what no text may have. It is valid JSON, or as wrong as it was.
#[must_use]
pub fn mended(text: &str) -> Cow<'_, str> {
    let mut mended = Cow::Borrowed(text);
    let mut from = 0;
    while let Some((at, _)) = bad_escape(&mended, from) {
        mended.to_mut().replace_range(at..at + ESCAPE_BYTES, "\\ufffd");
        from = at + ESCAPE_BYTES;
    }
    mended
}

/// Behind the closing quote of the string that begins at `start`, and whether there is an escape in it.
pub(super) fn string_end(bytes: &[u8], start: usize) -> (usize, bool) {
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

/// Behind the number that begins at `start`.
fn number_end(text: &str, start: usize) -> Result<usize, Why> {
    let rest = &text.as_bytes()[start..];
    let is_of_number =
        |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
    let length = rest.iter().position(|byte| !is_of_number(byte)).unwrap_or(rest.len());
    let number = &text[start..start + length];
    let may_be_too_large = length > SHORT_NUMBER || number.contains(['e', 'E']);
    if may_be_too_large && number.parse::<f64>().is_ok_and(f64::is_infinite) {
        return Err(Why::TooLargeNumber);
    }
    Ok(start + length)
}

/// What `\uXXXX` takes.
const ESCAPE_BYTES: usize = 6;

/// The first escape behind `from` that is no character, and where it stands.
fn bad_escape(text: &str, from: usize) -> Option<(usize, Why)> {
    // Where half of a pair stands whose other half must follow at once.
    let mut half: Option<usize> = None;
    let mut at = from;
    let code_at = |at: usize| u32::from_str_radix(text.get(at + 2..at + ESCAPE_BYTES)?, 16).ok();
    let lone = |at: usize| Some((at, Why::LoneSurrogate { code: code_at(at).unwrap_or_default() }));
    while let Some(length) = text.get(at..).and_then(|rest| rest.find('\\')) {
        let place = at + length;
        if let Some(half) = half.filter(|_| length > 0) {
            return lone(half);
        }
        let is_number = text.as_bytes().get(place + 1) == Some(&b'u');
        let code = is_number.then(|| code_at(place)).flatten();
        match (half, code) {
            (Some(_), Some(0xdc00..=0xdfff)) => half = None,
            (Some(half), _) => return lone(half),
            (None, Some(0xdc00..=0xdfff)) => return lone(place),
            (None, Some(0xd800..=0xdbff)) => half = Some(place),
            (None, Some(0)) => return Some((place, Why::Nul)),
            (None, _) => {}
        }
        // Behind the backslash and what it escapes, which is one byte or begins with `u`.
        at = place + if code.is_some() { ESCAPE_BYTES } else { 2 };
    }
    half.and_then(lone)
}

/// Two spellings of one key are the same key.
pub(super) fn unquoted(string: &str, is_escaped: bool) -> Cow<'_, str> {
    if is_escaped && let Ok(unescaped) = serde_json::from_str::<String>(string) {
        return Cow::Owned(unescaped);
    }
    Cow::Borrowed(string.get(1..string.len() - 1).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deep(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    /// An object of so many keys, and one of them again.
    fn many_keys(count: usize, again: usize) -> String {
        let keys = (0..count).chain([again]).map(|key| format!("\"k{key}\":1"));
        format!("{{{}}}", keys.collect::<Vec<_>>().join(","))
    }

    #[test]
    fn what_every_reader_takes_passes() {
        let good = [
            r#"{"a":1,"b":{"a":2},"c":[{"a":1},{"a":1}]}"#.to_owned(),
            r#"["a","a",{"\"":1,"\\":2,"":3}]"#.to_owned(),
            r#"{"a":"x,\"a\":1","b":"\\u0000 \\ud800"}"#.to_owned(),
            r#"["\ud83d\ude00","\u00e9\n\\","\uD83D\uDE00x","\ue000"]"#.to_owned(),
            "[1e308,-1.7976931348623157E+308,1e-999,true,false,null,-0]".to_owned(),
            format!("1{}", "0".repeat(308)),
            format!("0.{}", "1".repeat(1_000)),
            many_keys(40, 40),
            deep(DEPTH_MAX),
        ];
        for text in good {
            assert_eq!(check(&text, Keys::Once), Ok(()), "{text}");
            assert_eq!(mended(&text), text, "there is nothing to mend");
        }
        assert_eq!(check(r#"{"a":1,"a":2}"#, Keys::Any), Ok(()));
    }

    #[test]
    fn what_some_reader_does_not_take_is_refused_with_its_reason() {
        let bad = [
            (r#"{"a":1,"a":2}"#.to_owned(), "twice"),
            (r#"{"a":1,"\u0061":2}"#.to_owned(), "twice"),
            (r#"[{"x":{"b":[],"c":{},"b":0}}]"#.to_owned(), "twice in one object at /0/x"),
            (many_keys(40, 3), "twice"),
            (many_keys(40, 30), "twice"),
            (r#"{"a":"\u0000"}"#.to_owned(), "U+0000"),
            (r#"{"\u0000":1}"#.to_owned(), "U+0000"),
            (
                r#"["x\ud800"]"#.to_owned(),
                "U+D800, one half of a surrogate pair without the other at /0",
            ),
            (r#"["\uD800\\ude00"]"#.to_owned(), "U+D800"),
            (r#"["\ud800\ud800\udc00"]"#.to_owned(), "U+D800"),
            (r#"["\ud800x\udc00"]"#.to_owned(), "U+D800"),
            (r#"["\udc00\ud800"]"#.to_owned(), "U+DC00"),
            (r#"["\ud800","\udc00"]"#.to_owned(), "U+D800"),
            ("[1e309]".to_owned(), "double"),
            ("{\"a\":-1E+999}".to_owned(), "(IEEE 754) at /a"),
            (format!("1{}", "0".repeat(309)), "double"),
            (deep(DEPTH_MAX + 1), "deeper"),
            (deep(3_000_000), "deeper"),
        ];
        for (text, why) in bad {
            let error = check(&text, Keys::Once).expect_err("it is refused").to_string();
            assert!(error.contains(why) && error.len() < 400, "{error}");
        }
    }

    #[test]
    fn what_is_mended_passes_and_the_rest_of_it_stays() {
        for (text, expected) in [
            (r#"["a\ud800b","\u0000","\\ud800"]"#, r#"["a\ufffdb","\ufffd","\\ud800"]"#),
            (r#""\ud800\ud83d\ude00\udc00""#, r#""\ufffd\ud83d\ude00\ufffd""#),
            (r#""\ud800"#, r#""\ufffd"#),
        ] {
            assert_eq!(mended(text), expected);
            assert_eq!(check(&mended(text), Keys::Once), Ok(()));
        }
    }
}
