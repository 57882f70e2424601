//! Moments as RFC 3339 writes them, in all its forms: any offset, any number of digits, small letters, leap seconds, the
//! last second of the year 9999. The clock of the service counts milliseconds, so what is finer is rounded to the side that
//! keeps the sentence true.

use jiff::civil::Date;

use crate::domain::{Invalid, Timestamp};

const DAY_MS: i64 = 86_400_000;

/// The first millisecond that is not before this moment.
pub(super) fn not_before(text: &str) -> Result<Timestamp, Invalid> {
    let moment = read(text)?;
    Ok(moment.since.plus_millis(i64::from(moment.is_finer)))
}

/// The last millisecond that is not after this moment.
pub(super) fn not_after(text: &str) -> Result<Timestamp, Invalid> {
    Ok(read(text)?.since)
}

#[derive(Clone, Copy)]
struct Moment {
    /// The millisecond that it falls into.
    since: Timestamp,
    /// Whether it is later than the beginning of that.
    is_finer: bool,
}

fn read(text: &str) -> Result<Moment, Invalid> {
    rfc3339(text).or_else(|| other(text)).ok_or_else(|| {
        Invalid::new(format!("'{text}' is no moment; give one like 2026-01-31T12:00:00Z"))
    })
}

/// `2026-01-31T12:00:00.25+01:00`. Second 60 is the one after second 59, and so never too early.
fn rfc3339(text: &str) -> Option<Moment> {
    let (date, time) = (text.get(..10)?, text.get(11..)?);
    if !matches!(text.as_bytes()[10], b'T' | b't' | b' ') {
        return None;
    }
    let (time, offset_minutes) = match time.strip_suffix(['Z', 'z']) {
        Some(time) => (time, 0),
        None => {
            let (time, offset) = time.split_at_checked(time.len().checked_sub(6)?)?;
            (time, offset_minutes(offset)?)
        }
    };
    let (seconds, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(seconds, ':', [2, 2, 2])?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    if hour > 23 || minute > 59 || second > 60 || fraction.is_empty() || !is_digits(fraction) {
        return None;
    }
    let narrow = |number: i64| i8::try_from(number).ok();
    let date = Date::new(i16::try_from(year).ok()?, narrow(month)?, narrow(day)?).ok()?;
    let day_start = date.duration_since(jiff::civil::date(1970, 1, 1)).as_secs() * 1_000;
    let of_day = ((hour * 60 + minute - offset_minutes) * 60 + second) * 1_000;
    debug_assert!(of_day.abs() <= 3 * DAY_MS);
    let (fine, rest) = fraction.split_at(fraction.len().min(3));
    let milliseconds: i64 = format!("{fine:0<3}").parse().ok()?;
    let is_finer = rest.bytes().any(|digit| digit != b'0');
    Some(Moment { since: Timestamp(day_start + of_day + milliseconds), is_finer })
}

/// `+01:00`, `-00:00`.
fn offset_minutes(text: &str) -> Option<i64> {
    let (sign, rest) = text.split_at_checked(1)?;
    let sign = match sign {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let [hours, minutes] = numbers(rest, ':', [2, 2])?;
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
}

/// Numbers of so many digits, between separators.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(between);
    let mut found = [0; N];
    for (number, digits) in found.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits && is_digits(part))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Other forms of ISO 8601 that say which moment is meant.
fn other(text: &str) -> Option<Moment> {
    let moment: jiff::Timestamp = text.parse().ok()?;
    let since = Timestamp(moment.as_nanosecond().div_euclid(1_000_000).try_into().ok()?);
    Some(Moment { since, is_finer: moment.as_nanosecond().rem_euclid(1_000_000) != 0 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOON: i64 = 1_769_860_800_000;

    #[test]
    fn every_form_of_rfc_3339_is_taken_and_none_is_too_early() {
        for (text, floor, ceiling) in [
            ("2026-01-31T12:00:00Z", NOON, NOON),
            ("2026-01-31t12:00:00z", NOON, NOON),
            ("2026-01-31 12:00:00Z", NOON, NOON),
            ("2026-01-31T12:00:00+00:00", NOON, NOON),
            ("2026-01-31T12:00:00-00:00", NOON, NOON),
            ("2026-01-31T13:30:00+01:30", NOON, NOON),
            ("2026-02-01T11:59:00+23:59", NOON, NOON),
            ("2026-01-30T12:01:00-23:59", NOON, NOON),
            ("2026-01-31T12:00:00.5Z", NOON + 500, NOON + 500),
            ("2026-01-31T12:00:00.001Z", NOON + 1, NOON + 1),
            ("2026-01-31T12:00:00.0010000000000000Z", NOON + 1, NOON + 1),
            ("2026-01-31T12:00:00.0010000000000001Z", NOON + 1, NOON + 2),
            ("2026-01-31T11:59:59.9999Z", NOON - 1, NOON),
            ("2026-01-31T11:59:60Z", NOON, NOON),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000, 1_483_228_800_000),
            ("2016-12-31T15:59:60.5-08:00", 1_483_228_800_500, 1_483_228_800_500),
            ("9999-12-31T23:59:59Z", 253_402_300_799_000, 253_402_300_799_000),
            ("9999-12-31T23:59:59.999999999Z", 253_402_300_799_999, 253_402_300_800_000),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000, -62_167_219_200_000),
            ("1969-12-31T23:59:59.9995Z", -1, 0),
            // No RFC 3339, and clear all the same.
            ("2026-01-31T12:00Z", NOON, NOON),
            ("20260131T120000Z", NOON, NOON),
        ] {
            assert_eq!(not_after(text).map(|at| at.0).ok(), Some(floor), "{text}");
            assert_eq!(not_before(text).map(|at| at.0).ok(), Some(ceiling), "{text}");
        }
    }

    #[test]
    fn what_names_no_moment_is_refused() {
        for text in [
            "",
            "now",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-02-29T12:00:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T12:60:00Z",
            "2026-01-31T12:00:61Z",
            "2026-01-31T12:00:00+26:00",
            "2026-01-31T12:00:00.Z",
            "1769860800",
            "2026-01-31T12:00:00\u{ff3a}",
            "２０26-01-31T12:00:00Z",
            "2026-13-01T00:00:00Z",
        ] {
            assert!(not_before(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            drop(not_before(&text));
        }

        #[test]
        fn what_jiff_prints_is_read(nanoseconds in 0_i64..i64::MAX) {
            let moment = jiff::Timestamp::from_nanosecond(nanoseconds.into()).expect("a moment");
            let read = rfc3339(&moment.to_string()).expect("a moment");
            prop_assert_eq!(read.since.0, nanoseconds / 1_000_000);
            prop_assert_eq!(read.is_finer, nanoseconds % 1_000_000 != 0);
        }
    }
}
