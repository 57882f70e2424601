//! Texts from outside, cut to a length. What is cut says so.

use std::borrow::Cow;

/// More than a mark takes.
const MARK_BYTES: usize = 48;

/// `text`, if it has at most `bytes_max` bytes; else its beginning, with a mark that says how much is left out, both
/// together in as many bytes.
#[must_use]
pub fn head(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(bytes_max.saturating_sub(MARK_BYTES));
    Cow::Owned(format!("{} [{} bytes left out]", &text[..end], text.len() - end))
}

/// The same with the end of `text` in place of its beginning: the last lines of a traceback tell the cause.
#[must_use]
pub fn tail(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    let begin = text.ceil_char_boundary(text.len() - bytes_max.saturating_sub(MARK_BYTES));
    Cow::Owned(format!("[{begin} bytes left out]\n{}", &text[begin..]))
}

/// `name`, if it has at most `length_max` characters; else its first ones, with an ellipsis as the last.
#[must_use]
pub fn name(name: &str, length_max: usize) -> Cow<'_, str> {
    // No text has more characters than bytes.
    if name.len() <= length_max || name.chars().count() <= length_max {
        return Cow::Borrowed(name);
    }
    let first: String = name.chars().take(length_max - 1).collect();
    Cow::Owned(format!("{first}…"))
}

/// `text` without U+0000, which would end it early in whatever is written in C.
#[must_use]
pub fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// How many bytes `text` takes as a string of JSON.
#[must_use]
pub fn json_bytes(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    2 + text.bytes().map(escaped).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_cut_says_how_much_is_left_out() {
        let long = "x".repeat(1_000);
        assert_eq!(head(&long, 100), format!("{} [948 bytes left out]", "x".repeat(52)));
        assert_eq!(tail(&long, 100), format!("[948 bytes left out]\n{}", "x".repeat(52)));
        assert_eq!(head("x", 1), "x");
        assert_eq!(tail("x", 1), "x");
        assert_eq!(name("ValueError", 10), "ValueError");
        assert_eq!(name("ÄÖÜß", 4), "ÄÖÜß", "characters count, not bytes");
        assert_eq!(name("ÄÖÜßx", 4), "ÄÖÜ…");
        assert_eq!(without_nul("a\0b"), "a\u{fffd}b");
    }

    proptest! {
        #[test]
        fn no_cut_is_longer_than_it_may_be_and_none_is_cut_twice(text in ".{0,300}", most in 64_usize..400) {
            for cut in [head, tail] {
                let once = cut(&text, most);
                prop_assert!(once.len() <= most, "{once}");
                prop_assert_eq!(cut(&once, most), once.as_ref());
                prop_assert_eq!(once.as_ref() == text, text.len() <= most);
            }
        }

        #[test]
        fn the_bytes_of_a_string_of_json_are_counted_as_they_are_printed(text in "[\u{0}-\u{ff}]{0,50}") {
            let printed = serde_json::to_string(&text).expect("a text");
            prop_assert_eq!(json_bytes(&text), printed.len());
        }
    }
}
