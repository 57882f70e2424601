//! `Retry-After` (RFC 9110, section 10.2.3), and the three forms of a date that whoever reads one must take (section 5.6.7).

use jiff::fmt::{rfc2822, strtime};
use jiff::tz::Offset;

use crate::domain::{RetryAfter, Timestamp};

/// A date without its weekday, which says nothing that the rest does not say: of today, of RFC 850, of `asctime()`.
const FORMS: [&str; 3] = ["%d %b %Y %H:%M:%S GMT", "%d-%b-%y %H:%M:%S GMT", "%b %d %H:%M:%S %Y"];

/// What a header's value asks for; none if it is neither seconds nor a date.
pub fn retry_after(text: &str) -> Option<RetryAfter> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits that are too many for a number still mean a long time.
        return Some(RetryAfter::Seconds(text.parse().unwrap_or(u64::MAX)));
    }
    let (_weekday, rest) = text.split_once(' ')?;
    let moment = |form| {
        let date = strtime::parse(form, rest.trim_start()).ok()?.to_datetime().ok()?;
        Offset::UTC.to_timestamp(date).ok()
    };
    // Zones other than GMT are no HTTP, and sent all the same.
    let found = FORMS.into_iter().find_map(moment);
    let found = found.or_else(|| Some(rfc2822::parse(text).ok()?.timestamp()));
    found.map(|moment| RetryAfter::At(Timestamp(moment.as_millisecond())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_all_three_forms_of_a_date_are_read() {
        let at = Some(RetryAfter::At(Timestamp(784_111_777_000)));
        for (text, expected) in [
            ("0", Some(RetryAfter::Seconds(0))),
            (" 120 ", Some(RetryAfter::Seconds(120))),
            ("99999999999999999999", Some(RetryAfter::Seconds(u64::MAX))),
            ("Sun, 06 Nov 1994 08:49:37 GMT", at),
            ("Sunday, 06-Nov-94 08:49:37 GMT", at),
            ("Sun Nov  6 08:49:37 1994", at),
            ("Sun, 6 Nov 1994 08:49:37 +0000", at),
            ("Sun, 06 Nov 1994 10:49:37 +0200", at),
            // Nobody counts weekdays by hand rightly.
            ("Mon, 06 Nov 1994 08:49:37 GMT", at),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("Sun, 31 Feb 1994 08:49:37 GMT", None),
            ("1994-11-06T08:49:37Z", None),
        ] {
            assert_eq!(retry_after(text), expected, "{text}");
        }
    }
}
