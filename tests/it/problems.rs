//! Failures before and beside the bodies: routes, methods, names, sizes; and the contract as a whole.

use std::collections::BTreeSet;

use reqwest::header::{HOST, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::contract::contract;
use crate::raw::exchange;
use crate::server::{Answer, TestServer};

const UNKNOWN: &str = "0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e6f";
const ROUTES: &str = include_str!("../../src/http/mod.rs");

/// A path that fits `template`; `id` is a job's.
fn path_of(template: &str, id: &str) -> String {
    let name = if template.starts_with("/v1/queues") { "default" } else { "echo" };
    let path = template.replace("{id}", id).replace("{name}", name).replace("{code}", "not_found");
    assert!(!path.contains('{'), "a parameter that this test does not know: {template}");
    path
}

/// Every template of the contract with its methods; where there is GET there is HEAD.
fn documented() -> Vec<(String, BTreeSet<String>)> {
    let mut routes: std::collections::BTreeMap<String, BTreeSet<String>> = Default::default();
    for (method, template) in contract().operations() {
        let methods = routes.entry(template).or_default();
        if method == "GET" {
            methods.insert("HEAD".to_owned());
        }
        methods.insert(method);
    }
    routes.into_iter().collect()
}

async fn get_with(it: &TestServer, path: &str, name: HeaderName, value: &str) -> Answer {
    let value = HeaderValue::from_str(value).expect("a value");
    it.send(it.request(Method::GET, path).header(name, value)).await
}

#[tokio::test]
async fn a_path_that_does_not_exist_is_404() {
    let it = TestServer::start().await;
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v1/job",
        "/v1/jobs/",
        "/v2/jobs",
        "/V1/JOBS",
        "//v1/jobs",
        "/livez/",
        "/problems",
        "/problems/nonsense",
        "/v1/functions/eco",
        "/metrics",
        "/%",
        "/%00",
    ] {
        for method in [Method::GET, Method::POST] {
            if method == Method::POST && path.starts_with("/problems/") {
                continue;
            }
            if method == Method::POST && path == "/v1/functions/eco" {
                continue;
            }
            let answer = it.send(it.request(method, path)).await.expect(404);
            assert_eq!(answer.code(), "not_found", "{path}");
            let asked = path.split('?').next();
            assert_eq!(answer.json()["instance"].as_str(), asked);
        }
    }
}

#[tokio::test]
async fn an_id_that_is_no_uuid_or_of_no_job_is_404_on_every_route() {
    let it = TestServer::start().await;
    let job = it.done(&json!({"function": "echo"})).await;
    let id = job["id"].as_str().expect("an id");
    it.get(&format!("/v1/jobs/{}", id.to_uppercase())).await.expect(200);
    let no_dashes = id.replace('-', "");
    let braced = format!("%7B{id}%7D");
    let longer = format!("{id}0");
    let bad = [UNKNOWN, "1", "nonsense", "%FF", "%2e%2e", &no_dashes, &braced, &longer];
    for (template, methods) in documented() {
        if !template.contains("{id}") {
            continue;
        }
        for (id, method) in bad.iter().flat_map(|id| methods.iter().map(move |it| (id, it))) {
            let method: Method = method.parse().expect("a method");
            let last = template.rsplit('/').next();
            if *id == "%2e%2e" && matches!(last, Some("events" | "callbacks")) {
                // The client takes it for the way up: `/v1/events` and `/v1/callbacks` are routes.
                continue;
            }
            let request = it.request(method.clone(), &template.replace("{id}", id));
            let callback = json!({"url": "https://example.com/"});
            let request = match (method.as_str(), template.rsplit('/').next()) {
                ("POST", Some("callbacks")) => request.json(&callback),
                ("PUT", _) => request.json(&json!({"type": "ValueError", "message": "no"})),
                _ => request,
            };
            let answer = it.send(request).await.expect(404);
            if method != Method::HEAD {
                assert_eq!(answer.code(), "not_found", "{method} {template} {id}");
            }
        }
    }
}

#[tokio::test]
async fn a_method_that_a_route_does_not_have_is_405_and_allow_names_the_others() {
    let it = TestServer::start().await;
    let all = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"];
    for (template, methods) in documented() {
        let path = path_of(&template, UNKNOWN);
        for method in all.into_iter().filter(|method| !methods.contains(*method)) {
            let request = it.request(method.parse().expect("a method"), &path);
            let answer = it.send(request).await.expect(405);
            let allow = answer.header("allow").expect("Allow");
            let allow: BTreeSet<String> =
                allow.split(',').map(|method| method.trim().to_owned()).collect();
            assert_eq!(allow, methods, "{method} {template}");
            if method != "HEAD" {
                assert_eq!(answer.code(), "method_not_allowed");
            }
        }
    }
}

#[tokio::test]
async fn every_operation_of_the_contract_reaches_a_handler() {
    let it = TestServer::start().await;
    let callback = json!({"url": "http://127.0.0.1:9/"});
    let mut paths = Vec::new();
    // A job of its own for each, as some take it away, and all of them before a queue is paused.
    for (method, template) in contract().operations() {
        let job = it.done(&json!({"function": "echo"})).await;
        let callbacks = job["urls"]["callbacks"].as_str().expect("a path");
        let callback = it.post(callbacks, &callback).await.expect(201).json();
        let batch = json!({"function": "echo", "calls": []});
        let batch = it.post("/v1/batches", &batch).await.expect(202).json();
        let named = match template.split('/').nth(2) {
            Some("callbacks") => &callback,
            Some("batches") => &batch,
            _ => &job,
        };
        let path = path_of(&template, named["id"].as_str().expect("an id"));
        paths.push((method, template, path));
    }
    for (method, template, path) in paths {
        let request = it.request(method.parse().expect("a method"), &path);
        if template == "/v1/events" {
            // It has no end.
            assert_eq!(request.send().await.expect("an answer").status(), 200);
            continue;
        }
        let answer = it.send(request).await;
        if template.starts_with("/v1/workers/") {
            let detail = answer.json()["detail"].to_string();
            assert!(detail.contains("there is no worker"), "this server has none: {detail}");
            continue;
        }
        assert!(
            ![404, 405].contains(&answer.status.as_u16()),
            "{method} {template}: {}",
            answer.status
        );
    }
}

#[test]
fn every_route_of_the_server_stands_in_the_contract() {
    let documented = documented();
    let routes: Vec<&str> =
        ROUTES.lines().filter_map(|line| line.trim().strip_prefix(".route(\"")).collect();
    assert_eq!(routes.len(), documented.len(), "as many routes as paths");
    for route in routes {
        let (template, handlers) = route.split_once('"').expect("a path and its handlers");
        let found = documented.iter().find(|(documented, _)| documented == template);
        let (_, methods) = found.unwrap_or_else(|| panic!("{template} is not in the contract"));
        for (call, method) in
            [("get(", "GET"), ("post(", "POST"), ("put(", "PUT"), ("delete(", "DELETE")]
        {
            let has =
                handlers.contains(&format!(" {call}")) || handlers.contains(&format!(".{call}"));
            assert_eq!(has, methods.contains(method), "{method} {template}");
        }
    }
}

#[tokio::test]
async fn every_code_of_the_contract_is_explained() {
    let it = TestServer::start().await;
    let document: Value =
        serde_yaml_ng::from_str(include_str!("../../openapi.yaml")).expect("it is YAML");
    let codes = document.pointer("/components/schemas/Problem/properties/code/enum");
    let codes = codes.and_then(Value::as_array).expect("codes");
    assert!(codes.len() > 20);
    for code in codes.iter().filter_map(Value::as_str) {
        let answer = it.get(&format!("/problems/{code}")).await.expect(200);
        let text = String::from_utf8(answer.body.clone()).expect("UTF-8");
        assert!(text.starts_with("# ") && text.contains(&format!("`{code}`")), "{text}");
        assert_eq!(answer.header("content-type"), Some("text/markdown; charset=utf-8"));
    }
}

#[tokio::test]
async fn the_contract_is_served_as_it_stands() {
    let it = TestServer::start().await;
    let answer = it.get("/openapi.yaml").await.expect(200);
    assert_eq!(answer.body, include_bytes!("../../openapi.yaml"));
}

#[tokio::test]
async fn an_address_above_8_kib_is_414_whatever_the_route() {
    let it = TestServer::start().await;
    let long = |prefix: &str, bytes: usize| format!("{prefix}{}", "x".repeat(bytes - prefix.len()));
    for prefix in ["/v1/jobs?function=", "/v1/jobs/", "/nowhere/", "/livez?", "/problems/"] {
        let answer = it.get(&long(prefix, 8 * 1024 + 1)).await.expect(414);
        assert_eq!(answer.code(), "uri_too_long", "{prefix}");
    }
    it.get(&long("/v1/functions/", 8 * 1024)).await.expect(404);
}

#[tokio::test]
async fn header_fields_that_are_too_many_or_too_large_are_431() {
    let it = TestServer::start().await;
    let many = |count: usize| -> RequestBuilder {
        let request = it.request(Method::GET, "/livez");
        (0..count).fold(request, |request, n| request.header(format!("x-{n}"), "v"))
    };
    // Two more are the client's own.
    it.send(many(60)).await.expect(200);
    for request in [many(65), many(90)] {
        assert_eq!(it.send(request).await.expect(431).code(), "headers_too_large");
    }
    let name = HeaderName::from_static("x-large");
    let large = get_with(&it, "/livez", name.clone(), &"v".repeat(33 * 1024)).await.expect(431);
    assert_eq!(large.code(), "headers_too_large");
    get_with(&it, "/livez", name, &"v".repeat(31 * 1024)).await.expect(200);
}

#[tokio::test]
async fn a_host_that_is_none_of_the_servers_names_is_421_on_every_route() {
    let it = TestServer::start().await;
    for host in [
        "evil.com",
        "localhost.evil.com",
        "127.0.0.1.evil.com",
        "evil.com:8080",
        "localhost:80:80",
        "notlocalhost",
        "192.168.0.1",
        "0.0.0.0",
        "8.8.8.8:80",
        "[::2]:80",
        "[2001:db8::1]",
        "futurity.example",
        "2130706433",
        "0x7f.1",
    ] {
        for path in ["/v1/jobs", "/readyz?verbose", "/nowhere", "/openapi.yaml"] {
            let answer = get_with(&it, path, HOST, host).await.expect(421);
            assert_eq!(answer.code(), "misdirected", "{host} {path}");
        }
        let request = it.request(Method::POST, "/v1/jobs").json(&json!({"function": "echo"}));
        it.send(request.header(HOST, host)).await.expect(421);
        it.send(it.request(Method::DELETE, "/livez").header(HOST, host)).await.expect(421);
    }
    let list = it.get("/v1/jobs").await.expect(200).json();
    assert_eq!(list, json!({"jobs": []}), "nothing was written");
}

#[tokio::test]
async fn a_probe_may_call_the_server_by_any_name() {
    let it = TestServer::start().await;
    for host in ["10.244.0.5:8080", "futurity.default.svc", "evil.com"] {
        for path in ["/livez", "/readyz"] {
            get_with(&it, path, HOST, host).await.expect(200);
        }
    }
}

#[tokio::test]
async fn localhost_loopback_addresses_and_configured_names_are_taken_as_the_host() {
    let named = |mut config: futurity::Config| {
        config.hosts = vec!["futurity.example".to_owned(), "10.1.2.3".to_owned()];
        config
    };
    // By another name others may reach it, so it needs a key to start.
    let dir = tempfile::TempDir::new().expect("a directory");
    std::fs::create_dir(dir.path().join("data")).expect("a directory");
    let sha256 = "0".repeat(64);
    let key =
        json!({"id": "ab", "name": "", "created_at_ms": 1, "sha256": sha256, "scopes": ["read"]});
    let keys = json!({"keys": [key]}).to_string();
    std::fs::write(dir.path().join("data/keys.json"), keys).expect("a file");
    let it = TestServer::on(dir, named, |builder| builder).await;
    for host in [
        "localhost",
        "LocalHost:8080",
        "127.0.0.1",
        "127.0.0.1:1",
        "127.8.9.10:80",
        "[::1]",
        "[::1]:8080",
        "futurity.example",
        "Futurity.Example:443",
        "10.1.2.3:80",
    ] {
        get_with(&it, "/openapi.yaml", HOST, host).await.expect(200);
    }
    for host in ["sub.futurity.example", "futurity.example.evil.com", "10.1.2.4"] {
        get_with(&it, "/openapi.yaml", HOST, host).await.expect(421);
    }
}

#[tokio::test]
async fn a_request_without_a_host_is_421() {
    let it = TestServer::start().await;
    for request in [
        "GET /v1/jobs HTTP/1.0\r\n\r\n",
        "GET /v1/jobs HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET /v1/jobs HTTP/1.1\r\nHost:\r\n\r\n",
    ] {
        let answer = exchange(&it, &[request.as_bytes()]).await.expect(421);
        assert_eq!(answer.code(), "misdirected", "{request}");
    }
}

#[tokio::test]
async fn a_request_id_is_taken_from_the_client_or_made() {
    let it = TestServer::start().await;
    let name = HeaderName::from_static("x-request-id");
    let longest = "i".repeat(128);
    for id in ["7f3a", "trace/1:2-3_4", &longest] {
        let taken = get_with(&it, "/livez", name.clone(), id).await.expect(200);
        assert_eq!(taken.header("x-request-id"), Some(id));
        let taken = get_with(&it, "/nowhere", name.clone(), id).await.expect(404);
        assert_eq!(taken.header("x-request-id"), Some(id));
        assert_eq!(taken.json()["request_id"], id);
    }
    let mut made = BTreeSet::new();
    for id in ["", "two words", "tab\tbed", &"i".repeat(129)] {
        let answer = get_with(&it, "/livez", name.clone(), id).await.expect(200);
        let own = answer.header("x-request-id").expect("an id").to_owned();
        assert_ne!(own, id);
        assert!(own.len() >= 16, "{own}");
        made.insert(own);
    }
    assert_eq!(made.len(), 4, "each its own");
}
