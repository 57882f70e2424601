//! Power loss in small: the server is killed with hundreds of requests under way, and nothing that it
//! acknowledged is lost (G1, G4, G6).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::sync::{Barrier, Notify};
use tokio::task::JoinSet;

use crate::process::{Home, LIMIT, Process, until};
use crate::wire::Wire;

const CYCLES: usize = 20;
const CONNECTIONS: usize = 256;
/// Those of them that wait for the end of each job; they do not count as under way.
const WAITING: usize = 24;
/// Submissions without a wait that must be under way at each kill.
const UNDER_WAY_MIN: usize = 200;
/// Acknowledgements before a kill: a random number of these, so that it meets any moment of a commit.
const ACKNOWLEDGED: std::ops::Range<usize> = 100..400;
const READERS: usize = 8;

/// What the server has acknowledged. It lives in the test, so it survives every kill.
#[derive(Default)]
struct Ledger {
    jobs: Mutex<BTreeMap<String, Entry>>,
    submissions: AtomicU64,
}

#[derive(Clone, Debug)]
struct Entry {
    expected: Value,
    /// What the server said of the end, once it did.
    end: Option<Value>,
}

/// The load of one cycle.
struct Load {
    ledger: Arc<Ledger>,
    under_way: AtomicUsize,
    acknowledged: AtomicUsize,
    acknowledgement: Notify,
    start: Barrier,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_g1_kill_nine_loses_no_acknowledged_job() {
    let home = Home::new();
    let config = home.file("many.toml");
    std::fs::write(&config, "[queues.default]\nmax_workers = 128\n").expect("a file");
    let flags = ["--config", config.to_str().expect("a path of text"), "--log", "warn"];
    let ledger = Arc::new(Ledger::default());
    let mut least_under_way = usize::MAX;
    let mut interrupted = 0;

    let mut server = home.start(&flags).await;
    for _ in 0..CYCLES {
        let (acknowledged, under_way) = load_and_kill(server, &ledger).await;
        least_under_way = least_under_way.min(under_way);
        server = home.start(&flags).await;
        interrupted += check_ends(server.address(), &ledger, acknowledged).await;
    }

    let jobs = check_all(&server, &ledger).await;
    server.stop().await;
    let acknowledged = ledger.jobs().len();
    assert!(interrupted > 0, "no kill met a running job, so the recovery of one was not tried");
    println!(
        "{CYCLES} kills with at least {least_under_way} submissions under way: {acknowledged} jobs \
         acknowledged, {jobs} made, {interrupted} of the acknowledged interrupted, none lost"
    );
}

/// Loads the server and kills it. The ids that it acknowledged, and how many requests were under way.
async fn load_and_kill(server: Process, ledger: &Arc<Ledger>) -> (Vec<String>, usize) {
    let load = Arc::new(Load {
        ledger: Arc::clone(ledger),
        under_way: AtomicUsize::new(0),
        acknowledged: AtomicUsize::new(0),
        acknowledgement: Notify::new(),
        start: Barrier::new(CONNECTIONS),
    });
    let mut connections = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let wire = Wire::connect(server.address()).await.expect("a connection");
        connections.spawn(submit_until_cut(wire, Arc::clone(&load), connection < WAITING));
    }
    let target = rand::random_range(ACKNOWLEDGED);
    let under_way = loop {
        let heard = tokio::time::timeout(LIMIT, load.acknowledgement.notified());
        heard.await.expect("the server acknowledges");
        let under_way = load.under_way.load(Ordering::SeqCst);
        if load.acknowledged.load(Ordering::SeqCst) >= target && under_way >= UNDER_WAY_MIN {
            break under_way;
        }
    };
    server.kill_nine();
    let ended = tokio::time::timeout(LIMIT, connections.join_all()).await;
    let ids = ended.expect("every connection was cut").into_iter().flatten().collect();
    (ids, under_way)
}

/// Submits one call after another until the connection is cut; gives the ids that were acknowledged.
async fn submit_until_cut(mut wire: Wire, load: Arc<Load>, waits: bool) -> Vec<String> {
    let mut ids = Vec::new();
    let uncounted = AtomicUsize::new(0);
    let (path, under_way) =
        if waits { ("/v1/jobs?wait=30", &uncounted) } else { ("/v1/jobs", &load.under_way) };
    load.start.wait().await;
    loop {
        let number = load.ledger.submissions.fetch_add(1, Ordering::SeqCst);
        let (call, expected) = call(number);
        let Ok(answer) = wire.post(path, &call, under_way).await else { return ids };
        assert!(matches!(answer.status, 200 | 202), "refused: {answer:?}");
        let job = answer.json();
        let id = job["id"].as_str().expect("an id").to_owned();
        let end = (job["done"] == true).then(|| end_of(&job));
        load.ledger.jobs().insert(id.clone(), Entry { expected, end });
        ids.push(id);
        load.acknowledged.fetch_add(1, Ordering::SeqCst);
        load.acknowledgement.notify_one();
    }
}

/// The call of this number, and what must come of it.
fn call(number: u64) -> (Value, Value) {
    let label = number.to_string();
    let (function, args, expected) = match number % 3 {
        0 => ("echo", json!([label]), json!(label)),
        1 => ("sleep", json!([0]), json!("Slept for 0 seconds")),
        _ => ("math.factorial", json!([18]), json!(6_402_373_705_728_000_u64)),
    };
    let body = json!({"function": function, "args": args, "metadata": {"number": label}});
    (body, expected)
}

/// What never changes again once a job is done.
fn end_of(job: &Value) -> Value {
    assert_eq!(job["state"], "succeeded", "no call of this load fails: {job}");
    let attempts = job["attempt"].as_u64().expect("a number");
    let interruptions = job["interruptions"].as_u64().expect("a number");
    assert_eq!(attempts, interruptions + 1, "each attempt but the last was interrupted: {job}");
    json!([job["result"], job["version"], job["attempt"], job["finished_at"]])
}

/// Waits for the end of each of these jobs; how many of them had been interrupted.
async fn check_ends(address: SocketAddr, ledger: &Arc<Ledger>, ids: Vec<String>) -> usize {
    let mut readers = JoinSet::new();
    for part in ids.chunks(ids.len().div_ceil(READERS)) {
        let (part, ledger) = (part.to_vec(), Arc::clone(ledger));
        readers.spawn(async move {
            let mut wire = Wire::connect(address).await.expect("a connection");
            let mut interrupted = 0;
            for id in part {
                let answer = wire.get(&format!("/v1/jobs/{id}?wait=60")).await.expect("an answer");
                assert_eq!(answer.status, 200, "acknowledged and lost: {id}");
                let job = answer.json();
                ledger.check(&job);
                interrupted += usize::from(job["interruptions"] != 0);
            }
            interrupted
        });
    }
    readers.join_all().await.into_iter().sum()
}

/// Looks at every job of the server: each acknowledged one is there with the end that it had before,
/// and no submission has made two. How many there are.
async fn check_all(server: &Process, ledger: &Ledger) -> usize {
    for state in ["pending", "running"] {
        until("the jobs that nobody heard of end, too", async || {
            let page = server.get(&format!("/v1/jobs?state={state}&page_size=1")).await.json();
            page["jobs"].as_array().expect("a list").is_empty().then_some(())
        })
        .await;
    }
    let (mut ids, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    let mut path = "/v1/jobs?page_size=500".to_owned();
    loop {
        let page = server.get(&path).await.json();
        for job in page["jobs"].as_array().expect("a list") {
            let number = job["metadata"]["number"].as_str().expect("a label").to_owned();
            assert!(numbers.insert(number), "one submission has made two jobs: {job}");
            assert!(ids.insert(job["id"].as_str().expect("an id").to_owned()), "twice: {job}");
            end_of(job);
            ledger.check(job);
        }
        let Some(token) = page["next_page_token"].as_str() else { break };
        path = format!("/v1/jobs?page_size=500&page_token={token}");
    }
    let lost: Vec<String> = ledger.jobs().keys().filter(|id| !ids.contains(*id)).cloned().collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    ids.len()
}

impl Ledger {
    fn jobs(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Entry>> {
        self.jobs.lock().expect("no test panics with the ledger")
    }

    /// Holds a job that is done against what was acknowledged; others are nobody's promise.
    fn check(&self, job: &Value) {
        let mut jobs = self.jobs();
        let Some(entry) = jobs.get_mut(job["id"].as_str().expect("an id")) else { return };
        let end = end_of(job);
        assert_eq!(job["result"], entry.expected, "the wrong result: {job}");
        let known = entry.end.get_or_insert_with(|| end.clone());
        assert_eq!(*known, end, "a second end was recorded: {job}");
    }
}
