//! The built-in function `http.request`, against a receiver on this machine.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::receiver::{Receiver, Reply};
use crate::server::TestServer;

async fn request(it: &TestServer, kwargs: Value) -> Value {
    it.done(&json!({"function": "http.request", "kwargs": kwargs})).await
}

/// The answer to a request that must succeed.
async fn answer(it: &TestServer, kwargs: Value) -> Value {
    let mut job = request(it, kwargs).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    job["result"].take()
}

/// The error of a request that must fail.
async fn error(it: &TestServer, kwargs: Value) -> Value {
    let mut job = request(it, kwargs).await;
    assert_eq!(job["state"], "failed", "{job}");
    job["error"].take()
}

#[tokio::test]
async fn a_get_gives_status_headers_body_and_the_url_that_answered() {
    let it = TestServer::start().await;
    let mut receiver = Receiver::start(|_| Reply::Body(200, "héllo".into())).await;
    let job = it.done(&json!({"function": "http.request", "args": [receiver.at("/a?b=c")]})).await;
    let result = &job["result"];
    assert_eq!((&result["status"], &result["body"]), (&json!(200), &json!("héllo")));
    assert_eq!(
        (&result["body_encoding"], &result["url"]),
        (&json!("utf-8"), &json!(receiver.at("/a?b=c")))
    );
    assert_eq!(result["headers"]["content-length"], "6");
    assert!(result["elapsed_ms"].is_u64());
    let seen = receiver.next().await;
    assert_eq!((seen.method.as_str(), seen.path.as_str(), seen.text()), ("GET", "/a?b=c", ""));
}

#[tokio::test]
async fn a_post_sends_json_digit_by_digit_or_a_text_and_the_headers() {
    let it = TestServer::start().await;
    let mut receiver = Receiver::start(|_| Reply::Status(201)).await;
    let url = receiver.at("/post");
    let body = format!(
        r#"{{"function":"http.request","kwargs":{{"url":"{url}","method":"POST","json":{{"n":12345678901234567890.10}}}}}}"#
    );
    let request = it.request(reqwest::Method::POST, "/v1/jobs?wait=60");
    let request = request.header("content-type", "application/json").body(body);
    it.send(request).await.expect(200);
    let seen = receiver.next().await;
    assert_eq!(
        (seen.text(), seen.header("content-type")),
        (r#"{"n":12345678901234567890.10}"#, "application/json")
    );

    let headers = json!({"X-A": "b", "Content-Type": "text/x-own"});
    let kwargs = json!({"url": url, "method": "PUT", "body": "plain é", "headers": headers});
    assert_eq!(answer(&it, kwargs).await["status"], 201);
    let seen = receiver.next().await;
    assert_eq!((seen.method.as_str(), seen.text()), ("PUT", "plain é"));
    assert_eq!((seen.header("x-a"), seen.header("content-type")), ("b", "text/x-own"));
}

#[tokio::test]
async fn a_body_that_is_no_text_comes_in_base64() {
    let it = TestServer::start().await;
    let receiver = Receiver::start(|_| Reply::Body(200, vec![0xff, 0, 0xfe])).await;
    let result = answer(&it, json!({"url": receiver.at("/")})).await;
    assert_eq!((&result["body"], &result["body_encoding"]), (&json!("/wD+"), &json!("base64")));
}

#[tokio::test]
async fn an_answer_of_4xx_or_5xx_is_a_result_unless_it_is_to_be_raised() {
    let it = TestServer::start().await;
    let receiver = Receiver::start(|seen| {
        Reply::Status(seen.path.trim_start_matches('/').parse().expect("a status as the path"))
    })
    .await;
    for (status, retryable) in [(404, false), (429, true), (500, true), (503, true)] {
        let url = receiver.at(&format!("/{status}"));
        assert_eq!(answer(&it, json!({"url": url})).await["status"], status);
        let error = error(&it, json!({"url": url, "raise_for_status": true})).await;
        assert_eq!((&error["type"], &error["retryable"]), (&json!("HTTPError"), &json!(retryable)));
        assert_eq!(error["details"], json!({"status": status}));
    }
    let fine = json!({"url": receiver.at("/204"), "raise_for_status": true});
    assert_eq!(answer(&it, fine).await["status"], 204);
}

#[tokio::test]
async fn a_redirect_is_followed_only_on_request() {
    let it = TestServer::start().await;
    let mut there = Receiver::start(|_| Reply::Body(200, "there".into())).await;
    let to = there.at("/there");
    let here = Receiver::start(move |_| Reply::With(302, "location", to.clone())).await;
    let url = here.at("/here");
    let result = answer(&it, json!({"url": url})).await;
    assert_eq!(
        (&result["status"], &result["headers"]["location"]),
        (&json!(302), &json!(there.at("/there")))
    );
    assert!(there.is_quiet());
    let headers = json!({"Authorization": "Bearer mine"});
    let kwargs = json!({"url": url, "follow_redirects": true, "headers": headers});
    let result = answer(&it, kwargs).await;
    assert_eq!((&result["body"], &result["url"]), (&json!("there"), &json!(there.at("/there"))));
    assert!(!there.next().await.headers.contains_key("authorization"), "it was for another origin");

    let circle = Receiver::start(|_| Reply::With(302, "location", "/again".into())).await;
    let error = error(&it, json!({"url": circle.at("/"), "follow_redirects": true})).await;
    assert_eq!(error["type"], "HTTPError");
}

#[tokio::test]
async fn a_body_larger_than_asked_for_is_an_error() {
    let it = TestServer::start().await;
    let receiver = Receiver::start(|_| Reply::Body(200, b"0123456789".into())).await;
    let url = receiver.at("/");
    let whole = answer(&it, json!({"url": url, "max_body_bytes": 10})).await;
    assert_eq!(whole["body"], "0123456789");
    let error = error(&it, json!({"url": url, "max_body_bytes": 9})).await;
    assert_eq!((&error["type"], &error["retryable"]), (&json!("HTTPError"), &json!(null)));
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

fn brotli(text: &[u8]) -> Vec<u8> {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
    encoder.write_all(text).expect("memory");
    encoder.into_inner()
}

#[tokio::test]
async fn a_compressed_body_comes_as_it_was_meant_and_the_limit_is_for_that() {
    let it = TestServer::start().await;
    let mut receiver = Receiver::start(|seen| {
        let text = "é".repeat(5_000);
        match seen.path.as_str() {
            "/gzip" => Reply::Encoded("gzip", gzip(text.as_bytes())),
            "/deflate" => Reply::Encoded("deflate", zlib(text.as_bytes())),
            _ => Reply::Encoded("br", brotli(text.as_bytes())),
        }
    })
    .await;
    for path in ["/gzip", "/deflate", "/br"] {
        let url = receiver.at(path);
        let result = answer(&it, json!({"url": url, "max_body_bytes": 10_000})).await;
        assert_eq!(result["body"].as_str().map(str::len), Some(10_000), "{path}");
        let described = ["content-encoding", "content-length"].map(|name| &result["headers"][name]);
        assert_eq!(described, [&json!(null); 2], "it is not so any more");
        let accepted = receiver.next().await.header("accept-encoding").to_owned();
        assert!(accepted.contains(path.trim_start_matches('/')), "{accepted}");
        let error = error(&it, json!({"url": url, "max_body_bytes": 9_999})).await;
        assert_eq!(error["type"], "HTTPError", "{path}: {error}");
        receiver.next().await;
    }
}

#[tokio::test]
async fn a_body_that_is_no_text_is_sent_in_base64() {
    let it = TestServer::start().await;
    let mut receiver = Receiver::start(|_| Reply::Status(200)).await;
    let kwargs = json!({"url": receiver.at("/"), "method": "POST", "body_base64": "/wD+"});
    answer(&it, kwargs).await;
    assert_eq!(&receiver.next().await.body[..], [0xff, 0, 0xfe]);
}

#[tokio::test]
async fn a_long_body_tells_how_far_it_is() {
    let it = TestServer::start().await;
    let receiver = Receiver::start(|_| Reply::Stalled(100_000, 400_000)).await;
    let kwargs = json!({"url": receiver.at("/"), "timeout_seconds": 3600});
    let job = it.submit(&json!({"function": "http.request", "kwargs": kwargs})).await;
    let path = job["urls"]["self"].as_str().expect("a path");
    let progress = loop {
        let shown = it.get(path).await.expect(200).json();
        if shown["progress"].is_object() {
            break shown["progress"].clone();
        }
    };
    let fraction = progress["fraction"].as_f64().expect("it is known how long the body is");
    assert!((0.1..=0.25).contains(&fraction), "{progress}");
    let message = progress["message"].as_str().expect("a message");
    assert!(message.ends_with(" of 400000 bytes"), "{message}");
    it.post(job["urls"]["cancel"].as_str().expect("a path"), &json!({})).await;
}

#[tokio::test]
async fn requests_to_one_host_share_their_connections() {
    let it = TestServer::start().await;
    let receiver = Receiver::start(|_| Reply::Status(200)).await;
    for _ in 0..5 {
        answer(&it, json!({"url": receiver.at("/")})).await;
    }
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn f12_a_receiver_that_never_answers_is_a_timeout_of_the_function_not_of_the_wait() {
    let it = TestServer::start().await;
    let receiver = Receiver::start(|seen| match seen.path.as_str() {
        "/half" => Reply::Half,
        _ => Reply::Silence,
    })
    .await;
    for path in ["/silence", "/half"] {
        let kwargs = json!({"url": receiver.at(path), "timeout_seconds": 0.2});
        let job = request(&it, kwargs).await;
        assert_eq!(job["error"]["type"], "TimeoutError", "{path}");
        assert_eq!(job["error"]["retryable"], true);
        let result = it.get(job["urls"]["result"].as_str().unwrap()).await.expect(424);
        assert_eq!(result.code(), "raised");
    }
}

#[tokio::test]
async fn f4_a_request_under_way_is_cancelled_at_once() {
    let it = TestServer::start().await;
    let mut receiver = Receiver::start(|_| Reply::Silence).await;
    let kwargs = json!({"url": receiver.at("/"), "timeout_seconds": 3600});
    let job = it.submit(&json!({"function": "http.request", "kwargs": kwargs})).await;
    receiver.next().await;
    // A grace beyond the limit of any request: it is not what ends this.
    let asked = json!({"grace_seconds": 3600, "wait_seconds": 60});
    let path = job["urls"]["cancel"].as_str().unwrap();
    let answer = it.post(path, &asked).await.expect(200).json();
    assert_eq!((&answer["cancelled"], &answer["state"]), (&json!(true), &json!("cancelled")));
}

#[tokio::test]
async fn nobody_at_the_other_end_is_a_connection_error() {
    let it = TestServer::start().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = error(&it, json!({"url": format!("http://{closed}/secret-path")})).await;
    assert_eq!((&error["type"], &error["retryable"]), (&json!("ConnectionError"), &json!(true)));
    assert!(!error["message"].as_str().unwrap().contains("secret-path"), "{error}");
}

#[tokio::test]
async fn arguments_that_fit_nothing_are_refused_at_submission_with_a_reason() {
    let it = TestServer::start().await;
    let url = "http://127.0.0.1:9/";
    let cases = [
        (json!({}), "missing 1 required argument: 'url'"),
        (json!({"url": 1}), "invalid type: integer"),
        (json!({"url": url, "timeout": 1}), "unexpected keyword argument 'timeout'"),
        (json!({"url": url, "timeout_seconds": "1"}), "invalid type: string"),
        (json!({"url": url, "timeout_seconds": 0}), "timeout_seconds is from"),
        (json!({"url": url, "timeout_seconds": 3601}), "timeout_seconds is from"),
        (json!({"url": url, "connect_timeout_seconds": 0}), "connect_timeout_seconds is from"),
        (json!({"url": url, "body": "a", "body_base64": "YQ=="}), "one of body, body_base64"),
        (json!({"url": url, "body_base64": "?"}), "body_base64 is no base64"),
        (json!({"url": url, "max_body_bytes": -1}), "invalid value"),
        (json!({"url": url, "max_body_bytes": 100_000_000}), "max_body_bytes is at most"),
        (json!({"url": url, "body": "a", "json": 1}), "one of body, body_base64 and json"),
        (json!({"url": url, "method": "A B"}), "'A B' is no HTTP method"),
        (json!({"url": url, "headers": {"a b": "c"}}), "'a b' is no header name"),
    ];
    for (kwargs, reason) in cases {
        let call = json!({"function": "http.request", "kwargs": kwargs});
        let problem = it.post("/v1/jobs", &call).await.expect(422).json();
        assert_eq!(problem["code"], "invalid_arguments");
        assert!(problem["detail"].as_str().unwrap().contains(reason), "{problem}");
    }
    assert_eq!(it.get("/v1/jobs").await.expect(200).json()["jobs"], json!([]));
}
