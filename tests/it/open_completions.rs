//! `as_completed` without an end: the jobs of a tag as they are done, those that are still to come as well.

use reqwest::Method;
use serde_json::{Value, json};

use crate::gate::Gate;
use crate::lines::Lines;
use crate::server::TestServer;

const TAG: &str = "of this session";

async fn open(it: &TestServer, body: &Value) -> Lines {
    let mut body = body.clone();
    let all = json!({"open": true, "tag": TAG});
    body.as_object_mut().expect("an object").extend(all.as_object().expect("one").clone());
    Lines::open(it.request(Method::POST, "/v1/jobs/as-completed").json(&body)).await
}

async fn begun(lines: &mut Lines) -> i64 {
    lines.next().await["begin"]["seq"].as_i64().expect("a place")
}

async fn echo(it: &TestServer, value: Value, tags: &[&str]) -> Value {
    it.done(&json!({"function": "echo", "args": [value], "tags": tags})).await
}

#[tokio::test]
async fn a1_jobs_of_the_tag_are_given_as_they_end_each_in_a_short_line() {
    let (it, gate) = Gate::server().await;
    echo(&it, json!("before it began"), &[TAG]).await;
    let mut lines = open(&it, &json!({})).await;
    let mut seen = begun(&mut lines).await;
    let waiting = it.submit(&json!({"function": "gate", "tags": ["other", TAG]})).await;
    for number in 0..20 {
        echo(&it, json!(number), &["other"]).await;
        let job = echo(&it, json!(number), &[TAG]).await;
        let line = lines.next().await;
        let seq = line["seq"].as_i64().expect("a place");
        assert!(seq > seen, "{seq} behind {seen}");
        seen = seq;
        let expected = json!({"seq": seq, "id": job["id"], "state": "succeeded", "attempt": 1, "result": number});
        assert_eq!(line, expected);
    }
    gate.open();
    assert_eq!(lines.next().await["id"], waiting["id"]);
    let failed = it.done(&json!({"function": "raise", "args": ["KeyError"], "tags": [TAG]})).await;
    let line = lines.next().await;
    assert_eq!((&line["id"], &line["error"]), (&failed["id"], &failed["error"]));
    assert!(line.get("result").is_none(), "{line}");
}

#[tokio::test]
async fn a3_jobs_that_were_cancelled_with_others_are_given_too_in_the_order_of_their_ends() {
    let (it, gate) = Gate::server().await;
    let mut lines = open(&it, &json!({})).await;
    begun(&mut lines).await;
    it.submit(&json!({"function": "gate", "queue": "one"})).await;
    let mut mine = Vec::new();
    for number in 0..40 {
        let tags = if number % 2 == 0 { json!([TAG]) } else { json!([]) };
        let body = json!({"function": "echo", "args": [number], "queue": "one", "tags": tags});
        let job = it.submit(&body).await;
        mine.extend((number % 2 == 0).then(|| job["id"].clone()));
    }
    let one = json!({"mode": "pending"});
    let first = mine[0].as_str().expect("an id");
    it.post(&format!("/v1/jobs/{first}/cancel"), &one).await.expect(200);
    it.post("/v1/jobs/cancel", &json!({"queue": "one"})).await.expect(200);
    let mut seen = Vec::new();
    while seen.len() < mine.len() {
        let line = lines.next().await;
        assert_eq!(line["state"], "cancelled", "{line}");
        assert!(line.get("result").is_none() && line.get("error").is_none(), "{line}");
        seen.push((line["seq"].as_i64().expect("a place"), line["id"].clone()));
    }
    assert!(seen.is_sorted_by(|a, b| a.0 < b.0), "{seen:?}");
    let mut ids: Vec<Value> = seen.into_iter().map(|(_, id)| id).collect();
    let by_text = |id: &Value| id.as_str().map(str::to_owned);
    ids.sort_by_key(by_text);
    mine.sort_by_key(by_text);
    assert_eq!(ids, mine);
    gate.open();
}

#[tokio::test]
async fn a6_a_reader_that_was_cut_off_goes_on_behind_the_last_line_also_after_a_restart() {
    let it = TestServer::start().await;
    let mut lines = open(&it, &json!({})).await;
    let begin = begun(&mut lines).await;
    let mut jobs = Vec::new();
    for number in 0..30 {
        jobs.push(echo(&it, json!(number), &[TAG]).await);
        echo(&it, json!(number), &[]).await;
    }
    let mut whole = Vec::new();
    for job in &jobs {
        whole.push(lines.next().await);
        assert_eq!(whole.last().expect("a line")["id"], job["id"]);
    }
    drop(lines);
    let resumed = async |it: &TestServer, after: i64, expected: &[Value]| {
        let mut lines = open(it, &json!({"after": after})).await;
        assert_eq!(begun(&mut lines).await, after);
        for line in expected {
            assert_eq!(lines.next().await, *line);
        }
    };
    resumed(&it, begin, &whole).await;
    resumed(&it, whole[9]["seq"].as_i64().expect("a place"), &whole[10..]).await;
    let dir = it.stop(std::time::Duration::ZERO).await;
    let it = TestServer::on(dir, |config| config, |builder| builder).await;
    resumed(&it, 0, &whole).await;
    resumed(&it, whole[28]["seq"].as_i64().expect("a place"), &whole[29..]).await;
}

#[tokio::test]
async fn results_are_as_large_as_was_asked_for_and_what_is_left_out_has_no_name() {
    let it = TestServer::start().await;
    let large = "x".repeat(100_000);
    let mut whole = open(&it, &json!({"max_result_bytes": 1_000_000})).await;
    let mut usual = open(&it, &json!({})).await;
    let mut none = open(&it, &json!({"max_result_bytes": 0})).await;
    for lines in [&mut whole, &mut usual, &mut none] {
        begun(lines).await;
    }
    echo(&it, json!(large), &[TAG]).await;
    assert_eq!(whole.next().await["result"], json!(large));
    for lines in [&mut usual, &mut none] {
        let line = lines.next().await;
        assert_eq!((line.get("result"), &line["result_omitted"]), (None, &json!(true)));
    }
    let at_most = json!({"open": true, "tag": TAG, "max_result_bytes": 8 * 1024 * 1024 + 1});
    let refused = it.post("/v1/jobs/as-completed", &at_most).await.expect(422).json();
    assert_eq!(refused["errors"][0]["pointer"], "/max_result_bytes");
}

#[tokio::test]
async fn an_open_stream_names_a_tag_and_no_jobs_and_a_place_of_this_server() {
    let it = TestServer::start().await;
    for (body, pointer) in [
        (json!({"open": true}), "/tag"),
        (json!({"open": true, "tag": ""}), "/tag"),
        (json!({"open": true, "tag": TAG, "ids": []}), "/ids"),
        (json!({"open": true, "tag": TAG, "timeout_seconds": 1}), "/timeout_seconds"),
        (json!({"tag": TAG, "ids": []}), "/tag"),
        (json!({"open": true, "tag": TAG, "after": 1_000_000}), "/after"),
    ] {
        let refused = it.post("/v1/jobs/as-completed", &body).await.expect(422).json();
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused}");
    }
}

#[tokio::test]
async fn g21_a_server_that_stops_ends_an_open_stream_and_says_why() {
    let it = TestServer::start().await;
    let mut lines = open(&it, &json!({})).await;
    let seq = begun(&mut lines).await;
    let stopped = tokio::spawn(it.stop(std::time::Duration::ZERO));
    assert_eq!(lines.next().await, json!({"end": {"seq": seq, "reason": "stopping"}}));
    assert!(lines.maybe_next().await.is_none());
    stopped.await.expect("it stops");
}
