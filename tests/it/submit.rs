//! Submitting calls: `Executor.submit`, the order in which they run, and how many at once.

use std::sync::{Arc, Mutex};

use futurity::{Call, Config, JobError, Queue, Server, blocking, task};
use reqwest::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gate::{Gate, one_worker};
use crate::server::{TestServer, config};

#[tokio::test]
async fn e1_submit_answers_at_once_with_a_durable_future() {
    let it = TestServer::start().await;
    let answer = it.post("/v1/jobs", &json!({"function": "sleep", "args": [30]})).await.expect(202);
    let job = answer.json();
    assert_eq!(job["state"], "running");
    assert_eq!(job["done"], false);
    assert_eq!(answer.header("location"), job["urls"]["self"].as_str());
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn e1_call_arguments_never_collide_with_options() {
    let it = TestServer::start().await;
    let call = json!({"function": "raise", "kwargs": {"type": "KeyError", "message": "function"}});
    let job = it.done(&call).await;
    assert_eq!(job["error"]["type"], "KeyError");
    assert_eq!(job["error"]["message"], "function");
}

#[derive(Deserialize, JsonSchema)]
struct Options {
    function: String,
    args: Vec<i64>,
    kwargs: Value,
    queue: String,
    priority: String,
}

#[tokio::test]
async fn e1_a_function_may_have_parameters_with_the_names_of_options() {
    let show = task(|_call: Call, it: Options| async move {
        Ok::<_, JobError>(json!([it.function, it.args, it.kwargs, it.queue, it.priority]))
    });
    let it = TestServer::with(|config| config, |builder| builder.function("show", show)).await;
    let kwargs = json!({"function": "f", "args": [1], "kwargs": {"x": 2}, "queue": "q",
        "priority": "high"});
    let job = it.done(&json!({"function": "show", "kwargs": kwargs, "priority": 3})).await;
    assert_eq!(job["result"], json!(["f", [1], {"x": 2}, "q", "high"]));
    assert_eq!((&job["queue"], &job["priority"]), (&json!("default"), &json!(3)));
}

#[tokio::test]
async fn e1_options_come_back_as_they_were_given_and_may_be_left_out() {
    let it = TestServer::start().await;
    let given = json!({"function": "echo", "args": ["v"], "queue": "default", "priority": -100,
        "on_interrupt": "fail", "tags": ["b", "a", "b"], "metadata": {"k": "v", "é": ""}});
    let job = it.done(&given).await;
    for (name, value) in given.as_object().expect("an object") {
        assert_eq!(&job[name], value, "{name}");
    }
    let job = it.done(&json!({"function": "echo", "kwargs": {"value": 1}})).await;
    let defaults = json!({"args": [], "queue": "default", "priority": 0, "on_interrupt": "rerun",
        "tags": [], "metadata": {}});
    for (name, value) in defaults.as_object().expect("an object") {
        assert_eq!(&job[name], value, "{name}");
    }
    assert_eq!(job["kwargs"], json!({"value": 1}));
}

#[tokio::test]
async fn e1_options_at_their_limits_are_taken() {
    let it = TestServer::start().await;
    let tags: Vec<String> = (0..16).map(|n| format!("{n:é>64}")).collect();
    let metadata: serde_json::Map<String, Value> =
        (0..32).map(|n| (format!("{n:k>64}"), json!("v".repeat(512)))).collect();
    for priority in [-100, 100] {
        let call = json!({"function": "echo", "tags": tags, "metadata": metadata,
            "priority": priority});
        let job = it.done(&call).await;
        assert_eq!(job["tags"], json!(tags));
        assert_eq!(job["metadata"], json!(metadata));
        assert_eq!(job["priority"], priority);
    }
}

#[derive(Deserialize, JsonSchema)]
struct Numbered {
    n: usize,
}

#[tokio::test]
async fn e2_high_priority_runs_first_and_equals_run_strictly_in_the_order_of_submission() {
    let gate = Gate::shut();
    let ran: Arc<Mutex<Vec<usize>>> = Arc::default();
    let seen = Arc::clone(&ran);
    let record = task(move |_call: Call, Numbered { n }: Numbered| {
        seen.lock().expect("a list").push(n);
        async { Ok::<_, JobError>(()) }
    });
    let build = |it: futurity::Builder| it.function("hold", gate.hold()).function("record", record);
    let it = TestServer::with(one_worker, build).await;
    it.submit(&json!({"function": "hold"})).await;
    gate.started().await;
    let priority = |n: usize| [0, 100, -1, 0, -100, 1, 0, 0][n % 8];
    let mut jobs = Vec::new();
    for n in 0..200 {
        let call = json!({"function": "record", "args": [n], "priority": priority(n)});
        jobs.push(it.submit(&call).await);
    }
    let mut expected: Vec<usize> = (0..200).collect();
    expected.sort_by_key(|n| -priority(*n));
    gate.open();
    let last = expected[199];
    it.wait(&jobs[last]).await;
    assert_eq!(*ran.lock().expect("a list"), expected);
}

#[tokio::test]
async fn e2_jobs_that_waited_when_the_server_stopped_keep_their_order() {
    let gate = Gate::shut();
    let ran: Arc<Mutex<Vec<usize>>> = Arc::default();
    let build = |it: futurity::Builder| {
        let seen = Arc::clone(&ran);
        let record = task(move |_call: Call, Numbered { n }: Numbered| {
            seen.lock().expect("a list").push(n);
            async { Ok::<_, JobError>(()) }
        });
        it.function("hold", gate.hold()).function("record", record)
    };
    let it = TestServer::with(one_worker, build).await;
    it.submit(&json!({"function": "hold"})).await;
    gate.started().await;
    for n in 0..10 {
        let call = json!({"function": "record", "args": [n], "priority": n % 2});
        it.submit(&call).await;
    }
    let last = it.submit(&json!({"function": "echo", "priority": -1})).await;
    let dir = it.stop(std::time::Duration::ZERO).await;
    gate.open();
    let it = TestServer::on(dir, one_worker, build).await;
    it.wait(&last).await;
    assert_eq!(*ran.lock().expect("a list"), [1, 3, 5, 7, 9, 0, 2, 4, 6, 8]);
}

#[tokio::test]
async fn e17_the_default_queue_runs_as_many_at_once_as_python_does() {
    let gate = Gate::shut();
    let it = TestServer::with(|config| config, |it| it.function("hold", gate.hold())).await;
    let cpus = std::thread::available_parallelism().expect("a number").get();
    let most = (cpus + 4).min(32);
    for _ in 0..most + 3 {
        it.submit(&json!({"function": "hold"})).await;
    }
    for _ in 0..most {
        gate.started().await;
    }
    let count = async |state: &str| {
        let list = it.get(&format!("/v1/jobs?state={state}")).await.expect(200).json();
        list["jobs"].as_array().expect("jobs").len()
    };
    assert_eq!((count("running").await, count("pending").await), (most, 3));
}

#[tokio::test]
async fn e17_a_configuration_that_cannot_be_taken_ends_with_exit_code_78() {
    let queue = |name: &str, max_workers| {
        let queue = Queue { max_workers, ..Queue::default() };
        Config { queues: [(name.to_owned(), queue)].into(), ..Config::default() }
    };
    let nothing_allowed = Config { egress_allow: vec!["nonsense".into()], ..Config::default() };
    let second = std::time::Duration::from_secs(1);
    for (word, wrong) in [
        ("threads", Config { threads: 0, ..Config::default() }),
        ("threads", Config { threads: 1_025, ..Config::default() }),
        ("tasks", Config { tasks: 0, ..Config::default() }),
        ("queues.default.max_workers", queue("default", 0)),
        ("queues.slow.max_workers", queue("slow", 100_001)),
        ("no good", queue("no good", 1)),
        ("max_wait_seconds", Config { wait_max: second * 601, ..Config::default() }),
        ("egress.allow", nothing_allowed),
    ] {
        let dir = TempDir::new().expect("a temporary directory");
        let base = config(&dir);
        let wrong = Config { listen: base.listen, data_dir: base.data_dir, ..wrong };
        let failure = Server::builder(wrong).start().await.expect_err("it is refused");
        assert_eq!(failure.exit_code(), 78, "{failure}");
        assert!(failure.to_string().contains(word), "no {word} in: {failure}");
    }
}

#[tokio::test]
async fn e17_a_full_queue_refuses_with_429_and_takes_again_when_there_is_room() {
    let gate = Gate::shut();
    let small = |mut config: Config| {
        config.queues.insert("default".into(), Queue { max_workers: 1, max_pending: 1 });
        config
    };
    let it = TestServer::with(small, |builder| builder.function("hold", gate.hold())).await;
    it.submit(&json!({"function": "hold"})).await;
    let waiting = it.submit(&json!({"function": "echo"})).await;
    let refused = it.post("/v1/jobs", &json!({"function": "echo"})).await.expect(429);
    assert_eq!(refused.code(), "queue_full");
    assert_eq!(refused.header("retry-after"), Some("1"));
    let cancel = waiting["urls"]["cancel"].as_str().expect("a URL");
    it.send(it.request(Method::POST, cancel)).await.expect(200);
    it.submit(&json!({"function": "echo"})).await;
}

#[derive(Deserialize, JsonSchema)]
struct Three {
    a: i64,
    b: i64,
    #[serde(default)]
    c: i64,
}

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

#[tokio::test]
async fn e1_arguments_that_do_not_fit_are_refused_in_pythons_words() {
    let three = blocking(|_call: &Call, _three: Three| Ok::<_, JobError>(()));
    let none = blocking(|_call: &Call, _nothing: Nothing| Ok::<_, JobError>(()));
    let build = |it: futurity::Builder| it.function("three", three).function("none", none);
    let it = TestServer::with(|config| config, build).await;
    for (function, args, kwargs, message) in [
        ("none", json!([1]), json!({}), "none() takes 0 positional arguments but 1 was given"),
        (
            "math.factorial",
            json!([1, 2]),
            json!({}),
            "math.factorial() takes 1 positional argument but 2 were given",
        ),
        (
            "three",
            json!([1, 2, 3, 4]),
            json!({}),
            "three() takes from 2 to 3 positional arguments but 4 were given",
        ),
        (
            "math.factorial",
            json!([]),
            json!({}),
            "math.factorial() missing 1 required argument: 'n'",
        ),
        ("three", json!([]), json!({}), "three() missing 2 required arguments: 'a' and 'b'"),
        ("three", json!([1]), json!({"c": 3}), "three() missing 1 required argument: 'b'"),
        ("three", json!([1, 2]), json!({"d": 3}), "three() got an unexpected keyword argument 'd'"),
        ("three", json!([1, 2]), json!({"b": 3}), "three() got multiple values for argument 'b'"),
    ] {
        let call = json!({"function": function, "args": args, "kwargs": kwargs});
        let refused = it.post("/v1/jobs", &call).await.expect(422);
        assert_eq!(refused.code(), "invalid_arguments");
        assert_eq!(refused.json()["detail"], message);
    }
    let wrong_type = json!({"function": "math.factorial", "args": ["five"]});
    let refused = it.post("/v1/jobs", &wrong_type).await.expect(422);
    assert_eq!(refused.code(), "invalid_arguments");
    assert!(refused.json()["detail"].as_str().is_some_and(|it| it.starts_with("math.factorial()")));
    let list = it.get("/v1/jobs").await.expect(200).json();
    assert_eq!(list, json!({"jobs": []}), "nothing was written");
}

#[tokio::test]
async fn e1_positional_and_named_arguments_and_defaults_are_bound_as_python_does() {
    let sum = |_call: &Call, it: Three| Ok::<_, JobError>(100 * it.a + 10 * it.b + it.c);
    let it = TestServer::with(|config| config, |it| it.function("sum", blocking(sum))).await;
    for (args, kwargs, result) in [
        (json!([1, 2]), json!({}), 120),
        (json!([1, 2, 3]), json!({}), 123),
        (json!([1]), json!({"b": 2}), 120),
        (json!([]), json!({"c": 3, "b": 2, "a": 1}), 123),
        (json!([1, 2]), json!({"c": 3}), 123),
    ] {
        let job = it.done(&json!({"function": "sum", "args": args, "kwargs": kwargs})).await;
        assert_eq!(job["result"], result, "{args} {kwargs}");
    }
}

#[tokio::test]
async fn e1_an_unknown_function_is_refused_with_those_that_there_are() {
    let it = TestServer::start().await;
    for name in ["eco", "", "os.system", "ECHO", &"x".repeat(5_000)] {
        let refused = it.post("/v1/jobs", &json!({"function": name})).await.expect(422);
        assert_eq!(refused.code(), "unknown_function", "{name}");
        assert_eq!(refused.json()["errors"][0]["pointer"], "/function");
        assert!(refused.json()["detail"].as_str().is_some_and(|it| it.contains("math.factorial")));
    }
}
