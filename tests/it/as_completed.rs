//! `concurrent.futures.as_completed` over HTTP: a line for each job, in the order of their ends.

use reqwest::Method;
use serde_json::{Value, json};

use crate::gate::Gate;
use crate::lines::{Lines, lines_of};
use crate::server::TestServer;

async fn submitted(it: &TestServer, body: &Value) -> String {
    it.submit(body).await["id"].as_str().expect("an id").to_owned()
}

async fn done(it: &TestServer, number: usize) -> String {
    let body = json!({"function": "echo", "args": [number]});
    let job = it.post("/v1/jobs?wait=60", &body).await.expect(200).json();
    job["id"].as_str().expect("an id").to_owned()
}

/// All lines of the whole stream.
async fn lines(it: &TestServer, body: &Value) -> Vec<Value> {
    lines_of(&it.post("/v1/jobs/as-completed", body).await.expect(200))
}

/// The ids of the jobs in `lines`, and the end.
fn ids(lines: &[Value]) -> (Vec<String>, Value) {
    let (end, jobs) = lines.split_last().expect("an end");
    let ids = jobs.iter().map(|line| line["job"]["id"].as_str().expect("a job").to_owned());
    (ids.collect(), end["end"].clone())
}

async fn open(it: &TestServer, body: &Value) -> Lines {
    Lines::open(it.request(Method::POST, "/v1/jobs/as-completed").json(body)).await
}

#[tokio::test]
async fn a1_done_ones_come_first_in_the_order_of_their_ends_and_the_others_as_they_end() {
    let (it, gate) = Gate::server().await;
    let waiting = submitted(&it, &json!({"function": "gate"})).await;
    let (first, second) = (done(&it, 1).await, done(&it, 2).await);
    let body = json!({"ids": [waiting, second, first, second, waiting]});
    let mut stream = open(&it, &body).await;
    let mut seen = Vec::new();
    for expected in [&first, &second] {
        let line = stream.next().await;
        assert_eq!(line["job"]["id"], json!(expected));
        seen.push(line["seq"].as_i64().expect("a number"));
    }
    gate.open();
    let line = stream.next().await;
    assert_eq!((&line["job"]["id"], &line["job"]["result"]), (&json!(waiting), &json!("open")));
    seen.push(line["seq"].as_i64().expect("a number"));
    assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
    let end = json!({"end": {"completed": 3, "unfinished": 0, "timed_out": false}});
    assert_eq!(stream.next().await, end);
}

#[tokio::test]
async fn a2_the_time_counts_from_the_call_and_the_last_line_says_what_is_missing() {
    let (it, _gate) = Gate::server().await;
    let waiting = submitted(&it, &json!({"function": "gate"})).await;
    let first = done(&it, 1).await;
    for timeout in [0.05, 0.0, -1.0] {
        let body = json!({"ids": [first, waiting], "timeout_seconds": timeout});
        let (found, end) = ids(&lines(&it, &body).await);
        assert_eq!(found, [first.as_str()]);
        assert_eq!(end, json!({"completed": 1, "unfinished": 1, "timed_out": true}));
    }
    let (found, end) = ids(&lines(&it, &json!({"ids": []})).await);
    assert_eq!(found, Vec::<String>::new());
    assert_eq!(end, json!({"completed": 0, "unfinished": 0, "timed_out": false}));
}

#[tokio::test]
async fn a2_a_time_longer_than_any_clock_can_say_is_no_limit() {
    let (it, _gate) = Gate::server().await;
    let first = done(&it, 1).await;
    for timeout in [1e18, 1e85, 1.7e308] {
        let body = json!({"ids": [first], "timeout_seconds": timeout});
        let (found, end) = ids(&lines(&it, &body).await);
        assert_eq!(found, [first.as_str()]);
        assert_eq!(end, json!({"completed": 1, "unfinished": 0, "timed_out": false}));
    }
}

#[tokio::test]
async fn a3_cpython_87893_jobs_cancelled_by_a_shutdown_are_given_too() {
    let (it, gate) = Gate::server().await;
    let runs = submitted(&it, &json!({"function": "gate", "queue": "one"})).await;
    let mut all = vec![runs.clone()];
    for number in 0..20 {
        let body = json!({"function": "echo", "args": [number], "queue": "one"});
        all.push(submitted(&it, &body).await);
    }
    let mut stream = open(&it, &json!({"ids": all})).await;
    let body = json!({"cancel_futures": true});
    it.post("/v1/queues/one/shutdown", &body).await.expect(202);
    let mut cancelled = Vec::new();
    for _ in 0..20 {
        let line = stream.next().await;
        assert_eq!(line["job"]["state"], "cancelled");
        cancelled.push(line["job"]["id"].as_str().expect("an id").to_owned());
    }
    assert_eq!(cancelled, all[1..], "in the order in which they were cancelled");
    gate.open();
    assert_eq!(stream.next().await["job"]["id"], json!(runs));
    let end = json!({"end": {"completed": 21, "unfinished": 0, "timed_out": false}});
    assert_eq!(stream.next().await, end);
}

#[tokio::test]
async fn a6_a_reader_that_goes_away_stops_nothing_and_goes_on_where_it_was() {
    let (it, gate) = Gate::server().await;
    let waiting = submitted(&it, &json!({"function": "gate"})).await;
    let mut all = vec![waiting.clone()];
    for number in 0..5 {
        all.push(done(&it, number).await);
    }
    let mut stream = open(&it, &json!({"ids": all})).await;
    let second = [stream.next().await, stream.next().await][1]["seq"].clone();
    drop(stream);
    gate.open();
    let (found, end) = ids(&lines(&it, &json!({"ids": all, "after": second})).await);
    assert_eq!(found, [&all[3], &all[4], &all[5], &waiting].map(String::as_str));
    assert_eq!(end, json!({"completed": 6, "unfinished": 0, "timed_out": false}));
}

#[tokio::test]
async fn a1_ends_and_cancels_at_once_come_in_one_order_without_a_gap() {
    let (it, gate) = Gate::server().await;
    let runs = submitted(&it, &json!({"function": "gate", "queue": "one"})).await;
    let mut waiting = Vec::new();
    for number in 0..40 {
        let body = json!({"function": "echo", "args": [number], "queue": "one"});
        waiting.push(submitted(&it, &body).await);
    }
    let all: Vec<String> = std::iter::once(runs).chain(waiting.clone()).collect();
    let mut stream = open(&it, &json!({"ids": all})).await;
    let cancel = async {
        for id in waiting.iter().rev().step_by(2) {
            it.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).await;
        }
    };
    let read = async {
        let mut seen: Vec<(i64, String)> = Vec::new();
        while seen.len() < all.len() {
            let line = stream.next().await;
            let id = line["job"]["id"].as_str().expect("a job").to_owned();
            seen.push((line["seq"].as_i64().expect("a number"), id));
        }
        seen
    };
    let ((), (), seen) = tokio::join!(cancel, async { gate.open() }, read);
    assert!(seen.is_sorted_by(|a, b| a.0 < b.0), "{seen:?}");
    let mut ids: Vec<String> = seen.into_iter().map(|(_, id)| id).collect();
    ids.sort();
    let mut expected = all.clone();
    expected.sort();
    assert_eq!(ids, expected, "each once");
}
