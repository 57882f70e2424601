//! Waiting for the end: `Future.result(timeout)`, by one and by many.

use std::time::Duration;

use futures_util::future::join_all;
use futurity::{Config, Limits};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::gate::Gate;
use crate::server::{TestServer, send};

fn path(job: &Value, rest: &str) -> String {
    format!("/v1/jobs/{}{rest}", job["id"].as_str().expect("an id"))
}

/// A wait that is missed ends at the limit of the client, not at that of the server.
fn patient(config: Config) -> Config {
    Config { wait_max: Duration::from_secs(600), ..config }
}

async fn gated() -> (TestServer, Gate) {
    gated_for(10_000).await
}

/// Where so many may wait at once.
async fn gated_for(waiters_max: usize) -> (TestServer, Gate) {
    let (gate, function) = Gate::task();
    let one = futurity::Queue { max_workers: 1, max_pending: 1_000 };
    let configure = |config: Config| {
        let queues = [("one".to_owned(), one)].into();
        let limits = Limits { waiters: waiters_max, ..Limits::default() };
        patient(Config { queues, limits, ..config })
    };
    let it = TestServer::with(configure, |builder| builder.function("gate", function)).await;
    (it, gate)
}

#[tokio::test]
async fn f7_post_with_a_wait_answers_200_when_the_job_is_done_in_time() {
    let it = TestServer::start().await;
    let call = json!({"function": "echo", "args": [[1, null]]});
    let answer = it.post("/v1/jobs?wait=60", &call).await.expect(200);
    let job = answer.json();
    assert_eq!((&job["state"], &job["result"]), (&json!("succeeded"), &json!([1, null])));
    assert_eq!(answer.header("retry-after"), None);

    let request = it.request(Method::POST, "/v1/jobs").header("prefer", "wait=9").json(&call);
    let answer = it.send(request).await.expect(200);
    assert_eq!(answer.header("preference-applied"), Some("wait=9"));
    assert_eq!(answer.header("vary"), Some("Prefer"));
}

#[tokio::test]
async fn f8_a_wait_that_runs_out_is_202_and_cancels_nothing() {
    let (it, gate) = gated().await;
    let answer = it.post("/v1/jobs?wait=0.05", &json!({"function": "gate"})).await.expect(202);
    assert_eq!(answer.header("retry-after"), Some("0"), "ask again now");
    let job = answer.json();
    for query in ["?wait=0.05", "?wait=0", "?wait=-1", "?wait=-0.5"] {
        let shown = it.get(&path(&job, query)).await.expect(200).json();
        assert_eq!((&shown["done"], &shown["cancel_requested_at"]), (&json!(false), &json!(null)));
        it.get(&path(&job, &format!("/result{query}"))).await.expect(202);
        it.get(&path(&job, &format!("/exception{query}"))).await.expect(202);
    }
    gate.open();
    assert_eq!(it.wait(&job).await["result"], "open");
}

#[tokio::test]
async fn f8_a_wait_that_is_no_number_is_refused_with_its_place() {
    let it = TestServer::start().await;
    for wait in ["", "soon", "nan", "inf", "-inf", "1s"] {
        let call = json!({"function": "echo"});
        let answer = it.post(&format!("/v1/jobs?wait={wait}"), &call).await.expect(422);
        assert_eq!(answer.code(), "invalid_value", "{wait}");
        assert_eq!(answer.json()["errors"][0]["pointer"], "/wait");
    }
    assert_eq!(it.get("/v1/jobs").await.expect(200).json()["jobs"], json!([]), "none was written");
}

/// A client that has the only place. Who looks whether it has takes the place for a moment, so it may have to ask again.
async fn one_who_waits(it: &TestServer, asks_for: &str, job: &Value) -> TcpStream {
    let address = it.server.address();
    let ask = format!("GET {asks_for} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    loop {
        let mut client = TcpStream::connect(address).await.expect("a connection");
        client.write_all(ask.as_bytes()).await.expect("a request");
        while it.get(&path(job, "?wait=0.001")).await.status.as_u16() != 429 {
            if client.try_read(&mut [0]).is_ok() {
                break;
            }
        }
        if client.try_read(&mut [0]).is_err() {
            return client;
        }
    }
}

/// Asks for a place until the answer has this status.
async fn until(it: &TestServer, job: &Value, status: u16) {
    while it.get(&path(job, "?wait=0.001")).await.status.as_u16() != status {}
}

#[tokio::test]
async fn heavy_f7_a_thousand_long_polls_of_one_job_all_get_its_end() {
    let (it, gate) = gated_for(1_000).await;
    let job = it.submit(&json!({"function": "gate"})).await;
    let polls = (0..1_000).map(|number| {
        let rest = if number % 2 == 0 { "?wait=600" } else { "/result?wait=600" };
        let url = format!("{}{}", it.url, path(&job, rest));
        let client = it.client.clone();
        tokio::spawn(async move {
            loop {
                // One who looks whether all wait takes a place for a moment.
                let answer = send(client.clone(), client.get(&url)).await;
                if answer.status != StatusCode::TOO_MANY_REQUESTS {
                    return answer.expect(200).json();
                }
            }
        })
    });
    let polls: Vec<_> = polls.collect();
    until(&it, &job, 429).await;
    gate.open();
    for (number, poll) in join_all(polls).await.into_iter().enumerate() {
        let answer = poll.expect("an answer");
        let result = if number % 2 == 0 { &answer["result"] } else { &answer };
        assert_eq!(result, "open");
    }
}

#[tokio::test]
async fn g14_one_waiter_too_many_is_refused_and_what_does_not_wait_is_not() {
    let (it, gate) = gated_for(0).await;
    let answer = it.post("/v1/jobs?wait=9", &json!({"function": "echo"})).await.expect(429);
    assert_eq!(
        (answer.code().as_str(), answer.header("retry-after")),
        ("too_many_waiters", Some("1"))
    );
    assert_eq!(it.get("/v1/jobs").await.expect(200).json()["jobs"], json!([]), "none was written");
    let job = it.submit(&json!({"function": "gate"})).await;
    for rest in ["?wait=9", "/result?wait=9", "/exception?wait=9"] {
        assert_eq!(it.get(&path(&job, rest)).await.expect(429).code(), "too_many_waiters");
    }
    let cancel = path(&job, "/cancel");
    it.post(&cancel, &json!({"wait_seconds": 9})).await.expect(429);
    let shown = it.get(&path(&job, "?wait=0")).await.expect(200).json();
    assert_eq!(shown, job, "a cancel that is refused asks nothing");
    gate.open();
}

#[tokio::test]
async fn f7_no_end_is_missed_by_those_who_ask_right_after_submission() {
    let it = TestServer::with(patient, |builder| builder).await;
    let ends = (0..500).map(|number| {
        let it = &it;
        async move {
            let job = it.submit(&json!({"function": "echo", "args": [number]})).await;
            let waited = it.get(&path(&job, "?wait=600")).await.expect(200).json();
            assert_eq!((&waited["done"], &waited["result"]), (&json!(true), &json!(number)));
            let waited = it.get(&path(&job, "/result?wait=600")).await.expect(200).json();
            assert_eq!(waited, json!(number));
        }
    });
    join_all(ends).await;
}

#[tokio::test]
async fn f3_those_who_wait_for_a_pending_job_hear_that_it_is_cancelled() {
    let (it, gate) = gated().await;
    it.submit(&json!({"function": "gate", "queue": "one"})).await;
    // This one is subscribed to before it exists, so its waiter is there when it can be seen.
    let call = json!({"function": "echo", "queue": "one"});
    let request = it.request(Method::POST, "/v1/jobs?wait=600").json(&call);
    let submitted = tokio::spawn(it.send(request));
    let job = loop {
        let list = it.get("/v1/jobs?state=pending").await.expect(200).json();
        if let Some(job) = list["jobs"].get(0) {
            break job.clone();
        }
    };
    let waits = ["?wait=600", "/result?wait=600", "/exception?wait=600"];
    let waits = waits.map(|rest| {
        let request = it.request(Method::GET, &path(&job, rest));
        tokio::spawn(it.send(request))
    });
    let cancelled = it.post(&path(&job, "/cancel"), &json!({})).await.expect(200).json();
    assert_eq!(cancelled["cancelled"], true);
    let ended = submitted.await.expect("an answer").expect(200).json();
    assert_eq!((&ended["state"], &ended["attempt"]), (&json!("cancelled"), &json!(0)));
    let [job, result, exception] = waits;
    assert_eq!(job.await.expect("an answer").expect(200).json()["state"], "cancelled");
    for f9 in [result, exception] {
        assert_eq!(f9.await.expect("an answer").expect(409).code(), "cancelled");
    }
    gate.open();
}

#[tokio::test]
async fn g4_a_client_that_hangs_up_gives_back_its_place_and_changes_nothing() {
    let (it, gate) = gated_for(1).await;
    let job = it.submit(&json!({"function": "gate"})).await;
    for rest in ["?wait=600", "/result?wait=600", "/exception?wait=600"] {
        let client = one_who_waits(&it, &path(&job, rest), &job).await;
        // By a reset: who only says that it sends no more may still listen.
        client.set_zero_linger().expect("a socket");
        drop(client);
        until(&it, &job, 200).await;
    }
    gate.open();
    let job = it.wait(&job).await;
    assert_eq!((&job["state"], &job["attempt"]), (&json!("succeeded"), &json!(1)));
}
