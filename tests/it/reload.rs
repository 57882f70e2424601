//! SIGHUP: what may change changes, the rest is named, and nothing ends by it.

use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::process::{Home, Process, until};
use crate::programs::{configure, script};

/// A worker that says which code it is, and has a parameter of that name.
fn code(home: &Home, version: &str) {
    let text = r#"
import json, os, sys, time
def say(**it):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **it}) + "\n"); sys.stdout.flush()
for line in sys.stdin:
    it = json.loads(line)
    if it["method"] == "initialize":
        while os.path.exists(os.environ["HOLD"]): time.sleep(0.01)
        say(id=it["id"], result={"functions": [{"name": "which", "parameters": [{"name": "VERSION", "default": ""}]}]})
    elif it["method"] == "call":
        file = it["params"]["kwargs"].get("VERSION")
        while file and os.path.exists(file): time.sleep(0.01)
        say(id=it["id"], result={"version": "VERSION", "pid": os.getpid()})
"#;
    script(home, "which.py", &text.replace("VERSION", version));
}

/// A server with a worker of so many processes.
fn configure_worker(home: &Home, processes: usize) {
    let text = format!(
        "[workers.w]\nargv = [\"PYTHON\", \"./which.py\"]\nprocesses = {processes}\nenv = {{ HOLD = \"{}\" }}\n",
        home.file("hold").display()
    );
    configure(home, &text.replace("./which.py", &home.file("which.py").display().to_string()));
}

fn hang_up(pid: u32) {
    let pid = Pid::from_raw(pid.try_into().expect("a number")).expect("a process");
    kill_process(pid, Signal::HUP).expect("a process to signal");
}

/// Reloads, and waits for the word of it.
async fn reload(home: &Home, server: &Process) -> String {
    let before = home.log().len();
    hang_up(server.pid());
    until("the reload is over", async || {
        let log = home.log()[before..].to_owned();
        log.contains("reloaded").then_some(log)
    })
    .await
}

async fn which(server: &Process) -> Value {
    let job = server.submit(&json!({"function": "which"})).await;
    server.done(&job).await["result"].clone()
}

/// Becomes the program, with a SIGHUP that waits for it: one that comes before its first instruction.
const HUNG_UP: &str = "
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
os.kill(os.getpid(), signal.SIGHUP)
os.execv(sys.argv[1], sys.argv[1:])
";

#[tokio::test]
async fn a_hang_up_that_is_older_than_the_server_is_a_reload_and_holds_nothing_back() {
    let home = Home::new();
    let text = "[functions.mask]\nruntime = \"command\"\nstdin = \"none\"\nstdout = \"text\"\n\
                argv = [\"/bin/sh\", \"-c\", \"grep SigBlk /proc/self/status\"]\n";
    configure(&home, text);
    let server = home.command(&["--listen", "127.0.0.1:0"]);
    let mut command = std::process::Command::new("python3");
    command.args(["-c", HUNG_UP]).arg(server.get_program()).args(server.get_args());
    command.current_dir(home.data().parent().expect("a directory"));
    let server = home.start_as(command).await;
    until("it is reloaded", async || home.log().contains("reloaded").then_some(())).await;
    let job = server.submit(&json!({"function": "mask"})).await;
    assert_eq!(server.done(&job).await["result"], "SigBlk:\t0000000000000000\n");
    hang_up(server.pid());
    until("again", async || (home.log().matches("reloaded").count() == 2).then_some(())).await;
    server.stop().await;
}

#[tokio::test]
async fn a_hang_up_ends_no_server_not_even_one_that_is_not_ready_yet() {
    let home = Home::new();
    code(&home, "one");
    configure_worker(&home, 1);
    std::fs::write(home.file("hold"), "").expect("a file");
    let mut command = home.command(&["--listen", "127.0.0.1:0"]);
    let log = std::fs::File::create(home.file("log")).expect("a file");
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(log);
    let mut server = home
        .started_after(command, async |pid| {
            until("the data directory is taken", async || {
                home.data().join("lock").exists().then_some(())
            })
            .await;
            (0..3).for_each(|_| hang_up(pid));
            std::fs::remove_file(home.file("hold")).expect("a file");
        })
        .await;
    assert_eq!(which(&server).await["version"], "one");
    hang_up(server.pid());
    server.terminate();
    hang_up(server.pid());
    assert_eq!(server.exit_code().await, Some(0), "it stops as it is asked to: {}", home.log());
}

#[tokio::test]
async fn a_reload_changes_what_may_change_and_names_what_needs_a_restart() {
    let home = Home::new();
    configure(&home, "log = \"futurity=info\"\nthreads = 4\n");
    let server = home.start(&[]).await;
    let text = "log = \"futurity=debug\"\nthreads = 5\nhosts = [\"jobs.example\"]\nmax_wait_seconds = 0.25\n[queues.new]\nmax_workers = 1\n";
    configure(&home, text);
    let log = reload(&home, &server).await;
    for word in [
        "changed=\"log, max_wait_seconds\"",
        "`threads` changed: restart to apply",
        "`hosts` changed: restart to apply",
        "`queues.new` changed",
    ] {
        assert!(log.contains(word), "{word} is in {log}");
    }
    let other = server.request(Method::GET, "/v1/queues").header("host", "jobs.example");
    // A server that goes by a name is not open without a key; one that is open takes none.
    server.send(other).await.expect(421);
    let sleep = server.submit(&json!({"function": "sleep", "args": [600]})).await;
    let path = format!("/v1/jobs/{}?wait=60", sleep["id"].as_str().expect("an id"));
    assert_eq!(server.get(&path).await.expect(200).json()["done"], false, "a shorter wait");
    let retry = json!({"max_attempts": 2, "initial_seconds": 0, "jitter": 0});
    let job =
        server.submit(&json!({"function": "raise", "args": ["E", "x"], "retry": retry})).await;
    server.done(&job).await;
    until("the log has the new filter", async || {
        home.log().contains("another follows").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_configuration_that_cannot_be_taken_changes_nothing_and_is_said_with_its_line() {
    let home = Home::new();
    code(&home, "one");
    configure_worker(&home, 1);
    let server = home.start(&[]).await;
    let first = which(&server).await;
    code(&home, "two");
    for (text, word) in [
        ("threads = 4\nlog = 7\n", "line 2"),
        ("threads = 4\n\nmax_wait_seconds = 9999\n", "line 3: max_wait_seconds"),
        ("log = \"no=such=filter\"\n", "log 'no=such=filter'"),
    ] {
        configure(&home, text);
        let log = reload(&home, &server).await;
        assert!(log.contains("not reloaded: nothing is changed") && log.contains(word), "{log}");
        assert_eq!(which(&server).await, first, "the process is the same");
    }
}

#[tokio::test]
async fn workers_have_new_code_one_process_after_the_other_and_lose_no_call() {
    let home = Home::new();
    code(&home, "one");
    configure_worker(&home, 2);
    let server = home.start(&[]).await;
    until("both are ready", async || {
        let worker = server.get("/v1/functions/which").await.expect(200).json()["worker"].clone();
        (worker["ready"] == 2).then_some(())
    })
    .await;
    let gate = home.file("gate");
    std::fs::write(&gate, "").expect("a file");
    let long = json!({"function": "which", "kwargs": {"one": gate.display().to_string()}});
    let long = server.submit(&long).await;
    server.running(&long, 1).await;
    code(&home, "two");
    reload(&home, &server).await;
    until("the idle one is renewed", async || {
        (which(&server).await["version"] == "two").then_some(())
    })
    .await;
    let signature = server.get("/v1/functions/which").await.expect(200).json();
    assert_eq!(
        signature["parameters"][0]["name"], "two",
        "its parameters are those of the new code"
    );
    assert_eq!(server.job(&long).await["state"], "running", "the call goes on");
    std::fs::remove_file(&gate).expect("a file");
    let long = server.done(&long).await;
    assert_eq!((&long["result"]["version"], &long["attempt"]), (&json!("one"), &json!(1)));
    until("the other is renewed when its call is over", async || {
        let renewed = home.log().matches("a process of a worker is renewed").count();
        (renewed == 2).then_some(())
    })
    .await;
    let worker = server.get("/v1/functions/which").await.expect(200).json()["worker"].clone();
    assert_eq!((&worker["ready"], &worker["restarts"]), (&json!(2), &json!(0)), "{worker}");
}

#[tokio::test]
async fn code_that_cannot_start_takes_one_process_and_leaves_the_others() {
    let home = Home::new();
    code(&home, "one");
    configure_worker(&home, 2);
    let server = home.start(&[]).await;
    script(&home, "which.py", "raise SystemExit(3)\n");
    reload(&home, &server).await;
    until("one is lost, and again", async || {
        (home.log().matches("a process of a worker is lost").count() >= 2).then_some(())
    })
    .await;
    assert_eq!(which(&server).await["version"], "one", "the other goes on");
    code(&home, "three");
    until("both have code that starts", async || {
        (home.log().matches("a process of a worker is renewed").count() == 2).then_some(())
    })
    .await;
    assert_eq!(which(&server).await["version"], "three");
}

#[tokio::test]
async fn an_operator_renews_the_code_of_one_worker_over_http() {
    let home = Home::new();
    code(&home, "one");
    configure_worker(&home, 1);
    let manage = home.run(&["keys", "create", "--scope", "manage"]).await.output;
    let admin = home.run(&["keys", "create"]).await.output;
    let server = home.start(&[]).await;
    let ask = |path: &str, key: &str| server.request(Method::POST, path).bearer_auth(key.trim());
    let which = async || {
        let call = ask("/v1/jobs?wait=60", &admin).json(&json!({"function": "which"}));
        server.send(call).await.expect(200).json()["result"].clone()
    };
    let before = which().await;
    code(&home, "two");
    let restart = "/v1/workers/w/restart";
    server.send(ask(restart, &manage)).await.expect(403);
    assert_eq!(which().await, before, "nothing has happened");
    let worker = server.send(ask(restart, &admin)).await.expect(202).json();
    assert_eq!((&worker["name"], &worker["processes"]), (&json!("w"), &json!(1)));
    until("it has the new code", async || (which().await["version"] == "two").then_some(())).await;
    assert!(home.log().contains("its processes give way"), "{}", home.log());
    let missing = server.send(ask("/v1/workers/v/restart", &admin)).await.expect(404).json();
    assert_eq!(missing["detail"], "there is no worker 'v'; /readyz?verbose lists them");
    server.stop().await;
}
