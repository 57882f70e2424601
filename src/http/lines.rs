//! What goes into a stream that others read by lines: JSON without anything at which a reader of text may end a line, as
//! lines of its own or as server-sent events.

use std::fmt::Write as _;

use axum::http::{HeaderMap, header};

use super::beats::{COMMENT, SPACE};
use super::events::RETRY;
use super::last_event_id::end_for_good;
use super::list_header;

/// The form of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Lines of JSON.
    Lines,
    /// Server-sent events (WHATWG HTML, section 9.2).
    Events,
}

impl Form {
    /// The form that the request accepts. Events are for who asks for them by name.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        match accepts(headers, "text/event-stream") {
            true => Self::Events,
            false => Self::Lines,
        }
    }

    /// What the stream begins with.
    pub(super) fn begin(self) -> &'static str {
        match self {
            Self::Lines => "",
            Self::Events => RETRY,
        }
    }

    /// What a silent stream is kept alive with.
    pub(super) fn beat(self) -> &'static str {
        match self {
            Self::Lines => SPACE,
            Self::Events => COMMENT,
        }
    }

    /// Adds an object. A reader that was cut behind it goes on at this place.
    pub(super) fn add(self, out: &mut String, kind: &str, place: Option<i64>, json: &str) {
        match self {
            Self::Lines => {}
            Self::Events => {
                if let Some(place) = place {
                    writeln!(out, "id: {place}").unwrap_or_default();
                }
                write!(out, "event: {kind}\ndata: ").unwrap_or_default();
            }
        }
        add_unbroken(out, json);
        out.push_str(if self == Self::Events { "\n\n" } else { "\n" });
    }

    /// Adds the last object. If there is nothing left to come, a reader that comes back is told so.
    pub(super) fn end(self, out: &mut String, place: i64, is_for_good: bool, json: &str) {
        if self == Self::Events && is_for_good {
            writeln!(out, "id: {}", end_for_good(&place.to_string())).unwrap_or_default();
        }
        self.add(out, "end", None, json);
    }
}

/// Whether `Accept` names this media type.
pub(super) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    headers.get_all(header::ACCEPT).iter().any(|accept| {
        accept.to_str().is_ok_and(|accept| {
            let mut ranges = list_header::elements(accept).map(list_header::without_parameters);
            ranges.any(|range| range.eq_ignore_ascii_case(media_type))
        })
    })
}

/// Readers of text end a line at these as well. In JSON they stand in strings only, where they may be written otherwise.
fn breaks_a_line(letter: char) -> bool {
    matches!(letter, '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// The same JSON, without what some readers take for the end of a line.
pub(super) fn unbroken(json: String) -> String {
    if json.is_ascii() || !json.contains(breaks_a_line) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + json.len() / 8);
    add_unbroken(&mut out, &json);
    out
}

fn add_unbroken(out: &mut String, json: &str) {
    let mut rest = json;
    while !rest.is_ascii()
        && let Some((before, letter)) =
            rest.char_indices().find(|(_, letter)| breaks_a_line(*letter))
    {
        out.push_str(&rest[..before]);
        write!(out, "\\u{:04x}", u32::from(letter)).unwrap_or_default();
        rest = &rest[before + letter.len_utf8()..];
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_ends_a_line_is_left_and_the_value_is_the_same() {
        let text = "a\u{85}b\u{2028}\u{2029}\u{b}\u{c}\u{1c}\u{1d}\u{1e}\u{1f}\r\nü€\u{2027}\u{202a}\u{84}";
        let json = serde_json::to_string(text).expect("JSON");
        let safe = unbroken(json.clone());
        assert!(!safe.contains(breaks_a_line), "{safe}");
        let read = |json: &str| serde_json::from_str::<String>(json).expect("a string");
        assert_eq!((read(&safe), read(&json)), (text.to_owned(), text.to_owned()));
        assert_eq!(unbroken("\"ü\"".to_owned()), "\"ü\"");
    }
}
