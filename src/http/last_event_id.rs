//! `Last-Event-ID`: where a reader of events that comes back goes on (WHATWG HTML, section 9.2).

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};

use crate::domain::Invalid;

use super::problem::Problem;
use super::wait::bad_query;

/// Behind the place of an end after which nothing comes: whoever comes back with it is sent away for good.
const FOR_GOOD: &str = ".end";
/// The digits of a place, as every reader of numbers takes them.
const DIGITS_MAX: usize = 18;

/// Where a reader goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resumed<T> {
    /// Behind this place, or from the beginning.
    Behind(Option<T>),
    /// It has seen the end, after which nothing comes.
    Over,
}

/// Where the reader goes on: behind the event that the header names, or else where it says itself, in a query or a body.
///
/// # Errors
/// An id that this server never gave.
pub(super) fn resumed<T>(
    headers: &HeaderMap,
    asked: Option<T>,
    place: impl Fn(&str) -> Result<T, Invalid>,
) -> Result<Resumed<T>, Problem> {
    let Some(id) = last_event_id(headers)? else { return Ok(Resumed::Behind(asked)) };
    let (id, is_over) = match id.strip_suffix(FOR_GOOD) {
        Some(id) => (id, true),
        None => (id, false),
    };
    let place =
        place(id).map_err(|invalid| bad_query(format!("Last-Event-ID: {}", invalid.detail)))?;
    Ok(if is_over { Resumed::Over } else { Resumed::Behind(Some(place)) })
}

/// The id of the event that the reader saw last, if it was there before.
pub(super) fn last_event_id(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    match value.to_str() {
        // A browser that has seen no id sends none, or an empty one.
        Ok(id) => Ok(Some(id).filter(|id| !id.is_empty())),
        Err(_not_text) => {
            Err(bad_query("Last-Event-ID is not one that this server gave".to_owned()))
        }
    }
}

/// The id of an end after which nothing comes.
pub(super) fn end_for_good(place: &str) -> String {
    format!("{place}{FOR_GOOD}")
}

/// The answer to a reader that has seen such an end: it stops by itself (WHATWG HTML, section 9.2.3).
pub(super) fn nothing_more() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// A place in the order of all changes.
pub(super) fn place(text: &str) -> Result<i64, Invalid> {
    digits(text).ok_or_else(|| Invalid::new(format!("'{text}' is no place that this server gave")))
}

/// A number in digits alone.
pub(super) fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    let is_one = text.len() <= DIGITS_MAX && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_one)
}
