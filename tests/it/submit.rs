//! Submitting calls: `Executor.submit` and what its arguments may be.

use serde_json::json;

use crate::server::TestServer;

#[tokio::test]
async fn e1_submit_answers_at_once_with_a_durable_future() {
    let it = TestServer::start().await;
    let answer = it.post("/v1/jobs", &json!({"function": "sleep", "args": [30]})).await.expect(202);
    let job = answer.json();
    assert_eq!(job["state"], "running");
    assert_eq!(job["done"], false);
    assert_eq!(answer.header("location"), job["urls"]["self"].as_str());
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn e1_call_arguments_never_collide_with_options() {
    let it = TestServer::start().await;
    let call = json!({"function": "raise", "kwargs": {"type": "KeyError", "message": "function"}});
    let job = it.done(&call).await;
    assert_eq!(job["error"]["type"], "KeyError");
    assert_eq!(job["error"]["message"], "function");
}
