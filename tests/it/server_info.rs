//! What a server tells of itself, to whoever has any key.

use reqwest::Method;
use serde_json::json;

use crate::process::Home;
use crate::server::TestServer;

#[tokio::test]
async fn a_server_tells_its_version_and_the_limits_that_it_was_given() {
    let configure = |mut config: futurity::Config| {
        config.wait_max = std::time::Duration::from_millis(1_500);
        config.limits.result_bytes = 77_777;
        config.limits.submission_bytes = 66_666;
        config
    };
    let it = TestServer::with(configure, |builder| builder).await;
    let server = it.get("/v1/server").await.expect(200).json();
    assert_eq!(server["version"], env!("CARGO_PKG_VERSION"));
    let limits = &server["limits"];
    assert_eq!(
        (&limits["wait_seconds"], &limits["result_bytes"], &limits["submission_bytes"]),
        (&json!(1.5), &json!(77_777), &json!(66_666))
    );
    // What it says is what it does.
    let waited = it.get("/v1/batches?page_size=1001").await.expect(422);
    assert_eq!((waited.code(), &limits["page_size"]), ("invalid_value".to_owned(), &json!(1_000)));
    let long = json!({"function": "echo", "args": ["x".repeat(66_666)]});
    assert_eq!(it.post("/v1/jobs", &long).await.expect(413).code(), "too_large");
}

#[tokio::test]
async fn any_key_may_ask_what_the_server_is_and_nobody_without_one() {
    let home = Home::new();
    let server = home.start(&[]).await;
    server.get("/v1/server").await.expect(200);
    for scope in ["submit", "read", "manage", "admin"] {
        let key = home.run(&["keys", "create", "--scope", scope]).await.output;
        let request = server.request(Method::GET, "/v1/server").bearer_auth(key.trim());
        server.send(request).await.expect(200);
    }
    server.get("/v1/server").await.expect(401);
    let request = server.request(Method::GET, "/v1/server").bearer_auth("fut_a_b");
    server.send(request).await.expect(401);
}
