//! `concurrent.futures.wait` over HTTP: many jobs in one request.

use futurity::Config;
use serde_json::{Value, json};

use crate::gate::Gate;
use crate::server::{Answer, TestServer};

const UNKNOWN: &str = "00000000-0000-7000-8000-000000000000";

fn id(job: &Value) -> String {
    job["id"].as_str().expect("an id").to_owned()
}

async fn submitted(it: &TestServer, body: &Value) -> String {
    id(&it.submit(body).await)
}

async fn done(it: &TestServer, body: &Value) -> String {
    id(&it.post("/v1/jobs?wait=60", body).await.expect(200).json())
}

async fn wait(it: &TestServer, body: &Value) -> Answer {
    it.post("/v1/jobs/wait", body).await
}

/// Ids that are done, ids that are not, and whether the time was over.
fn parts(answer: &Answer) -> (Vec<String>, Vec<String>, bool) {
    let body = answer.json();
    let done = body["done"].as_array().expect("jobs").iter().map(id).collect();
    let not_done = body["not_done"].as_array().expect("ids").iter();
    let not_done = not_done.map(|id| id.as_str().expect("an id").to_owned()).collect();
    (done, not_done, body["timed_out"].as_bool().expect("a flag"))
}

#[tokio::test]
async fn w1_done_and_not_done_come_apart_in_the_order_asked_and_each_once() {
    let (it, _gate) = Gate::server().await;
    let waiting = submitted(&it, &json!({"function": "gate"})).await;
    let second = done(&it, &json!({"function": "echo", "args": [2]})).await;
    let first = done(&it, &json!({"function": "echo", "args": [1]})).await;
    let ids = json!([first, waiting, second, first, waiting]);
    let answer = wait(&it, &json!({"ids": ids, "timeout_seconds": 0})).await.expect(200);
    assert_eq!(parts(&answer), (vec![first, second], vec![waiting], true));
    assert_eq!(answer.json()["done"][0]["result"], json!(1));
}

#[tokio::test]
async fn w2_a_wait_that_runs_out_is_200_and_says_so() {
    let (it, _gate) = Gate::server().await;
    let waiting = submitted(&it, &json!({"function": "gate"})).await;
    for timeout in [0.05, 0.0, -3.0] {
        let body = json!({"ids": [waiting], "timeout_seconds": timeout});
        let answer = wait(&it, &body).await.expect(200);
        assert_eq!(parts(&answer), (vec![], vec![waiting.clone()], true), "{timeout}");
    }
    assert_eq!(it.get(&format!("/v1/jobs/{waiting}")).await.json()["state"], "running");
}

#[tokio::test]
async fn w1_a_job_that_is_forgotten_while_others_are_waited_for_is_named_all_the_same() {
    let (gate, function) = Gate::task();
    let two = |mut config: Config| {
        config.limits.waiters = 2;
        config
    };
    let it = TestServer::with(two, |builder| builder.function("gate", function)).await;
    let waiting = submitted(&it, &json!({"function": "gate"})).await;
    let later = json!({"function": "echo", "delay_seconds": 3600, "retention_seconds": 0});
    let first = submitted(&it, &later).await;
    let asked = json!({"ids": [first, waiting], "timeout_seconds": 60});
    // One that the look below has kept out comes again.
    let admitted = async |path: &str| loop {
        let answer = it.post(path, &asked).await;
        if answer.status != 429 {
            return answer.expect(200);
        }
    };
    let (all, each) = (admitted("/v1/jobs/wait"), admitted("/v1/jobs/as-completed"));
    let course = async {
        // Both are waiting when there is no place for a third.
        let third = format!("/v1/jobs/{waiting}?wait=0.01");
        while it.get(&third).await.status != 429 {}
        it.post(&format!("/v1/jobs/{first}/cancel"), &json!({})).await.expect(200);
        while it.get(&format!("/v1/jobs/{first}")).await.status != 410 {}
        gate.open();
    };
    let (all, each, ()) = tokio::join!(all, each, course);
    assert_eq!(parts(&all), (vec![waiting.clone()], vec![], false));
    assert_eq!(all.json()["gone"], json!([{"id": first, "state": "cancelled"}]));
    let lines = String::from_utf8(each.body).expect("text");
    for id in [&first, &waiting] {
        assert!(lines.contains(id.as_str()), "{lines}");
    }
    assert!(lines.contains("\"completed\":2,\"unfinished\":0"), "{lines}");
}

#[tokio::test]
async fn w4_nothing_to_wait_for_is_over_at_once() {
    let it = TestServer::start().await;
    for when in ["ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION"] {
        let answer = wait(&it, &json!({"ids": [], "return_when": when})).await.expect(200);
        assert_eq!(parts(&answer), (vec![], vec![], false));
    }
}

#[tokio::test]
async fn w5_first_completed_ends_with_the_first_and_at_once_if_any_is_done() {
    let (it, gate) = Gate::server().await;
    let waiting = submitted(&it, &json!({"function": "gate"})).await;
    let finished = done(&it, &json!({"function": "echo", "args": [1]})).await;
    let body = json!({"ids": [waiting, finished], "return_when": "FIRST_COMPLETED"});
    let answer = wait(&it, &body).await.expect(200);
    assert_eq!(parts(&answer), (vec![finished], vec![waiting.clone()], false));

    let later = submitted(&it, &json!({"function": "sleep", "args": [600]})).await;
    let body = json!({"ids": [later, waiting], "return_when": "FIRST_COMPLETED"});
    let (answer, ()) = tokio::join!(wait(&it, &body), async { gate.open() });
    assert_eq!(parts(&answer.expect(200)), (vec![waiting], vec![later], false));
}

#[tokio::test]
async fn w6_first_exception_ignores_cancelled_jobs_and_without_any_waits_for_all() {
    let (it, gate) = Gate::server().await;
    let waiting = submitted(&it, &json!({"function": "gate", "queue": "one"})).await;
    let cancelled = submitted(&it, &json!({"function": "echo", "args": [1], "queue": "one"})).await;
    it.post(&format!("/v1/jobs/{cancelled}/cancel"), &json!({})).await.expect(200);
    let when = "FIRST_EXCEPTION";
    let body = json!({"ids": [waiting, cancelled], "return_when": when, "timeout_seconds": 0.05});
    let answer = wait(&it, &body).await.expect(200);
    assert_eq!(parts(&answer), (vec![cancelled.clone()], vec![waiting.clone()], true));

    let raised = done(&it, &json!({"function": "raise", "args": ["ValueError"]})).await;
    let body = json!({"ids": [waiting, cancelled, raised], "return_when": when});
    let answer = wait(&it, &body).await.expect(200);
    let expected = (vec![cancelled.clone(), raised], vec![waiting.clone()], false);
    assert_eq!(parts(&answer), expected);

    let body = json!({"ids": [waiting, cancelled], "return_when": when});
    let (answer, ()) = tokio::join!(wait(&it, &body), async { gate.open() });
    assert_eq!(parts(&answer.expect(200)), (vec![waiting, cancelled], vec![], false));
}

#[tokio::test]
async fn w8_a_return_when_that_does_not_exist_is_refused_even_if_nothing_must_wait() {
    let it = TestServer::start().await;
    for when in [json!("all_completed"), json!(""), json!(1)] {
        let answer = wait(&it, &json!({"ids": [], "return_when": when})).await.expect(422);
        assert_eq!(answer.json()["errors"][0]["pointer"], "/return_when");
    }
    let answer = wait(&it, &json!({"ids": [], "timeout": 1})).await.expect(400);
    assert_eq!(answer.code(), "unknown_field");
    for (ids, pointer) in
        [(json!(["x"]), "/ids/0"), (json!([UNKNOWN, 7]), "/ids/1"), (json!("x"), "/ids")]
    {
        let answer = wait(&it, &json!({"ids": ids})).await.expect(422);
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer);
    }
    assert_eq!(wait(&it, &json!({})).await.expect(422).json()["errors"][0]["pointer"], "/ids");
}

#[tokio::test]
async fn w9_cpython_92001_and_109934_a_job_that_is_cancelled_already_does_not_hang_a_wait() {
    let (it, _gate) = Gate::server().await;
    let _runs = submitted(&it, &json!({"function": "gate", "queue": "one"})).await;
    let cancelled = submitted(&it, &json!({"function": "echo", "args": [1], "queue": "one"})).await;
    it.post(&format!("/v1/jobs/{cancelled}/cancel"), &json!({})).await.expect(200);
    for when in ["ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION"] {
        let answer = wait(&it, &json!({"ids": [cancelled], "return_when": when})).await.expect(200);
        assert_eq!(parts(&answer), (vec![cancelled.clone()], vec![], false), "{when}");
    }
}

#[tokio::test]
async fn w9_a_job_that_is_cancelled_meanwhile_ends_the_wait() {
    let (it, _gate) = Gate::server().await;
    let _runs = submitted(&it, &json!({"function": "gate", "queue": "one"})).await;
    let waiting = submitted(&it, &json!({"function": "echo", "args": [1], "queue": "one"})).await;
    let body = json!({"ids": [waiting]});
    let cancel = format!("/v1/jobs/{waiting}/cancel");
    let nothing = json!({});
    let (answer, cancelled) = tokio::join!(wait(&it, &body), it.post(&cancel, &nothing));
    assert_eq!(cancelled.expect(200).json()["cancelled"], true);
    assert_eq!(parts(&answer.expect(200)), (vec![waiting], vec![], false));
}

#[tokio::test]
async fn w10_ids_that_name_no_job_are_listed() {
    let it = TestServer::start().await;
    let known = done(&it, &json!({"function": "echo", "args": [1]})).await;
    let answer = wait(&it, &json!({"ids": [known, UNKNOWN, known]})).await.expect(404);
    let errors = answer.json()["errors"].clone();
    assert_eq!(errors.as_array().expect("a list").len(), 1);
    assert_eq!(errors[0]["pointer"], "/ids/1");
    assert!(errors[0]["detail"].as_str().expect("a text").contains(UNKNOWN));
}

#[tokio::test]
async fn heavy_w1_ten_thousand_jobs_in_one_wait_and_not_one_more() {
    let (it, gate) = Gate::server().await;
    let mut ids = Vec::new();
    let body = json!({"function": "gate"});
    for _ in 0..100 {
        let many = (0..100).map(|_| submitted(&it, &body));
        ids.extend(futures_util::future::join_all(many).await);
    }
    let all = json!({"ids": ids, "timeout_seconds": 300});
    let (answer, ()) = tokio::join!(wait(&it, &all), async { gate.open() });
    let (done, not_done, timed_out) = parts(&answer.expect(200));
    assert_eq!((done, not_done.len(), timed_out), (ids.clone(), 0, false));

    ids.push(ids[0].clone());
    let answer = wait(&it, &json!({"ids": ids})).await.expect(422);
    assert_eq!(answer.json()["errors"][0]["pointer"], "/ids");
}

#[tokio::test]
async fn large_values_are_left_out_of_what_a_wait_gives() {
    let it = TestServer::start().await;
    let large = "x".repeat(20_000);
    let job = done(&it, &json!({"function": "echo", "args": [large]})).await;
    let answer = wait(&it, &json!({"ids": [job]})).await.expect(200).json();
    assert_eq!(answer["done"][0]["result_omitted"], true);
    assert_eq!(answer["done"][0]["args_omitted"], true);
}
