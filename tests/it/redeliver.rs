//! Callbacks are told once more, or no more.

use futurity::Config;
use reqwest::Method;
use serde_json::{Value, json};

use crate::gate::{Gate, one_worker_behind};
use crate::receiver::{Receiver, Reply, at_once};
use crate::server::{Answer, TestServer, future_of};

/// A server that tries each delivery twice, without a pause.
async fn trying_twice() -> TestServer {
    let configure = |config: Config| Config { webhooks: at_once(2), ..config };
    TestServer::with(configure, |builder| builder).await
}

async fn redeliver(it: &TestServer, callback: &Value) -> Answer {
    let id = callback["id"].as_str().expect("an id");
    it.send(it.request(Method::POST, &format!("/v1/callbacks/{id}/redeliver"))).await
}

async fn delete(it: &TestServer, callback: &Value) -> Answer {
    let id = callback["id"].as_str().expect("an id");
    it.send(it.request(Method::DELETE, &format!("/v1/callbacks/{id}"))).await
}

async fn callbacks(it: &TestServer, job: &Value) -> Vec<Value> {
    let path = job["urls"]["callbacks"].as_str().expect("a path");
    it.get(path).await.expect(200).json()["callbacks"].as_array().expect("a list").clone()
}

fn statuses(callback: &Value) -> Vec<i64> {
    let attempts = callback["deliveries"][0]["attempts"].as_array().expect("attempts");
    attempts.iter().map(|attempt| attempt["status"].as_i64().expect("a status")).collect()
}

#[tokio::test]
async fn f16_a_delivery_that_has_failed_is_made_again_with_the_same_id_and_bytes() {
    let it = trying_twice().await;
    let mut receiver =
        Receiver::start(|seen| Reply::Status(if seen.nth <= 3 { 500 } else { 200 })).await;
    let call =
        json!({"function": "echo", "args": ["é"], "callbacks": [{"url": receiver.at("/a")}]});
    let job = it.done(&call).await;
    let failed = it.standing(&job, "failed").await;
    assert_eq!(statuses(&failed), [500, 500]);
    let first = receiver.next().await;
    receiver.next().await;

    let again = redeliver(&it, &failed).await.expect(202);
    assert_eq!(again.header("retry-after"), Some("1"));
    assert_eq!(again.json()["id"], failed["id"]);
    // One more fails: the schedule has begun anew, so there is another after it.
    let delivered = it.standing(&job, "delivered").await;
    assert_eq!(statuses(&delivered), [500, 500, 500, 200], "all of them, in order");
    for _ in 0..2 {
        let seen = receiver.next().await;
        seen.event(&it.webhook_secret());
        assert_eq!(seen.header("webhook-id"), first.header("webhook-id"));
        assert_eq!(seen.body, first.body);
    }
    let shown = it.get(job["urls"]["self"].as_str().expect("a path")).await.expect(200).json();
    assert_eq!(future_of(&shown), job, "the future is not touched (F15)");
    let states = json!({"waiting": 0, "pending": 0, "delivered": 1, "failed": 0, "disabled": 0});
    assert_eq!(shown["callbacks"], states);
}

#[tokio::test]
async fn f16_also_one_that_was_delivered_or_wanted_nothing_more_is_told_again() {
    let it = TestServer::start().await;
    let mut receiver = Receiver::start(|seen| {
        Reply::Status(if seen.path == "/gone" && seen.nth == 1 { 410 } else { 204 })
    })
    .await;
    for (path, state) in [("/fine", "delivered"), ("/gone", "disabled")] {
        let call = json!({"function": "echo", "callbacks": [{"url": receiver.at(path)}]});
        let job = it.done(&call).await;
        receiver.next().await;
        let callback = it.standing(&job, state).await;
        redeliver(&it, &callback).await.expect(202);
        assert_eq!(receiver.next().await.path, path);
        assert_eq!(statuses(&it.standing(&job, "delivered").await).len(), 2);
    }
}

#[tokio::test]
async fn what_is_not_over_is_not_told_again() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let mut receiver = Receiver::start(|_| Reply::Status(500)).await;
    let call = json!({"function": "hold", "callbacks": [{"url": receiver.at("/fails")}]});
    let job = it.submit(&call).await;
    let waiting = callbacks(&it, &job).await.remove(0);
    let refused = redeliver(&it, &waiting).await.expect(409);
    assert_eq!(refused.code(), "invalid_state", "the job is not done");
    gate.open();
    it.wait(&job).await;
    receiver.next().await;
    // The next attempt is five seconds away.
    let refused = redeliver(&it, &waiting).await.expect(409);
    assert_eq!(refused.code(), "invalid_state", "a delivery is pending");
    let id = waiting["id"].as_str().expect("an id");
    let path = format!("/v1/callbacks/{id}/redeliver");
    it.post(&path, &json!({"url": "http://127.0.0.1:9/"})).await.expect(400);
    it.post(&format!("{path}?now=1"), &json!({})).await.expect(400);
    it.post("/v1/callbacks/17/redeliver", &json!({})).await.expect(404);
    let nobody = json!({"id": "0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e6f"});
    assert_eq!(redeliver(&it, &nobody).await.expect(404).code(), "not_found");
}

#[tokio::test]
async fn f13_a_callback_that_is_deleted_is_told_nothing_and_the_others_are() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let mut receiver = Receiver::start(|_| Reply::Status(200)).await;
    let urls = ["/a", "/b", "/a"].map(|path| json!({"url": receiver.at(path)}));
    let job = it.submit(&json!({"function": "hold", "callbacks": urls})).await;
    let added = callbacks(&it, &job).await;
    delete(&it, &added[0]).await.expect(204);
    delete(&it, &added[0]).await.expect(404);
    redeliver(&it, &added[0]).await.expect(404);
    assert_eq!(callbacks(&it, &job).await, added[1..]);
    gate.open();
    it.wait(&job).await;
    let told = [receiver.next().await.path, receiver.next().await.path];
    assert_eq!(told, ["/b", "/a"], "in the order added");
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn f15_a_callback_that_fails_can_be_deleted_while_it_is_tried() {
    let it = TestServer::start().await;
    let gate = Gate::shut();
    let held = gate.clone();
    let mut receiver = Receiver::asking(move |seen| {
        let gate = held.clone();
        async move {
            if seen.path == "/slow" {
                gate.pass().await;
            }
            Reply::Status(200)
        }
    })
    .await;
    let urls = ["/slow", "/next"].map(|path| json!({"url": receiver.at(path)}));
    let job = it.done(&json!({"function": "echo", "callbacks": urls})).await;
    assert_eq!(receiver.next().await.path, "/slow");
    let slow = callbacks(&it, &job).await.remove(0);
    delete(&it, &slow).await.expect(204);
    assert_eq!(receiver.next().await.path, "/next", "the later one waits for it no more");
    gate.open();
    let left = it.standing(&job, "delivered").await;
    assert_eq!(left["url"], receiver.at("/next"));
    assert_eq!(callbacks(&it, &job).await.len(), 1);
}

/// How many deliveries are in each state, as an operator sees it.
async fn counted(it: &TestServer) -> Value {
    it.get("/readyz?verbose").await.expect(200).json()["deliveries"].clone()
}

async fn listed(it: &TestServer, query: &str) -> Vec<Value> {
    let list = it.get(&format!("/v1/callbacks{query}")).await.expect(200).json();
    list["callbacks"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn f16_what_has_failed_is_found_and_counted_and_told_once_more_all_at_once() {
    let it = trying_twice().await;
    let mut receiver =
        Receiver::start(|seen| Reply::Status(if seen.nth <= 2 { 500 } else { 200 })).await;
    let mut other = Receiver::start(|_| Reply::Status(200)).await;
    let mut jobs = Vec::new();
    for number in 0..3 {
        let urls = [receiver.at(&format!("/{number}")), other.at("/other")];
        let callbacks = urls.map(|url| json!({"url": url}));
        let job = it.done(&json!({"function": "echo", "callbacks": callbacks})).await;
        it.standing(&job, "failed").await;
        let first = receiver.next().await;
        receiver.next().await;
        other.next().await;
        jobs.push((job, first));
    }
    // The answers of the others may not be written down yet.
    while counted(&it).await["delivered"] != 3 {}
    assert_eq!(
        counted(&it).await,
        json!({"pending": 0, "delivered": 3, "failed": 3, "disabled": 0})
    );
    let failed = listed(&it, "?state=failed").await;
    let of: Vec<&Value> = failed.iter().map(|callback| &callback["job"]).collect();
    let newest_first: Vec<&Value> = jobs.iter().rev().map(|(job, _)| &job["id"]).collect();
    assert_eq!(of, newest_first);
    assert_eq!(statuses(&failed[0]), [500, 500]);
    let host = receiver.url.trim_start_matches("http://").to_owned();
    assert_eq!(listed(&it, &format!("?state=failed&host={host}")).await, failed);
    assert_eq!(listed(&it, "?state=failed&host=nowhere.example:443").await, [json!(null); 0]);
    assert_eq!(listed(&it, "").await.len(), 6);

    let path = "/v1/callbacks/redeliver";
    let dry = it.post(path, &json!({"state": "failed", "dry_run": true})).await.expect(202);
    assert_eq!(dry.json(), json!({"matched": 3, "redelivered": 0}));
    assert!(receiver.is_quiet());
    let request = json!({"state": "failed", "host": host, "created_after": "2020-01-01T00:00:00Z"});
    let told = it.post(path, &request).await.expect(202).json();
    assert_eq!(told, json!({"matched": 3, "redelivered": 3}));
    for _ in 0..3 {
        let again = receiver.next().await;
        again.event(&it.webhook_secret());
        let same = |(_, first): &&(Value, crate::receiver::Seen)| first.path == again.path;
        let (_, first) = jobs.iter().find(same).expect("one of them");
        assert_eq!(again.header("webhook-id"), first.header("webhook-id"));
        assert_eq!(again.body, first.body);
    }
    for (job, _) in &jobs {
        it.standing(job, "delivered").await;
    }
    assert_eq!(listed(&it, "?state=failed").await.len(), 0);
    assert!(other.is_quiet(), "the others were not meant");
}

#[tokio::test]
async fn callbacks_are_listed_in_pages_that_fit_their_filters() {
    let it = TestServer::start().await;
    let mut receiver = Receiver::start(|_| Reply::Status(200)).await;
    let urls = [1, 2, 3].map(|number| json!({"url": receiver.at(&format!("/{number}"))}));
    let job = it.done(&json!({"function": "echo", "callbacks": urls})).await;
    for _ in 0..3 {
        receiver.next().await;
    }
    let mut paths = Vec::new();
    let mut next = "/v1/callbacks?page_size=2".to_owned();
    loop {
        let page = it.get(&next).await.expect(200);
        let body = page.json();
        let callbacks = body["callbacks"].as_array().expect("a list");
        paths.extend(callbacks.iter().map(|it| it["url"].as_str().expect("a URL").to_owned()));
        let Some(token) = body["next_page_token"].as_str() else { break };
        next = format!("/v1/callbacks?page_size=2&page_token={token}");
        assert_eq!(page.header("link"), Some(&*format!("<{next}>; rel=\"next\"")));
        let other = format!("/v1/callbacks?state=failed&page_token={token}");
        assert_eq!(it.get(&other).await.expect(400).code(), "bad_request");
    }
    assert_eq!(paths, ["/3", "/2", "/1"].map(|path| receiver.at(path)));
    let refused = ["?state=done", "?host=nowhere", "?created_after=soon", "?page_size=0"];
    for query in refused {
        let problem = it.get(&format!("/v1/callbacks{query}")).await.expect(422);
        assert_eq!(problem.code(), "invalid_value", "{query}");
    }
    it.get("/v1/callbacks?job=1").await.expect(400);
    let path = "/v1/callbacks/redeliver";
    for body in [json!({}), json!({"state": "pending"}), json!({"state": "failed", "host": ":1"})] {
        assert_eq!(it.post(path, &body).await.expect(422).code(), "invalid_value", "{body}");
    }
    it.post(path, &json!({"state": "failed", "ids": []})).await.expect(400);
    assert_eq!(callbacks(&it, &job).await.len(), 3);
}

#[tokio::test]
async fn a_job_shows_how_its_callbacks_stand_and_no_cache_keeps_that() {
    let it = TestServer::start().await;
    let path = |job: &Value| job["urls"]["self"].as_str().expect("a path").to_owned();
    let without = it.done(&json!({"function": "echo"})).await;
    let shown = it.get(&path(&without)).await.expect(200);
    assert_eq!(shown.json(), without);
    assert_eq!(shown.header("cache-control"), Some("private, max-age=3600, immutable"));

    let mut receiver = Receiver::start(|_| Reply::Status(410)).await;
    let added = json!({"url": receiver.at("/late")});
    let list = without["urls"]["callbacks"].as_str().expect("a path");
    it.post(list, &added).await.expect(201);
    receiver.next().await;
    let wanted = json!({"waiting": 0, "pending": 0, "delivered": 0, "failed": 0, "disabled": 1});
    let shown = loop {
        let shown = it.get(&path(&without)).await.expect(200);
        if shown.json()["callbacks"] == wanted {
            break shown;
        }
    };
    assert_eq!(shown.header("cache-control"), Some("no-store"));
    assert_eq!(shown.header("etag"), Some("W/\"2\""));
    let only = it.get(&format!("{}?fields=state,callbacks", path(&without))).await.expect(200);
    assert_eq!(only.json(), json!({"state": "succeeded", "callbacks": wanted}));
}
