//! Where callbacks and `http.request` may go. Nothing here could reach another machine: what is refused
//! belongs to jobs that never run.

use futurity::{Config, Queue};
use serde_json::{Value, json};

use crate::gate::Gate;
use crate::receiver::{Receiver, Reply};
use crate::server::TestServer;

/// A server whose queue `held` never starts another job.
async fn held(allow_loopback_egress: bool) -> (TestServer, Gate) {
    let (gate, function) = Gate::task();
    let one = Queue { max_workers: 1, max_pending: 1_000 };
    let configure = |config: Config| Config {
        queues: [("held".to_owned(), one)].into(),
        allow_loopback_egress,
        ..config
    };
    let it = TestServer::with(configure, |builder| builder.function("gate", function)).await;
    it.submit(&json!({"function": "gate", "queue": "held"})).await;
    (it, gate)
}

/// Tries `url` in every place that takes one; gives the code that all three agree on.
async fn refusals(it: &TestServer, url: &str) -> [Value; 3] {
    let call = json!({"function": "echo", "queue": "held", "callbacks": [{"url": url}]});
    let submitted = it.post("/v1/jobs", &call).await.expect(422).json();
    assert_eq!(submitted["errors"][0]["pointer"], "/callbacks/0/url", "{url}");

    let job = it.submit(&json!({"function": "echo", "queue": "held"})).await;
    let path = job["urls"]["callbacks"].as_str().expect("a path");
    let added = it.post(path, &json!({"url": url})).await.expect(422).json();
    assert_eq!(added["errors"][0]["pointer"], "/url", "{url}");
    assert_eq!(it.get(path).await.expect(200).json()["callbacks"], json!([]));

    let call = json!({"function": "http.request", "queue": "held", "kwargs": {"url": url}});
    let requested = it.post("/v1/jobs", &call).await.expect(422).json();
    [submitted, added, requested].map(|problem| problem["code"].clone())
}

#[tokio::test]
async fn an_address_that_is_not_public_is_denied_at_submission() {
    let (it, gate) = held(false).await;
    let denied = [
        "http://10.0.0.1/",
        "http://100.64.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://172.16.0.1/",
        "http://192.168.0.1/",
        "http://0.0.0.0:9/",
        "http://127.0.0.1:9/",
        "https://127.0.0.1:9/",
        "http://127.1:9/",
        "http://2130706433:9/",
        "http://0x7f000001:9/",
        "http://0177.0.0.1:9/",
        "http://[::1]:9/",
        "http://[::ffff:127.0.0.1]:9/",
        "http://[64:ff9b::7f00:1]:9/",
        "http://[fe80::1]/",
        "http://[fd00::1]/",
        "http://localhost:9/",
        "http://a.localhost.:9/",
        "http://metadata.internal/",
        "http://printer.local/",
    ];
    for url in denied {
        assert_eq!(refusals(&it, url).await, [(); 3].map(|()| json!("egress_denied")), "{url}");
    }
    gate.open();
}

#[tokio::test]
async fn a_url_that_is_unfit_is_an_invalid_value() {
    let (it, gate) = held(true).await;
    let unfit = [
        "ftp://127.0.0.1:9/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:9/",
        "http://user@127.0.0.1:9/",
        "http://:pw@127.0.0.1:9/",
        "http://127.0.0.1:0/",
        "http://",
        "//127.0.0.1:9/",
        "nowhere",
    ];
    let codes = ["invalid_value", "invalid_value", "invalid_arguments"].map(|code| json!(code));
    for url in unfit {
        assert_eq!(refusals(&it, url).await, codes, "{url}");
    }
    gate.open();
}

#[tokio::test]
async fn the_server_never_calls_itself_even_where_loopback_is_allowed() {
    let (it, gate) = held(true).await;
    let port = it.server.address().port();
    for host in ["127.0.0.1", "127.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"] {
        let url = format!("http://{host}:{port}/livez");
        assert_eq!(refusals(&it, &url).await, [(); 3].map(|()| json!("egress_denied")), "{url}");
    }
    // A name is resolved at the attempt, and a redirect is a request of its own.
    let own = format!("http://localhost:{port}/livez");
    let there = own.replace("localhost", "127.0.0.1");
    let receiver = Receiver::start(move |_| Reply::With(307, "location", there.clone())).await;
    let redirected = json!({"url": receiver.at("/"), "follow_redirects": true});
    for kwargs in [json!({"url": own}), redirected] {
        let job = it.done(&json!({"function": "http.request", "kwargs": kwargs})).await;
        assert_eq!(job["error"]["type"], "egress_denied", "{job}");
        assert_eq!(job["error"]["retryable"], json!(null), "nobody said so");
    }
    gate.open();
}

#[tokio::test]
async fn an_operators_entry_opens_one_port_of_this_machine() {
    let mut receiver = Receiver::start(|_| Reply::Status(200)).await;
    let entry = receiver.url.trim_start_matches("http://").to_owned();
    let configure = |config: Config| Config {
        allow_loopback_egress: false,
        egress_allow: vec![entry],
        ..config
    };
    let it = TestServer::with(configure, |builder| builder).await;
    let kwargs = json!({"url": receiver.at("/open")});
    let job = it.done(&json!({"function": "http.request", "kwargs": kwargs})).await;
    assert_eq!(job["result"]["status"], 200);
    assert_eq!(receiver.next().await.path, "/open");
    let call = json!({"function": "http.request", "args": ["http://127.0.0.1:9/"]});
    assert_eq!(it.post("/v1/jobs", &call).await.expect(422).code(), "egress_denied");
}
