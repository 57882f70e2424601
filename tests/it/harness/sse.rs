//! Server-sent events, read as a browser reads them (WHATWG HTML, section 9.2.6).

use serde_json::Value;

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The last id that was sent, with it or before.
    pub id: String,
    pub kind: String,
    pub data: Value,
}

/// What has been read of a stream of events.
#[derive(Debug, Default)]
pub struct Parser {
    read: Vec<u8>,
    last_id: String,
    kind: String,
    data: Vec<String>,
    pub retry: Option<u64>,
    pub comments: usize,
}

impl Parser {
    /// The events that end in these bytes. A part of one is kept until the rest comes.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.read.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.read.drain(..=end).collect();
            let line = String::from_utf8(line).expect("a text");
            events.extend(self.line(line.trim_end_matches('\n')));
        }
        events
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let (kind, data) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
            if data.is_empty() {
                return None;
            }
            let data = serde_json::from_str(&data.join("\n")).expect("JSON");
            return Some(Event { id: self.last_id.clone(), kind, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => self.comments += 1,
            "id" => self.last_id = value.to_owned(),
            "event" => self.kind = value.to_owned(),
            "data" => self.data.push(value.to_owned()),
            "retry" => self.retry = value.parse().ok(),
            _ => assert_eq!(line, "", "an unknown field"),
        }
        None
    }
}

/// A stream that is read event by event.
pub struct Events {
    response: reqwest::Response,
    parser: Parser,
    ready: std::collections::VecDeque<Event>,
}

impl Events {
    pub async fn open(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        let (parser, ready) = (Parser::default(), std::collections::VecDeque::new());
        let mut it = Self { response, parser, ready };
        // The server follows from before its first bytes.
        while it.parser.retry.is_none() {
            assert!(it.read().await, "it begins");
        }
        it
    }

    async fn read(&mut self) -> bool {
        let chunk = self.response.chunk().await.expect("a stream");
        chunk.is_some_and(|chunk| {
            self.ready.extend(self.parser.push(&chunk));
            true
        })
    }

    pub async fn next(&mut self) -> Event {
        self.maybe_next().await.expect("more to come")
    }

    /// The next event; none at the end.
    pub async fn maybe_next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                if event.kind == "alive" {
                    // It says where the reader is, and nothing else.
                    assert_eq!(event.data, serde_json::json!({}));
                    continue;
                }
                return Some(event);
            }
            if !self.read().await {
                return None;
            }
        }
    }
}
