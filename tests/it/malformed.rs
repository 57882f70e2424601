//! What no client should send: bytes that are no HTTP, and bodies that are no acceptable JSON. Each has its answer, none of
//! them is a 500, and the server goes on.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::server::TestServer;

/// Far below the limit of an idle connection: an answer comes at once, or the connection is closed at once.
const LIMIT: Duration = Duration::from_secs(60);

/// What comes of it: a status and the code of the problem, if it has one.
type Outcome = (u16, &'static str);

/// The connection is closed without an answer.
const CLOSED: Outcome = (0, "");
/// hyper's own answer: what it cannot read never reaches us.
const NO_HTTP: Outcome = (400, "");

/// What is sent, in words and in bytes, and what comes of it.
type Rows = Vec<(&'static str, Vec<u8>, Outcome)>;

const POST: &str = "POST /v1/jobs HTTP/1.1";
const JSON: &str = "Content-Type: application/json\r\n";

fn head(line: &str, fields: &str) -> Vec<u8> {
    format!("{line}\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n").into_bytes()
}

fn posted(body: &[u8]) -> Vec<u8> {
    let fields = format!("{JSON}Content-Length: {}\r\n", body.len());
    [head(POST, &fields), body.to_vec()].concat()
}

/// First lines that are no HTTP, or hardly.
fn of_lines() -> Rows {
    vec![
        ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), NO_HTTP),
        ("HTTP/2 without being asked", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), CLOSED),
        ("binary", (0_u8..=255).collect(), NO_HTTP),
        ("only line ends, then nothing", b"\r\n\r\n\r\n".to_vec(), CLOSED),
        ("a line without a version", b"GET /livez\r\nHost: localhost\r\n\r\n".to_vec(), NO_HTTP),
        ("an unknown version", head("GET /livez HTTP/9.9", ""), NO_HTTP),
        ("no path", head("GET  HTTP/1.1", ""), NO_HTTP),
        ("a space in the path", head("GET /a b HTTP/1.1", ""), NO_HTTP),
        ("a control character in the path", head("GET /\x01 HTTP/1.1", ""), NO_HTTP),
        ("a NUL in the path", head("GET /\0 HTTP/1.1", ""), NO_HTTP),
        ("a fragment", head("GET /livez#x HTTP/1.1", ""), (200, "")),
        ("asterisk form", head("OPTIONS * HTTP/1.1", ""), (404, "not_found")),
        ("authority form", head("CONNECT localhost:80 HTTP/1.1", ""), (404, "not_found")),
        (
            "absolute form of another host",
            head("GET http://evil.example/v1/queues HTTP/1.1", ""),
            (421, "misdirected"),
        ),
        ("an unknown method", head("BREW /livez HTTP/1.1", ""), (405, "method_not_allowed")),
        ("a method in small letters", head("get /livez HTTP/1.1", ""), (405, "method_not_allowed")),
        (
            "a percent that escapes nothing",
            head("GET /v1/jobs/%zz HTTP/1.1", ""),
            (404, "not_found"),
        ),
        (
            "bytes that are no UTF-8 in the path",
            head("GET /v1/jobs/%ff%fe HTTP/1.1", ""),
            (404, "not_found"),
        ),
    ]
}

/// Header fields.
fn of_fields() -> Rows {
    let get = "GET /livez HTTP/1.1";
    let many = |count| (0..count).map(|it| format!("x-{it}: y\r\n")).collect::<String>();
    vec![
        (
            "no Host",
            b"GET /v1/queues HTTP/1.1\r\nConnection: close\r\n\r\n".to_vec(),
            (421, "misdirected"),
        ),
        ("two Hosts", head(get, "Host: localhost\r\n"), (400, "bad_request")),
        (
            "a Host that is no name",
            b"GET /v1/queues HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n".to_vec(),
            (421, "misdirected"),
        ),
        ("a field without a colon", head(get, "nonsense\r\n"), NO_HTTP),
        ("a space before the colon", head(get, "x : y\r\n"), NO_HTTP),
        ("a folded field", head(get, "x: a\r\n b\r\n"), NO_HTTP),
        ("a field without a name", head(get, ": y\r\n"), NO_HTTP),
        ("a NUL in a field", head(get, "x: \0\r\n"), NO_HTTP),
        ("200 fields", head(get, &many(200)), (431, "")),
        ("90 fields", head(get, &many(90)), (431, "headers_too_large")),
        (
            "a field of 40 KiB",
            head(get, &format!("x: {}\r\n", "y".repeat(40_000))),
            (431, "headers_too_large"),
        ),
        (
            "a path of 9 KiB",
            head(&format!("GET /{} HTTP/1.1", "a".repeat(9_000)), ""),
            (414, "uri_too_long"),
        ),
    ]
}

/// Lengths of bodies.
fn of_lengths() -> Rows {
    vec![
        (
            "a length that is no number",
            head(POST, &format!("{JSON}Content-Length: ten\r\n")),
            NO_HTTP,
        ),
        ("a negative length", head(POST, &format!("{JSON}Content-Length: -1\r\n")), NO_HTTP),
        (
            "a length beyond all numbers",
            head(POST, &format!("{JSON}Content-Length: 99999999999999999999\r\n")),
            NO_HTTP,
        ),
        (
            "two lengths",
            head(POST, &format!("{JSON}Content-Length: 2\r\nContent-Length: 3\r\n")),
            NO_HTTP,
        ),
        (
            "a length of 10 GB",
            head(POST, &format!("{JSON}Content-Length: 10000000000\r\n")),
            (413, "too_large"),
        ),
        (
            "a length and chunks",
            [
                head(POST, &format!("{JSON}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")),
                b"0\r\n\r\n".to_vec(),
            ]
            .concat(),
            (400, "malformed_json"),
        ),
    ]
}

/// Bodies in pieces.
fn of_pieces() -> Rows {
    vec![
        (
            "an unknown transfer coding",
            head(POST, &format!("{JSON}Transfer-Encoding: gzip\r\n")),
            NO_HTTP,
        ),
        (
            "another transfer coding before the chunks",
            [
                head(POST, &format!("{JSON}Transfer-Encoding: gzip, chunked\r\n")),
                b"0\r\n\r\n".to_vec(),
            ]
            .concat(),
            (501, "not_implemented"),
        ),
        (
            "chunks of chunks",
            [
                head(
                    POST,
                    &format!("{JSON}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
                ),
                b"0\r\n\r\n".to_vec(),
            ]
            .concat(),
            (501, "not_implemented"),
        ),
        (
            "a chunk without a size",
            [head(POST, &format!("{JSON}Transfer-Encoding: chunked\r\n")), b"zz\r\n".to_vec()]
                .concat(),
            (400, "bad_request"),
        ),
        (
            "a chunk with a size beyond all numbers",
            [
                head(POST, &format!("{JSON}Transfer-Encoding: chunked\r\n")),
                b"fffffffffffffffff\r\n".to_vec(),
            ]
            .concat(),
            (400, "bad_request"),
        ),
        (
            "an expectation that nobody has",
            head(POST, &format!("{JSON}Content-Length: 2\r\nExpect: money\r\n"))
                .into_iter()
                .chain(*b"{}")
                .collect(),
            (422, "invalid_value"),
        ),
    ]
}

/// Queries, and a field of bytes.
fn of_queries() -> Rows {
    vec![
        (
            "a query that is no UTF-8",
            head("GET /v1/jobs?tag=%ff HTTP/1.1", ""),
            (400, "bad_request"),
        ),
        (
            "a parameter that is none",
            head("GET /v1/jobs?nonsense=1 HTTP/1.1", ""),
            (400, "bad_request"),
        ),
        (
            "a parameter twice",
            head("GET /v1/jobs?state=failed&state=failed HTTP/1.1", ""),
            (400, "bad_request"),
        ),
        (
            "a wait that is no number",
            head("GET /v1/jobs?wait=NaN HTTP/1.1", ""),
            (400, "bad_request"),
        ),
        (
            "a page token that is none",
            head("GET /v1/jobs?page_token=%00 HTTP/1.1", ""),
            (400, "bad_request"),
        ),
        (
            "an idempotency key of bytes",
            head(POST, "Idempotency-Key: \u{7f}\r\nContent-Length: 0\r\n"),
            NO_HTTP,
        ),
    ]
}

const MALFORMED: Outcome = (400, "malformed_json");
const WRONG: Outcome = (422, "invalid_value");

fn call(args: &str) -> Vec<u8> {
    format!(r#"{{"function":"echo","args":{args}}}"#).into_bytes()
}

/// Bodies of a submission that are no JSON, or none that is taken.
fn of_syntax() -> Rows {
    vec![
        ("nothing", Vec::new(), MALFORMED),
        ("white space", b" \t\r\n ".to_vec(), MALFORMED),
        ("no JSON", b"nonsense".to_vec(), MALFORMED),
        ("half an object", br#"{"function":"echo""#.to_vec(), MALFORMED),
        ("a comma too many", br#"{"function":"echo",}"#.to_vec(), MALFORMED),
        ("something behind it", br#"{"function":"echo"} {}"#.to_vec(), MALFORMED),
        ("a comment", br#"{"function":"echo"/**/}"#.to_vec(), MALFORMED),
        ("single quotes", b"{'function':'echo'}".to_vec(), MALFORMED),
        ("a byte order mark", b"\xef\xbb\xbf{\"function\":\"echo\"}".to_vec(), MALFORMED),
        (
            "UTF-16",
            "{\"function\":\"echo\"}".encode_utf16().flat_map(u16::to_le_bytes).collect(),
            MALFORMED,
        ),
        ("no UTF-8", b"{\"function\":\"\xff\"}".to_vec(), MALFORMED),
        ("an overlong letter", b"{\"function\":\"\xc1\xa1\"}".to_vec(), MALFORMED),
        ("half a surrogate", call(r#"["\ud800"]"#), MALFORMED),
        ("a control character in a text", b"{\"function\":\"ec\x01ho\"}".to_vec(), MALFORMED),
        ("U+0000", call(r#"["\u0000"]"#), MALFORMED),
        ("an escape that is none", call(r#"["\x"]"#), MALFORMED),
        ("NaN", call("[NaN]"), MALFORMED),
        ("a number beyond all doubles", call("[1e999]"), MALFORMED),
        ("a plus", call("[+1]"), MALFORMED),
        ("a zero before", call("[01]"), MALFORMED),
        ("a bare point", call("[.5]"), MALFORMED),
        ("a key twice", br#"{"function":"echo","function":"echo"}"#.to_vec(), MALFORMED),
        (
            "a key twice, once escaped",
            br#"{"function":"echo","functio\u006e":"echo"}"#.to_vec(),
            MALFORMED,
        ),
        ("a key twice in an argument", call(r#"[{"a":1,"a":2}]"#), MALFORMED),
    ]
}

/// Bodies of a submission that go too deep, or are of the wrong kind.
fn of_values() -> Rows {
    let nested = |depth: usize| call(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
    vec![
        ("100 deep", nested(100), MALFORMED),
        ("100,000 deep", nested(100_000), MALFORMED),
        ("100,000 objects deep", r#"{"a":"#.repeat(100_000).into_bytes(), MALFORMED),
        ("an array", b"[]".to_vec(), WRONG),
        ("a text", b"\"echo\"".to_vec(), WRONG),
        ("null", b"null".to_vec(), WRONG),
        ("a number", b"7".to_vec(), WRONG),
        (
            "an unknown field",
            br#"{"function":"echo","nonsense":1}"#.to_vec(),
            (400, "unknown_field"),
        ),
        ("a function that is a number", br#"{"function":7}"#.to_vec(), WRONG),
        (
            "a function of 10,000 letters",
            format!(r#"{{"function":"{}"}}"#, "a".repeat(10_000)).into_bytes(),
            (422, "unknown_function"),
        ),
        ("arguments that are a text", call("\"x\""), WRONG),
        ("a priority of 10^30", br#"{"function":"echo","priority":1e30}"#.to_vec(), WRONG),
        ("a delay of -1", br#"{"function":"echo","delay_seconds":-1}"#.to_vec(), WRONG),
        ("an id that is none", br#"{"function":"echo","id":"x"}"#.to_vec(), WRONG),
        ("a number of 10,000 digits", call(&format!("[{}]", "9".repeat(10_000))), MALFORMED),
        ("a number of 300 digits", call(&format!("[{}]", "9".repeat(300))), (202, "")),
        ("a text of all planes", call("[\"\u{1f600}\u{10ffff}\u{feff}\"]"), (202, "")),
    ]
}

/// Sends the bytes and reads all that is answered. If nothing is expected, it says that no more come.
async fn outcome(it: &TestServer, bytes: &[u8], expected: Outcome) -> (u16, String) {
    let asked = async {
        let mut stream = TcpStream::connect(it.server.address()).await.expect("a connection");
        // A server that has answered may have closed before all was sent.
        stream.write_all(bytes).await.unwrap_or_default();
        if expected == CLOSED {
            stream.shutdown().await.unwrap_or_default();
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap_or_default();
        String::from_utf8_lossy(&answer).into_owned()
    };
    let text = tokio::time::timeout(LIMIT, asked).await.expect("an answer, or an end");
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let code = serde_json::from_str::<Value>(body).ok();
    let code = code.and_then(|it| it["code"].as_str().map(str::to_owned)).unwrap_or_default();
    (status, code)
}

#[tokio::test]
async fn whatever_is_sent_has_its_answer_and_none_of_it_is_our_fault() {
    let it = TestServer::start().await;
    let bodies = of_syntax()
        .into_iter()
        .chain(of_values())
        .map(|(name, body, expected)| (name, posted(&body), expected));
    let mut wrong = Vec::new();
    for (name, bytes, expected) in of_lines()
        .into_iter()
        .chain(of_fields())
        .chain(of_lengths())
        .chain(of_pieces())
        .chain(of_queries())
        .chain(bodies)
    {
        let (status, code) = outcome(&it, &bytes, expected).await;
        let shown = if status == 0 { "closed".to_owned() } else { format!("{status} {code}") };
        println!("| {name} | {shown} |");
        if (status, code.as_str()) != expected {
            wrong.push(format!("{name}: {shown}, not {} {}", expected.0, expected.1));
        }
        assert!(status <= 501 && status != 500, "{name}: {status} {code}");
        it.get("/livez").await.expect(200);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
