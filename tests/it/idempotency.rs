//! A request with an `Idempotency-Key` makes one job, however often it is sent (G8).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futurity::{Config, Queue};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{Barrier, Notify};
use tokio::task::JoinSet;

use crate::gate::{Gate, one_worker_behind};
use crate::process::{Home, LIMIT, Process, until};
use crate::receiver::{Receiver, Reply};
use crate::refusal::execute;
use crate::server::{Answer, TestServer, send};

const REPLAYED: &str = "idempotent-replayed";

/// Submits `body` to `path` under a key.
async fn keyed(it: &TestServer, path: &str, key: &str, body: &Value) -> Answer {
    let request = it.request(Method::POST, path).header("idempotency-key", key).json(body);
    it.send(request).await
}

async fn keyed_at(server: &Process, key: &str, body: &Value) -> Answer {
    let request = server.request(Method::POST, "/v1/jobs").header("idempotency-key", key);
    server.send(request.json(body)).await
}

/// How many jobs there are.
async fn count(it: &TestServer) -> usize {
    let page = it.get("/v1/jobs?page_size=1000").await.expect(200).json();
    page["jobs"].as_array().expect("a list").len()
}

#[tokio::test]
async fn g8_the_same_key_and_body_give_the_same_job_as_it_stands() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let call = json!({"function": "hold", "kwargs": {"value": 7}});
    let first = keyed(&it, "/v1/jobs", "k", &call).await.expect(202);
    assert_eq!(first.header(REPLAYED), None);
    let id = first.json()["id"].clone();
    for path in ["/v1/jobs", "/v1/jobs?wait=0.01"] {
        let again = keyed(&it, path, "\"k\"", &call).await.expect(202);
        assert_eq!((again.header(REPLAYED), &again.json()["id"]), (Some("true"), &id), "{path}");
        assert_eq!(again.header("location"), first.header("location"));
    }
    let waiting = keyed(&it, "/v1/jobs?wait=60", "k", &call);
    let (waited, ()) = tokio::join!(waiting, async {
        gate.started().await;
        gate.open();
    });
    let waited = waited.expect(200);
    assert_eq!((waited.header(REPLAYED), &waited.json()["result"]), (Some("true"), &json!(7)));
    let done = keyed(&it, "/v1/jobs", "k", &call).await.expect(200);
    assert_eq!((done.header(REPLAYED), done.json()), (Some("true"), waited.json()));
    assert_eq!(count(&it).await, 1);
}

#[tokio::test]
async fn g8_a_key_with_another_body_is_422_and_changes_nothing() {
    let it = TestServer::start().await;
    let call = json!({"function": "echo", "args": [1]});
    let first = keyed(&it, "/v1/jobs?wait=60", "k", &call).await.expect(200).json();
    for other in
        [json!({"function": "echo", "args": [2]}), json!({"args": [1.0], "function": "echo"})]
    {
        let refused = keyed(&it, "/v1/jobs", "k", &other).await.expect(422);
        assert_eq!(refused.code(), "idempotency_mismatch");
        assert!(
            refused.json()["detail"].to_string().contains(first["id"].as_str().expect("an id"))
        );
    }
    assert_eq!(keyed(&it, "/v1/jobs", "k", &call).await.expect(200).json(), first);
    assert_eq!(count(&it).await, 1);
}

#[tokio::test]
async fn g8_a_key_that_is_none_is_400() {
    let it = TestServer::start().await;
    let call = json!({"function": "echo", "args": [1]});
    let long = "x".repeat(256);
    for bad in ["", "\"\"", "\"open", "\"k\"; q=1", "ké", &long, &format!("\"{long}\"")] {
        let refused = keyed(&it, "/v1/jobs", bad, &call).await.expect(400);
        assert_eq!(refused.code(), "bad_request", "{bad}");
        assert!(refused.json()["detail"].to_string().contains("Idempotency-Key"), "{bad}");
    }
    let twice = it.request(Method::POST, "/v1/jobs").json(&call);
    let twice = twice.header("idempotency-key", "a").header("idempotency-key", "a");
    assert_eq!(it.send(twice).await.expect(400).code(), "bad_request");
    assert_eq!(count(&it).await, 0);
    keyed(&it, "/v1/jobs?wait=60", &long[1..], &call).await.expect(200);
}

#[tokio::test]
async fn g8_of_64_connections_at_once_all_get_the_one_job() {
    let gate = Gate::shut();
    let it = one_worker_behind(&gate).await;
    let call = json!({"function": "hold", "kwargs": {"value": "one"}});
    let start = Arc::new(Barrier::new(64));
    let mut connections = JoinSet::new();
    for number in 0..64 {
        let client = Client::builder().no_proxy().build().expect("a client");
        // Half of them wait for the end.
        let path = if number % 2 == 0 { "/v1/jobs" } else { "/v1/jobs?wait=60" };
        let request = client.post(format!("{}{path}", it.url)).json(&call);
        let (request, start) = (request.header("idempotency-key", "k"), Arc::clone(&start));
        connections.spawn(async move {
            start.wait().await;
            send(client, request).await
        });
    }
    gate.started().await;
    gate.open();
    let answers = connections.join_all().await;
    let ids: BTreeSet<String> = answers.iter().map(|it| it.json()["id"].to_string()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert!(answers.iter().all(|it| [200, 202].contains(&it.status.as_u16())));
    let new = answers.iter().filter(|answer| answer.header(REPLAYED).is_none()).count();
    assert_eq!(new, 1, "one of them made it");
    let waited = answers.iter().filter(|it| it.status == StatusCode::OK);
    assert!(waited.clone().count() >= 32, "those that waited have its end");
    assert!(waited.clone().all(|it| it.json()["result"] == "one"));
    assert_eq!(count(&it).await, 1);
}

#[tokio::test]
async fn g8_a_submission_that_was_refused_has_left_no_key() {
    let gate = Gate::shut();
    let queue = Queue { max_workers: 1, max_pending: 0 };
    let it = TestServer::with(
        |mut config: Config| {
            config.queues.insert("default".to_owned(), queue);
            config
        },
        |builder| builder.function("hold", gate.hold()),
    )
    .await;
    let refusals = [
        (json!({"function": "nothing"}), 422),
        (json!({"function": "echo", "args": [1, 2, 3]}), 422),
        (json!({"function": "echo", "colour": 1}), 400),
    ];
    for (call, status) in refusals {
        keyed(&it, "/v1/jobs", "k", &call).await.expect(status);
    }
    let call = json!({"function": "hold", "kwargs": {"value": 1}});
    let first = it.submit(&call).await;
    gate.started().await;
    let full = keyed(&it, "/v1/jobs", "k", &call).await.expect(429);
    assert_eq!(full.code(), "queue_full");
    gate.open();
    it.wait(&first).await;
    let other = json!({"function": "echo", "args": ["taken"]});
    let taken = keyed(&it, "/v1/jobs?wait=60", "k", &other).await.expect(200);
    assert_eq!((taken.header(REPLAYED), &taken.json()["result"]), (None, &json!("taken")));
}

#[tokio::test]
async fn g8_a_repetition_adds_no_callback() {
    let it = TestServer::start().await;
    let mut receiver = Receiver::start(|_| Reply::Status(200)).await;
    let call = json!({"function": "echo", "args": [1], "callbacks": [{"url": receiver.at("/x")}]});
    let job = keyed(&it, "/v1/jobs?wait=60", "k", &call).await.expect(200).json();
    keyed(&it, "/v1/jobs?wait=60", "k", &call).await.expect(200);
    let event = receiver.next().await.event(&it.webhook_secret());
    assert_eq!(event["data"]["id"], job["id"]);
    let path = job["urls"]["callbacks"].as_str().expect("a path");
    let callbacks = it.get(path).await.expect(200).json();
    assert_eq!(callbacks["callbacks"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn g8_every_api_key_has_idempotency_keys_of_its_own() {
    let home = Home::new();
    let server = home.start(&[]).await;
    let call = |number: u8| json!({"function": "echo", "args": [number]});
    let mut ids = BTreeSet::from([keyed_at(&server, "k", &call(0)).await.expect(202).json()["id"]
        .as_str()
        .expect("an id")
        .to_owned()]);
    for number in 1..=2 {
        let name = format!("owner {number}");
        let made = home.run(&["keys", "create", "--name", &name]).await;
        let token = format!("Bearer {}", made.output.trim());
        let submit = |call| {
            let request = server.request(Method::POST, "/v1/jobs").json(&call);
            let request = request.header("authorization", &token).header("idempotency-key", "k");
            server.send(request)
        };
        let first = submit(call(number)).await.expect(202);
        assert_eq!(first.header(REPLAYED), None, "another owner's key is another key");
        let again = submit(call(number)).await;
        assert_eq!(
            (again.header(REPLAYED), &again.json()["id"]),
            (Some("true"), &first.json()["id"])
        );
        assert_eq!(submit(call(9)).await.expect(422).code(), "idempotency_mismatch");
        assert!(ids.insert(first.json()["id"].as_str().expect("an id").to_owned()));
    }
    server.stop().await;
}

#[tokio::test]
async fn g8_the_key_of_a_job_that_is_gone_is_410_with_its_id() {
    let home = Home::new();
    let server = home.start(&[]).await;
    let call = json!({"function": "echo", "args": [1]});
    let job = keyed_at(&server, "k", &call).await.json();
    server.done(&job).await;
    server.kill_nine();
    execute(&home.database(), "delete from calls").await;
    let server = home.start(&[]).await;
    let gone = keyed_at(&server, "k", &call).await.expect(410);
    assert_eq!((gone.code().as_str(), &gone.json()["id"]), ("expired", &job["id"]));
    let other = keyed_at(&server, "k", &json!({"function": "echo", "args": [2]})).await;
    assert_eq!(other.expect(422).code(), "idempotency_mismatch");
    server.kill_nine();
}

/// What was sent under a key, and the job that was acknowledged, if any was.
type Sent = BTreeMap<u64, Option<String>>;

fn numbered(number: u64) -> Value {
    json!({"function": "echo", "args": [number], "metadata": {"number": number.to_string()}})
}

/// Submits one call after another, each under a key of its own, until the connection is cut.
async fn submit_until_cut(
    address: SocketAddr,
    next: Arc<AtomicU64>,
    acknowledged: Arc<(AtomicUsize, Notify)>,
) -> Sent {
    let client = Client::builder().no_proxy().timeout(LIMIT).build().expect("a client");
    let mut sent = Sent::new();
    loop {
        let number = next.fetch_add(1, Ordering::SeqCst);
        sent.insert(number, None);
        let request = client.post(format!("http://{address}/v1/jobs")).json(&numbered(number));
        let request = request.header("idempotency-key", format!("key-{number}"));
        let Ok(answer) = request.send().await else { return sent };
        assert_eq!(answer.status(), 202);
        let Ok(job) = answer.json::<Value>().await else { return sent };
        sent.insert(number, Some(job["id"].as_str().expect("an id").to_owned()));
        acknowledged.0.fetch_add(1, Ordering::SeqCst);
        acknowledged.1.notify_one();
    }
}

/// Loads the server, kills it, and gives what was sent.
async fn load_and_kill(server: Process, next: &Arc<AtomicU64>) -> Sent {
    let acknowledged = Arc::new((AtomicUsize::new(0), Notify::new()));
    let mut connections = JoinSet::new();
    for _ in 0..32 {
        let (next, acknowledged) = (Arc::clone(next), Arc::clone(&acknowledged));
        connections.spawn(submit_until_cut(server.address(), next, acknowledged));
    }
    while acknowledged.0.load(Ordering::SeqCst) < 100 {
        let heard = tokio::time::timeout(LIMIT, acknowledged.1.notified()).await;
        heard.expect("the server acknowledges");
    }
    server.kill_nine();
    connections.join_all().await.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_g8_after_kill_nine_every_key_still_has_its_one_job() {
    let home = Home::new();
    let next = Arc::new(AtomicU64::new(0));
    let (mut unanswered, mut made_before_the_kill) = (0, 0);
    for _ in 0..3 {
        let sent = load_and_kill(home.start(&["--log", "warn"]).await, &next).await;
        let server = home.start(&["--log", "warn"]).await;
        for (number, id) in sent {
            let (key, call) = (format!("key-{number}"), numbered(number));
            let (once, twice) =
                tokio::join!(keyed_at(&server, &key, &call), keyed_at(&server, &key, &call));
            let replays = [&once, &twice].map(|it| it.header(REPLAYED) == Some("true"));
            assert_eq!(once.json()["id"], twice.json()["id"], "{key}");
            match id {
                Some(id) => {
                    assert_eq!(once.json()["id"], json!(id), "{key} has another job");
                    assert_eq!(replays, [true, true], "{key}");
                }
                None => {
                    unanswered += 1;
                    made_before_the_kill += usize::from(replays == [true, true]);
                    assert!(replays.contains(&true), "{key}: one of two made it at most");
                }
            }
            let other = keyed_at(&server, &key, &numbered(u64::MAX)).await.expect(422);
            assert_eq!(other.code(), "idempotency_mismatch");
        }
        check_numbers(&server, next.load(Ordering::SeqCst)).await;
        server.stop().await;
    }
    assert!(unanswered > 0, "no kill met a submission under way");
    println!("{unanswered} were cut off, {made_before_the_kill} of them had made their job");
}

/// Every number that was sent is there once.
async fn check_numbers(server: &Process, count: u64) {
    let mut numbers = BTreeSet::new();
    let mut path = "/v1/jobs?page_size=1000".to_owned();
    loop {
        let page = server.get(&path).await.expect(200).json();
        for job in page["jobs"].as_array().expect("a list") {
            let number: u64 =
                job["metadata"]["number"].as_str().expect("one").parse().expect("one");
            assert!(numbers.insert(number), "two jobs of one key: {job}");
        }
        let Some(token) = page["next_page_token"].as_str() else { break };
        path = format!("/v1/jobs?page_size=1000&page_token={token}");
    }
    assert_eq!(numbers, (0..count).collect());
}

#[tokio::test]
async fn g8_a_repetition_finds_its_job_in_a_server_that_has_started_again() {
    let home = Home::new();
    let server = home.start(&[]).await;
    let call = json!({"function": "sleep", "args": [3600]});
    let job = keyed_at(&server, "k", &call).await.expect(202).json();
    server.kill_nine();
    let server = home.start(&[]).await;
    let again = keyed_at(&server, "k", &call).await.expect(202);
    assert_eq!((again.header(REPLAYED), &again.json()["id"]), (Some("true"), &job["id"]));
    until("it runs again", async || (server.job(&job).await["attempt"] == 2).then_some(())).await;
    server.stop_at_once().await;
}

#[tokio::test]
async fn g8_a_repetition_finds_its_job_though_a_new_one_would_be_refused() {
    let it = TestServer::with(|config| config, |builder| builder.function("hold", open())).await;
    let call = json!({"function": "hold", "kwargs": {"value": 7}});
    let mut chosen = call.clone();
    chosen["id"] = json!("6f1c1a52-3d43-4b57-9c02-5d1f3f2b7a10");
    let job = keyed(&it, "/v1/jobs?wait=60", "k", &call).await.expect(200).json();
    let other = it.done(&chosen).await;
    let dir = it.stop(Duration::from_secs(5)).await;
    // The next server does not know the function.
    let it = TestServer::on(dir, |config| config, |builder| builder).await;
    assert_eq!(it.post("/v1/jobs", &call).await.expect(422).code(), "unknown_function");
    for path in ["/v1/jobs", "/v1/jobs?wait=1"] {
        let again = keyed(&it, path, "k", &call).await.expect(200);
        assert_eq!((again.header(REPLAYED), &again.json()), (Some("true"), &job));
        let again = it.post(path, &chosen).await.expect(200);
        assert_eq!((again.header(REPLAYED), &again.json()), (Some("true"), &other));
    }
    let new = keyed(&it, "/v1/jobs", "new", &call).await.expect(422);
    assert_eq!(new.code(), "unknown_function");
}

/// A function that waits for nobody.
fn open() -> futurity::Native {
    let gate = Gate::shut();
    gate.open();
    gate.hold()
}
