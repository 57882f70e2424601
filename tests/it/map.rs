//! Streaming map: `Executor.map` with `buffersize`, lines in and lines out.

use reqwest::Method;
use serde_json::{Value, json};

use crate::gate::{Gate, one_worker_behind};
use crate::lines::{Lines, lines_of};
use crate::server::TestServer;
use crate::submit_lines::{open_body, request, text};

async fn mapped(it: &TestServer, query: &str, lines: &[Value]) -> Vec<Value> {
    let path = format!("/v1/map?{query}");
    lines_of(&it.send(request(it, &path, text(lines))).await.expect(200))
}

async fn batch(it: &TestServer, location: &str) -> Value {
    it.get(&format!("{location}?wait=60")).await.expect(200).json()
}

#[tokio::test]
async fn e5_e10_results_come_in_the_order_of_the_input_with_one_line_a_call() {
    let it = TestServer::start().await;
    let lines: Vec<Value> = (0..500)
        .map(|it| if it % 2 == 0 { json!([it]) } else { json!({"kwargs": {"value": it}}) })
        .collect();
    let path = "/v1/map?function=echo&buffersize=16";
    let answer = it.send(request(&it, path, text(&lines))).await.expect(200);
    let answers = lines_of(&answer);
    for (index, line) in answers.iter().take(500).enumerate() {
        assert_eq!((&line["index"], &line["result"]), (&json!(index), &json!(index)));
    }
    assert_eq!(
        answers[500],
        json!({"end": {"lines": 500, "completed": 500, "unfinished": 0, "timed_out": false}})
    );
    let location = answer.header("location").expect("the batch");
    let batch = batch(&it, location).await;
    assert_eq!((&batch["total"], &batch["counts"]["succeeded"]), (&json!(500), &json!(500)));
    assert_eq!((&batch["closed"], &batch["done"]), (&json!(true), &json!(true)));
    let again = lines_of(&it.get(&format!("{location}/results")).await.expect(200));
    assert_eq!(again[..500], answers[..500], "found again by the batch");
    assert_eq!(mapped(&it, "function=echo", &[]).await.len(), 1, "no input is no result");
}

#[tokio::test]
async fn e10_at_most_buffersize_calls_are_in_flight_until_a_result_is_read() {
    let gate = Gate::shut();
    let it =
        TestServer::with(|config| config, |builder| builder.function("hold", gate.hold())).await;
    let (sender, body) = open_body();
    let calls: Vec<Value> = (0..50).map(|it| json!([it])).collect();
    sender.send(text(&calls)).expect("it is sent");
    let mut lines = Lines::open(request(&it, "/v1/map?function=hold&buffersize=4", body)).await;
    for _ in 0..4 {
        gate.started().await;
    }
    let location = lines.response.headers()["location"].to_str().expect("a path").to_owned();
    for index in 0..46 {
        let batch = it.get(&location).await.expect(200).json();
        let counts = &batch["counts"];
        let unfinished = counts["pending"].as_i64().zip(counts["running"].as_i64());
        let unfinished = unfinished.map(|(pending, running)| pending + running).expect("counts");
        assert!(unfinished <= 4, "{batch}");
        gate.open_once();
        gate.started().await;
        assert_eq!(lines.next().await["index"], index);
    }
    gate.open();
    drop(sender);
    for _ in 46..50 {
        lines.next().await;
    }
    assert_eq!(lines.next().await["end"]["completed"], 50);
    for bad in ["0", "-1", "4097", "x", "1.5"] {
        let path = format!("/v1/map?function=echo&buffersize={bad}");
        let refused = it.send(request(&it, &path, String::new())).await.expect(422).json();
        assert_eq!(refused["errors"][0]["pointer"], "/buffersize");
    }
}

#[tokio::test]
async fn e8_a_failure_is_a_line_at_its_item_and_ends_the_rest_only_if_asked_to() {
    let it = TestServer::start().await;
    let lines = [
        json!(["ValueError", "first"]),
        json!([1]),
        json!({"args": ["A"], "kwarks": {}}),
        json!("text"),
        json!(["KeyError", "last"]),
    ];
    let answers = mapped(&it, "function=raise", &lines).await;
    let told = |line: &Value| {
        let code = line["problem"]["code"].as_str().or(line["error"]["type"].as_str());
        (line["index"].as_i64(), code.map(str::to_owned))
    };
    let mut seen: Vec<_> = answers.iter().map(told).collect();
    assert_eq!(seen.pop(), Some((None, None)), "the end");
    seen.sort();
    let expected = ["ValueError", "TypeError", "unknown_field", "invalid_value", "KeyError"];
    let codes: Vec<&str> = seen.iter().filter_map(|(_, code)| code.as_deref()).collect();
    assert_eq!(codes.len(), expected.len(), "{answers:?}");
    assert_eq!(
        (codes[0], codes[2], codes[3], codes[4]),
        (expected[0], expected[2], expected[3], expected[4])
    );

    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let lines: Vec<Value> = (0..30).map(|it| json!([format!("E{it}")])).collect();
    let answers = mapped(&it, "function=raise&on_error=cancel&buffersize=8", &lines).await;
    assert_eq!(answers[0]["state"], "failed");
    let (end, rest) = answers[1..].split_last().expect("an end");
    assert!(rest.iter().all(|line| line["state"] == "cancelled"), "{answers:?}");
    assert!(rest.len() < 8, "nothing is taken after the failure");
    assert_eq!(end["end"]["unfinished"], 0);
}

#[tokio::test]
async fn e7_who_hangs_up_leaves_the_rest_running_or_cancels_it_as_it_was_asked() {
    for (query, state) in [("", "succeeded"), ("&on_disconnect=cancel", "cancelled")] {
        let gate = Gate::shut();
        let it = one_worker_behind(&gate).await;
        let (sender, body) = open_body();
        sender.send(text(&[json!([1]), json!([2]), json!([3])])).expect("it is sent");
        let path = format!("/v1/map?function=hold{query}");
        let lines = Lines::open(request(&it, &path, body)).await;
        gate.started().await;
        let location = lines.response.headers()["location"].to_str().expect("a path").to_owned();
        assert_eq!(it.get(&location).await.expect(200).json()["closed"], false);
        drop((lines, sender));
        if state == "succeeded" {
            gate.open();
        }
        let batch = batch(&it, &location).await;
        assert_eq!((&batch["done"], &batch["counts"][state]), (&json!(true), &json!(3)), "{batch}");
    }
}

#[tokio::test]
async fn e5_as_completed_a_result_comes_as_soon_as_it_is_there() {
    let gate = Gate::shut();
    let it =
        TestServer::with(|config| config, |builder| builder.function("hold", gate.hold())).await;
    let (sender, body) = open_body();
    sender.send(text(&[json!(["a"]), json!(["b"]), json!(["c"])])).expect("it is sent");
    let mut lines = Lines::open(request(&it, "/v1/map?function=hold&order=completed", body)).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        gate.open_once();
        let line = lines.next().await;
        seen.push(line["seq"].as_i64().expect("a number"));
    }
    assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
    sender.send(text(&[json!(["d"])])).expect("it is sent");
    gate.open();
    assert_eq!(lines.next().await["result"], "d");
    drop(sender);
    assert_eq!(lines.next().await["end"]["completed"], 4);
}

#[tokio::test]
async fn e6_the_time_of_a_map_counts_from_its_beginning_for_whatever_comes_later() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let (sender, body) = open_body();
    sender.send(text(&[json!([1])])).expect("it is sent");
    let path = "/v1/map?function=hold&total_timeout_seconds=0.3";
    let mut lines = Lines::open(request(&it, path, body)).await;
    assert_eq!(lines.next().await["error"]["type"], "total_timeout");
    sender.send(text(&[json!([2])])).expect("it is sent");
    let late = lines.next().await;
    assert_eq!((&late["index"], &late["error"]["type"]), (&json!(1), &json!("total_timeout")));
    drop(sender);
    assert_eq!(lines.next().await["end"]["completed"], 2);
}

#[tokio::test]
async fn a_map_takes_the_options_of_a_batch() {
    let it = TestServer::start().await;
    let options = [
        ("function", "raise"),
        ("retry", r#"{"max_attempts": 2, "initial_seconds": 0}"#),
        ("tags", r#"["of a map", "ü"]"#),
        ("metadata", r#"{"who": "me"}"#),
        ("on_interrupt", "fail"),
        ("priority", "7"),
    ];
    let url = reqwest::Url::parse_with_params(&format!("{}/v1/map", it.url), options);
    let request = it.client.post(url.expect("a URL"));
    let request = request.header("content-type", crate::submit_lines::NDJSON).body("[]\n");
    let row = lines_of(&it.send(request).await.expect(200))[0].clone();
    assert_eq!((&row["state"], &row["attempt"]), (&json!("failed"), &json!(2)), "{row}");
    let job = it.get(&format!("/v1/jobs/{}", row["id"].as_str().expect("an id"))).await.json();
    assert_eq!(
        (&job["tags"], &job["metadata"], &job["on_interrupt"], &job["priority"]),
        (&json!(["of a map", "ü"]), &json!({"who": "me"}), &json!("fail"), &json!(7))
    );
    for (query, pointer) in [
        ("retry=3", "/retry"),
        ("retry={", "/retry"),
        ("tags=a", "/tags"),
        ("metadata=[1]", "/metadata"),
        ("on_interrupt=maybe", "/on_interrupt"),
    ] {
        let path = format!("/v1/map?function=echo&{query}");
        let refused = it.send(crate::submit_lines::request(&it, &path, String::new())).await;
        assert_eq!(refused.expect(422).json()["errors"][0]["pointer"], pointer, "{query}");
    }
}

#[tokio::test]
async fn a_map_that_cannot_begin_says_why() {
    let it = TestServer::start().await;
    for (query, pointer) in [
        ("", "/function"),
        ("function=nothing", "/function"),
        ("function=echo&order=any", "/order"),
        ("function=echo&on_error=stop", "/on_error"),
        ("function=echo&on_disconnect=stop", "/on_disconnect"),
        ("function=echo&priority=200", "/priority"),
        ("function=echo&queue=", "/queue"),
        ("function=echo&queue=nowhere", "/queue"),
        ("function=echo&run_timeout_seconds=0", "/run_timeout_seconds"),
        ("function=echo&retention_seconds=-1", "/retention_seconds"),
    ] {
        let path = format!("/v1/map?{query}");
        let refused = it.send(request(&it, &path, String::new())).await.expect(422).json();
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused}");
    }
    let misspelt = request(&it, "/v1/map?function=echo&buffer_size=3", String::new());
    assert_eq!(it.send(misspelt).await.expect(400).code(), "bad_request");
    let json = it.request(Method::POST, "/v1/map?function=echo").json(&json!([1]));
    assert_eq!(it.send(json).await.expect(415).code(), "unsupported_media_type");
}
