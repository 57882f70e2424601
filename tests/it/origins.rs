//! Pages of other origins: what a browser sends for them changes nothing, on any route, with a key and without.

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::json;

use crate::process::{Home, Process};
use crate::scopes::{Operation, operations};

/// What browsers say of a page that may not.
const FOREIGN: [(&str, &[(&str, &str)]); 6] = [
    ("another site", &[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")]),
    ("another port", &[("origin", "http://127.0.0.1:1"), ("sec-fetch-site", "same-site")]),
    ("an old browser", &[("origin", "https://evil.example")]),
    ("a page without an origin", &[("origin", "null")]),
    ("no origin at all", &[("sec-fetch-site", "cross-site")]),
    ("a word of tomorrow", &[("sec-fetch-site", "elsewhere")]),
];

/// The forms in which a page can send without asking first.
const FORMS: [Option<(&str, &str)>; 3] =
    [None, Some(("text/plain", "{}")), Some(("application/x-www-form-urlencoded", "a=b"))];

fn of(
    server: &Process,
    it: &Operation,
    headers: &[(&str, &str)],
    form: Option<(&str, &str)>,
) -> RequestBuilder {
    let mut request = server.request(it.method.clone(), &it.path());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    match form {
        Some((kind, body)) => request.header("content-type", kind).body(body.to_owned()),
        None => request,
    }
}

fn changes(it: &Operation) -> bool {
    ![Method::GET, Method::HEAD, Method::OPTIONS].contains(&it.method)
}

async fn all_are_refused(server: &Process, key: Option<&str>) {
    let mut asked = 0;
    for it in operations().iter().filter(|it| changes(it)) {
        for (whence, headers) in FOREIGN {
            for form in FORMS {
                let mut request = of(server, it, headers, form);
                if let Some(key) = key {
                    request = request.bearer_auth(key);
                }
                let answer = server.send(request).await;
                let place = format!("{} {} from {whence}", it.method, it.template);
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{place}");
                assert_eq!(answer.code(), "cross_origin", "{place}");
                asked += 1;
            }
        }
    }
    assert!(asked > 300, "the whole contract: {asked}");
}

#[tokio::test]
async fn no_page_of_another_origin_changes_anything_on_any_route() {
    let home = Home::new();
    let server = home.start(&[]).await;
    all_are_refused(&server, None).await;
    let queue = server.get("/v1/queues/default").await.expect(200).json();
    assert_eq!((&queue["paused"], &queue["shutdown"]), (&json!(false), &json!(false)));
    // What no route has is refused as well: it may have one tomorrow.
    let nothing =
        server.request(Method::POST, "/v1/nothing").header("origin", "https://evil.example");
    assert_eq!(server.send(nothing).await.expect(403).code(), "cross_origin");

    let made = home.run(&["keys", "create"]).await;
    all_are_refused(&server, Some(made.output.trim())).await;
}

#[tokio::test]
async fn its_own_pages_and_programs_that_are_no_browsers_are_let_in() {
    let home = Home::new();
    let server = home.start(&[]).await;
    let own = format!("http://{}", server.address());
    for headers in [
        vec![],
        vec![("origin", own.as_str()), ("sec-fetch-site", "same-origin")],
        vec![("origin", own.as_str())],
        vec![("sec-fetch-site", "none")],
        // A proxy may tell another Host than the browser does.
        vec![("origin", "https://futurity.example"), ("sec-fetch-site", "same-origin")],
    ] {
        let mut request = server.request(Method::POST, "/v1/queues/default/resume");
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        let status = server.send(request).await.status;
        assert_eq!(status, StatusCode::OK, "{headers:?}");
    }
    let read = server.request(Method::GET, "/v1/jobs").header("sec-fetch-site", "cross-site");
    server.send(read).await.expect(200);
}

/// `Host` and `Origin` of requests of one page, as browsers and proxies write them.
const OWN: [(&str, &str); 8] = [
    ("localhost:443", "https://localhost"),
    ("localhost", "https://localhost:443"),
    ("localhost:80", "http://localhost"),
    ("localhost", "http://LOCALHOST:80"),
    ("LocalHost:8080", "http://localhost:8080"),
    ("Futurity.Example:443", "https://futurity.example"),
    // A proxy that tells another Host than the browser does.
    ("127.0.0.1:8080", "http://futurity.example"),
    ("localhost", "https://FUTURITY.example:8443"),
];

/// The same of requests of two.
const NOT_OWN: [(&str, &str); 10] = [
    ("localhost:443", "http://localhost"),
    ("localhost:80", "https://localhost"),
    ("localhost", "http://localhost:8080"),
    ("127.0.0.1:8080", "http://localhost:8080"),
    ("localhost", "ftp://localhost"),
    ("localhost", "null"),
    ("localhost", "localhost"),
    ("localhost", "http://futurity.example.evil.example"),
    ("localhost", "http://futurity.example@evil.example"),
    ("localhost", "ftp://futurity.example"),
];

#[tokio::test]
async fn an_origin_is_the_servers_own_however_it_and_the_host_are_written() {
    let home = Home::new();
    let key = home.run(&["keys", "create"]).await;
    let server = home.start(&["--host", "futurity.example"]).await;
    let send = async |host: &str, origins: &[&str], site: Option<&str>| {
        let mut request = server.request(Method::POST, "/v1/queues/default/resume");
        request = request.bearer_auth(key.output.trim()).header("host", host);
        for origin in origins {
            request = request.header("origin", *origin);
        }
        if let Some(site) = site {
            request = request.header("sec-fetch-site", site);
        }
        server.send(request).await.status
    };
    for (host, origin) in OWN {
        assert_eq!(send(host, &[origin], None).await, StatusCode::OK, "{origin} to {host}");
        // A browser that says that they differ is believed.
        for site in ["cross-site", "same-site"] {
            let status = send(host, &[origin], Some(site)).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{origin} to {host}, {site}");
        }
    }
    for (host, origin) in NOT_OWN {
        let status = send(host, &[origin], None).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{origin} to {host}");
    }
    let two = ["http://evil.example", "http://futurity.example"];
    assert_eq!(send("localhost", &two, None).await, StatusCode::FORBIDDEN, "two origins");
}

#[tokio::test]
async fn no_answer_is_taken_for_something_else_or_into_another_page() {
    let home = Home::new();
    let server = home.start(&[]).await;
    for it in operations() {
        // Streams are not read.
        let answer = of(&server, &it, &[], None).send().await.expect("an answer");
        let header = |name: &str| answer.headers().get(name).map(|it| it.to_str().expect("text"));
        let place = format!("{} {}", it.method, it.template);
        assert_eq!(header("x-content-type-options"), Some("nosniff"), "{place}");
        assert_eq!(header("cross-origin-resource-policy"), Some("same-origin"), "{place}");
    }
    let refused = server.request(Method::GET, "/v1/jobs").header("host", "evil.example");
    let refused = server.send(refused).await.expect(421);
    assert_eq!(refused.header("x-content-type-options"), Some("nosniff"));
}
