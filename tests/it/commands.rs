//! Commands: any program as a function, and what no value can do to it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::process::{Home, Process};
use crate::programs::{configure, script, serving};

/// Writes its arguments and its environment.
const SHOW: &str = "import json, os, sys
json.dump({'argv': sys.argv[1:], 'env': dict(os.environ), 'cwd': os.getcwd(),
    'mode': oct(os.stat('.').st_mode & 0o777), 'stdin': sys.stdin.read(), 'fds': sorted(os.listdir('/proc/self/fd')),
    'sid': os.getsid(0) == os.getpid(), 'nice': os.nice(0)}, sys.stdout, indent=1)
";

const COMMANDS: &str = r#"
[functions.show]
runtime = "command"
argv = ["PYTHON", "show.py", "{text}", "n={number}", "--", "{last}"]
parameters = [
    { name = "text", type = "string", maxLength = 200000 },
    { name = "number", type = "integer", minimum = 0, default = 7 },
    { name = "last", default = "" },
]
directory = "."
env = { MINE = "yes" }
pass_env = ["NOT_THERE"]

[functions.here]
runtime = "command"
argv = ["/bin/pwd"]
stdout = "text"

[functions.bytes]
runtime = "command"
argv = ["/bin/cat"]
parameters = [{ name = "data", type = "string" }]
stdin = "data"
stdout = "bytes"
content_type = "image/png"

[functions.any]
runtime = "command"
argv = ["/bin/cat"]

[functions.number]
runtime = "command"
argv = ["/bin/sh", "-c", "printf '%s ' \"$0\"; cat", "{n}"]
parameters = [{ name = "n" }]
stdout = "text"

[functions.shell]
runtime = "command"
argv = ["/bin/sh", "-c", "eval \"$0\"", "{script}"]
parameters = [{ name = "script" }]
stdin = "none"
output_bytes_max = 1000
memory_bytes_max = 100000000
processes_max = 20

[functions.text]
runtime = "command"
argv = ["/bin/sh", "-c", "eval \"$0\"", "{script}"]
parameters = [{ name = "script" }]
stdin = "none"
stdout = "text"
queue = "slow"
run_timeout_seconds = 50
on_interrupt = "fail"
retry = { max_attempts = 3, initial_seconds = 0 }

[functions.missing]
runtime = "command"
argv = ["/no/such/program"]

[queues.slow]
max_workers = 1
"#;

async fn server() -> (Home, Process) {
    let home = Home::new();
    script(&home, "show.py", SHOW);
    let it =
        serving(&home, &COMMANDS.replace("show.py", &home.file("show.py").display().to_string()))
            .await;
    (home, it)
}

async fn call(it: &Process, function: &str, args: Value) -> Value {
    let job = it.submit(&json!({"function": function, "args": args})).await;
    it.done(&job).await
}

#[tokio::test]
async fn a_value_is_one_argument_whatever_it_is() {
    let (_home, it) = server().await;
    let odd = "$(touch /tmp/x) `id` ; \"' * \n LD_PRELOAD=/tmp/evil.so";
    let job = call(&it, "show", json!([odd, 3, "-rf"])).await;
    assert_eq!(job["result"]["argv"], json!([odd, "n=3", "--", "-rf"]), "{job}");
    let job = call(&it, "show", json!(["x"])).await;
    assert_eq!(job["result"]["argv"], json!(["x", "n=7", "--", ""]), "the defaults are filled in");
}

#[tokio::test]
async fn what_a_program_has_is_only_what_it_was_given() {
    let (home, it) = server().await;
    let shown = call(&it, "show", json!(["x"])).await["result"].clone();
    let environment = shown["env"].as_object().expect("an environment").clone();
    let mut names: Vec<&str> = environment.keys().map(String::as_str).collect();
    names.retain(|name| *name != "LC_CTYPE");
    let given = [
        "FUTURITY_ATTEMPT",
        "FUTURITY_IDEMPOTENCY_KEY",
        "FUTURITY_JOB_ID",
        "HOME",
        "MINE",
        "TMPDIR",
    ];
    assert_eq!(names, given, "the server's own environment was empty");
    assert_eq!(
        shown["cwd"],
        home.file("").canonicalize().expect("a place").to_str().expect("text")
    );
    assert_eq!((&shown["sid"], &shown["nice"]), (&json!(true), &json!(10)));
    // The fourth is the directory that is being listed.
    assert_eq!(shown["fds"].as_array().map(Vec::len), Some(4), "{}", shown["fds"]);
    let kwargs: Value = serde_json::from_str(shown["stdin"].as_str().expect("text")).expect("JSON");
    assert_eq!(kwargs, json!({"args": [], "kwargs": {"text": "x", "number": 7, "last": ""}}));

    let place = call(&it, "here", json!([])).await["result"].as_str().expect("a path").to_owned();
    let own = std::env::temp_dir().canonicalize().expect("a place").join("futurity-");
    assert!(place.trim().starts_with(own.to_str().expect("text")), "{place}");
    let data = home.data().canonicalize().expect("a place");
    assert!(!place.starts_with(data.to_str().expect("text")), "away from the data: {place}");
    assert!(!std::path::Path::new(place.trim()).exists(), "it goes with the attempt");
}

#[tokio::test]
async fn values_that_would_be_something_else_are_refused_with_a_pointer() {
    let (_home, it) = server().await;
    let long = "x".repeat(131_072);
    for (call, pointer, told) in [
        (json!({"args": ["--help"]}), "/args/0", "option"),
        (json!({"kwargs": {"text": "-"}}), "/kwargs/text", "option"),
        (json!({"args": [long]}), "/args/0", "131071"),
        (json!({"args": ["x", -1]}), "/args/1", "minimum"),
        (json!({"args": ["x"], "kwargs": {"number": "7"}}), "/kwargs/number", "integer"),
        (json!({"args": [1]}), "/args/0", "string"),
    ] {
        let mut submission = call.clone();
        submission["function"] = json!("show");
        let problem = it.post("/v1/jobs", &submission).await.expect(422);
        assert_eq!(problem.code(), "invalid_arguments");
        let problem = problem.json();
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        let detail = problem["errors"][0]["detail"].as_str().expect("text");
        assert!(detail.contains(told), "{detail}");
    }
    // U+0000 does not come as far as a command.
    let body = r#"{"function": "show", "args": ["a\u0000b"]}"#;
    let request =
        it.request(reqwest::Method::POST, "/v1/jobs").header("content-type", "application/json");
    it.send(request.body(body)).await.expect(400);
    let calls = json!({"function": "show", "calls": [{"args": ["x"]}, {"args": ["-x"]}]});
    let problem = it.post("/v1/batches", &calls).await.expect(422).json();
    assert_eq!(problem["errors"][0]["pointer"], "/calls/1/args/0");
    let lists = json!({"function": "show", "iterables": [["x", "y"], [1, -1]]});
    let problem = it.post("/v1/batches", &lists).await.expect(422).json();
    assert_eq!(problem["errors"][0]["pointer"], "/iterables/1/1");
    let problem = it.post("/v1/jobs", &json!({"function": "bytes", "args": ["no base64"]})).await;
    assert_eq!(problem.expect(422).json()["errors"][0]["pointer"], "/args/0");
}

#[tokio::test]
async fn a_command_reads_and_writes_json_text_and_bytes() {
    let (_home, it) = server().await;
    let data = STANDARD.encode([0, 255, 10, 13, 0]);
    let job = call(&it, "bytes", json!([data])).await;
    let expected = json!({"content_type": "image/png", "body_encoding": "base64", "body": data});
    assert_eq!(job["result"], expected);
    let submission = json!({"function": "any", "args": [1, {"a": null}], "kwargs": {"b": [2]}});
    let job = it.done(&it.submit(&submission).await).await;
    assert_eq!(job["result"], json!({"args": [1, {"a": null}], "kwargs": {"b": [2]}}));
    let job = call(&it, "text", json!(["printf 'a\\nb'"])).await;
    assert_eq!(job["result"], "a\nb");
    for (function, script, told) in [
        ("shell", "echo no", "not one JSON value"),
        ("shell", "true", "not one JSON value"),
        ("text", "printf '\\377'", "not UTF-8"),
    ] {
        let error = call(&it, function, json!([script])).await["error"].clone();
        assert_eq!(error["type"], "invalid_result", "{error}");
        assert!(error["message"].as_str().expect("text").contains(told), "{error}");
    }
}

#[tokio::test]
async fn a6_a_result_of_several_lines_is_one_line_of_a_stream() {
    let (_home, it) = server().await;
    let job = call(&it, "shell", json!(["printf '[1,\\n 2]\\n'"])).await;
    let ids = json!({"ids": [job["id"]]});
    let stream = it.post("/v1/jobs/as-completed", &ids).await.expect(200);
    let text = String::from_utf8(stream.body).expect("text");
    assert_eq!(text.lines().count(), 2, "{text}");
    let line: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    assert_eq!(line["job"]["result"], json!([1, 2]));
    let submission = "{\"function\": \"echo\",\n \"args\": [[3,\r\n 4]]}";
    let request =
        it.request(reqwest::Method::POST, "/v1/jobs").header("content-type", "application/json");
    let job = it.done(&it.send(request.body(submission)).await.expect(202).json()).await;
    let stream = it.post("/v1/jobs/as-completed", &json!({"ids": [job["id"]]})).await.expect(200);
    assert_eq!(String::from_utf8(stream.body).expect("text").lines().count(), 2);
}

#[tokio::test]
async fn an_end_that_is_no_success_is_told_with_what_the_program_said() {
    let (_home, it) = server().await;
    let error =
        call(&it, "shell", json!(["echo one >&2; echo two >&2; exit 3"])).await["error"].clone();
    assert_eq!(error["type"], "CalledProcessError");
    assert_eq!(error["message"], "/bin/sh returned non-zero exit status 3");
    assert_eq!(
        (&error["details"], &error["traceback"]),
        (&json!({"exit_code": 3}), &json!("one\ntwo"))
    );
    let error = call(&it, "shell", json!(["kill -KILL $$"])).await["error"].clone();
    assert_eq!(error["details"], json!({"signal": 9}));
    assert!(error["message"].as_str().expect("text").contains("SIGKILL"), "{error}");
    let error = call(&it, "shell", json!(["exit 75"])).await["error"].clone();
    assert_eq!(error["retryable"], true, "EX_TEMPFAIL");
    let error = call(&it, "missing", json!([])).await["error"].clone();
    assert_eq!(error["type"], "FileNotFoundError");
    assert!(error["message"].as_str().expect("text").contains("/no/such/program"), "{error}");
}

#[tokio::test]
async fn the_text_of_a_number_is_never_printed_anew() {
    let (_home, it) = server().await;
    for text in ["1.10", "1152921504606846977", "123456789012345678901234567890", "1.0", "1e2"] {
        let body = format!("{{\"function\":\"number\",\"kwargs\":{{\"n\":{text}}}}}");
        let request = it.request(reqwest::Method::POST, "/v1/jobs");
        let request = request.header("content-type", "application/json").body(body);
        let job = it.done(&it.send(request).await.expect(202).json()).await;
        let whole = format!("{text} {{\"args\":[],\"kwargs\":{{\"n\":{text}}}}}");
        assert_eq!(job["result"], whole, "{job}");
    }
}

#[tokio::test]
async fn what_a_program_says_beside_is_the_log_of_its_job() {
    let (_home, it) = server().await;
    let job = call(&it, "shell", json!(["echo a >&2; printf b >&2; echo 1"])).await;
    let path = format!("{}/log", job["urls"]["self"].as_str().expect("a URL"));
    let request = it.request(reqwest::Method::GET, &path).header("accept", "application/x-ndjson");
    let log = it.send(request).await.expect(200);
    let lines = String::from_utf8(log.body).expect("text");
    let lines: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let shown: Vec<_> =
        lines.iter().map(|line| (line["stream"].as_str(), line["line"].as_str())).collect();
    assert_eq!(shown, [(Some("stderr"), Some("a")), (Some("stderr"), Some("b"))]);
}

#[tokio::test]
async fn a_program_may_open_as_many_files_as_the_server_might_when_it_was_started() {
    let home = Home::new();
    configure(&home, COMMANDS);
    let program = home.command(&["--listen", "127.0.0.1:0", "--grace-seconds", "0"]);
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", "ulimit -Sn 321 && exec \"$@\"", "sh"]).arg(program.get_program());
    command.args(program.get_args()).env_clear().current_dir(home.file(""));
    let it = home.start_as(command).await;
    let job = call(&it, "text", json!(["ulimit -Sn"])).await;
    assert_eq!(job["result"], "321\n", "{job}");
}

#[tokio::test]
async fn a_long_line_of_a_log_is_there_whole_in_lines_that_do_not_depend_on_chance() {
    let (_home, it) = server().await;
    let python = crate::programs::python();
    let pause =
        "import sys, time; sys.stderr.write('z' * 40000); sys.stderr.flush(); time.sleep(.1)";
    for after in ["", "; time.sleep(.1)"] {
        let script = format!("{python} -c \"{pause}{after}; sys.stderr.write(chr(10))\"; echo 1");
        let job = call(&it, "shell", json!([script])).await;
        assert_eq!(job["state"], "succeeded", "{job}");
        let path = format!("{}/log", job["urls"]["self"].as_str().expect("a URL"));
        let log = String::from_utf8(it.get(&path).await.expect(200).body).expect("text");
        let lengths: Vec<usize> = log.lines().map(str::len).collect();
        assert_eq!(lengths, [16_384, 16_384, 7_232]);
    }
}

#[tokio::test]
async fn g14_g22_what_takes_too_much_fails_alone_and_by_its_own_name() {
    let (_home, it) = server().await;
    let hog = "exec PYTHON -c 'x = bytearray(10**10); x[::4096] = b\"1\" * len(x[::4096])'"
        .replace("PYTHON", crate::programs::python());
    let many = "i=0; while [ $i -lt 1000 ]; do sleep 100 & i=$((i+1)); done; wait";
    let flood = "exec /usr/bin/yes";
    let neighbour = it.submit(&json!({"function": "sleep", "args": [0.2]})).await;
    for (script, name) in
        [(hog.as_str(), "out_of_memory"), (many, "process_limit"), (flood, "output_limit")]
    {
        let job = call(&it, "shell", json!([script])).await;
        assert_eq!(job["error"]["type"], name, "{job}");
    }
    assert_eq!(it.done(&neighbour).await["state"], "succeeded");
}

#[tokio::test]
async fn a_function_says_what_its_jobs_have_where_they_say_nothing() {
    let (_home, it) = server().await;
    let function = it.get("/v1/functions/text").await.expect(200).json();
    assert_eq!(
        (&function["runtime"], &function["defaults"]["queue"]),
        (&json!("command"), &json!("slow"))
    );
    assert_eq!(function["defaults"]["run_timeout_seconds"], 50.0);
    let job = call(&it, "text", json!(["exit 1"])).await;
    assert_eq!((&job["queue"], &job["max_attempts"]), (&json!("slow"), &json!(3)));
    assert_eq!((&job["attempt"], &job["on_interrupt"]), (&json!(3), &json!("fail")));
    let submission = json!({"function": "text", "args": ["exit 1"], "queue": "default",
        "retry": {"max_attempts": 1}, "on_interrupt": "rerun"});
    let job = it.done(&it.submit(&submission).await).await;
    assert_eq!((&job["queue"], &job["max_attempts"]), (&json!("default"), &json!(1)));
    assert_eq!(job["on_interrupt"], "rerun");
}

#[tokio::test]
async fn a_mistake_in_the_file_is_told_with_its_line_and_its_mend() {
    let home = Home::new();
    let command = "[functions.\"a.b\"]\nruntime = \"command\"\nargv = [\"/bin/true\"";
    for (text, told) in [
        (
            format!("\n{command}, \"{{x}}\"]\n"),
            "futurity.toml, line 4: functions.\"a.b\".argv: '{x}' is no parameter",
        ),
        (
            format!("{command}]\nstdout = \"xml\"\n"),
            "line 4: functions.\"a.b\".stdout: must be \"json\"",
        ),
        (
            format!("{command}]\nparameters = [{{ name = \"x\", tpye = \"string\" }}]\n"),
            "line 4: functions.\"a.b\".parameters: parameter 'x': 'tpye' is no word",
        ),
        (
            format!("{command}]\nparameters = [{{ name = \"x\", type = \"strng\" }}]\n"),
            "parameter 'x': its schema",
        ),
        (
            format!("{command}]\nprocesses = 2\n"),
            "line 4: functions.\"a.b\".processes: means nothing here",
        ),
        (format!("{command}]\nshell = true\n"), "unknown field `shell`"),
        (
            "[functions.a]\nruntime = \"shell\"\n".to_owned(),
            "line 2: functions.a.runtime: must be \"command\"",
        ),
        (
            "[functions.A]\nruntime = \"command\"\nargv = [\"x\"]\n".to_owned(),
            "a function's name is words",
        ),
        ("[workers.p]\nprocesses = 2\n".to_owned(), "line 1: workers.p.argv: is required"),
        (
            "[workers.p]\nargv = [\"x\"]\nprocesses = 0\n".to_owned(),
            "line 3: workers.p.processes: must be from 1",
        ),
        (
            "[queues.q]\nmax_workers = 0\n".to_owned(),
            "line 2: queues.q.max_workers: 0 must be from 1",
        ),
        ("\nthreads = 0\n".to_owned(), "line 2: threads: 0 must be from 1"),
    ] {
        configure(&home, &text);
        let ended = home.run(&["serve"]).await;
        assert_eq!(ended.code, Some(78), "{text}\n{}", ended.errors);
        assert!(ended.errors.contains(told), "{told}\n{}", ended.errors);
    }
}
