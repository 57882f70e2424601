//! The server is killed while it delivers, again and again: every event arrives, and each the same every time (G11).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::process::{Home, Process, until};
use crate::receiver::{Receiver, Reply, Seen};

const CYCLES: usize = 50;
const JOBS: usize = 12;
/// POSTs that a server makes before it is killed: a random number, so that it meets any moment of a delivery.
const POSTS: std::ops::Range<usize> = 1..16;

/// What has arrived.
#[derive(Default)]
struct Arrived {
    /// By `webhook-id`.
    events: BTreeMap<String, Seen>,
    /// The job of each event, and the path at which it came.
    told: BTreeSet<(String, String)>,
    posts: usize,
}

impl Arrived {
    /// The same id is always the same event, to the byte.
    fn note(&mut self, seen: &Seen, secret: &str) {
        let event = seen.event(secret);
        let job = event["data"]["id"].as_str().expect("an id").to_owned();
        self.told.insert((job, seen.path.clone()));
        self.posts += 1;
        let id = seen.header("webhook-id").to_owned();
        let first = self.events.entry(id).or_insert_with(|| seen.clone());
        assert_eq!(first.body, seen.body, "the same bytes in every attempt");
    }
}

async fn submit(server: &Process, url: &str, number: usize) -> String {
    // Two receivers of one job, and a body that is not always small.
    let callbacks = json!([{"url": format!("{url}/a")}, {"url": format!("{url}/b")}]);
    let call = json!({"function": "echo", "args": ["é".repeat(1 + number % 2_000)], "callbacks": callbacks});
    let job: Value = server.post("/v1/jobs", &call).await.expect(202).json();
    job["id"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_g11_kill_nine_while_delivering_loses_no_event() {
    let home = Home::new();
    let zeros = vec!["0"; 100].join(", ");
    let text = format!("[webhooks]\nschedule_seconds = [{zeros}]\ntimeout_seconds = 0.5\n");
    std::fs::write(home.file("futurity.toml"), text).expect("a file");
    let flags = ["--allow-loopback-egress", "--log", "warn"];
    let is_kind = Arc::new(AtomicBool::new(false));
    let kind = Arc::clone(&is_kind);
    let mut receiver = Receiver::start(move |_| match rand::random_range(0..16) {
        _ if kind.load(Ordering::SeqCst) => Reply::Status(200),
        0..4 => Reply::Status(500),
        4 => Reply::Silence,
        _ => Reply::Status(204),
    })
    .await;
    let mut server = home.start(&flags).await;
    let secret = std::fs::read_to_string(home.data().join("webhook-secret")).expect("a secret");
    let secret = secret.trim();
    let (mut arrived, mut jobs) = (Arrived::default(), BTreeSet::new());
    for cycle in 0..CYCLES {
        for number in 0..JOBS {
            jobs.insert(submit(&server, &receiver.url, cycle * JOBS + number).await);
        }
        for _ in 0..rand::random_range(POSTS) {
            arrived.note(&receiver.next().await, secret);
        }
        server.kill_nine();
        server = home.start(&flags).await;
    }
    is_kind.store(true, Ordering::SeqCst);
    // Those that hang are waited for no longer than their server lives.
    server.kill_nine();
    let server = home.start(&flags).await;
    // Those that were on their way at three kills are taken for the cause, until somebody asks for them.
    let blamed =
        server.post("/v1/callbacks/redeliver", &json!({"state": "failed"})).await.expect(202);
    while arrived.told.len() < 2 * jobs.len() {
        arrived.note(&receiver.next().await, secret);
    }
    let told: BTreeSet<String> = arrived.told.iter().map(|(job, _)| job.clone()).collect();
    assert_eq!(told, jobs);
    assert_eq!(arrived.events.len(), 2 * jobs.len(), "an id for each callback");
    until("all are written down", async || {
        let counts = server.get("/readyz?verbose").await.expect(200).json()["deliveries"].clone();
        (counts["pending"] == 0).then_some(())
    })
    .await;
    let counts = server.get("/readyz?verbose").await.expect(200).json()["deliveries"].clone();
    assert_eq!(counts["delivered"], 2 * jobs.len(), "none has failed: {counts}");
    server.stop().await;
    println!(
        "{CYCLES} kills: {} jobs, {} events, {} POSTs, none lost, all the same; blamed and sent again: {}",
        jobs.len(),
        arrived.events.len(),
        arrived.posts,
        blamed.json()
    );
}

/// The only callback of the only job.
async fn callback(server: &Process, job: &str) -> Value {
    let callbacks = server.get(&format!("/v1/jobs/{job}/callbacks")).await.expect(200).json();
    callbacks["callbacks"][0].clone()
}

#[tokio::test]
async fn g9_a_delivery_during_which_the_server_is_killed_three_times_has_failed_until_it_is_asked_for()
 {
    let home = Home::new();
    let flags = ["--allow-loopback-egress", "--log", "warn"];
    let is_kind = Arc::new(AtomicBool::new(false));
    let kind = Arc::clone(&is_kind);
    let mut receiver = Receiver::start(move |_| match kind.load(Ordering::SeqCst) {
        true => Reply::Status(200),
        false => Reply::Silence,
    })
    .await;
    let mut server = home.start(&flags).await;
    let secret = std::fs::read_to_string(home.data().join("webhook-secret")).expect("a secret");
    let call =
        json!({"function": "echo", "args": ["told"], "callbacks": [{"url": receiver.at("/a")}]});
    let job: Value = server.post("/v1/jobs?wait=60", &call).await.expect(200).json();
    let job = job["id"].as_str().expect("an id").to_owned();
    let mut bodies = Vec::new();
    for deaths in 1..=3 {
        let seen = receiver.next().await;
        seen.event(secret.trim());
        bodies.push(seen.body);
        server.kill_nine();
        server = home.start(&flags).await;
        let delivery = callback(&server, &job).await["deliveries"][0].clone();
        assert_eq!(delivery["server_deaths"], deaths);
    }
    let failed = callback(&server, &job).await;
    assert_eq!(failed["state"], "failed");
    let attempts = failed["deliveries"][0]["attempts"].as_array().expect("attempts").clone();
    assert_eq!(attempts.len(), 1, "only the last is told of: {attempts:?}");
    assert_eq!(attempts[0]["error"], "the server died 3 times while this was being sent");
    is_kind.store(true, Ordering::SeqCst);
    let id = failed["id"].as_str().expect("an id");
    server.post(&format!("/v1/callbacks/{id}/redeliver"), &json!({})).await.expect(202);
    bodies.push(receiver.next().await.body);
    assert!(bodies.iter().all(|body| *body == bodies[0]), "the same bytes each time");
    until("it is delivered", async || {
        (callback(&server, &job).await["state"] == "delivered").then_some(())
    })
    .await;
    assert_eq!(callback(&server, &job).await["deliveries"][0].get("server_deaths"), None);
    server.stop().await;
    assert_eq!(home.run(&["fsck"]).await.code, Some(0));
}
