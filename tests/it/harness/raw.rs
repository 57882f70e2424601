//! Requests as bytes, for what no proper client sends. The answer is held against the contract too.

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::contract::contract;
use crate::server::{Answer, TestServer};

/// Sends `parts` one after the other on a connection of their own, and reads one answer.
pub async fn exchange(it: &TestServer, parts: &[&[u8]]) -> Answer {
    let line = String::from_utf8_lossy(parts[0]).lines().next().expect("a line").to_owned();
    answer(&mut send(it, parts).await, &line).await
}

/// Sends `parts` one after the other on a connection of their own.
pub async fn send(it: &TestServer, parts: &[&[u8]]) -> TcpStream {
    let mut stream = TcpStream::connect(it.server.address()).await.expect("a connection");
    for part in parts {
        stream.write_all(part).await.expect("it is sent");
    }
    stream
}

/// The answer to a request that began with this line.
pub async fn answer(stream: &mut TcpStream, line: &str) -> Answer {
    let mut words = line.split(' ');
    let (method, path) = (words.next().expect("a method"), words.next().expect("a path"));
    let (head, body) = read(stream).await;
    let answer = parse(&head, body);
    let pairs: Vec<(String, String)> = answer
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()))
        .collect();
    let status = answer.status.as_u16();
    let kind = answer.header("content-type");
    let checked = contract().check(method, path, status, kind, &pairs, &answer.body);
    assert_eq!(checked, Ok(()), "{line} breaks the contract\n{head}");
    answer
}

/// The head as text, and the body that its length announces.
async fn read(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).expect("a head of text");
            let body = bytes[end + 4..].to_vec();
            let length = head
                .lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, value)| value.parse().expect("a length"));
            if body.len() >= length {
                return (head, body);
            }
        }
        let read = stream.read_buf(&mut bytes).await.expect("an answer");
        assert!(read > 0, "the answer ends early: {}", String::from_utf8_lossy(&bytes));
    }
}

fn parse(head: &str, body: Vec<u8>) -> Answer {
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status");
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let name: HeaderName = name.parse().expect("a name");
        headers.append(name, HeaderValue::from_str(value).expect("a value"));
    }
    Answer { status: status.parse::<StatusCode>().expect("a status"), headers, body }
}
