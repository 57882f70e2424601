//! Headers that are lists (RFC 9110, section 5.6): what stands in quotes is one value, whatever is in it.

use std::borrow::Cow;

/// The elements of a list. Empty ones are none.
pub(super) fn elements(text: &str) -> impl Iterator<Item = &str> {
    split(text, b',', true).map(str::trim).filter(|element| !element.is_empty())
}

/// The entity tags of a list: in these a backslash is one.
pub(super) fn entity_tags(text: &str) -> impl Iterator<Item = &str> {
    split(text, b',', false).map(str::trim).filter(|element| !element.is_empty())
}

/// An element without its parameters.
pub(super) fn without_parameters(element: &str) -> &str {
    split(element, b';', true).next().unwrap_or_default().trim()
}

/// A value, which may be a quoted string.
pub(super) fn value(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return text.into();
    };
    if !inner.contains('\\') {
        return inner.into();
    }
    let mut characters = inner.chars();
    let mut plain = String::with_capacity(inner.len());
    while let Some(character) = characters.next() {
        let escaped = (character == '\\').then(|| characters.next()).flatten();
        plain.push(escaped.unwrap_or(character));
    }
    plain.into()
}

/// The parts between separators that stand outside of quotes.
fn split(text: &str, separator: u8, has_escapes: bool) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let whole = rest.take()?;
        let (mut is_quoted, mut is_escaped) = (false, false);
        let end = whole.bytes().position(|byte| {
            let was_escaped = std::mem::take(&mut is_escaped);
            match byte {
                b'"' if !was_escaped => is_quoted = !is_quoted,
                b'\\' if is_quoted && has_escapes => is_escaped = !was_escaped,
                _ => {}
            }
            byte == separator && !is_quoted
        });
        let Some(end) = end else { return Some(whole) };
        rest = Some(&whole[end + 1..]);
        Some(&whole[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_quotes_is_one_value() {
        for (text, expected) in [
            ("", vec![]),
            (" a , ,b", vec!["a", "b"]),
            (r#"a="1, 2", b"#, vec![r#"a="1, 2""#, "b"]),
            (r#"a="1\", 2", b"#, vec![r#"a="1\", 2""#, "b"]),
            (r#"a="1\\", b"#, vec![r#"a="1\\""#, "b"]),
            (r#"a="1, 2"#, vec![r#"a="1, 2"#]),
        ] {
            assert_eq!(elements(text).collect::<Vec<_>>(), expected, "{text}");
        }
        assert_eq!(entity_tags(r#""a\", W/"b,c""#).collect::<Vec<_>>(), [r#""a\""#, r#"W/"b,c""#]);
        assert_eq!(without_parameters(r#"foo="a;b"; c=d"#), r#"foo="a;b""#);
        assert_eq!([value(r#" "a\"b\\" "#), value("a")], [r#"a"b\"#, "a"]);
    }
}
