//! One job, followed: its states, how far it is, and the lines of its log, while it runs and after.

use std::sync::Arc;

use futurity::{Call, Config, JobError, Native, task};
use reqwest::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};

use crate::process::LIMIT;
use crate::server::TestServer;
use crate::sse::{Event, Events};

/// What the test has a running job do.
enum Order {
    Progress(f64, &'static str),
    Log(String),
    Fail,
    Return,
}

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

/// A function that does what it is told to.
fn obedient() -> (mpsc::UnboundedSender<Order>, Native) {
    let (orders, received) = mpsc::unbounded_channel();
    let received = Arc::new(Mutex::new(received));
    let run = move |call: Call, _: Nothing| {
        let received = Arc::clone(&received);
        async move {
            loop {
                match received.lock().await.recv().await {
                    Some(Order::Progress(fraction, message)) => {
                        call.progress(fraction, message.to_owned());
                    }
                    Some(Order::Log(text)) => call.log(&text),
                    Some(Order::Fail) => return Err(JobError::new("ValueError", "as told")),
                    Some(Order::Return) | None => return Ok("done"),
                }
            }
        }
    };
    (orders, task(run))
}

async fn server() -> (TestServer, mpsc::UnboundedSender<Order>) {
    let (orders, function) = obedient();
    let it =
        TestServer::with(|config: Config| config, |builder| builder.function("obedient", function));
    (it.await, orders)
}

fn path(job: &Value, url: &str) -> String {
    job["urls"][url].as_str().expect("a path").to_owned()
}

async fn follow(it: &TestServer, job: &Value, last: Option<&str>) -> Events {
    let mut request = it.request(Method::GET, &path(job, "events"));
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    Events::open(request).await
}

fn kinds(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.kind.as_str()).collect()
}

async fn all(events: &mut Events) -> Vec<Event> {
    let mut seen = Vec::new();
    while let Some(event) = events.maybe_next().await {
        seen.push(event);
    }
    seen
}

#[tokio::test]
async fn states_progress_and_lines_are_told_as_they_come_and_the_end_is_the_last() {
    let (it, orders) = server().await;
    let job = it.submit(&json!({"function": "obedient"})).await;
    let mut events = follow(&it, &job, None).await;
    let first = events.next().await;
    assert_eq!((first.kind.as_str(), &first.data["state"]), ("state", &json!("running")));
    orders.send(Order::Progress(0.25, "reading")).expect("it runs");
    let progress = events.next().await;
    assert_eq!(
        (progress.kind.as_str(), &progress.data),
        ("progress", &json!({"fraction": 0.25, "message": "reading"}))
    );
    let shown = it.get(&path(&job, "self")).await.expect(200).json();
    assert_eq!(shown["progress"]["message"], "reading", "and to whoever asks");
    assert_eq!(shown["version"], first.data["version"], "it moves no version");
    orders.send(Order::Log("one\ntwo".to_owned())).expect("it runs");
    let (one, two) = (events.next().await, events.next().await);
    assert_eq!(one.data, json!({"id": "1.1", "stream": "log", "line": "one"}));
    assert_eq!(two.data["line"], "two");
    let text = it.get(&path(&job, "log")).await.expect(200);
    assert_eq!(
        (text.header("content-type"), &*text.body),
        (Some("text/plain; charset=utf-8"), &b"one\ntwo\n"[..])
    );
    orders.send(Order::Log("three".to_owned())).expect("it runs");
    orders.send(Order::Return).expect("it runs");
    let rest = all(&mut events).await;
    assert_eq!(kinds(&rest), ["log", "state", "end"]);
    assert_eq!(
        (&rest[1].data["result"], &rest[2].data["reason"]),
        (&json!("done"), &json!("done"))
    );

    let mut later = follow(&it, &job, None).await;
    let whole = all(&mut later).await;
    assert_eq!(
        kinds(&whole),
        ["log", "log", "log", "state", "end"],
        "the log is there after the end"
    );
    let mut behind = follow(&it, &job, Some(&one.id)).await;
    assert_eq!(kinds(&all(&mut behind).await), ["log", "log", "state", "end"]);
    let mut at_end = follow(&it, &job, Some(&rest[1].id)).await;
    assert_eq!(kinds(&all(&mut at_end).await), ["end"]);
    // Whoever comes back with the id of that end has seen all, and is told to stay away (WHATWG HTML, section 9.2.3).
    let events = it.request(Method::GET, &path(&job, "events"));
    it.send(events.header("last-event-id", &rest[2].id)).await.expect(204);
}

#[tokio::test]
async fn a_log_spans_attempts_and_is_read_as_text_or_as_lines_of_json() {
    let (it, orders) = server().await;
    for order in ["first", "second"].map(|text| Order::Log(text.to_owned())) {
        orders.send(order).expect("it is kept");
    }
    orders.send(Order::Fail).expect("it is kept");
    orders.send(Order::Log("again".to_owned())).expect("it is kept");
    orders.send(Order::Return).expect("it is kept");
    let retry = json!({"max_attempts": 2, "initial_seconds": 0});
    let job = it.done(&json!({"function": "obedient", "retry": retry})).await;
    assert_eq!((&job["state"], &job["attempt"]), (&json!("succeeded"), &json!(2)));
    let log = path(&job, "log");
    let lines = it.request(Method::GET, &log).header("accept", "application/x-ndjson");
    let lines = crate::lines::lines_of(&it.send(lines).await.expect(200));
    let shown: Vec<(&Value, &Value)> = lines.iter().map(|it| (&it["id"], &it["line"])).collect();
    let expected = [("1.1", "first"), ("1.2", "second"), ("2.1", "again")];
    let expected = expected.map(|(id, line)| (json!(id), json!(line)));
    assert_eq!(shown, expected.each_ref().map(|(id, line)| (id, line)));
    for (after, text) in
        [("0.0", "first\nsecond\nagain\n"), ("1.1", "second\nagain\n"), ("2.1", "")]
    {
        let rest = it.get(&format!("{log}?after={after}")).await.expect(200);
        assert_eq!(String::from_utf8_lossy(&rest.body), text, "after {after}");
    }
    for bad in ["x", "1", "-1.2", "1.-2"] {
        it.get(&format!("{log}?after={bad}")).await.expect(422);
    }
    let unknown = "/v1/jobs/0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e6f/log";
    assert_eq!(it.get(unknown).await.expect(404).code(), "not_found");
}

#[tokio::test]
async fn g14_of_a_flood_the_tail_is_kept_and_marked_where_it_was_cut() {
    let (it, orders) = server().await;
    let line = "x".repeat(1_000);
    for number in 0..5_000 {
        orders.send(Order::Log(format!("{number} {line}"))).expect("it is kept");
    }
    orders.send(Order::Return).expect("it is kept");
    let job = it.done(&json!({"function": "obedient"})).await;
    let log = it.get(&path(&job, "log")).await.expect(200);
    let text = String::from_utf8(log.body).expect("a text");
    assert!(text.len() <= 1024 * 1024 && text.len() > 900 * 1024, "{}", text.len());
    let (first, rest) = text.split_once('\n').expect("lines");
    let cut: usize = first
        .strip_prefix('[')
        .and_then(|first| first.strip_suffix(" lines were cut here]"))
        .and_then(|count| count.parse().ok())
        .expect("a mark");
    assert_eq!(cut + rest.lines().count(), 5_000);
    assert!(rest.starts_with(&format!("{cut} ")), "the first that is left");
    assert!(rest.ends_with(&format!("4999 {line}\n")));
}

#[tokio::test]
async fn what_a_job_tells_costs_the_writer_one_write_a_second_and_none_for_its_progress() {
    let (it, orders) = server().await;
    let file = it.dir.path().join("data/futurity.db");
    let job = it.submit(&json!({"function": "obedient"})).await;
    let database = rusqlite::Connection::open(file).expect("a connection");
    let groups = || -> i64 {
        let version = "select data_version from pragma_data_version";
        database.query_row(version, (), |row| row.get(0)).expect("a number")
    };
    let mut events = follow(&it, &job, None).await;
    events.next().await;
    let (before, began) = (groups(), std::time::Instant::now());
    let mut commits = 0;
    let mut last = before;
    for number in 0..200 {
        orders.send(Order::Progress(f64::from(number) / 200.0, "on")).expect("it runs");
        orders.send(Order::Log(format!("{number}"))).expect("it runs");
        while events.next().await.data["line"] != json!(number.to_string()) {}
        let now = groups();
        commits += i64::from(now != last);
        last = now;
    }
    let seconds = i64::try_from(began.elapsed().as_secs()).expect("a number") + 1;
    assert!(commits <= seconds, "{commits} writes in {seconds} s");
    assert!(began.elapsed() < LIMIT);
    orders.send(Order::Return).expect("it runs");
    let rest = all(&mut events).await;
    assert_eq!(rest.last().map(|event| event.kind.as_str()), Some("end"));
}

#[tokio::test]
async fn a_job_that_waits_is_followed_from_its_start_and_one_that_is_forgotten_to_its_end() {
    let (it, orders) = server().await;
    let later = it.submit(&json!({"function": "obedient", "delay_seconds": 3600})).await;
    let mut events = follow(&it, &later, None).await;
    assert_eq!(events.next().await.data["state"], "pending");
    it.post(&path(&later, "cancel"), &json!({})).await.expect(200);
    let rest = all(&mut events).await;
    assert_eq!((kinds(&rest), &rest[0].data["state"]), (vec!["state", "end"], &json!("cancelled")));
    it.send(it.request(Method::DELETE, &path(&later, "self"))).await.expect(204);
    assert_eq!(it.get(&path(&later, "events")).await.expect(404).code(), "not_found");
    drop(orders);
}
