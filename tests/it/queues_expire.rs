//! Queues that are there for a while: an executor's own.

use reqwest::Method;
use serde_json::json;

use crate::process::{Home, until};
use crate::queues::put;
use crate::server::TestServer;

#[tokio::test]
async fn a_queue_that_expires_goes_and_whoever_submits_to_it_then_makes_it_again() {
    let it = TestServer::start().await;
    let body = json!({"max_workers": 2, "expires_seconds": 0.05});
    let made = put(&it, "brief", &body).await.expect(200).json();
    assert_eq!(made["expires_seconds"], json!(0.05));
    let call = json!({"function": "echo", "queue": "brief"});
    let gone = async || (it.get("/v1/queues/brief").await.status == 404).then_some(());
    until("it is gone", gone).await;
    let refused = it.post("/v1/jobs", &call).await.expect(422).json();
    assert_eq!(refused["errors"][0]["pointer"], "/queue");
    put(&it, "brief", &body).await.expect(200);
    it.submit(&call).await;
    for (name, body) in [
        ("default", json!({"expires_seconds": 10})),
        ("brief", json!({"expires_seconds": 0})),
        ("brief", json!({"expires_seconds": -1})),
        ("executor-1", json!({})),
        ("executor-1", json!({"expires_seconds": 86_401})),
    ] {
        let refused = put(&it, name, &body).await.expect(422).json();
        assert_eq!(refused["errors"][0]["pointer"], "/expires_seconds", "{name} {body}");
    }
    assert!(
        put(&it, "stays", &json!({})).await.expect(200).json().get("expires_seconds").is_none()
    );
}

#[tokio::test]
async fn whoever_submits_makes_a_queue_of_its_own_and_no_other() {
    let home = Home::new();
    let it = home.start(&[]).await;
    let key = home.run(&["keys", "create", "--scope", "submit"]).await.output;
    let asked = async |name: &str| {
        let request = it.request(Method::PUT, &format!("/v1/queues/{name}"));
        let body = json!({"max_workers": 1, "expires_seconds": 3_600});
        it.send(request.bearer_auth(key.trim()).json(&body)).await.status.as_u16()
    };
    assert_eq!(asked("executor-7f3a91c2").await, 200);
    for name in ["executor", "default", "my-executor-1", "Executor-1"] {
        assert_eq!(asked(name).await, 403, "{name}");
    }
    let shutdown = it.request(Method::POST, "/v1/queues/executor-7f3a91c2/shutdown");
    it.send(shutdown.bearer_auth(key.trim())).await.expect(403);
    it.stop().await;
}
