//! Bodies that are refused: what does not parse, what nobody asked for, and values of a wrong kind.

use reqwest::Method;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::{Value, json};

use crate::raw::exchange;
use crate::server::{Answer, TestServer};

async fn post(it: &TestServer, path: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = it.request(Method::POST, path).body(body);
    it.send(request.header(CONTENT_TYPE, "application/json")).await
}

/// The pointers of a problem, in order.
fn pointers(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut pointers: Vec<&str> =
        errors.iter().filter_map(|error| error["pointer"].as_str()).collect();
    pointers.sort_unstable();
    pointers
}

/// The three routes that take a body, with a job to take it for.
async fn writes(it: &TestServer) -> [String; 3] {
    let job = it.done(&json!({"function": "echo"})).await;
    let url = |name: &str| job["urls"][name].as_str().expect("a URL").to_owned();
    ["/v1/jobs".to_owned(), url("cancel"), url("callbacks")]
}

#[tokio::test]
async fn a_body_that_is_not_acceptable_json_is_malformed_on_every_route() {
    let it = TestServer::start().await;
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let nested = format!(r#"{{"function":"echo","args":{}}}"#, deep(64));
    let bodies: [&[u8]; 20] = [
        b"{",
        b" ",
        b"nonsense",
        b"{'function':'echo'}",
        br#"{"function":"echo"} x"#,
        br#"{"function":"echo"}{"function":"echo"}"#,
        br#"{"function":"echo",}"#,
        br#"{"function":"echo","function":"echo"}"#,
        br#"{"function":"echo","\u0066unction":"echo"}"#,
        br#"{"function":"echo","args":[{"a":1,"b":{},"a":2}]}"#,
        br#"{"function":"echo","args":["\u0000"]}"#,
        br#"{"function":"echo","kwargs":{"\u0000":1}}"#,
        b"{\"function\":\"echo\",\"args\":[\"\x00\"]}",
        b"{\"function\":\"echo\",\"args\":[\"\n\"]}",
        b"{\"function\":\"echo\",\"args\":[\"\xff\"]}",
        b"{\"function\":\"echo\",\"args\":[\"\xed\xa0\x80\"]}",
        b"\xef\xbb\xbf{\"function\":\"echo\"}",
        br#"{"function":"echo","args":[NaN]}"#,
        br#"{"function":"echo","args":[01]}"#,
        nested.as_bytes(),
    ];
    for path in writes(&it).await {
        for body in bodies {
            let shown = String::from_utf8_lossy(body).into_owned();
            let refused = post(&it, &path, body.to_vec()).await;
            assert_eq!(refused.status, 400, "{path}: {shown}");
            assert_eq!(refused.code(), "malformed_json", "{path}: {shown}");
        }
    }
    let list = it.get("/v1/jobs").await.expect(200).json();
    assert_eq!(list["jobs"].as_array().map(Vec::len), Some(1), "nothing was written");
}

#[tokio::test]
async fn an_empty_body_is_malformed_except_for_a_cancel() {
    let it = TestServer::start().await;
    let [submit, cancel, callbacks] = writes(&it).await;
    for path in [submit, callbacks] {
        let bare = it.send(it.request(Method::POST, &path)).await.expect(400);
        assert_eq!(bare.code(), "malformed_json");
        assert_eq!(post(&it, &path, "").await.expect(400).code(), "malformed_json");
    }
    it.send(it.request(Method::POST, &cancel)).await.expect(200);
    post(&it, &cancel, "").await.expect(200);
}

#[tokio::test]
async fn a_body_nested_64_deep_is_taken() {
    let it = TestServer::start().await;
    let deep = format!("{}{}", "[".repeat(63), "]".repeat(63));
    let body = format!(r#"{{"function":"echo","args":{deep}}}"#);
    post(&it, "/v1/jobs", body).await.expect(202);
    let deep = deep.replace('[', r#"{"a":"#).replace(']', "}").replace(":}", ":1}");
    let body = format!(r#"{{"function":"echo","kwargs":{{"value":{deep}}}}}"#);
    assert_eq!(post(&it, "/v1/jobs", body).await.expect(400).code(), "malformed_json");
}

#[tokio::test]
async fn unknown_fields_are_refused_with_pointers_also_inside_callbacks() {
    let it = TestServer::start().await;
    let [submit, cancel, callbacks] = writes(&it).await;
    let url = "https://example.com/";
    for (path, body, expected) in [
        (&submit, json!({"function": "echo", "timeout": 1}), vec!["/timeout"]),
        (&submit, json!({"function": "echo", "Args": [], "arg": 1}), vec!["/Args", "/arg"]),
        (&submit, json!({"function": "echo", "x": null}), vec!["/x"]),
        (&submit, json!({"function": "echo", "a/b~c": 1}), vec!["/a~1b~0c"]),
        (&submit, json!({"function": "echo", "/x": 1}), vec!["/~1x"]),
        (&submit, json!({"function": "echo", "": 1}), vec!["/"]),
        (&submit, json!({"colour": 1}), vec!["/colour"]),
        (
            &submit,
            json!({"function": "echo", "colour": 1,
                "callbacks": [{"url": url}, {"url": url, "colour": 1, "when": "done"}]}),
            vec!["/callbacks/1/colour", "/callbacks/1/when", "/colour"],
        ),
        (&cancel, json!({"mood": "bad"}), vec!["/mood"]),
        (&callbacks, json!({"url": url, "events": []}), vec!["/events"]),
    ] {
        let refused = it.post(path, &body).await.expect(400);
        assert_eq!(refused.code(), "unknown_field", "{body}");
        assert_eq!(pointers(&refused.json()), expected, "{body}");
    }
}

/// A submission with one more field.
fn with(name: &str, value: Value) -> Value {
    let mut call = json!({"function": "echo"});
    call[name] = value;
    call
}

fn many(count: usize) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

#[tokio::test]
async fn values_of_a_wrong_kind_or_out_of_range_are_refused_with_pointers() {
    let it = TestServer::start().await;
    let map = |count| -> Value { many(count).into_iter().map(|key| (key, json!(""))).collect() };
    for (call, pointer) in [
        (json!([]), ""),
        (json!(null), ""),
        (json!("echo"), ""),
        (json!({}), "/function"),
        (with("function", json!(null)), "/function"),
        (with("function", json!(1)), "/function"),
        (with("function", json!(["echo"])), "/function"),
        (with("args", json!({})), "/args"),
        (with("args", json!("x")), "/args"),
        (with("args", json!(null)), "/args"),
        (with("kwargs", json!([])), "/kwargs"),
        (with("queue", json!(1)), "/queue"),
        (with("queue", json!(null)), "/queue"),
        (with("queue", json!("")), "/queue"),
        (with("queue", json!("no such queue")), "/queue"),
        (with("queue", json!("nosuch")), "/queue"),
        (with("queue", json!("q".repeat(65))), "/queue"),
        (with("priority", json!("1")), "/priority"),
        (with("priority", json!(1.5)), "/priority"),
        (with("priority", json!(101)), "/priority"),
        (with("priority", json!(-101)), "/priority"),
        (with("priority", json!(u64::MAX)), "/priority"),
        (with("on_interrupt", json!("maybe")), "/on_interrupt"),
        (with("on_interrupt", json!(true)), "/on_interrupt"),
        (with("tags", json!("x")), "/tags"),
        (with("tags", json!([1])), "/tags"),
        (with("tags", json!([""])), "/tags"),
        (with("tags", json!(["x".repeat(65)])), "/tags"),
        (with("tags", json!(many(17))), "/tags"),
        (with("metadata", json!([])), "/metadata"),
        (with("metadata", json!({"a": 1})), "/metadata"),
        (with("metadata", json!({"a": "x".repeat(513)})), "/metadata"),
        (with("metadata", map(33)), "/metadata"),
    ] {
        let refused = it.post("/v1/jobs", &call).await.expect(422);
        assert_eq!(refused.code(), "invalid_value", "{call}");
        assert_eq!(pointers(&refused.json()), [pointer], "{call}");
    }
    let call = json!({"function": 1, "args": 2, "priority": 3.5, "callbacks": [{"url": 4}]});
    let refused = it.post("/v1/jobs", &call).await.expect(422).json();
    assert_eq!(pointers(&refused), ["/args", "/callbacks/0/url", "/function", "/priority"]);
}

#[tokio::test]
async fn a_whole_number_may_be_written_with_a_fraction_of_zero() {
    let it = TestServer::start().await;
    for (text, priority) in [("4.0", 4), ("-100.00", -100), ("-0.0", 0)] {
        let body = format!(r#"{{"function":"echo","priority":{text}}}"#);
        assert_eq!(post(&it, "/v1/jobs", body).await.expect(202).json()["priority"], priority);
    }
    for text in ["4.5", "101.0", "4.00001", "\"4.0\""] {
        let body = format!(r#"{{"function":"echo","priority":{text}}}"#);
        let refused = post(&it, "/v1/jobs", body).await.expect(422).json();
        assert_eq!(pointers(&refused), ["/priority"], "{text}");
    }
}

#[tokio::test]
async fn a_callback_of_a_wrong_kind_is_refused_with_a_pointer_into_it() {
    let it = TestServer::start().await;
    let callback = |name: &str, value: Value| {
        let mut callback = json!({"url": "https://example.com/"});
        callback[name] = value;
        json!([callback])
    };
    let url = || json!({"url": "https://example.com/"});
    let headers: Value = many(17).into_iter().map(|n| (format!("x-{n}"), json!(""))).collect();
    for (call, pointer) in [
        (with("callbacks", json!({})), "/callbacks"),
        (with("callbacks", json!(vec![url(); 17])), "/callbacks"),
        (with("callbacks", json!([url(), 1])), "/callbacks/1"),
        (with("callbacks", json!([null])), "/callbacks/0"),
        (with("callbacks", json!([{}])), "/callbacks/0/url"),
        (with("callbacks", callback("url", json!(1))), "/callbacks/0/url"),
        (with("callbacks", callback("url", json!("no URL"))), "/callbacks/0/url"),
        (with("callbacks", callback("url", json!("ftp://example.com/"))), "/callbacks/0/url"),
        (with("callbacks", json!(null)), "/callbacks"),
        (with("callbacks", callback("secret", json!(1))), "/callbacks/0/secret"),
        (with("callbacks", callback("secret", json!(null))), "/callbacks/0/secret"),
        (with("callbacks", callback("secret", json!("whsec_c2hvcnQ="))), "/callbacks/0/secret"),
        (with("callbacks", callback("headers", json!([]))), "/callbacks/0/headers"),
        (with("callbacks", callback("headers", json!({"x": 1}))), "/callbacks/0/headers"),
        (with("callbacks", callback("headers", json!({"Host": "x"}))), "/callbacks/0/headers"),
        (with("callbacks", callback("headers", json!({"x": "a\nb"}))), "/callbacks/0/headers"),
        (with("callbacks", callback("headers", headers)), "/callbacks/0/headers"),
    ] {
        let refused = it.post("/v1/jobs", &call).await.expect(422);
        assert_eq!(refused.code(), "invalid_value", "{call}");
        assert_eq!(pointers(&refused.json()), [pointer], "{call}");
    }
}

#[tokio::test]
async fn a_cancel_and_a_callback_are_read_as_strictly() {
    let it = TestServer::start().await;
    let [_, cancel, callbacks] = writes(&it).await;
    for (path, body, pointer) in [
        (&cancel, json!([]), ""),
        (&cancel, json!({"mode": "kill"}), "/mode"),
        (&cancel, json!({"mode": 1}), "/mode"),
        (&cancel, json!({"grace_seconds": "1"}), "/grace_seconds"),
        (&cancel, json!({"grace_seconds": -1}), "/grace_seconds"),
        (&cancel, json!({"grace_seconds": 3600.5}), "/grace_seconds"),
        (&cancel, json!({"grace_seconds": 1e300}), "/grace_seconds"),
        (&cancel, json!({"wait_seconds": "1"}), "/wait_seconds"),
        (&cancel, json!({"wait_seconds": null}), "/wait_seconds"),
        (&callbacks, json!([]), ""),
        (&callbacks, json!({}), "/url"),
        (&callbacks, json!({"url": ""}), "/url"),
        (&callbacks, json!({"url": "http://u:p@example.com/"}), "/url"),
        (&callbacks, json!({"url": "https://example.com/", "secret": "x"}), "/secret"),
    ] {
        let refused = it.post(path, &body).await.expect(422);
        assert_eq!(refused.code(), "invalid_value", "{body}");
        assert_eq!(pointers(&refused.json()), [pointer], "{body}");
    }
    for body in [
        json!({"grace_seconds": 3600}),
        json!({"grace_seconds": 0, "wait_seconds": -1}),
        json!({"wait_seconds": 1e300}),
    ] {
        it.post(&cancel, &body).await.expect(200);
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413_by_its_announced_length() {
    let it = TestServer::start().await;
    let [submit, cancel, callbacks] = writes(&it).await;
    let (large, small) = (1024 * 1024, 64 * 1024);
    for (path, most) in [(submit, large), (cancel, small), (callbacks, small)] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            most + 1
        );
        // Not a byte of the body is needed for the answer.
        let refused = exchange(&it, &[head.as_bytes()]).await.expect(413);
        assert_eq!(refused.code(), "too_large");
    }
}

#[tokio::test]
async fn a_body_without_a_length_is_413_as_soon_as_it_is_too_large() {
    let it = TestServer::start().await;
    let [submit, cancel, callbacks] = writes(&it).await;
    let (large, small) = (1024 * 1024, 64 * 1024);
    for (path, most) in [(submit, large), (cancel, small), (callbacks, small)] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\n\r\n{most:x}\r\n{}\r\n",
            " ".repeat(most)
        );
        let refused = exchange(&it, &[head.as_bytes(), b"1\r\n \r\n"]).await.expect(413);
        assert_eq!(refused.code(), "too_large");
    }
}

#[tokio::test]
async fn a_body_of_just_the_limit_is_taken() {
    let it = TestServer::start().await;
    let [submit, cancel, _] = writes(&it).await;
    let filled = |text: &str, bytes: usize| format!("{text}{}", " ".repeat(bytes - text.len()));
    let submission = filled(r#"{"function":"echo"}"#, 1024 * 1024);
    post(&it, &submit, submission).await.expect(202);
    post(&it, &cancel, filled("{}", 64 * 1024)).await.expect(200);
}

#[tokio::test]
async fn a_body_that_is_not_plain_json_is_415() {
    let it = TestServer::start().await;
    let refused_types = [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=x"),
        Some("application/jsonp"),
        Some("application/problem+json"),
        Some("text/plain; application/json"),
        Some(""),
    ];
    for path in writes(&it).await {
        let request = || it.request(Method::POST, &path).body("{}");
        for given in refused_types {
            let request = given.map_or_else(&request, |it| request().header(CONTENT_TYPE, it));
            let refused = it.send(request).await.expect(415);
            assert_eq!(refused.code(), "unsupported_media_type", "{path} {given:?}");
        }
        for encoding in ["gzip", "br", "identity, gzip"] {
            let request = request().header(CONTENT_TYPE, "application/json");
            let refused = it.send(request.header(CONTENT_ENCODING, encoding)).await.expect(415);
            assert_eq!(refused.code(), "unsupported_media_type", "{path} {encoding}");
        }
    }
    for given in ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json ;x=y"] {
        let request = it.request(Method::POST, "/v1/jobs").body(r#"{"function":"echo"}"#);
        let request = request.header(CONTENT_TYPE, given).header(CONTENT_ENCODING, "identity");
        it.send(request).await.expect(202);
    }
}
