//! Every change, as server-sent events: in the order of all, from where the reader was.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use reqwest::Method;
use serde_json::{Value, json};

use crate::batches::submit;
use crate::gate::{Gate, one_worker_behind};
use crate::server::TestServer;
use crate::sse::{Event, Events, Parser};

async fn follow(it: &TestServer, query: &str) -> Events {
    Events::open(it.request(Method::GET, &format!("/v1/events{query}"))).await
}

/// Reads until the job is done; its states on the way.
async fn states(events: &mut Events, id: &Value) -> Vec<String> {
    let mut states = Vec::new();
    loop {
        let event = events.next().await;
        if event.data["id"] == *id {
            assert_eq!(event.kind, "state");
            states.push(event.data["state"].as_str().expect("a state").to_owned());
            if event.data["done"] == true {
                return states;
            }
        }
    }
}

#[tokio::test]
async fn g13_whoever_follows_sees_each_job_come_and_end() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let before = it.done(&json!({"function": "echo"})).await;
    let mut events = follow(&it, "").await;
    let job = it.submit(&json!({"function": "hold"})).await;
    gate.started().await;
    let first = events.next().await;
    assert_eq!((&first.data["id"], &first.data["state"]), (&job["id"], &json!("running")));
    assert_ne!(first.data["id"], before["id"], "from now on");
    let waits = it.submit(&json!({"function": "hold"})).await;
    let second = events.next().await;
    assert_eq!((&second.data["id"], &second.data["state"]), (&waits["id"], &json!("pending")));
    gate.open();
    assert_eq!(states(&mut events, &job["id"]).await, ["succeeded"]);
    let last = states(&mut events, &waits["id"]).await;
    assert_eq!(last.last().map(String::as_str), Some("succeeded"));
    let path = waits["urls"]["self"].as_str().expect("a path");
    it.send(it.request(Method::DELETE, path)).await.expect(204);
    let gone = events.next().await;
    assert_eq!((gone.kind.as_str(), &gone.data["id"]), ("gone", &waits["id"]));
}

#[tokio::test]
async fn filters_are_those_of_the_list_and_one_of_them_is_the_batch() {
    let it = TestServer::start().await;
    let other = json!({"function": "echo", "tags": ["other"]});
    let mut tagged = follow(&it, "?tag=mine&state=succeeded").await;
    it.done(&other).await;
    let mine = it.done(&json!({"function": "echo", "tags": ["mine"]})).await;
    let event = tagged.next().await;
    assert_eq!((&event.data["id"], &event.data["state"]), (&mine["id"], &json!("succeeded")));
    let batch = submit(&it, &json!({"function": "echo", "iterables": [[1, 2, 3]]})).await;
    it.done(&other).await;
    let id = batch["id"].as_str().expect("an id");
    let mut of_batch = follow(&it, &format!("?batch={id}&after=0")).await;
    let mut ended = 0;
    while ended < 3 {
        let event = of_batch.next().await;
        assert_eq!(event.data["batch"], id);
        ended += usize::from(event.data["done"] == true);
    }
}

#[tokio::test]
async fn g13_a_reader_goes_on_behind_the_last_event_that_it_has_seen() {
    let it = TestServer::start().await;
    for number in 0..300 {
        it.post("/v1/jobs?wait=60", &json!({"function": "echo", "args": [number]}))
            .await
            .expect(200);
    }
    let mut all = Vec::new();
    let mut events = follow(&it, "?after=0").await;
    while all.len() < 300 {
        all.push(events.next().await);
    }
    let places: Vec<i64> = all.iter().map(|event| event.id.parse().expect("a place")).collect();
    assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
    for seen in [0, 1, 150, 298] {
        let request = it.request(Method::GET, "/v1/events");
        let mut events = Events::open(request.header("last-event-id", &all[seen].id)).await;
        for expected in &all[seen + 1..] {
            assert_eq!(events.next().await, *expected);
        }
    }
}

/// Every job as the list has it, by its id.
async fn listed(it: &TestServer) -> BTreeMap<String, Value> {
    let mut shown = BTreeMap::new();
    let mut page = "/v1/jobs?page_size=1000".to_owned();
    loop {
        let list = it.get(&page).await.expect(200).json();
        for job in list["jobs"].as_array().expect("jobs") {
            shown.insert(job["id"].to_string(), job.clone());
        }
        let Some(token) = list["next_page_token"].as_str() else { break };
        page = format!("/v1/jobs?page_size=1000&page_token={token}");
    }
    shown
}

#[tokio::test]
async fn g13_a_stream_that_is_cut_at_random_bytes_and_resumed_tells_what_the_database_does() {
    let it = TestServer::start().await;
    let mut random = rand::rngs::StdRng::seed_from_u64(4);
    let call = json!({"function": "raise", "iterables": [vec!["E"; 40]]});
    let work = async {
        for number in 0..60 {
            match number % 3 {
                0 => drop(submit(&it, &call).await),
                1 => drop(it.done(&json!({"function": "echo", "args": ["x".repeat(300)]})).await),
                _ => {
                    let later = json!({"function": "echo", "delay_seconds": 3600});
                    let job = it.submit(&later).await;
                    let cancel = job["urls"]["cancel"].as_str().expect("a path");
                    it.post(cancel, &json!({})).await.expect(200);
                }
            }
        }
    };
    let jobs = 20 * 40 + 20 + 20;
    let read = async {
        let (mut seen, mut latest) = (Vec::<Event>::new(), BTreeMap::new());
        let (mut cuts, mut last) = (0, "0".to_owned());
        // Until all are done, and it was cut often enough.
        while latest.values().filter(|done| **done).count() < jobs || cuts < 200 {
            let request = it.request(Method::GET, "/v1/events").header("last-event-id", &last);
            let mut response = request.send().await.expect("an answer");
            let (mut parser, mut left) = (Parser::default(), random.random_range(1..40_000_usize));
            let is_whole = latest.values().filter(|done| **done).count() >= jobs;
            while left > 0 && !is_whole {
                let Some(chunk) = response.chunk().await.expect("a stream") else { break };
                let read = chunk.len().min(left);
                left -= read;
                for event in parser.push(&chunk[..read]) {
                    last.clone_from(&event.id);
                    if event.kind == "alive" {
                        continue;
                    }
                    latest.insert(event.data["id"].to_string(), event.data["done"] == true);
                    seen.push(event);
                }
                if latest.values().filter(|done| **done).count() >= jobs {
                    break;
                }
            }
            cuts += 1;
        }
        seen
    };
    let ((), seen) = tokio::join!(work, read);
    let places: Vec<i64> = seen.iter().map(|event| event.id.parse().expect("a place")).collect();
    assert!(places.is_sorted_by(|a, b| a < b), "none is told twice, and all in order");
    let mut told = BTreeMap::new();
    for event in &seen {
        told.insert(event.data["id"].to_string(), event.data.clone());
    }
    let shown = listed(&it).await;
    assert_eq!((told.len(), shown.len()), (jobs, jobs));
    assert!(told == shown, "each job as the database has it");
}

#[tokio::test]
async fn g13_whoever_comes_from_below_the_floor_or_from_elsewhere_is_told_to_begin_anew() {
    let it = TestServer::start().await;
    for _ in 0..3 {
        it.done(&json!({"function": "echo"})).await;
    }
    let file = it.dir.path().join("data/futurity.db");
    let database = rusqlite::Connection::open(file).expect("a connection");
    let floor: i64 = database
        .query_row("select max(first_seq) - 1 from changes", (), |row| row.get(0))
        .expect("a number");
    database.execute("delete from changes where first_seq <= ?", [floor]).expect("it is done");
    for place in ["0", "1", "9000000000"] {
        let mut events = follow(&it, &format!("?after={place}")).await;
        let reset = events.next().await;
        assert_eq!((reset.kind.as_str(), &reset.data), ("reset", &json!({"floor": floor})));
        let job = it.done(&json!({"function": "echo"})).await;
        assert_eq!(
            states(&mut events, &job["id"]).await.last().map(String::as_str),
            Some("succeeded")
        );
    }
    for bad in ["x", "-1", ""] {
        it.get(&format!("/v1/events?after={bad}")).await.expect(422);
    }
    let bad = it.request(Method::GET, "/v1/events").header("last-event-id", "x");
    assert_eq!(it.send(bad).await.expect(400).code(), "bad_request");
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_cut_and_goes_on_where_it_was() {
    let it = TestServer::start().await;
    let mut slow = follow(&it, "").await;
    // What the sockets between the two hold is some megabytes; more than that and the shared pages must come.
    let large = "x".repeat(15_000);
    let body = json!({"function": "echo", "calls": vec![json!({"args": [large]}); 500]});
    let mut jobs = 0;
    for _ in 0..4 {
        let batch = submit(&it, &body).await;
        let path = format!("/v1/batches/{}?wait=60", batch["id"].as_str().expect("an id"));
        assert_eq!(it.get(&path).await.expect(200).json()["done"], true);
        jobs += 500;
    }
    let mut done = BTreeMap::new();
    let mut cuts = 0;
    while done.len() < jobs {
        let event = slow.maybe_next().await;
        match event {
            Some(event) if event.kind == "end" => {
                assert_eq!(event.data["reason"], "too_slow");
                assert!(slow.maybe_next().await.is_none(), "it is the last");
                cuts += 1;
                let request = it.request(Method::GET, "/v1/events");
                slow = Events::open(request.header("last-event-id", event.id)).await;
            }
            Some(event) if event.data["done"] == true => {
                let before = done.insert(event.data["id"].to_string(), event.id.clone());
                assert_eq!(before, None, "told once");
            }
            Some(_) => {}
            None => panic!("it ends with a word"),
        }
    }
    assert!(cuts > 0, "nobody holds so much for one that does not read");
}

#[tokio::test]
async fn g21_a_server_that_stops_says_so_and_where_to_go_on() {
    let it = TestServer::start().await;
    let job = it.done(&json!({"function": "echo"})).await;
    let mut events = follow(&it, "?after=0").await;
    states(&mut events, &job["id"]).await;
    let stop = tokio::spawn(async move { it.stop(Duration::ZERO).await });
    let end = events.next().await;
    assert_eq!((end.kind.as_str(), &end.data["reason"]), ("end", &json!("stopping")));
    assert!(end.id.parse::<i64>().is_ok_and(|place| place > 0));
    assert!(events.maybe_next().await.is_none());
    stop.await.expect("it stops");
}
