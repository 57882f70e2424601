//! Ids that clients choose: the same submission again is the same job (G8).

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::gate::{Gate, one_worker_behind};
use crate::process::Home;
use crate::receiver::{Receiver, Reply};
use crate::refusal::execute;
use crate::server::{TestServer, send};

const ID: &str = "6f1c1a52-3d43-4b57-9c02-5d1f3f2b7a10";
/// What the cleaner leaves of jobs that have expired just now.
const KEEP_TRACES: &str =
    "insert into tombstones (id, gone_at) select id, unixepoch() * 1000 from jobs";
const REPLAYED: &str = "idempotent-replayed";

fn echo(id: &str, value: u64) -> Value {
    json!({"id": id, "function": "echo", "args": [value]})
}

#[tokio::test]
async fn g8_a_chosen_id_is_the_jobs_and_the_same_body_again_its_replay() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let call = json!({"id": ID, "function": "hold", "kwargs": {"value": 7}});
    let first = it.post("/v1/jobs", &call).await.expect(202);
    assert_eq!((first.header(REPLAYED), &first.json()["id"]), (None, &json!(ID)));
    assert_eq!(first.header("location"), Some(format!("/v1/jobs/{ID}").as_str()));
    let again = it.post("/v1/jobs", &call).await.expect(202);
    assert_eq!((again.header(REPLAYED), &again.json()["id"]), (Some("true"), &json!(ID)));
    gate.started().await;
    let (waited, ()) = tokio::join!(it.post("/v1/jobs?wait=60", &call), async { gate.open() });
    let waited = waited.expect(200);
    assert_eq!((waited.header(REPLAYED), &waited.json()["result"]), (Some("true"), &json!(7)));
    let done = it.post("/v1/jobs", &call).await.expect(200);
    assert_eq!((done.header(REPLAYED), done.json()), (Some("true"), waited.json()));
}

#[tokio::test]
async fn g8_a_chosen_id_with_another_body_is_409_and_changes_nothing() {
    let it = TestServer::start().await;
    let job = it.done(&echo(ID, 1)).await;
    let drawn = it.done(&json!({"function": "echo", "args": [1]})).await;
    let of_drawn = echo(drawn["id"].as_str().expect("an id"), 1);
    for other in [echo(ID, 2), echo(&ID.to_uppercase(), 1), of_drawn] {
        let refused = it.post("/v1/jobs", &other).await.expect(409);
        assert_eq!(refused.code(), "id_conflict", "{other}");
        assert_eq!(refused.json()["errors"][0]["pointer"], "/id");
    }
    for job in [job, drawn] {
        assert_eq!(it.wait(&job).await, job);
    }
}

#[tokio::test]
async fn an_id_is_a_uuid_with_its_hyphens_and_not_the_nil_one() {
    let it = TestServer::start().await;
    let bare = ID.replace('-', "");
    let braced = format!("{{{ID}}}");
    let nil = "00000000-0000-0000-0000-000000000000";
    for bad in ["", "17", nil, &bare, &braced, &ID[1..]] {
        let refused = it.post("/v1/jobs", &echo(bad, 1)).await.expect(422);
        assert_eq!(refused.code(), "invalid_value", "{bad}");
        assert_eq!(refused.json()["errors"][0]["pointer"], "/id", "{bad}");
    }
    for bad in [json!(17), json!(null)] {
        let refused = it.post("/v1/jobs", &json!({"id": bad, "function": "echo"})).await;
        assert_eq!(refused.expect(422).json()["errors"][0]["pointer"], "/id");
    }
    let job = it.done(&echo(&ID.to_uppercase(), 1)).await;
    assert_eq!(job["id"], ID);
}

#[tokio::test]
async fn g8_of_64_connections_with_one_id_all_get_the_one_job() {
    let it = TestServer::start().await;
    let mut connections = JoinSet::new();
    for _ in 0..64 {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let request = client.post(format!("{}/v1/jobs?wait=60", it.url)).json(&echo(ID, 1));
        connections.spawn(send(client, request));
    }
    let answers = connections.join_all().await;
    let bodies: BTreeSet<String> = answers.iter().map(|it| it.json().to_string()).collect();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(answers.iter().filter(|answer| answer.header(REPLAYED).is_none()).count(), 1);
}

#[tokio::test]
async fn g8_an_id_and_a_key_together_are_one_request_and_the_key_is_asked_first() {
    let it = TestServer::start().await;
    let keyed = |key: &str, body: &Value| {
        let request = it.request(Method::POST, "/v1/jobs?wait=60").json(body);
        it.send(request.header("idempotency-key", key))
    };
    let job = keyed("k", &echo(ID, 1)).await.expect(200).json();
    // Under both names, under either, and under a second key: the same job.
    for again in [
        keyed("k", &echo(ID, 1)).await,
        it.post("/v1/jobs?wait=60", &echo(ID, 1)).await,
        keyed("second", &echo(ID, 1)).await,
    ] {
        assert_eq!((again.header(REPLAYED), again.json()), (Some("true"), job.clone()));
    }
    for key in ["k", "second"] {
        let other = keyed(key, &echo(ID, 2)).await.expect(422);
        assert_eq!(other.code(), "idempotency_mismatch");
    }
    let other = keyed("third", &echo(ID, 2)).await.expect(409);
    assert_eq!(other.code(), "id_conflict");
    // What was refused has left no key.
    let free = json!({"function": "echo", "args": [3]});
    assert_eq!(keyed("third", &free).await.expect(200).header(REPLAYED), None);
}

#[tokio::test]
async fn g8_a_repetition_of_a_large_call_with_callbacks_changes_nothing() {
    let it = TestServer::start().await;
    let mut receiver = Receiver::start(|_| Reply::Status(200)).await;
    let large = "x".repeat(600 * 1_024);
    let callbacks = json!([{"url": receiver.at("/x")}]);
    let call = json!({"id": ID, "function": "echo", "args": [large], "callbacks": callbacks});
    let job = it.done(&call).await;
    let again = it.post("/v1/jobs?wait=60", &call).await.expect(200);
    assert_eq!((again.header(REPLAYED), again.json()), (Some("true"), job.clone()));
    let mut other = call.clone();
    other["tags"] = json!(["other"]);
    it.post("/v1/jobs", &other).await.expect(409);
    receiver.next().await.event(&it.webhook_secret());
    let path = job["urls"]["callbacks"].as_str().expect("a path");
    let callbacks = it.get(path).await.expect(200).json();
    assert_eq!(callbacks["callbacks"].as_array().map(Vec::len), Some(1));
    assert_eq!(it.wait(&job).await["result"], json!(large));
}

#[tokio::test]
async fn g8_a_chosen_id_outlives_its_server_and_is_410_once_it_has_expired() {
    let home = Home::new();
    let server = home.start(&[]).await;
    let job = server.post("/v1/jobs?wait=60", &echo(ID, 1)).await.expect(200).json();
    server.kill_nine();
    let server = home.start(&[]).await;
    let again = server.post("/v1/jobs", &echo(ID, 1)).await.expect(200);
    assert_eq!((again.header(REPLAYED), again.json()), (Some("true"), job));
    server.kill_nine();
    execute(&home.database(), KEEP_TRACES).await;
    execute(&home.database(), "delete from calls").await;
    let server = home.start(&[]).await;
    for value in [1, 2] {
        let gone = server.post("/v1/jobs", &echo(ID, value)).await.expect(410);
        assert_eq!((gone.code().as_str(), &gone.json()["id"]), ("expired", &json!(ID)));
    }
    server.kill_nine();
}
