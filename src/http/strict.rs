//! What a body must be beyond valid JSON: no key twice, and nothing that not every reader takes.

use serde_json::value::RawValue;

use crate::domain::json::{Keys, check, explained};

/// Reads `body` as one JSON value and checks it strictly.
///
/// # Errors
/// A sentence on what is wrong and where.
pub(super) fn parse(body: &[u8]) -> Result<&RawValue, String> {
    let text =
        std::str::from_utf8(body).map_err(|error| format!("the body is not UTF-8: {error}"))?;
    let raw: &RawValue = serde_json::from_str(text)
        .map_err(|error| format!("the body is not JSON: {}", explained(text, &error)))?;
    check(raw.get(), Keys::Once).map_err(|why| format!("the body {why}"))?;
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_bodies_pass_and_bad_ones_say_why() {
        let good = [r#"{"a":1,"b":{"a":2}}"#, r#"["\ud83d\ude00",1e308]"#];
        for body in good {
            assert_eq!(parse(body.as_bytes()).map(RawValue::get), Ok(body));
        }
        let bad = [
            (r#"{"a":1,"a":2}"#, "the key \"a\" twice"),
            (r#"{"a":"\u0000"}"#, "the body contains U+0000"),
            (r#"{"a":"\ud800"}"#, "half of a surrogate pair without the other at /a"),
            ("[1e400]", "beyond the range of a double (IEEE 754) at /0"),
            (
                r#"{"args":[1,NaN]}"#,
                "the body is not JSON: expected value at /args/1, near 'NaN]}'",
            ),
            ("{} {}", "not JSON"),
            ("{", "not JSON"),
            ("", "not JSON"),
            ("{'a':1}", "not JSON"),
        ];
        for (body, why) in bad {
            let error = parse(body.as_bytes()).expect_err(body);
            assert!(error.contains(why), "{body}: {error}");
        }
        assert!(parse(b"\"\xff\"").is_err_and(|error| error.contains("UTF-8")));
    }
}
