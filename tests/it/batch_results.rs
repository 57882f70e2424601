//! The results of a batch: what iterating Python's `map` gives, line by line, while the jobs run.

use reqwest::Method;
use serde_json::{Value, json};

use crate::batches::{path, submit};
use crate::gate::{Gate, one_worker_behind};
use crate::lines::{Lines, lines_of};
use crate::server::TestServer;

async fn open(it: &TestServer, batch: &Value, query: &str) -> Lines {
    let request = it.request(Method::GET, &path(batch, &format!("/results{query}")));
    Lines::open(request).await
}

async fn all(it: &TestServer, batch: &Value, query: &str) -> Vec<Value> {
    lines_of(&it.get(&path(batch, &format!("/results{query}"))).await.expect(200))
}

fn indexes(lines: &[Value]) -> Vec<i64> {
    lines.iter().filter_map(|line| line["index"].as_i64()).collect()
}

#[tokio::test]
async fn e5_results_come_in_the_order_of_the_calls_or_of_their_ends_while_jobs_run() {
    let gate = Gate::shut();
    let it =
        TestServer::with(|config| config, |builder| builder.function("hold", gate.hold())).await;
    let calls = json!([{"args": ["first"]}, {"args": ["second"]}, {"args": ["third"]}]);
    let batch = submit(&it, &json!({"function": "hold", "calls": calls})).await;
    let mut in_order = open(&it, &batch, "").await;
    let mut completed = open(&it, &batch, "?order=completed").await;
    let mut ends = Vec::new();
    for _ in 0..3 {
        gate.open_once();
        let line = completed.next().await;
        ends.push(line["seq"].as_i64().expect("a number"));
    }
    assert!(ends.is_sorted_by(|a, b| a < b), "{ends:?}");
    for (index, value) in ["first", "second", "third"].into_iter().enumerate() {
        let line = in_order.next().await;
        assert_eq!((&line["index"], &line["result"]), (&json!(index), &json!(value)));
        assert_eq!(line["state"], "succeeded");
    }
    let end = json!({"end": {"completed": 3, "unfinished": 0, "timed_out": false}});
    assert_eq!((in_order.next().await, completed.next().await), (end.clone(), end));
}

#[tokio::test]
async fn e8_a_failure_is_a_line_at_its_item_and_a_cancelled_job_has_neither_value_nor_error() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let calls = json!([{"args": ["ValueError", "no"]}, {}]);
    let body = json!({"function": "raise", "calls": calls, "on_error": "cancel"});
    let batch = submit(&it, &body).await;
    let lines = all(&it, &batch, "").await;
    assert_eq!(
        (&lines[0]["state"], &lines[0]["error"]["type"]),
        (&json!("failed"), &json!("ValueError"))
    );
    assert_eq!(lines[1]["state"], "cancelled");
    assert!(lines[1].get("error").is_none() && lines[1].get("result").is_none(), "{}", lines[1]);
    let large = json!({"function": "echo", "iterables": [["x".repeat(20_000)]]});
    let batch = submit(&it, &large).await;
    let line = &all(&it, &batch, "").await[0];
    assert_eq!((line.get("result"), &line["result_omitted"]), (None, &json!(true)));
}

#[tokio::test]
async fn a6_a_reader_that_was_cut_off_goes_on_behind_what_it_has_seen() {
    let it = TestServer::start().await;
    let numbers: Vec<i64> = (0..600).collect();
    let batch = submit(&it, &json!({"function": "echo", "iterables": [numbers]})).await;
    let whole = all(&it, &batch, "").await;
    assert_eq!(indexes(&whole), numbers);
    assert!(whole.iter().take(600).all(|line| line["result"] == line["index"]));
    for after in [-5, -1, 0, 255, 256, 598, 599, 10_000] {
        let rest = all(&it, &batch, &format!("?after={after}")).await;
        let expected: Vec<i64> = numbers.iter().copied().filter(|it| *it > after).collect();
        assert_eq!(indexes(&rest), expected, "after {after}");
        assert_eq!(rest.last(), whole.last(), "the end counts the whole batch");
    }
    let completed = all(&it, &batch, "?order=completed").await;
    let seen = completed[299]["seq"].as_i64().expect("a number");
    let rest = all(&it, &batch, &format!("?order=completed&after={seen}")).await;
    assert_eq!(rest[..], completed[300..]);
    for query in ["?order=random", "?after=x", "?since=3"] {
        let answer = it.get(&path(&batch, &format!("/results{query}"))).await;
        assert!([400, 422].contains(&answer.status.as_u16()), "{query}");
    }
}
