//! `POST /v1/jobs/lines`, and `POST /v1/jobs` with lines: a submission a line, and an answer a line, while the request still comes in.

use futures_util::StreamExt as _;
use reqwest::{Body, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::gate::{Gate, one_worker_behind};
use crate::lines::{Lines, lines_of};
use crate::server::TestServer;

pub const NDJSON: &str = "application/x-ndjson";

pub fn request(it: &TestServer, path: &str, body: impl Into<Body>) -> RequestBuilder {
    it.request(Method::POST, path).header("content-type", NDJSON).body(body)
}

/// A body whose lines are sent one after the other.
pub fn open_body() -> (mpsc::UnboundedSender<String>, Body) {
    let (sender, lines) = mpsc::unbounded_channel::<String>();
    let lines = futures_util::stream::unfold(lines, |mut lines| async move {
        let line = lines.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(line), lines))
    });
    (sender, Body::wrap_stream(lines.boxed()))
}

pub fn text(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

async fn answers(it: &TestServer, body: String) -> Vec<Value> {
    let mut lines = lines_of(&it.send(request(it, "/v1/jobs", body)).await.expect(200));
    let end = lines.pop().expect("an end");
    assert_eq!(end["end"]["lines"], lines.len(), "each line that came has an answer");
    lines
}

#[tokio::test]
async fn each_line_has_its_answer_in_order_and_a_bad_one_spoils_no_other() {
    let it = TestServer::start().await;
    let chosen = "0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e6f";
    let lines = [
        json!({"function": "echo", "args": [1]}).to_string(),
        "{".to_owned(),
        json!({"function": "nothing"}).to_string(),
        String::new(),
        json!({"function": "echo", "args": [1, 2]}).to_string(),
        json!({"function": "echo", "arguments": []}).to_string(),
        json!({"function": "echo", "id": chosen}).to_string(),
        json!({"function": "echo", "kwargs": {"value": "x".repeat(1024 * 1024)}}).to_string(),
        json!({"function": "math.factorial", "args": [5]}).to_string(),
    ];
    let answers = answers(&it, lines.join("\n")).await;
    let codes: Vec<Option<&str>> =
        answers.iter().map(|line| line["problem"]["code"].as_str()).collect();
    let expected = [
        None,
        Some("malformed_json"),
        Some("unknown_function"),
        Some("invalid_arguments"),
        Some("unknown_field"),
        None,
        Some("too_large"),
        None,
    ];
    assert_eq!(codes, expected);
    for (index, line) in answers.iter().enumerate() {
        assert_eq!(line["index"], index, "an empty line is none");
    }
    assert_eq!(answers[1]["problem"]["instance"], "/v1/jobs");
    assert!(answers[1]["problem"]["request_id"].as_str().is_some_and(|id| !id.is_empty()));
    assert_eq!(answers[5]["job"]["id"], chosen);
    assert_eq!(it.wait(&answers[7]["job"]).await["result"], 120);
    let page = it.get("/v1/jobs").await.expect(200).json();
    assert_eq!(page["jobs"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn answers_come_while_the_request_still_comes_in() {
    let it = TestServer::start().await;
    let (sender, body) = open_body();
    let call = |number: i32| format!("{}\n", json!({"function": "echo", "args": [number]}));
    sender.send(call(0)).expect("it is sent");
    let mut lines = Lines::open(request(&it, "/v1/jobs", body)).await;
    for number in 0..20 {
        let line = lines.next().await;
        assert_eq!((&line["index"], &line["job"]["args"]), (&json!(number), &json!([number])));
        // Only now does the client know enough to send the next one; and the half of it before the rest.
        let next = call(number + 1);
        let (first, rest) = next.split_at(7);
        sender.send(first.to_owned()).expect("it is sent");
        sender.send(rest.to_owned()).expect("it is sent");
    }
    drop(sender);
    assert_eq!(lines.next().await["index"], 20);
    let end = json!({"end": {"lines": 21, "accepted": 21, "refused": 0}});
    assert_eq!(lines.next().await, end);
    assert!(lines.maybe_next().await.is_none());
}

#[tokio::test]
async fn g8_a_line_has_a_key_of_its_own_and_sent_again_it_is_the_same_job() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let line = |key: &str, value: i32| json!({"function": "hold", "args": [value], "idempotency_key": key});
    let first = answers(&it, text(&[line("a", 1), line("b", 2), line("a", 1)])).await;
    assert_eq!(first[2]["job"]["id"], first[0]["job"]["id"], "in the same request");
    assert_eq!(first[2]["idempotent_replayed"], true);
    assert!(first[0].get("idempotent_replayed").is_none());
    let again = answers(&it, text(&[line("b", 2), line("a", 3), line("c", 3)])).await;
    assert_eq!(
        (&again[0]["job"]["id"], &again[0]["idempotent_replayed"]),
        (&first[1]["job"]["id"], &json!(true))
    );
    assert_eq!(again[1]["problem"]["code"], "idempotency_mismatch");
    assert_eq!(again[2]["job"]["state"], "pending");
    let bad = answers(&it, text(&[json!({"function": "hold", "idempotency_key": ""})])).await;
    assert_eq!(bad[0]["problem"]["errors"][0]["pointer"], "/idempotency_key");
    let both = request(&it, "/v1/jobs", text(&[line("d", 1)])).header("idempotency-key", "d");
    assert_eq!(it.send(both).await.expect(422).code(), "invalid_value");
    gate.open();
}

#[tokio::test]
async fn lines_have_a_path_of_their_own() {
    let it = TestServer::start().await;
    let lines = [json!({"function": "echo", "args": [1]}), json!({"function": "nothing"})];
    let own = "/v1/jobs/lines";
    let answers = lines_of(&it.send(request(&it, own, text(&lines))).await.expect(200));
    assert_eq!(answers[0]["job"]["function"], "echo");
    assert_eq!(
        (&answers[1]["problem"]["code"], &answers[1]["problem"]["instance"]),
        (&json!("unknown_function"), &json!(own))
    );
    let waits = request(&it, "/v1/jobs/lines?wait=1", text(&lines));
    assert_eq!(it.send(waits).await.expect(400).code(), "bad_request");
    let one = it.post(own, &lines[0]).await.expect(415);
    assert_eq!(one.code(), "unsupported_media_type");
}

#[tokio::test]
async fn a_key_makes_one_job_on_either_path_of_lines() {
    let it = TestServer::start().await;
    let keyed = text(&[json!({"function": "echo", "idempotency_key": "k"})]);
    let mut ids = Vec::new();
    for path in ["/v1/jobs/lines", "/v1/jobs"] {
        let answers = lines_of(&it.send(request(&it, path, keyed.clone())).await.expect(200));
        ids.push(answers[0]["job"]["id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn return_minimal_answers_only_problems_and_counts_at_the_end() {
    let it = TestServer::start().await;
    let good = json!({"function": "echo"});
    let mut lines = vec![good.clone(); 5_000];
    lines[1_234] = json!({"function": "nothing"});
    let minimal = request(&it, "/v1/jobs", text(&lines)).header("prefer", "wait=1, return=minimal");
    let answer = it.send(minimal).await.expect(200);
    assert_eq!(answer.header("preference-applied"), Some("return=minimal"));
    let answers = lines_of(&answer);
    assert_eq!(answers.len(), 2);
    assert_eq!(
        (&answers[0]["index"], &answers[0]["problem"]["code"]),
        (&json!(1_234), &json!("unknown_function"))
    );
    assert_eq!(answers[1], json!({"end": {"lines": 5_000, "accepted": 4_999, "refused": 1}}));
}

#[tokio::test]
async fn a_client_that_sends_everything_before_it_reads_is_held_back_and_not_refused() {
    let it = TestServer::start().await;
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&sent);
    // Far more than the buffers between the two can hold of lines and answers.
    const LINES: usize = 20_000;
    let line = format!("{}\n", json!({"function": "echo", "args": ["x".repeat(2_000)]}));
    let chunk = line.repeat(100);
    let chunks = futures_util::stream::iter(0..LINES / 100).map(move |_| {
        counted.fetch_add(100, std::sync::atomic::Ordering::Relaxed);
        Ok::<_, std::convert::Infallible>(chunk.clone())
    });
    let mut lines = Lines::open(request(&it, "/v1/jobs", Body::wrap_stream(chunks))).await;
    // Nobody reads: the sender comes to a stop by itself, far from its end. It is looked at through the server's
    // own eyes, as the jobs that there are.
    let mut before = usize::MAX;
    let stopped = loop {
        let now = sent.load(std::sync::atomic::Ordering::Relaxed);
        // A round trip is time enough for one that moves to move.
        for _ in 0..50 {
            it.get("/livez").await.expect(200);
        }
        if now == before {
            break now;
        }
        before = now;
    };
    assert!(stopped < LINES, "it was not held back");
    for index in 0..LINES {
        assert_eq!(lines.next().await["index"], index);
    }
    assert_eq!(lines.next().await["end"]["lines"], LINES);
    assert!(lines.maybe_next().await.is_none());
    assert_eq!(sent.load(std::sync::atomic::Ordering::Relaxed), LINES);
}

#[tokio::test]
async fn lines_without_a_line_and_with_another_type_are_answered_clearly() {
    let it = TestServer::start().await;
    assert_eq!(answers(&it, String::new()).await, Vec::<Value>::new());
    assert_eq!(answers(&it, "\n\n  \n".to_owned()).await, Vec::<Value>::new());
    let waits = it.send(request(&it, "/v1/jobs?wait=1", String::new())).await.expect(422);
    assert_eq!(waits.json()["errors"][0]["pointer"], "/wait");
    let elsewhere = it.send(request(&it, "/v1/jobs/wait", "{}\n".to_owned())).await.expect(415);
    assert_eq!(elsewhere.code(), "unsupported_media_type");
}
