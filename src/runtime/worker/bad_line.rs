//! Lines that are none of the protocol. Most name their call all the same: then it is the call's fault, and the process is
//! not out of step.

use crate::domain::json::members;

use super::protocol::Of;

/// A line that is none of the protocol.
#[derive(Debug)]
pub(super) struct BadLine {
    /// What is wrong with it, and where.
    pub(super) why: String,
    pub(super) about: About,
}

/// What such a line is about.
#[derive(Debug)]
pub(super) enum About {
    /// It answers the request with this id.
    Answer(u64),
    /// It tells something of this attempt.
    Attempt(Of),
    Nothing,
}

impl BadLine {
    /// Of a line that begins and ends as an object does, whatever is in it.
    pub(super) fn of(line: &str, why: impl Into<String>) -> Self {
        let about = match members(line, ["id", "method", "params"]) {
            ([Some(id), None, _], true) => id.parse().map_or(About::Nothing, About::Answer),
            ([None, Some(_), Some(params)], true) => attempt(params).unwrap_or(About::Nothing),
            _ => About::Nothing,
        };
        Self { why: why.into(), about }
    }
}

fn attempt(params: &str) -> Option<About> {
    let ([job, attempt], _) = members(params, ["job", "attempt"]);
    let (job, attempt) = (serde_json::from_str(job?).ok()?, attempt?.parse().ok()?);
    Some(About::Attempt(Of { job, attempt }))
}

/// Whether what has come of a line that is too long begins the answer to this request.
pub(super) fn begins_answer(head: &[u8], id: u64) -> bool {
    let head = String::from_utf8_lossy(head);
    let ([named, method], _) = members(&head, ["id", "method"]);
    method.is_none() && named.is_some_and(|named| named.parse() == Ok(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_call_if_it_is_whole_and_says_whose_it_is_once() {
        let named = |line: &str| match BadLine::of(line, "").about {
            About::Answer(id) => format!("answer {id}"),
            About::Attempt(Of { job, attempt }) => format!("{job} {attempt}"),
            About::Nothing => "nothing".to_owned(),
        };
        for (line, expected) in [
            (r#"{"jsonrpc": "2.0", "id": 3, "result": NaN}"#, "answer 3"),
            (r#"{"jsonrpc": "2.0", "result": {"id": None}, "id": 3}"#, "answer 3"),
            (r#"{"jsonrpc": "2.0", "id": 3, "result": {"#, "nothing"),
            (r#"{"jsonrpc": "2.0", "id": 3, "id": 4, "result": 1}"#, "nothing"),
            (r#"{"jsonrpc": "2.0", "id": "3", "result": 1}"#, "nothing"),
            (r#"{"jsonrpc": "2.0", "id": -3, "result": 1}"#, "nothing"),
            (r#"{"jsonrpc": "2.0", "id": 3}{"jsonrpc": "2.0", "id": 4}"#, "nothing"),
            (r#"{"id": 3, "method": "log", "params": {"job": "a", "attempt": 1}}"#, "nothing"),
            (r#"{"method": "x", "params": {"job": "a", "attempt": 1, "fraction": NaN}}"#, "a 1"),
            (r#"{"method": "x", "params": {"job": "a"}}"#, "nothing"),
            (r#"{"method": "x", "params": ["a", 1]}"#, "nothing"),
            ("this is no JSON", "nothing"),
        ] {
            assert_eq!(named(line), expected, "{line}");
        }
        let head = br#"{"jsonrpc": "2.0", "id": 3, "result": "xxxxx"#;
        assert!(begins_answer(head, 3) && !begins_answer(head, 4));
        assert!(!begins_answer(br#"{"result": "xxxxx"#, 3));
    }
}
