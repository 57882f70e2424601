//! A server behind a proxy: under a path, and told for whom it is asked.

use reqwest::Method;
use serde_json::{Value, json};

use crate::process::{Home, Process, until};

async fn below(home: &Home, settings: &str) -> Process {
    std::fs::write(home.file("futurity.toml"), settings).expect("a file");
    let flags = ["--config", "futurity.toml", "--access-log", "--log-format", "json"];
    home.start(&flags).await
}

/// What the log tells of a request that is over.
async fn told(home: &Home, id: &str) -> Value {
    until("the line of the request", async || {
        let log = home.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.map(|line| line["fields"].clone()).find(|line| line["request.id"] == id)
    })
    .await
}

#[tokio::test]
async fn under_a_path_every_address_begins_with_it_and_is_taken_with_it_and_without() {
    let home = Home::new();
    let server = below(&home, "url_prefix = \"/a/b\"\n").await;
    // The contract's patterns are those of a server at the top: these answers are read as they are.
    let client = reqwest::Client::new();
    let at = |path: &str| format!("http://{}{path}", server.address());
    let body = json!({"function": "echo", "args": [1]});
    for path in ["/a/b/v1/jobs", "/v1/jobs"] {
        let answer = client.post(at(path)).json(&body).send().await.expect("an answer");
        assert_eq!(answer.status(), 202, "{path}");
        let location = answer.headers()["location"].to_str().expect("text").to_owned();
        let job: Value = answer.json().await.expect("a job");
        let own = format!("/a/b/v1/jobs/{}", job["id"].as_str().expect("an id"));
        assert_eq!((&location, &job["urls"]["self"]), (&own, &json!(own)));
        for url in job["urls"].as_object().expect("addresses").values() {
            assert!(url.as_str().is_some_and(|url| url.starts_with(&own)), "{url}");
        }
        let result = client.get(at(&format!("{own}/result?wait=20"))).send().await;
        assert_eq!(result.expect("an answer").text().await.expect("a body"), "1");
    }
    let page = client.get(at("/a/b/v1/jobs?page_size=1")).send().await.expect("an answer");
    let link = page.headers()["link"].to_str().expect("text");
    assert!(link.starts_with("</a/b/v1/jobs?page_size=1&page_token="), "{link}");
    let batch = json!({"function": "echo", "iterables": [[1]]});
    let batch = client.post(at("/a/b/v1/batches")).json(&batch).send().await.expect("an answer");
    let location = batch.headers()["location"].to_str().expect("text").to_owned();
    let batch: Value = batch.json().await.expect("a batch");
    assert_eq!(batch["urls"]["self"], location);
    assert!(location.starts_with("/a/b/v1/batches/"), "{location}");
    let jobs = batch["urls"]["jobs"].as_str().expect("an address");
    assert_eq!(client.get(at(jobs)).send().await.expect("an answer").status(), 200);
    let nothing = client.get(at("/a/b/v1/nothing")).send().await.expect("an answer");
    let problem: Value = nothing.json().await.expect("a problem");
    assert_eq!(
        (&problem["type"], &problem["instance"]),
        (&json!("/a/b/problems/not_found"), &json!("/a/b/v1/nothing"))
    );
    for (path, status) in
        [("/a/b/problems/not_found", 200), ("/a/b/readyz", 200), ("/a/bc/v1/jobs", 404)]
    {
        let answer = client.get(at(path)).send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{path}");
    }
}

#[tokio::test]
async fn a_prefix_or_a_proxy_that_cannot_be_is_told_with_its_place() {
    let home = Home::new();
    for (settings, expected) in [
        ("url_prefix = \"futurity/\"\n", "line 1: url_prefix: must be a path"),
        ("trusted_proxies = [\"here\"]\n", "line 1: trusted_proxies: 'here' must be an address"),
    ] {
        std::fs::write(home.file("futurity.toml"), settings).expect("a file");
        let checked = home.run(&["check", "--config", "futurity.toml"]).await;
        assert_eq!(checked.code, Some(78), "{checked:?}");
        assert!(format!("{checked:?}").contains(expected), "{checked:?}");
    }
}

#[tokio::test]
async fn only_a_proxy_that_is_trusted_says_for_whom_it_asks() {
    let home = Home::new();
    let server = below(&home, "trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\n").await;
    let ask = async |id: &str| {
        let request = server.request(Method::GET, "/v1/jobs").header("x-request-id", id);
        let request = request.header("x-forwarded-for", "192.0.2.1, 198.51.100.7, 10.1.2.3");
        server.send(request).await.expect(200);
    };
    ask("trusted").await;
    assert_eq!(told(&home, "trusted").await["client"], "198.51.100.7");
    server.stop().await;

    let home = Home::new();
    let server = below(&home, "").await;
    let request = server.request(Method::GET, "/v1/jobs").header("x-request-id", "anybody");
    server.send(request.header("x-forwarded-for", "192.0.2.1")).await.expect(200);
    let line = told(&home, "anybody").await;
    assert_eq!(line.get("client"), None, "{line}");
}
