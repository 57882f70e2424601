//! Lists of jobs: pages, newest first, with filters.

use futurity::{Config, Queue};
use serde_json::{Value, json};

use crate::gate::Gate;
use crate::server::{Answer, TestServer};

fn ids(page: &Value) -> Vec<&str> {
    let jobs = page["jobs"].as_array().expect("jobs");
    jobs.iter().map(|job| job["id"].as_str().expect("an id")).collect()
}

/// Where the `Link` header leads.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link")?;
    let target = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
    Some(target.expect("a link to the next page").to_owned())
}

/// Every page from `path` to the end, as the ids on it.
async fn pages(it: &TestServer, path: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut path = Some(path.to_owned());
    while let Some(at) = path {
        let answer = it.get(&at).await.expect(200);
        let page = answer.json();
        assert_eq!(page.get("next_page_token").is_some(), answer.header("link").is_some());
        pages.push(ids(&page).into_iter().map(str::to_owned).collect());
        path = next(&answer);
        assert!(pages.len() < 100, "a list without an end");
    }
    pages
}

async fn submitted(it: &TestServer, calls: &[Value]) -> Vec<String> {
    let mut ids = Vec::new();
    for call in calls {
        ids.push(it.submit(call).await["id"].as_str().expect("an id").to_owned());
    }
    ids
}

#[tokio::test]
async fn a_list_is_newest_first_and_its_links_lead_to_each_job_once() {
    let it = TestServer::start().await;
    let calls: Vec<Value> = (0..23).map(|n| json!({"function": "echo", "args": [n]})).collect();
    let mut newest_first = submitted(&it, &calls).await;
    newest_first.reverse();
    for (page_size, sizes) in
        [(10, vec![10, 10, 3]), (23, vec![23]), (1000, vec![23]), (22, vec![22, 1])]
    {
        let pages = pages(&it, &format!("/v1/jobs?page_size={page_size}")).await;
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
        assert_eq!(pages.concat(), newest_first);
    }
    assert_eq!(pages(&it, "/v1/jobs?page_size=1").await.concat(), newest_first);
    assert_eq!(pages(&it, "/v1/jobs").await, [newest_first]);
}

#[tokio::test]
async fn an_empty_list_is_one_page_and_the_default_page_has_50() {
    let it = TestServer::start().await;
    assert_eq!(it.get("/v1/jobs").await.expect(200).json(), json!({"jobs": []}));
    submitted(&it, &vec![json!({"function": "echo"}); 51]).await;
    let pages = pages(&it, "/v1/jobs").await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [50, 1]);
}

#[tokio::test]
async fn jobs_that_come_while_one_turns_the_pages_do_not_shift_them() {
    let it = TestServer::start().await;
    let old = submitted(&it, &vec![json!({"function": "echo"}); 4]).await;
    let first = it.get("/v1/jobs?page_size=2").await.expect(200);
    submitted(&it, &vec![json!({"function": "echo"}); 3]).await;
    let second = it.get(&next(&first).expect("a next page")).await.expect(200).json();
    assert_eq!(ids(&first.json()), [&old[3], &old[2]]);
    assert_eq!(ids(&second), [&old[1], &old[0]]);
}

#[tokio::test]
async fn filters_by_state_function_and_queue_hold_together_and_across_pages() {
    let gate = Gate::shut();
    let queues = |mut config: Config| {
        let one = Queue { max_workers: 1, ..Queue::default() };
        config.queues = [("default".to_owned(), one), ("slow".to_owned(), one)].into();
        config
    };
    let it = TestServer::with(queues, |builder| builder.function("hold", gate.hold())).await;
    for function in ["echo", "raise"] {
        it.done(&json!({"function": function, "queue": "slow"})).await;
    }
    let calls: Vec<Value> = (0..8)
        .map(|n| {
            let queue = ["default", "slow"][n % 2];
            json!({"function": if n < 2 { "hold" } else { "echo" }, "queue": queue})
        })
        .collect();
    let jobs = submitted(&it, &calls).await;
    gate.started().await;
    gate.started().await;
    for (filter, expected) in [
        ("state=running", vec![1, 0]),
        ("state=running&queue=slow", vec![1]),
        ("state=pending", vec![7, 6, 5, 4, 3, 2]),
        ("state=pending&queue=default", vec![6, 4, 2]),
        ("state=pending&queue=default&function=echo", vec![6, 4, 2]),
        ("function=hold", vec![1, 0]),
        ("function=hold&state=pending", vec![]),
        ("state=cancelled", vec![]),
        ("queue=nosuch", vec![]),
        ("function=nosuch", vec![]),
    ] {
        let expected: Vec<&String> = expected.into_iter().map(|n: usize| &jobs[n]).collect();
        for size in [1, 2, 1000] {
            let path = format!("/v1/jobs?{filter}&page_size={size}");
            let found = pages(&it, &path).await.concat();
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{path}");
        }
    }
    for (filter, count) in
        [("state=succeeded", 1), ("state=failed", 1), ("queue=slow", 6), ("function=echo", 7)]
    {
        let found = it.get(&format!("/v1/jobs?{filter}")).await.expect(200).json();
        assert_eq!(ids(&found).len(), count, "{filter}");
    }
}

#[tokio::test]
async fn a_token_that_is_not_the_servers_or_belongs_to_other_filters_is_400() {
    let it = TestServer::start().await;
    submitted(&it, &vec![json!({"function": "echo"}); 3]).await;
    let page = it.get("/v1/jobs?function=echo&page_size=1").await.expect(200).json();
    let token = page["next_page_token"].as_str().expect("a token");
    it.get(&format!("/v1/jobs?function=echo&page_size=2&page_token={token}")).await.expect(200);
    for query in [
        format!("page_token={token}"),
        format!("function=raise&page_token={token}"),
        format!("function=echo&queue=default&page_token={token}"),
        format!("function=echo&state=succeeded&page_token={token}"),
        format!("function=echo&page_token={token}x"),
        format!("function=echo&page_token=x{token}"),
        "page_token=".to_owned(),
        "page_token=nonsense".to_owned(),
        "page_token=17".to_owned(),
        "page_token=%FF".to_owned(),
        "page_token=Li8v".to_owned(),
    ] {
        let refused = it.get(&format!("/v1/jobs?{query}")).await.expect(400);
        assert_eq!(refused.code(), "bad_request", "{query}");
    }
}

#[tokio::test]
async fn a_page_size_from_1_to_1000_is_taken_and_others_are_422() {
    let it = TestServer::start().await;
    for size in ["1", "1000"] {
        it.get(&format!("/v1/jobs?page_size={size}")).await.expect(200);
    }
    for size in ["0", "1001", "-1", "1.5", "ten", "", "99999999999999999999"] {
        let refused = it.get(&format!("/v1/jobs?page_size={size}")).await.expect(422);
        assert_eq!(refused.code(), "invalid_value", "{size}");
        assert_eq!(refused.json()["errors"][0]["pointer"], "/page_size");
    }
    for (name, value) in [("state", "done"), ("function", "No!"), ("queue", "a%20b"), ("queue", "")]
    {
        let refused = it.get(&format!("/v1/jobs?{name}={value}")).await.expect(422);
        assert_eq!(refused.json()["errors"][0]["pointer"], format!("/{name}"), "{value}");
    }
}

#[tokio::test]
async fn an_unknown_or_repeated_parameter_is_400() {
    let it = TestServer::start().await;
    let job = it.done(&json!({"function": "echo"})).await;
    let id = job["id"].as_str().expect("an id");
    for path in [
        "/v1/jobs?tags=x".to_owned(),
        "/v1/jobs?State=running".to_owned(),
        "/v1/jobs?wait=1".to_owned(),
        "/v1/jobs?state=running&state=pending".to_owned(),
        "/v1/jobs?=".to_owned(),
        "/v1/functions?page_size=1".to_owned(),
        "/v1/functions/echo?x".to_owned(),
        format!("/v1/jobs/{id}?field=state"),
        format!("/v1/jobs/{id}/result?timeout=1"),
        format!("/v1/jobs/{id}/exception?timeout=1"),
        format!("/v1/jobs/{id}/callbacks?wait=1"),
    ] {
        let refused = it.get(&path).await.expect(400);
        assert_eq!(refused.code(), "bad_request", "{path}");
    }
    for path in ["/v1/jobs?function=echo".to_owned(), format!("/v1/jobs/{id}/cancel?wait=1")] {
        let refused = it.post(&path, &json!({})).await.expect(400);
        assert_eq!(refused.code(), "bad_request", "{path}");
    }
}
