//! Attaching to ten thousand jobs before, during and after their end: none is missed, none is told twice.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use futurity::{Call, Config, JobError, Queue, task};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::gate::Nothing;
use crate::receiver::{Receiver, Reply};
use crate::server::TestServer;

const ROUNDS: usize = 25;
const JOBS: usize = 400;
const WORKERS: usize = 150;

/// The states that were seen right before a waiter and a callback were attached.
#[derive(Debug, Default)]
struct Attached {
    states: HashMap<String, usize>,
    waiters: JoinSet<(String, u16, Value)>,
}

impl Attached {
    /// Attaches a waiter and a callback to each of these jobs.
    async fn attach(&mut self, it: &TestServer, receiver: &str, ids: &[String]) {
        for some in ids.chunks(32) {
            let states = some.iter().map(|id| state(it, id));
            for state in join_all(states).await {
                *self.states.entry(state).or_default() += 1;
            }
            for id in some {
                let request = it.request(Method::GET, &format!("/v1/jobs/{id}/result?wait=300"));
                let id = id.clone();
                self.waiters.spawn(async move {
                    let answer = request.send().await.expect("an answer");
                    (id, answer.status().as_u16(), answer.json().await.expect("a value"))
                });
            }
            let callbacks = some.iter().map(|id| callback(it, receiver, id));
            join_all(callbacks).await;
        }
    }
}

async fn state(it: &TestServer, id: &str) -> String {
    let head = it.request(Method::HEAD, &format!("/v1/jobs/{id}")).send().await;
    let head = head.expect("an answer");
    head.headers()["futurity-state"].to_str().expect("a word").to_owned()
}

async fn callback(it: &TestServer, receiver: &str, id: &str) {
    let body = json!({"url": format!("{receiver}/{id}")});
    let request = it.request(Method::POST, &format!("/v1/jobs/{id}/callbacks")).json(&body);
    assert_eq!(request.send().await.expect("an answer").status(), 201);
}

async fn submit(it: &TestServer) -> String {
    let body = json!({"function": "moment", "queue": "race"});
    let answer = it.request(Method::POST, "/v1/jobs").json(&body).send().await;
    let job: Value = answer.expect("an answer").json().await.expect("a job");
    job["id"].as_str().expect("an id").to_owned()
}

async fn queue(it: &TestServer, verb: &str) {
    it.post(&format!("/v1/queues/race/{verb}"), &json!({})).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_f14_whoever_attaches_to_one_of_ten_thousand_jobs_at_any_moment_is_told_once() {
    // A job of no length, once the moment has come.
    let (moment, come) = watch::channel(false);
    let function = task(move |_call: Call, _: Nothing| {
        let mut come = come.clone();
        async move {
            drop(come.wait_for(|come| *come).await);
            Ok::<_, JobError>("now")
        }
    });
    let mut receiver = Receiver::start(|_| Reply::Status(204)).await;
    let race = Queue { max_workers: WORKERS, max_pending: 100_000 };
    let configure = |config: Config| Config {
        queues: [("race".to_owned(), race)].into(),
        wait_max: Duration::from_secs(600),
        ..config
    };
    let it = TestServer::with(configure, |builder| builder.function("moment", function)).await;

    let mut attached = Attached::default();
    let mut told: HashMap<String, usize> = HashMap::new();
    for _ in 0..ROUNDS {
        moment.send_replace(false);
        queue(&it, "pause").await;
        let mut ids = Vec::new();
        while ids.len() < JOBS {
            ids.extend(join_all((0..50).map(|_| submit(&it))).await);
        }
        // The oldest run, those behind them wait, and the last are attached to while all of them end.
        let (running, others) = ids.split_at(WORKERS);
        let (waiting, racing) = others.split_at(80);
        attached.attach(&it, &receiver.url, waiting).await;
        queue(&it, "resume").await;
        let (during, after) = running.split_at(100);
        attached.attach(&it, &receiver.url, during).await;
        let ((), ()) = tokio::join!(attached.attach(&it, &receiver.url, racing), async {
            moment.send_replace(true);
        });
        attached.attach(&it, &receiver.url, after).await;
        while let Some(waited) = attached.waiters.join_next().await {
            let (id, status, value) = waited.expect("a waiter");
            assert_eq!((status, value), (200, json!("now")), "{id}");
        }
        for _ in 0..JOBS {
            let path = receiver.next().await.path;
            *told.entry(path).or_default() += 1;
        }
    }
    assert!(receiver.is_quiet(), "nobody is told twice");
    assert_eq!(told.len(), ROUNDS * JOBS, "nobody is missed");
    for state in ["pending", "running", "succeeded"] {
        let seen = attached.states.get(state).copied().unwrap_or(0);
        assert!(seen >= ROUNDS * JOBS / 10, "{state}: {:?}", attached.states);
    }
}
