//! Callbacks: `Future.add_done_callback`, sent to a real receiver.

use futurity::{Config, Native};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::gate::Gate;
use crate::receiver::{Receiver, Reply, Seen, at_once};
use crate::server::{TestServer, future_of};

/// A server that tries each delivery so many times, without a pause.
async fn trying(attempts: usize, function: Native) -> TestServer {
    let configure = |config: Config| Config { webhooks: at_once(attempts), ..config };
    TestServer::with(configure, |builder| builder.function("gate", function)).await
}

/// Adds a callback and gives it as it was taken.
async fn add(it: &TestServer, job: &Value, callback: &Value) -> Value {
    let path = job["urls"]["callbacks"].as_str().expect("a path");
    let answer = it.post(path, callback).await.expect(201);
    assert_eq!(answer.header("location"), Some(path));
    answer.json()
}

async fn callbacks(it: &TestServer, job: &Value) -> Vec<Value> {
    let path = job["urls"]["callbacks"].as_str().expect("a path");
    let list = it.get(path).await.expect(200).json();
    list["callbacks"].as_array().expect("a list").clone()
}

/// The job's callbacks once so many POSTs are written down.
async fn after_posts(it: &TestServer, job: &Value, posts: usize) -> Vec<Value> {
    loop {
        let callbacks = callbacks(it, job).await;
        if callbacks.iter().map(|callback| statuses(callback).len()).sum::<usize>() >= posts {
            return callbacks;
        }
    }
}

fn statuses(callback: &Value) -> Vec<Value> {
    let attempts = callback["deliveries"][0]["attempts"].as_array().cloned().unwrap_or_default();
    attempts.into_iter().map(|attempt| attempt["status"].clone()).collect()
}

async fn shown(it: &TestServer, job: &Value) -> Value {
    future_of(&it.get(job["urls"]["self"].as_str().expect("a path")).await.expect(200).json())
}

#[tokio::test]
async fn f13_callbacks_run_once_each_in_the_order_added_and_the_same_one_twice_runs_twice() {
    let (gate, function) = Gate::task();
    let it = trying(3, function).await;
    // The first attempt of each fails: later callbacks wait for the attempt, not for its success.
    let mut receiver =
        Receiver::start(|seen| Reply::Status(if seen.nth == 1 { 500 } else { 200 })).await;
    let at = |path: &str| json!({"url": receiver.at(path)});
    let call = json!({"function": "gate", "callbacks": [at("/a"), at("/b"), at("/c")]});
    let job = it.submit(&call).await;
    for path in ["/d", "/a"] {
        let added = add(&it, &job, &at(path)).await;
        assert_eq!((&added["state"], &added["deliveries"]), (&json!("waiting"), &json!([])));
    }
    assert!(receiver.is_quiet(), "nobody is told before the end");
    gate.open();
    let mut firsts: Vec<Seen> = Vec::new();
    while firsts.len() < 5 {
        let seen = receiver.next().await;
        seen.event(&it.webhook_secret());
        if !firsts.iter().any(|first| first.header("webhook-id") == seen.header("webhook-id")) {
            firsts.push(seen);
        }
    }
    let paths: Vec<&str> = firsts.iter().map(|seen| seen.path.as_str()).collect();
    assert_eq!(paths, ["/a", "/b", "/c", "/d", "/a"]);
    let listed = callbacks(&it, &job).await;
    let ids: Vec<&str> = listed.iter().map(|callback| callback["id"].as_str().unwrap()).collect();
    let sent: Vec<&str> = firsts.iter().map(|seen| seen.header("webhook-id")).collect();
    assert_eq!(sent, ids, "the webhook-id is the callback's own");
}

#[tokio::test]
async fn f14_a_callback_added_to_a_done_job_is_delivered_at_once() {
    let it = TestServer::start().await;
    let mut receiver = Receiver::start(|_| Reply::Status(204)).await;
    for (call, kind) in [
        (json!({"function": "echo", "args": ["x"]}), "job.succeeded"),
        (json!({"function": "raise"}), "job.failed"),
    ] {
        let job = it.done(&call).await;
        let added = add(&it, &job, &json!({"url": receiver.at("/late")})).await;
        assert_ne!(added["state"], "waiting");
        let event = receiver.next().await.event(&it.webhook_secret());
        assert_eq!((event["type"].as_str(), &event["data"]), (Some(kind), &shown(&it, &job).await));
        assert_eq!(event["timestamp"], job["finished_at"]);
        let callbacks = after_posts(&it, &job, 1).await;
        assert_eq!(callbacks[0]["state"], "delivered");
        assert_eq!(callbacks[0]["deliveries"][0]["next_at"], json!(null));
        assert_eq!(shown(&it, &job).await, job);
    }
}

#[tokio::test]
async fn f14_no_callback_is_lost_between_the_end_and_its_addition() {
    let it = TestServer::start().await;
    let mut receiver = Receiver::start(|_| Reply::Status(200)).await;
    for number in 0..50 {
        let job = it.submit(&json!({"function": "echo", "args": [number]})).await;
        add(&it, &job, &json!({"url": receiver.at("/race")})).await;
        let event = receiver.next().await.event(&it.webhook_secret());
        assert_eq!(event["data"]["id"], job["id"]);
    }
    assert!(receiver.is_quiet(), "one each");
}

#[tokio::test]
async fn f15_a_failing_delivery_is_tried_again_with_the_same_id_and_bytes_and_changes_nothing() {
    let (_gate, function) = Gate::task();
    let it = trying(5, function).await;
    let mut receiver = Receiver::start(|seen| {
        Reply::Status(if seen.path == "/flaky" && seen.nth <= 3 { 500 } else { 200 })
    })
    .await;
    let urls = ["/flaky", "/fine"].map(|path| json!({"url": receiver.at(path)}));
    let job = it.done(&json!({"function": "echo", "args": ["é"], "callbacks": urls})).await;
    let (mut flaky, mut fine) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let seen = receiver.next().await;
        seen.event(&it.webhook_secret());
        if seen.path == "/flaky" { flaky.push(seen) } else { fine.push(seen) }
    }
    assert_eq!((flaky.len(), fine.len()), (4, 1), "later ones still run");
    assert_ne!(fine[0].header("webhook-id"), flaky[0].header("webhook-id"));
    for seen in &flaky {
        assert_eq!(seen.header("webhook-id"), flaky[0].header("webhook-id"));
        assert_eq!(seen.body, flaky[0].body);
    }
    let callbacks = after_posts(&it, &job, 5).await;
    assert_eq!(
        (&callbacks[0]["state"], &callbacks[1]["state"]),
        (&json!("delivered"), &json!("delivered"))
    );
    assert_eq!(statuses(&callbacks[0]), [500, 500, 500, 200]);
    assert_eq!(shown(&it, &job).await, job, "the future is unaffected");
}

#[tokio::test]
async fn f15_at_the_end_of_the_schedule_a_delivery_has_failed_visibly() {
    let (_gate, function) = Gate::task();
    let it = trying(2, function).await;
    let receiver = Receiver::start(|_| Reply::Body(500, b"no\0\xff".repeat(200))).await;
    let callbacks = json!([{"url": receiver.at("/down")}]);
    let job = it.done(&json!({"function": "echo", "callbacks": callbacks})).await;
    let callbacks = after_posts(&it, &job, 2).await;
    assert_eq!(callbacks[0]["state"], "failed");
    let delivery = &callbacks[0]["deliveries"][0];
    assert_eq!((&delivery["state"], &delivery["next_at"]), (&json!("failed"), &json!(null)));
    let kept = delivery["attempts"][0]["body"].as_str().expect("the first bytes");
    assert_eq!(kept, "no\u{fffd}\u{fffd}".repeat(64), "256 bytes, without what no text holds");
}

#[tokio::test]
async fn f15_a_receiver_that_hangs_up_is_a_failed_attempt_with_a_reason() {
    let (_gate, function) = Gate::task();
    let it = trying(1, function).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let callbacks = json!([{"url": format!("http://{closed}/")}]);
    let job = it.done(&json!({"function": "echo", "callbacks": callbacks})).await;
    let callbacks = after_posts(&it, &job, 1).await;
    let attempt = &callbacks[0]["deliveries"][0]["attempts"][0];
    assert_eq!((&callbacks[0]["state"], &attempt["status"]), (&json!("failed"), &json!(null)));
    assert!(attempt["error"].as_str().expect("a reason").contains("refused"), "{attempt}");
}

#[tokio::test]
async fn f15_a_receiver_that_is_gone_gets_nothing_more() {
    let (_gate, function) = Gate::task();
    let it = trying(5, function).await;
    let mut receiver =
        Receiver::start(|seen| Reply::Status(if seen.path == "/gone" { 410 } else { 200 })).await;
    let urls = ["/gone", "/last"].map(|path| json!({"url": receiver.at(path)}));
    let job = it.done(&json!({"function": "echo", "callbacks": urls})).await;
    let callbacks = after_posts(&it, &job, 2).await;
    assert_eq!(
        (&callbacks[0]["state"], &callbacks[1]["state"]),
        (&json!("disabled"), &json!("delivered"))
    );
    assert_eq!(statuses(&callbacks[0]), [410]);
    assert_eq!(
        (receiver.next().await.path, receiver.next().await.path),
        ("/gone".into(), "/last".into())
    );
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn g11_a_redirect_is_a_failure_and_never_followed() {
    let (_gate, function) = Gate::task();
    let it = trying(2, function).await;
    let mut canary = Receiver::start(|_| Reply::Status(200)).await;
    let there = canary.at("/canary");
    let receiver = Receiver::start(move |seen| {
        let code = seen.path.trim_start_matches('/').parse().expect("a status as the path");
        Reply::With(code, "location", there.clone())
    })
    .await;
    let codes = [301, 302, 303, 307, 308];
    let urls = codes.map(|code| json!({"url": receiver.at(&format!("/{code}"))}));
    let job = it.done(&json!({"function": "echo", "callbacks": urls})).await;
    let callbacks = after_posts(&it, &job, 10).await;
    for (callback, code) in callbacks.iter().zip(codes) {
        assert_eq!(
            (&callback["state"], statuses(callback)),
            (&json!("failed"), vec![json!(code); 2])
        );
    }
    assert!(canary.is_quiet());
}

#[tokio::test]
async fn f15_retry_after_of_a_busy_receiver_is_heeded() {
    let (_gate, function) = Gate::task();
    let it = trying(3, function).await;
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(2);
    let date = |form: &str| jiff::fmt::strtime::format(form, soon).expect("a date");
    let forms = [
        "3600".to_owned(),
        date("%a, %d %b %Y %H:%M:%S GMT"),
        date("%A, %d-%b-%y %H:%M:%S GMT"),
        date("%a %b %e %H:%M:%S %Y"),
    ];
    for asked in forms {
        let busy = asked.clone();
        let reply = move |_: &_| Reply::With(503, "retry-after", busy.clone());
        let receiver = Receiver::start(reply).await;
        let callbacks = json!([{"url": receiver.at("/busy")}]);
        let job = it.done(&json!({"function": "echo", "callbacks": callbacks})).await;
        let callbacks = after_posts(&it, &job, 1).await;
        assert_eq!(callbacks[0]["state"], "pending");
        let delivery = &callbacks[0]["deliveries"][0];
        let moment =
            |value: &Value| -> jiff::Timestamp { value.as_str().unwrap().parse().unwrap() };
        let (at, next) = (moment(&delivery["attempts"][0]["at"]), moment(&delivery["next_at"]));
        assert!(next.duration_since(at).as_secs() >= 3_600, "{asked}: {delivery}");
    }
}

#[tokio::test]
async fn f17_a_receiver_that_asks_finds_the_job_done() {
    let it = TestServer::start().await;
    let (sender, mut answers) = mpsc::unbounded_channel();
    let (client, url) = (it.client.clone(), it.url.clone());
    let receiver = Receiver::asking(move |seen| {
        let (client, url, sender) = (client.clone(), url.clone(), sender.clone());
        async move {
            let event: Value = serde_json::from_str(seen.text()).expect("a JSON body");
            let url = format!("{url}{}", event["data"]["urls"]["self"].as_str().expect("a path"));
            let answer = client.get(url).send().await.expect("an answer");
            let job: Value = answer.json().await.expect("a job");
            sender.send((event, job)).expect("the test looks");
            Reply::Status(200)
        }
    })
    .await;
    for number in 0..20 {
        let callbacks = json!([{"url": receiver.at("/asks")}]);
        it.submit(&json!({"function": "echo", "args": [number], "callbacks": callbacks})).await;
        let (event, job) = answers.recv().await.expect("a delivery");
        assert_eq!(job["done"], true);
        assert_eq!(event["data"], future_of(&job), "what is told is what is read");
    }
}

#[tokio::test]
async fn a_result_up_to_16_kib_is_sent_and_a_larger_one_left_out() {
    let it = TestServer::start().await;
    let mut receiver = Receiver::start(|_| Reply::Status(200)).await;
    for (bytes, sent) in [(16 * 1_024, true), (16 * 1_024 + 1, false)] {
        let text = "x".repeat(bytes - 2);
        let callbacks = json!([{"url": receiver.at("/size")}]);
        it.submit(&json!({"function": "echo", "args": [text], "callbacks": callbacks})).await;
        let data = receiver.next().await.event(&it.webhook_secret())["data"].take();
        let expected = if sent { json!(text) } else { json!(null) };
        assert_eq!(data["result"], expected, "{bytes} bytes");
        assert_eq!(data.get("result_omitted"), (!sent).then_some(&json!(true)), "{bytes} bytes");
        assert_eq!(data["args_omitted"], true);
    }
}

#[tokio::test]
async fn a_callback_that_cannot_be_taken_is_refused_with_its_place() {
    let it = TestServer::start().await;
    let job = it.submit(&json!({"function": "sleep", "args": [3600]})).await;
    let path = job["urls"]["callbacks"].as_str().expect("a path");
    let url = "http://127.0.0.1:9/";
    let cases = [
        (json!({}), 422, "/url"),
        (json!({"url": 1}), 422, "/url"),
        (json!({"url": "nowhere"}), 422, "/url"),
        (json!({"url": url, "secret": "whsec_short"}), 422, "/secret"),
        (json!({"url": url, "secret": "none"}), 422, "/secret"),
        (json!({"url": url, "headers": {"webhook-id": "mine"}}), 422, "/headers"),
        (json!({"url": url, "headers": {"Content-Length": "1"}}), 422, "/headers"),
        (json!({"url": url, "headers": {"a b": "1"}}), 422, "/headers"),
        (json!({"url": url, "headers": {"a": "1\n"}}), 422, "/headers"),
        (json!({"url": url, "headers": ["a"]}), 422, "/headers"),
        (json!({"url": url, "when": "done"}), 400, "/when"),
    ];
    for (callback, status, pointer) in cases {
        let answer = it.post(path, &callback).await.expect(status);
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{callback}");
        let secret = callback["secret"].as_str().unwrap_or("\0");
        assert!(!answer.json().to_string().contains(secret), "{callback}");
        let call =
            json!({"function": "sleep", "args": [3600], "callbacks": [{"url": url}, callback]});
        let answer = it.post("/v1/jobs", &call).await.expect(status);
        let within = format!("/callbacks/1{pointer}");
        assert_eq!(answer.json()["errors"][0]["pointer"], json!(within), "{call}");
    }
    let many = vec![json!({"url": url}); 17];
    let call = json!({"function": "sleep", "args": [3600], "callbacks": many});
    assert_eq!(
        it.post("/v1/jobs", &call).await.expect(422).json()["errors"][0]["pointer"],
        "/callbacks"
    );
    assert!(callbacks(&it, &job).await.is_empty());
    let nobody = "/v1/jobs/0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e6f/callbacks";
    it.post(nobody, &json!({"url": url})).await.expect(404);
    it.get(nobody).await.expect(404);
}
