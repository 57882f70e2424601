//! Workers: processes that stay. A bad one costs one call, and never the pool (E20, E21, E23).

use serde_json::{Value, json};

use crate::process::{Home, Process, path_of, until};
use crate::programs::{configure, script, serving};

/// The worker that a user copies, as it stands.
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/worker.py");

/// A worker that does whatever it is told, right or wrong.
const ODD: &str = r#"
import json, os, signal, sys, time
def say(**it):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **it}) + "\n"); sys.stdout.flush()
calls = 0
for line in sys.stdin:
    it = json.loads(line)
    if it["method"] == "initialize":
        flag = os.environ.get("HANG_ONCE", "")
        if flag and os.path.exists(flag):
            os.unlink(flag)
            time.sleep(1000)
        say(id=it["id"], result={"functions": [{"name": "odd", "parameters": [{"name": "how"}, {"name": "x", "default": 0}]}]})
    elif it["method"] == "call":
        calls += 1
        how, x, of = it["params"]["kwargs"]["how"], it["params"]["kwargs"].get("x"), {k: it["params"][k] for k in ("job", "attempt")}
        if how == "exit":
            print("last words", file=sys.stderr, flush=True); os._exit(x)
        if how == "kill": os.kill(os.getpid(), signal.SIGKILL)
        if how == "sleep": time.sleep(x)
        if how == "babble": print("this is no JSON", flush=True)
        if how == "other": say(id=77, result=1)
        if how == "twice": say(id=it["id"], result=1)
        if how == "close": os.close(1); time.sleep(1000)
        if how == "long": sys.stdout.write("x" * 20_000_000); sys.stdout.flush(); time.sleep(1000)
        if how == "logs":
            for i in range(1000): say(method="log", params={**of, "line": f"line {i}"})
        if how == "flood":
            while True: say(method="log", params={**of, "line": "x" * 10000})
        if how == "talks":
            say(id=it["id"], result=1)
            while True: say(method="log", params={**of, "line": "x" * 10000})
        if how == "stray": say(method="log", params={"job": "another", "attempt": 1, "line": "not yours"})
        if how == "large": say(id=it["id"], result="x" * (8 * 1024 * 1024)); continue
        if how == "retire": say(method="retire")
        if how == "retire later": say(id=it["id"], result={"pid": os.getpid(), "calls": calls}); say(method="retire", params={}); continue
        if how == "deaf": signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)
        if how == "error": say(id=it["id"], error={"code": -32000, "message": "no", "data": {"type": "OddError", "traceback": "here", "retryable": False, "details": {"x": x}}}); continue
        say(id=it["id"], result={"pid": os.getpid(), "calls": calls})
"#;

async fn odd(home: &Home, processes: usize, more: &str) -> Process {
    configure_odd(home, processes, more);
    home.start(&["--grace-seconds", "0"]).await
}

fn configure_odd(home: &Home, processes: usize, more: &str) {
    let file = script(home, "odd.py", ODD);
    let text = format!(
        "[queues.default]\nmax_workers = 64\n[workers.odd]\nargv = [\"PYTHON\", \"{}\"]\nprocesses = {processes}\n{more}\n",
        file.display()
    );
    configure(home, &text);
}

async fn call(it: &Process, args: Value) -> Value {
    let job = it.submit(&json!({"function": "odd", "args": args})).await;
    it.done(&job).await
}

async fn worker(it: &Process) -> Value {
    it.get("/v1/functions/odd").await.expect(200).json()["worker"].clone()
}

async fn all_ready(it: &Process, processes: u64) {
    until("all processes are ready", async || {
        (worker(it).await["ready"] == processes).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_example_is_a_worker_in_which_one_only_adds_functions() {
    let home = Home::new();
    let text = format!(
        "[workers.python]\nargv = [\"PYTHON\", \"{EXAMPLE}\"]\nprocesses = 2\nfunctions = \"*\"\n"
    );
    let it = serving(&home, &text).await;
    let function = it.get("/v1/functions/count_slowly").await.expect(200).json();
    assert_eq!(function["runtime"], "worker");
    assert_eq!(
        function["parameters"][1],
        json!({"name": "seconds", "required": false, "default": 0.1, "schema": {}})
    );
    let done = async |function: &str, args: Value| {
        it.done(&it.submit(&json!({"function": function, "args": args})).await).await
    };
    assert_eq!(done("compute_factorial", json!([10])).await["result"], 3_628_800);
    let missing =
        it.post("/v1/jobs", &json!({"function": "compute_factorial"})).await.expect(422).json();
    assert!(
        missing["detail"].as_str().expect("text").contains("missing 1 required argument: 'n'"),
        "{missing}"
    );
    let error = done("compute_factorial", json!(["x"])).await["error"].clone();
    assert_eq!(error["type"], "TypeError");
    assert!(error["traceback"].as_str().expect("text").contains("compute_factorial"), "{error}");

    let job = it.submit(&json!({"function": "count_slowly", "args": [1000, 0.02]})).await;
    until("it tells how far it is", async || {
        (it.job(&job).await["progress"]["fraction"].as_f64()? > 0.0).then_some(())
    })
    .await;
    it.post(&format!("{}/cancel", path_of(&job)), &json!({"grace_seconds": 60})).await.expect(202);
    assert_eq!(it.done(&job).await["state"], "cancelled");
    let worker = it.get("/v1/functions/count_slowly").await.expect(200).json()["worker"].clone();
    assert_eq!(
        (&worker["ready"], &worker["restarts"]),
        (&json!(2), &json!(0)),
        "it stopped by itself"
    );
    it.stop().await;
}

#[tokio::test]
async fn e20_a_process_that_is_lost_costs_one_call_and_never_the_pool() {
    let home = Home::new();
    let it = odd(&home, 2, "").await;
    all_ready(&it, 2).await;
    let mut lost = 0;
    for (how, x, told) in [
        ("exit", json!(3), "it ended with exit code 3"),
        ("exit", json!(0), "it ended with exit code 0"),
        ("kill", json!(0), "it died of signal 9"),
        ("babble", json!(0), "none of the protocol"),
        ("other", json!(0), "answered request 77"),
        ("close", json!(0), "it closed its output"),
        ("long", json!(0), "a line of more than"),
    ] {
        let job = call(&it, json!([how, x])).await;
        assert_eq!(job["error"]["type"], "worker_lost", "{how}: {job}");
        let message = job["error"]["message"].as_str().expect("text");
        assert!(message.contains(told), "{how}: {message}");
        lost += 1;
        let next = call(&it, json!(["well"])).await;
        assert_eq!(next["state"], "succeeded", "after {how}: {next}");
    }
    // What it says in its call holds it back and nobody else; what it says without one is too much at some point.
    let flood =
        it.submit(&json!({"function": "odd", "args": ["flood"], "run_timeout_seconds": 0.3})).await;
    assert_eq!(it.done(&flood).await["error"]["type"], "run_timeout");
    assert_eq!(call(&it, json!(["talks"])).await["result"], 1);
    until("it is lost", async || (worker(&it).await["restarts"] == lost + 2).then_some(())).await;
    // One that has the next call already loses that one, and does not keep it for ever.
    assert_eq!(call(&it, json!(["talks"])).await["result"], 1);
    let next = call(&it, json!(["well"])).await;
    assert!(next["state"] == "succeeded" || next["error"]["type"] == "worker_lost", "{next}");
    until("it is lost", async || (worker(&it).await["restarts"] == lost + 3).then_some(())).await;
    let exit = call(&it, json!(["exit", 5])).await["error"].clone();
    assert_eq!(
        (&exit["traceback"], &exit["details"]["exit_code"]),
        (&json!("last words"), &json!(5))
    );
    // The answer to a request that was answered before: the process is lost, the job is not.
    assert_eq!(call(&it, json!(["twice"])).await["result"], 1);
    assert_eq!(call(&it, json!(["well"])).await["state"], "succeeded");
    all_ready(&it, 2).await;
    let shown = worker(&it).await;
    assert_eq!(shown["restarts"], lost + 5, "{shown}");
    let ready = it.get("/readyz?verbose").await.expect(200).json();
    assert_eq!(
        (&ready["workers"][0]["name"], &ready["workers"][0]["ready"]),
        (&json!("odd"), &json!(2))
    );
    let again = json!({"max_attempts": 2, "initial_seconds": 0});
    let again = json!({"function": "odd", "args": ["kill"], "retry": again});
    let retried = it.done(&it.submit(&again).await).await;
    assert_eq!(
        (&retried["attempt"], &retried["error"]["type"]),
        (&json!(2), &json!("worker_lost")),
        "it is rerun"
    );
    it.stop().await;
}

#[tokio::test]
async fn what_a_worker_says_is_taken_for_what_it_is() {
    let home = Home::new();
    let it = odd(&home, 1, "").await;
    let error = call(&it, json!(["error", 4])).await["error"].clone();
    assert_eq!((&error["type"], &error["traceback"]), (&json!("OddError"), &json!("here")));
    assert_eq!((&error["retryable"], &error["details"]), (&json!(false), &json!({"x": 4})));
    assert_eq!(call(&it, json!(["large"])).await["error"]["type"], "result_too_large");
    assert_eq!(call(&it, json!(["stray"])).await["state"], "succeeded");
    let job = call(&it, json!(["logs"])).await;
    let log = it.get(&format!("{}/log", path_of(&job))).await.expect(200);
    let text = String::from_utf8(log.body).expect("text");
    assert_eq!(text.lines().count(), 1000);
    assert_eq!(worker(&it).await["restarts"], 0, "none of that is a reason to lose it");
    it.stop().await;
}

#[tokio::test]
async fn e21_a_process_gives_way_to_a_new_one_after_its_calls() {
    let home = Home::new();
    let it = odd(&home, 1, "max_calls_per_process = 3").await;
    let mut seen = Vec::new();
    for _ in 0..7 {
        let result = call(&it, json!(["well"])).await["result"].clone();
        seen.push((
            result["pid"].as_u64().expect("a number"),
            result["calls"].as_u64().expect("a number"),
        ));
    }
    let calls: Vec<u64> = seen.iter().map(|(_, calls)| *calls).collect();
    assert_eq!(calls, [1, 2, 3, 1, 2, 3, 1]);
    assert_eq!(worker(&it).await["restarts"], 0, "that is no loss");
    it.stop().await;
}

#[tokio::test]
async fn e21_a_process_that_asks_to_make_way_is_replaced_at_once_and_that_is_no_loss() {
    let home = Home::new();
    let it = odd(&home, 1, "").await;
    // While it has a call, it answers that first; and what comes while it has none is for the next process.
    for how in ["retire", "retire later"].repeat(5) {
        let job = call(&it, json!([how])).await;
        assert_eq!((&job["state"], &job["attempt"]), (&json!("succeeded"), &json!(1)), "{job}");
        assert_eq!(job["result"]["calls"], 1, "{how}: each time another process: {job}");
    }
    assert_eq!(worker(&it).await["restarts"], 0, "that is no loss");
    it.stop().await;
}

#[tokio::test]
async fn s5_no_more_jobs_run_than_there_are_processes() {
    let home = Home::new();
    let it = odd(&home, 4, "").await;
    all_ready(&it, 4).await;
    let calls: Vec<Value> = (0..40).map(|_| json!({"args": ["sleep", 0.05]})).collect();
    // Each waits for the others much longer than it may run.
    let batch = json!({"function": "odd", "calls": calls, "run_timeout_seconds": 20});
    let batch = it.post("/v1/batches", &batch).await.expect(202).json();
    let path = batch["urls"]["self"].as_str().expect("a URL").to_owned();
    let mut most = 0;
    let done = until("all are done", async || {
        let queue = it.get("/v1/queues/default").await.expect(200).json();
        most = most.max(queue["depth"]["running"].as_u64().expect("a number"));
        let batch = it.get(&path).await.expect(200).json();
        (batch["done"] == true).then_some(batch)
    })
    .await;
    assert_eq!(most, 4, "never more, and all of them");
    assert_eq!(done["counts"]["succeeded"], 40);
    it.stop().await;
}

#[tokio::test]
async fn s5_a_time_out_of_the_running_does_not_count_the_waiting() {
    let home = Home::new();
    let it = odd(&home, 1, "").await;
    let calls: Vec<Value> = (0..6).map(|_| json!({"args": ["sleep", 0.4]})).collect();
    let batch = json!({"function": "odd", "calls": calls, "run_timeout_seconds": 2});
    let batch = it.post("/v1/batches?wait=60", &batch).await.json();
    assert_eq!(batch["counts"]["succeeded"], 6, "2.4 s of work in one process: {batch}");
    it.stop().await;
}

#[tokio::test]
async fn a_call_that_does_not_stop_is_ended_with_its_process_and_nobody_else() {
    let home = Home::new();
    let it = odd(&home, 2, "").await;
    all_ready(&it, 2).await;
    let deaf = it.submit(&json!({"function": "odd", "args": ["deaf"]})).await;
    it.running(&deaf, 1).await;
    it.post(&format!("{}/cancel", path_of(&deaf)), &json!({"grace_seconds": 0.05}))
        .await
        .expect(202);
    assert_eq!(it.done(&deaf).await["state"], "cancelled");
    assert_eq!(call(&it, json!(["well"])).await["state"], "succeeded");
    all_ready(&it, 2).await;
    it.stop().await;
}

#[tokio::test]
async fn a_process_that_hangs_in_its_start_is_replaced_while_the_others_work() {
    let home = Home::new();
    let flag = script(&home, "flag", "");
    let more = format!(
        "initialize_timeout_seconds = 1\nfunctions = [\"odd\"]\nenv = {{ HANG_ONCE = \"{}\" }}",
        flag.display()
    );
    let it = odd(&home, 2, &more).await;
    assert_eq!(call(&it, json!(["well"])).await["state"], "succeeded");
    all_ready(&it, 2).await;
    let shown = worker(&it).await;
    assert_eq!(shown["restarts"], 1);
    assert!(
        shown["last_error"].as_str().expect("text").contains("initialize within 1 s"),
        "{shown}"
    );
    it.stop().await;
}

#[tokio::test]
async fn a_worker_that_cannot_start_is_told_and_named_functions_wait_for_it() {
    let home = Home::new();
    configure(&home, "[workers.none]\nargv = [\"/no/such/worker\"]\n");
    let ended = home.run(&["serve"]).await;
    assert_eq!(ended.code, Some(78), "{}", ended.errors);
    assert!(ended.errors.contains("worker 'none' cannot start"), "{}", ended.errors);
    assert!(ended.errors.contains("workers.none.functions"), "the mend: {}", ended.errors);

    configure_odd(&home, 1, "functions = [\"odd\", \"even\"]");
    let it = home.start(&["--grace-seconds", "0"]).await;
    let shown = worker(&it).await;
    assert!(
        shown["last_error"].as_str().expect("text").contains("does not announce 'even'"),
        "{shown}"
    );
    let job = it.submit(&json!({"function": "odd", "args": ["well"]})).await;
    assert_eq!(it.job(&job).await["state"], "pending", "there is nobody to run it");
    it.stop().await;
    configure_odd(&home, 1, "functions = [\"odd\"]");
    let it = home.start(&["--grace-seconds", "0"]).await;
    assert_eq!(it.done(&job).await["state"], "succeeded", "and it runs when there is");
    it.stop().await;
}

#[tokio::test]
async fn the_check_says_what_can_start_and_touches_no_server() {
    let home = Home::new();
    configure_odd(&home, 2, "\n[functions.\"a.true\"]\nruntime = \"command\"\nargv = [\"true\"]");
    let it = home.start(&["--grace-seconds", "0"]).await;
    let ended = home.run(&["check"]).await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.output, ended.errors);
    assert!(ended.output.contains("worker odd: has odd\n"), "{}", ended.output);
    assert!(ended.output.contains("function a.true: runs "), "{}", ended.output);
    assert_eq!(call(&it, json!(["well"])).await["state"], "succeeded");
    it.stop().await;
    configure_odd(
        &home,
        2,
        "functions = [\"even\"]\n[functions.a]\nruntime = \"command\"\nargv = [\"no-such-program\"]",
    );
    let ended = home.run(&["check"]).await;
    assert_eq!(ended.code, Some(78), "{}", ended.output);
    assert!(
        ended.output.contains("function a: CANNOT START: there is no no-such-program in"),
        "{}",
        ended.output
    );
    assert!(
        ended.output.contains("worker odd: CANNOT START: it does not announce 'even'"),
        "{}",
        ended.output
    );
    assert!(ended.errors.contains("2 of 2 commands and workers cannot start"), "{}", ended.errors);
}

#[tokio::test]
async fn the_configuration_is_shown_as_it_counts_and_can_be_read_again() {
    let home = Home::new();
    configure_odd(
        &home,
        3,
        "env = { TOKEN = \"secret\" }\nrun_timeout_seconds = 5\n[functions.a]\nruntime = \"command\"\nargv = [\"true\", \"{x}\"]\nparameters = [{ name = \"x\", type = \"string\" }]",
    );
    let shown = home.run(&["config", "--threads", "3"]).await;
    assert_eq!(shown.code, Some(0), "{}", shown.errors);
    for told in
        ["threads = 3", "TOKEN = \"***\"", "[workers.odd]", "processes = 3", "max_workers = 64"]
    {
        assert!(shown.output.contains(told), "{told}\n{}", shown.output);
    }
    assert!(!shown.output.contains("secret"), "{}", shown.output);
    std::fs::write(home.file("futurity.toml"), &shown.output).expect("a configuration file");
    let again = home.run(&["config"]).await;
    assert_eq!(again.output, shown.output);
}
