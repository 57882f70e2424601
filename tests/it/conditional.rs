//! `GET /v1/jobs/{id}` on a condition, in part, and by its headers alone.

use reqwest::Method;
use serde_json::{Value, json};

use crate::gate::Gate;
use crate::server::{Answer, TestServer};

fn path(job: &Value) -> String {
    format!("/v1/jobs/{}", job["id"].as_str().expect("an id"))
}

async fn unless(it: &TestServer, path: &str, tags: &str) -> Answer {
    it.send(it.request(Method::GET, path).header("if-none-match", tags)).await
}

#[tokio::test]
async fn s6_a_version_that_the_client_has_is_304_and_every_other_is_the_job() {
    let it = TestServer::start().await;
    let body = json!({"function": "echo", "args": [1]});
    let job = it.post("/v1/jobs?wait=60", &body).await.expect(200).json();
    let answer = it.get(&path(&job)).await.expect(200);
    let etag = answer.header("etag").expect("a version").to_owned();
    assert_eq!(etag, format!("\"{}\"", job["version"]));
    for tags in [&etag, &format!("W/{etag}"), &format!("\"x\", {etag}"), "*"] {
        let same = unless(&it, &path(&job), tags).await.expect(304);
        assert_eq!(same.header("etag"), Some(etag.as_str()), "{tags}");
        assert!(same.body.is_empty());
        // Nothing can change any more, so there is nothing to wait for.
        unless(&it, &format!("{}?wait=600", path(&job)), tags).await.expect(304);
    }
    for tags in ["\"0\"", "\"1\", W/\"9\""] {
        assert_eq!(unless(&it, &path(&job), tags).await.expect(200).json()["id"], job["id"]);
    }
    for tags in ["3", "\"3", "W/3"] {
        assert_eq!(unless(&it, &path(&job), tags).await.expect(400).code(), "bad_request");
    }
    let head = it.request(Method::HEAD, &path(&job)).header("if-none-match", &etag);
    it.send(head).await.expect(304);
}

#[tokio::test]
async fn s6_a_wait_with_a_version_ends_with_any_change_of_it() {
    let (it, gate) = Gate::server().await;
    let first = it.submit(&json!({"function": "gate", "queue": "one"})).await;
    let job = it.submit(&json!({"function": "gate", "queue": "one"})).await;
    let waited = format!("{}?wait=600", path(&job));

    // It waits: claimed when the first one is cancelled.
    let cancel = format!("{}/cancel", path(&first));
    let nothing = json!({});
    let (changed, _) = tokio::join!(unless(&it, &waited, "W/\"1\""), it.post(&cancel, &nothing));
    let running = changed.expect(200).json();
    assert_eq!((&running["state"], &running["version"]), (&json!("running"), &json!(2)));

    // It runs: asked to stop, which it does not hear.
    let cancel = format!("{}/cancel", path(&job));
    let patiently = json!({"grace_seconds": 600});
    let (changed, _) = tokio::join!(unless(&it, &waited, "W/\"2\""), it.post(&cancel, &patiently));
    let asked = changed.expect(200).json();
    assert_eq!((&asked["state"], &asked["version"]), (&json!("running"), &json!(3)));
    assert!(asked["cancel_requested_at"].is_string());

    // It ends.
    let (changed, ()) = tokio::join!(unless(&it, &waited, "W/\"3\""), async { gate.open() });
    let done = changed.expect(200).json();
    assert_eq!((&done["state"], &done["version"]), (&json!("succeeded"), &json!(4)));
}

#[tokio::test]
async fn s6_a_wait_without_a_change_is_304() {
    let (it, _gate) = Gate::server().await;
    let job = it.submit(&json!({"function": "gate"})).await;
    let etag = it.get(&path(&job)).await.header("etag").expect("a version").to_owned();
    let same = unless(&it, &format!("{}?wait=0.05", path(&job)), &etag).await.expect(304);
    assert_eq!(same.header("retry-after"), Some("0"), "ask again now");
    let request = it.request(Method::GET, &path(&job));
    let request = request.header("if-none-match", &etag).header("prefer", "wait=0");
    it.send(request).await.expect(304);
}

#[tokio::test]
async fn f6_only_the_fields_that_were_asked_for_are_shown() {
    let it = TestServer::start().await;
    let body = json!({"function": "echo", "args": [1]});
    let job = it.post("/v1/jobs?wait=60", &body).await.expect(200).json();
    let part = it.get(&format!("{}?fields=state,done", path(&job))).await.expect(200);
    assert_eq!(part.json(), json!({"state": "succeeded", "done": true}));
    assert_eq!(part.header("etag"), Some(format!("\"{}\"", job["version"]).as_str()));
    let page = it.get("/v1/jobs?fields=id,result").await.expect(200).json();
    assert_eq!(page["jobs"], json!([{"id": job["id"], "result": 1}]));
    let refused = it.get(&format!("{}?fields=state,finished", path(&job))).await.expect(400);
    let detail = refused.json()["detail"].as_str().expect("a text").to_owned();
    assert!(detail.contains("'finished'") && detail.contains("finished_at"), "{detail}");
}

#[tokio::test]
async fn f6_a_list_is_narrowed_by_tag_and_by_time() {
    let it = TestServer::start().await;
    let tagged = |tags: Value| json!({"function": "echo", "args": [1], "tags": tags});
    let first = it.post("/v1/jobs?wait=60", &tagged(json!(["a", "b c"]))).await.expect(200).json();
    // The next one is submitted in a later millisecond than the first one ended.
    let ended = first["finished_at"].clone();
    let second = loop {
        let job = it.post("/v1/jobs?wait=60", &tagged(json!(["b c"]))).await.expect(200).json();
        if job["created_at"].as_str() > ended.as_str() {
            break job;
        }
    };
    let ids = async |query: &str| -> Vec<Value> {
        let page = it.get(&format!("/v1/jobs?{query}")).await.expect(200).json();
        let jobs = page["jobs"].as_array().expect("jobs").clone();
        jobs.into_iter().map(|job| job["id"].clone()).collect()
    };
    assert_eq!(ids("tag=a").await, [first["id"].clone()]);
    assert_eq!(ids("tag=b%20c").await.first(), Some(&second["id"]));
    assert_eq!(ids("tag=b").await, Vec::<Value>::new());
    let at = second["created_at"].as_str().expect("a moment");
    assert!(!ids(&format!("created_after={at}")).await.contains(&second["id"]));
    assert!(!ids(&format!("created_before={at}")).await.contains(&second["id"]));
    assert!(ids(&format!("created_before={at}")).await.contains(&first["id"]));
    let refused = it.get("/v1/jobs?created_after=yesterday").await.expect(422);
    assert_eq!(refused.json()["errors"][0]["pointer"], "/created_after");
    let token = it.get("/v1/jobs?tag=b%20c&page_size=1").await.expect(200).json();
    let token = token["next_page_token"].as_str().expect("a token").to_owned();
    it.get(&format!("/v1/jobs?tag=a&page_token={token}")).await.expect(400);
}
