//! Streams of lines of JSON, read whole or line by line.

use serde_json::Value;

use crate::server::Answer;

/// All lines of an answer that has ended.
pub fn lines_of(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(answer.header("x-accel-buffering"), Some("no"));
    let text = std::str::from_utf8(&answer.body).expect("a text");
    assert!(text.is_empty() || text.ends_with('\n'), "whole lines");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// A stream that is read line by line.
pub struct Lines {
    pub response: reqwest::Response,
    read: Vec<u8>,
}

impl Lines {
    pub async fn open(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        Self { response, read: Vec::new() }
    }

    /// The next line.
    pub async fn next(&mut self) -> Value {
        self.maybe_next().await.expect("more to come")
    }

    /// The next line; none at the end.
    pub async fn maybe_next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("a line of JSON"));
            }
            let Some(chunk) = self.response.chunk().await.expect("a stream") else {
                assert!(self.read.is_empty(), "it ends with a whole line");
                return None;
            };
            self.read.extend_from_slice(&chunk);
        }
    }
}
