//! Nothing of a program survives its attempt (G10): forks, sessions, double forks, deaf ones.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::process::{Home, Process, until};
use crate::programs::{alive, serving};

/// Forks, makes sessions, forks twice, ignores SIGTERM, keeps its output open. `MARK` is in every command line.
const STUBBORN: &str = r#"
import os, signal, sys, time
mark, depth = sys.argv[1], int(sys.argv[2])
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def child(then):
    if os.fork() == 0:
        then()
        os.execv(sys.executable, [sys.executable, __file__, mark, str(depth - 1)])
def twice():
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    os.setsid()
if depth > 0:
    child(lambda: None)
    child(os.setsid)
    child(twice)
else:
    print("up", flush=True)
time.sleep(1000)
"#;

/// Of a program whose depth is 2: itself, three children, and three of each of those.
const PROCESSES: usize = 13;

async fn stubborn(home: &Home, cgroups: bool) -> Process {
    let script = crate::programs::script(home, "stubborn.py", STUBBORN);
    std::fs::create_dir_all(home.file("work")).expect("a directory");
    let text = format!(
        "cgroups = {cgroups}
         work_dir = \"{}\"
         [functions.stubborn]
         runtime = \"command\"
         argv = [\"PYTHON\", \"{}\", \"{{mark}}\", \"2\"]
         parameters = [{{ name = \"mark\" }}]
         stdin = \"none\"
         stdout = \"text\"
         [functions.leaves]
         runtime = \"command\"
         argv = [\"/bin/sh\", \"-c\", \"(setsid /bin/sleep \\\"$0\\\" &) ; /bin/sleep \\\"$0\\\" & echo up\", \"{{mark}}\"]
         parameters = [{{ name = \"mark\" }}]
         stdin = \"none\"
         stdout = \"text\"
         [queues.one]
         max_workers = 1
        ",
        home.file("work").display(),
        script.display()
    );
    serving(home, &text).await
}

/// A job whose processes are all there, with the mark that they are known by.
async fn grown(it: &Process, home: &Home, options: Value) -> (Value, String) {
    let mark = format!("mark-{}", uuid(home));
    let mut submission = json!({"function": "stubborn", "args": [mark]});
    submission
        .as_object_mut()
        .expect("an object")
        .extend(options.as_object().expect("an object").clone());
    let job = it.submit(&submission).await;
    until("all processes are there", async || (alive(&mark).len() >= PROCESSES).then_some(()))
        .await;
    (job, mark)
}

/// What no other test has in a command line.
fn uuid(home: &Home) -> String {
    let file = home.file("");
    let name = file.components().next_back().expect("a name").as_os_str();
    format!("{}-{}", std::process::id(), name.to_str().expect("text").trim_start_matches('.'))
}

async fn nothing_survives(cgroups: bool) {
    let home = Home::new();
    let it = stubborn(&home, cgroups).await;
    let job = it.submit(&json!({"function": "leaves", "args": ["98765"], "queue": "one"})).await;
    assert_eq!(it.done(&job).await["result"], "up\n");
    let (job, mark) = grown(&it, &home, json!({"run_timeout_seconds": 1.5})).await;
    let done = it.done(&job).await;
    assert_eq!(done["error"]["type"], "run_timeout", "{done}");
    assert_eq!(alive(&mark), Vec::<String>::new(), "after a time-out, cgroups {cgroups}");

    let (job, mark) = grown(&it, &home, json!({})).await;
    let path = format!("{}/cancel", job["urls"]["self"].as_str().expect("a URL"));
    it.post(&path, &json!({"grace_seconds": 0.1, "wait_seconds": 30})).await;
    assert_eq!(it.done(&job).await["state"], "cancelled");
    assert_eq!(alive(&mark), Vec::<String>::new(), "after a cancel, cgroups {cgroups}");

    let (job, mark) = grown(&it, &home, json!({})).await;
    it.stop_at_once().await;
    assert_eq!(alive(&mark), Vec::<String>::new(), "after a stop, cgroups {cgroups}");

    let it = stubborn(&home, cgroups).await;
    until("it runs again", async || (alive(&mark).len() >= PROCESSES).then_some(())).await;
    it.kill_nine();
    until("nothing is left", async || alive(&mark).is_empty().then_some(())).await;
    let it = stubborn(&home, cgroups).await;
    it.running(&job, 3).await;
    it.post(&path_of_cancel(&job), &json!({"grace_seconds": 0})).await;
    assert_eq!(it.done(&job).await["state"], "cancelled");
    assert_eq!(alive(&mark), Vec::<String>::new());
    let work = std::fs::read_dir(home.file("work")).expect("a directory").flatten().next();
    let work = std::fs::read_dir(work.expect("one").path()).expect("a directory").count();
    assert_eq!(work, 0, "every attempt's directory went with it");
    it.stop().await;
}

fn path_of_cancel(job: &Value) -> String {
    format!("{}/cancel", job["urls"]["self"].as_str().expect("a URL"))
}

#[tokio::test]
async fn heavy_g10_nothing_of_a_command_survives_without_cgroups() {
    nothing_survives(false).await;
}

#[tokio::test]
async fn heavy_g10_nothing_of_a_command_survives_with_cgroups() {
    let home = Home::new();
    let it = stubborn(&home, true).await;
    let ready = it.get("/readyz?verbose").await.expect(200).json();
    it.stop().await;
    if ready["cgroups"]["used"] != true {
        println!("NOTE: SKIPPED, no cgroups here: {}", ready["cgroups"]["reason"]);
        return;
    }
    nothing_survives(true).await;
}

/// A program's reaper is the child of the spawner that is its parent.
fn parent_of(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
    fields.skip(1).map(|field| field.parse().expect("a number")).next().expect("a parent")
}

async fn nothing_survives_its_keeper(cgroups: bool) {
    let home = Home::new();
    let it = stubborn(&home, cgroups).await;
    let (job, mark) = grown(&it, &home, json!({})).await;
    let first = alive(&mark)
        .iter()
        .filter(|line| line.contains(&format!("{mark} 2")))
        .cloned()
        .collect::<Vec<_>>();
    let pid = first[0].split(':').next().expect("a number").parse().expect("a number");
    let reaper = i32::try_from(parent_of(pid)).expect("a number");
    let reaper = Pid::from_raw(reaper).expect("a number");
    kill_process(reaper, Signal::KILL).expect("a process to kill");
    let done = it.done(&job).await;
    assert_eq!(done["error"]["type"], "worker_lost", "{done}");
    until("nothing is left", async || alive(&mark).is_empty().then_some(())).await;
    it.stop().await;
}

#[tokio::test]
async fn g10_nothing_survives_a_keeper_that_is_killed() {
    nothing_survives_its_keeper(false).await;
    nothing_survives_its_keeper(true).await;
}

/// Descriptors for the database, some requests, and few programs.
const DESCRIPTORS: u32 = 64;

#[tokio::test]
async fn g23_jobs_for_which_there_is_no_descriptor_wait_and_use_no_attempt_up() {
    let home = Home::new();
    let text = "[queues.default]
        max_workers = 64
        [functions.nap]
        runtime = \"command\"
        argv = [\"/bin/sleep\", \"0.3\"]
        stdin = \"none\"
        stdout = \"text\"
        ";
    crate::programs::configure(&home, text);
    let mut command = std::process::Command::new("/bin/sh");
    let limited = format!("ulimit -n {DESCRIPTORS}; exec \"$0\" \"$@\"");
    command.args([
        "-c",
        &limited,
        env!("CARGO_BIN_EXE_futurity"),
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
    ]);
    command.arg(home.data()).env_clear().current_dir(home.file(""));
    let it = home.start_as(command).await;
    let calls: Vec<Value> = (0..40).map(|_| json!({})).collect();
    let batch = it
        .post("/v1/batches", &json!({"function": "nap", "calls": calls}))
        .await
        .expect(202)
        .json();
    let path = batch["urls"]["self"].as_str().expect("a URL").to_owned();
    let done = until("all are done", async || {
        let batch = it.get(&path).await.expect(200).json();
        (batch["done"] == true).then_some(batch)
    })
    .await;
    assert_eq!(done["counts"]["succeeded"], 40, "{done}");
    let jobs = it
        .get(&format!("/v1/jobs?batch={}", batch["id"].as_str().expect("an id")))
        .await
        .expect(200)
        .json();
    let jobs = jobs["jobs"].as_array().expect("a list").clone();
    assert!(jobs.iter().any(|job| job["attempt"].as_u64() > Some(1)), "some had to wait");
    assert!(jobs.iter().all(|job| job["attempts"] == json!([])), "none has failed");
    it.stop().await;
}

/// Reapers hear the end of the server by themselves, so they need no spawner for it; and a spawner that is killed is
/// replaced.
#[tokio::test]
async fn g23_a_spawner_that_is_killed_is_replaced() {
    let home = Home::new();
    let it = stubborn(&home, false).await;
    let job = it.submit(&json!({"function": "leaves", "args": ["98764"]})).await;
    assert_eq!(it.done(&job).await["state"], "succeeded");
    signal(spawner_of(&it), Signal::KILL);
    let job = it.submit(&json!({"function": "leaves", "args": ["98764"]})).await;
    assert_eq!(it.done(&job).await["state"], "succeeded");
    it.stop().await;
}

#[tokio::test]
async fn g23_a_launch_that_a_dead_spawner_never_read_is_made_again() {
    let home = Home::new();
    let it = stubborn(&home, false).await;
    let spawner = spawner_of(&it);
    signal(spawner, Signal::STOP);
    let job = it.submit(&json!({"function": "leaves", "args": ["98763"]})).await;
    it.running(&job, 1).await;
    signal(spawner, Signal::KILL);
    let done = it.done(&job).await;
    assert_eq!((&done["state"], &done["attempts"]), (&json!("succeeded"), &json!([])), "{done}");
    it.stop().await;
}

/// The one child of a server that has no worker.
fn spawner_of(it: &Process) -> Pid {
    let child = std::fs::read_dir("/proc").expect("/proc").flatten().find_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
        (parent == it.pid().to_string()).then_some(pid)
    });
    Pid::from_raw(child.expect("a spawner")).expect("a number")
}

fn signal(process: Pid, signal: Signal) {
    kill_process(process, signal).expect("a process to signal");
}
