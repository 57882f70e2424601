//! Texts from outside have a length, wherever they come in: whatever a job says of itself, it is not multiplied by its
//! attempts, callbacks and readers.

use reqwest::Method;
use serde_json::{Value, json};

use crate::process::{Home, Process, path_of, until};
use crate::programs::{configure, script};
use crate::receiver::{Receiver, Reply};
use crate::refusal::execute;
use crate::server::TestServer;

/// More than any job may be where many are shown, in bytes.
const BRIEF_JOB_MAX: usize = 80 * 1024;
/// What the texts of all failed attempts have, in bytes.
const ATTEMPTS_MAX: usize = 64 * 1024;

/// A call that fails with a text of so many bytes, so many times.
fn failing(bytes: usize, attempts: u64) -> Value {
    json!({
        "function": "raise", "args": ["E", format!("first{}", "x".repeat(bytes))],
        "retry": {"max_attempts": attempts, "initial_seconds": 0, "jitter": 0},
    })
}

fn texts_of(job: &Value) -> Vec<String> {
    let attempts = job["attempts"].as_array().expect("attempts").iter();
    attempts.map(|it| it["error"]["message"].as_str().expect("a text").to_owned()).collect()
}

#[tokio::test]
async fn an_error_is_cut_and_so_are_all_attempts_together_also_after_a_restart() {
    let it = TestServer::start().await;
    let job = it.done(&failing(100_000, 12)).await;
    assert_eq!((&job["error_omitted"], &job["attempts_omitted"]), (&json!(true), &json!(true)));
    assert_eq!((&job["attempts"], &job["state"]), (&json!([]), &json!("failed")));
    let brief = job["error"]["message"].as_str().expect("a text");
    assert!(brief.starts_with("firstx") && brief.len() <= 1_024, "its beginning stays: {brief}");
    let path = path_of(&job);
    let whole = it.get(&path).await.expect(200).json();
    let dir = it.stop(std::time::Duration::ZERO).await;
    let it = TestServer::on(dir, |config| config, |builder| builder).await;
    assert_eq!(it.get(&path).await.expect(200).json(), whole, "what is kept is what was told");
    let message = whole["error"]["message"].as_str().expect("a text");
    assert!(message.len() <= 16 * 1024 && message.ends_with("bytes left out]"), "{message}");
    let texts = texts_of(&whole);
    assert_eq!(texts.len(), 12, "each is there");
    assert!(texts.iter().map(String::len).sum::<usize>() <= ATTEMPTS_MAX);
    assert!(texts[0].contains("the texts of the latest are kept"), "{}", texts[0]);
    assert_eq!(texts[11], message, "the latest has all of it");
}

#[tokio::test]
async fn a_job_that_is_as_large_as_it_may_be_is_small_wherever_many_are_shown() {
    let it = TestServer::start().await;
    let mut receiver = Receiver::start(|_| Reply::Status(200)).await;
    let mut call = failing(60_000, 20);
    call["callbacks"] = json!([{"url": receiver.at("/")}]);
    let metadata: Vec<(String, Value)> =
        (0..32).map(|key| (format!("key{key}"), json!("x".repeat(512)))).collect();
    call["metadata"] = Value::Object(metadata.into_iter().collect());
    let job = it.done(&call).await;
    let posted = receiver.next().await;
    assert_eq!(posted.event(&it.webhook_secret())["data"]["error_omitted"], true);
    let wait = it.post("/v1/jobs/wait", &json!({"ids": [job["id"]]})).await.expect(200);
    let completed =
        it.post("/v1/jobs/as-completed", &json!({"ids": [job["id"]]})).await.expect(200);
    let list = it.get("/v1/jobs").await.expect(200);
    for shown in [posted.body.to_vec(), wait.body, completed.body, list.body] {
        let text = String::from_utf8(shown).expect("a text");
        assert!(text.len() < BRIEF_JOB_MAX, "{} bytes", text.len());
        assert!(text.contains("\"error_omitted\":true,\"attempts_omitted\":true"), "{text}");
    }
}

#[tokio::test]
async fn a_callback_has_a_url_a_host_and_headers_of_a_length() {
    let it = TestServer::start().await;
    let url = |path: usize| format!("http://127.0.0.1:9/{}", "x".repeat(path));
    let host =
        |labels: usize| format!("http://{}example/", format!("{}.", "a".repeat(60)).repeat(labels));
    let headers = |bytes: usize| json!({"X-One": "y".repeat(bytes)});
    for (place, callback) in [
        ("/callbacks/0/url", json!({"url": url(2_100)})),
        ("/callbacks/0/url", json!({"url": url(900_000)})),
        // Three bytes each where they are escaped.
        ("/callbacks/0/url", json!({"url": format!("http://127.0.0.1:9/{}", "\"".repeat(800))})),
        ("/callbacks/0/url", json!({"url": host(5)})),
        ("/callbacks/0/headers", json!({"url": url(1), "headers": headers(8_200)})),
    ] {
        let call = json!({"function": "echo", "callbacks": [callback]});
        let refused = it.post("/v1/jobs", &call).await.expect(422);
        assert_eq!(refused.json()["errors"][0]["pointer"], place);
        assert!(refused.body.len() < 4_096, "and does not repeat it");
    }
    let callback = json!({"url": url(2_000), "headers": headers(8_000)});
    it.submit(&json!({"function": "echo", "callbacks": [callback]})).await;
    let call = json!({"function": "http.request", "args": [url(9_000)]});
    assert_eq!(it.post("/v1/jobs", &call).await.expect(422).code(), "invalid_arguments");
}

#[tokio::test]
async fn a_refusal_does_not_repeat_all_that_it_refuses() {
    let it = TestServer::start().await;
    let long = "x".repeat(500_000);
    for call in [
        json!({"function": long}),
        json!({"function": "sleep", "args": [long]}),
        json!({"function": "http.request", "args": [format!("{long}:")]}),
        json!({"function": "echo", long.as_str(): 1}),
    ] {
        let answer = it.post("/v1/jobs", &call).await;
        assert!(answer.status.is_client_error() && answer.body.len() < 16 * 1024, "{answer:?}");
    }
}

#[tokio::test]
async fn the_callbacks_of_a_job_and_of_a_batch_come_in_pages_and_are_a_thousand_at_most() {
    let it = TestServer::start().await;
    let job = it.submit(&json!({"manual": true})).await;
    let batch = json!({"function": "sleep", "iterables": [[60]]});
    let batch = it.post("/v1/batches", &batch).await.expect(202).json();
    for owner in [job, batch] {
        let path = owner["urls"]["callbacks"].as_str().expect("a path").to_owned();
        let add = async |number: usize| {
            it.post(&path, &json!({"url": format!("http://127.0.0.1:9/{number}")})).await
        };
        for number in 0..1_000 {
            add(number).await.expect(201);
        }
        assert_eq!(add(1_000).await.expect(409).code(), "invalid_state");
        let mut seen = Vec::new();
        let mut next = Some(format!("{path}?page_size=400"));
        while let Some(page) = next {
            let page = it.get(&page).await.expect(200).json();
            let urls = page["callbacks"].as_array().expect("a list").iter();
            seen.extend(urls.map(|it| it["url"].as_str().expect("a URL").to_owned()));
            let token = page["next_page_token"].as_str();
            next = token.map(|token| format!("{path}?page_size=400&page_token={token}"));
        }
        let all: Vec<String> = (0..1_000).map(|it| format!("http://127.0.0.1:9/{it}")).collect();
        assert_eq!(seen, all, "in the order they were added, and each once");
        let first = it.get(&path).await.expect(200).json();
        assert_eq!(first["callbacks"].as_array().map(Vec::len), Some(50));
        let id = first["callbacks"][0]["id"].as_str().expect("an id");
        it.send(it.request(Method::DELETE, &format!("/v1/callbacks/{id}"))).await.expect(204);
        add(1_001).await.expect(201);
        let token = first["next_page_token"].as_str().expect("a token");
        it.get(&format!("/v1/jobs?page_token={token}")).await.expect(400);
    }
}

#[tokio::test]
async fn a_queue_has_no_name_that_paths_fold() {
    let it = TestServer::start().await;
    for name in [".", ".."] {
        let call = json!({"function": "echo", "queue": name});
        assert_eq!(it.post("/v1/jobs", &call).await.expect(422).code(), "invalid_value");
    }
}

#[tokio::test]
async fn a_url_that_an_older_server_took_is_cut_where_it_is_shown_and_says_so() {
    let home = Home::new();
    let it = home.start(&["--allow-loopback-egress"]).await;
    let callbacks = json!([{"url": "http://127.0.0.1:9/a"}, {"url": "http://127.0.0.1:9/b"}]);
    let job = it.submit(&json!({"function": "sleep", "args": [60], "callbacks": callbacks})).await;
    it.stop_at_once().await;
    execute(
        &home.database(),
        "update callbacks set url = url || hex(zeroblob(2000)) where url like '%/a'",
    )
    .await;
    let it = home.start(&["--allow-loopback-egress"]).await;
    for path in [job["urls"]["callbacks"].as_str().expect("a path"), "/v1/callbacks"] {
        let listed = it.get(path).await.expect(200).json();
        let (mut cut, mut whole) = (0, 0);
        for callback in listed["callbacks"].as_array().expect("a list") {
            let url = callback["url"].as_str().expect("a URL");
            if url.ends_with("/b") {
                assert_eq!(callback["url_omitted"], Value::Null, "{callback}");
                whole += 1;
            } else {
                assert!(url.len() <= 2_048 && url.ends_with("bytes left out]"), "{url}");
                assert_eq!(callback["url_omitted"], true, "{callback}");
                cut += 1;
            }
        }
        assert_eq!((cut, whole), (1, 1));
    }
    it.stop_at_once().await;
}

/// A worker that answers with whatever text it is given, and tells of itself at length.
const LOUD: &str = r#"
import json, sys
def say(text): sys.stdout.write(text + "\n"); sys.stdout.flush()
for line in sys.stdin:
    it = json.loads(line)
    if it["method"] == "initialize":
        say(json.dumps({"jsonrpc": "2.0", "id": it["id"], "result": {"functions": [{"name": "loud", "description": "d" * 500000}]}}))
    elif it["method"] == "call":
        how, of = it["params"]["args"][0], {k: it["params"][k] for k in ("job", "attempt")}
        if how == "error":
            data = {"type": "T" * 900000, "traceback": "t" * 900000 + "the cause", "details": "d" * 900000}
            say(json.dumps({"jsonrpc": "2.0", "id": it["id"], "error": {"code": 1, "message": "\ud800" + "m" * 900000, "data": data}}))
        elif how == "hints":
            at = json.dumps(of)[1:-1]
            for told in ('"progress","params":{%s,"fraction":NaN}', '"progress","params":{%s,"fraction":"half"}', '"shout","params":{%s}'):
                say('{"jsonrpc":"2.0","method":' + told % at + '}')
            say('{"jsonrpc":"2.0","method":"progress","params":{"job":"another","attempt":1,"fraction":NaN}}')
            say('{"jsonrpc":"2.0","id":%d,"result":"whole"}' % it["id"])
        elif how == "long":
            say('{"jsonrpc":"2.0","id":%d,"result":"%s"}' % (it["id"], "x" * 20000000))
        elif how == "progress":
            say(json.dumps({"jsonrpc": "2.0", "method": "progress", "params": {**of, "message": "p" * 4000000}}))
        else:
            say('{"jsonrpc":"2.0","id":%d,"result":%s}' % (it["id"], how))
"#;

async fn loud(home: &Home) -> Process {
    let file = script(home, "loud.py", LOUD);
    let text = format!(
        "[workers.loud]\nargv = [\"PYTHON\", \"{0}\"]\nprocesses = 1\n[functions.\"deep\"]\nruntime = \"command\"\n\
         argv = [\"PYTHON\", \"-c\", \"print('[' * 3000000 + ']' * 3000000)\"]\n",
        file.display()
    );
    configure(home, &text);
    let it = home.start(&["--grace-seconds", "0", "--allow-loopback-egress"]).await;
    until("the worker is ready", async || {
        let function = it.get("/v1/functions/loud").await.json();
        (function["worker"]["ready"] == 1).then_some(())
    })
    .await;
    it
}

async fn called(it: &Process, function: &str, args: Value) -> Value {
    let job = it.submit(&json!({"function": function, "args": args})).await;
    it.done(&job).await
}

#[tokio::test]
async fn e24_a_result_that_not_every_reader_takes_costs_its_call_and_no_process() {
    let home = Home::new();
    let it = loud(&home).await;
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    for (result, why) in [
        (r#""\ud800""#, "surrogate"),
        ("[1e999]", "double"),
        (r#"["\u0000"]"#, "U+0000"),
        (deep.as_str(), "deeper"),
        (r#"{"rows":[{"price":1e999}]}"#, "at /rows/0/price"),
        // None of these is an answer, and each says whose it is.
        ("NaN", "worker 'loud' is none of the protocol: expected value at /result, near 'NaN}'"),
        (r#"{"rows":[1,{"price":-Infinity}]}"#, "invalid number at /result/rows/1/price, near"),
        ("{'a': None}", "key must be a string at /result"),
        ("\"\t\"", "control character"),
        (r#"1,"error":{"code":1,"message":"no"}"#, "neither an answer with a result or an error"),
        (r#"1,"error":"no""#, "none of the protocol: invalid type: string"),
    ] {
        let job = called(&it, "loud", json!([result])).await;
        assert_eq!(job["error"]["type"], "invalid_result", "{result}");
        assert!(job["error"]["message"].as_str().expect("a text").contains(why), "{job}");
    }
    assert_eq!(called(&it, "loud", json!(["long"])).await["error"]["type"], "result_too_large");
    // What is told on the way costs nothing, and its line in the log says what is wrong.
    let job = called(&it, "loud", json!(["hints"])).await;
    assert_eq!((&job["result"], &job["progress"]), (&json!("whole"), &Value::Null), "{job}");
    let log = it.get(job["urls"]["log"].as_str().expect("a path")).await.expect(200);
    let log = String::from_utf8(log.body).expect("a text");
    for why in ["at /params/fraction, near 'NaN", "invalid type: string", "no notification 'shout'"]
    {
        assert!(log.contains(why), "{log}");
    }
    assert_eq!(log.matches("none of the protocol").count(), 3, "{log}");
    assert_eq!(called(&it, "deep", json!([])).await["error"]["type"], "invalid_result");
    let job = called(&it, "loud", json!([r#"["\ud83d\ude00",1e308]"#])).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    let function = it.get("/v1/functions/loud").await.expect(200).json();
    assert_eq!(function["worker"]["restarts"], 0, "the process is the same");
    assert!(function["description"].as_str().expect("a text").len() <= 4_096);
    it.stop().await;
}

#[tokio::test]
async fn what_a_worker_says_of_a_call_is_cut_and_says_so() {
    let home = Home::new();
    let it = loud(&home).await;
    let error = called(&it, "loud", json!(["error"])).await["error"].clone();
    let text = |name: &str| error[name].as_str().expect("a text").to_owned();
    assert_eq!(text("type").chars().count(), 128);
    assert!(text("message").starts_with("\u{fffd}mmm") && text("message").len() <= 16 * 1024);
    assert!(text("traceback").ends_with("the cause") && text("traceback").len() <= 16 * 1024);
    assert_eq!((&error["details"], &error["details_omitted"]), (&Value::Null, &json!(true)));
    let job = it.submit(&json!({"function": "loud", "args": ["progress"]})).await;
    let shown = until("it says how far it is", async || {
        let progress = it.job(&job).await["progress"]["message"].clone();
        progress.as_str().map(str::to_owned)
    })
    .await;
    assert!(shown.len() <= 1_024 && shown.ends_with("bytes left out]"), "{shown}");
    it.stop_at_once().await;
}

/// The most memory that a process has had, in bytes, and what its directory has on the disk.
fn taken(it: &Process, home: &Home) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", it.pid())).expect("a status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let peak: u64 = peak.trim().trim_end_matches(" kB").trim().parse().expect("a number");
    let files = std::fs::read_dir(home.data()).expect("a directory").flatten();
    let disk = files.map(|file| file.metadata().map_or(0, |it| it.len())).sum();
    (peak * 1024, disk)
}

#[tokio::test]
async fn heavy_one_request_is_not_multiplied_by_its_attempts_its_callbacks_and_its_readers() {
    const MIB: u64 = 1024 * 1024;
    let home = Home::new();
    let it = loud(&home).await;
    called(&it, "echo", json!([1])).await;
    let idle = taken(&it, &home);
    // Nobody listens there, so each is tried again, and its body is kept.
    let callbacks: Vec<Value> =
        (1..=16).map(|number| json!({"url": format!("http://127.0.0.{number}:9/")})).collect();
    let mut calls = Vec::new();
    // A worker's attempt has twice as much text, which it takes long to say.
    let loud = json!({"function": "loud", "args": ["error"]});
    for (mut call, attempts) in [(failing(900_000, 100), 100), (loud, 40)] {
        call["retry"] = json!({"max_attempts": attempts, "initial_seconds": 0, "jitter": 0});
        call["callbacks"] = json!(callbacks);
        calls.push((it.submit(&call).await, attempts));
    }
    for (job, attempts) in &calls {
        let job = it.done(job).await;
        assert_eq!((&job["state"], &job["attempt"]), (&json!("failed"), &json!(attempts)));
        let path = format!("{}/callbacks", path_of(&job));
        until("each was tried", async || {
            let all = it.get(&path).await.expect(200).json()["callbacks"].clone();
            let tried = |it: &Value| it["deliveries"][0]["attempts"][0].is_object();
            let all = all.as_array().expect("a list").iter().filter(|it| tried(it)).count();
            (all == 16).then_some(())
        })
        .await;
    }
    for _ in 0..20 {
        it.get("/v1/jobs?page_size=1000").await.expect(200);
    }
    let (memory, disk) = taken(&it, &home);
    let (memory, disk) = (memory.saturating_sub(idle.0) / MIB, disk.saturating_sub(idle.1) / MIB);
    println!("{memory} MiB of memory, {disk} MiB on the disk");
    // What is kept of all attempts would be 90 MiB for the first and more for the second, in each of 16 bodies. A build for
    // tests on a busy machine has had 71 MiB; a release build is held to 64 by tests/torture/multiplied.py.
    assert!(memory <= 96 && disk <= 32, "{memory} MiB of memory, {disk} MiB on the disk");
    it.stop_at_once().await;
}
