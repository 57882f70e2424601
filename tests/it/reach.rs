//! What a program can reach of the server that started it: nothing, as root and as another user.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::process::geteuid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Home, Process, until};
use crate::programs::{configure, script, serving};

/// That of the tests may be root's alone.
const EVERYBODYS_PYTHON: &str = "/usr/bin/python3";
/// Whoever has no rights of its own anywhere.
const NOBODY: u32 = 65_534;

/// Tries everything, and says what it could do: the data directory, then processes to stop.
const REACH: &str = r#"
import ctypes, glob, json, os, signal, sys
data, processes = sys.argv[1], json.loads(sys.argv[2])
reached = []
def attempt(what, act):
    try:
        act()
        reached.append(what)
    except OSError:
        pass
for name in ["futurity.db", "futurity.db-wal", "webhook-secret", "seal-key", "lock", "address"]:
    file = os.path.join(data, name)
    attempt("read " + name, lambda: open(file, "rb").read())
    attempt("write " + name, lambda: open(file, "ab").close())
    attempt("cut " + name, lambda: os.truncate(file, 1 << 20))
    attempt("remove " + name, lambda: os.rename(file, file + ".away"))
above = os.path.dirname(data)
attempt("move the data", lambda: os.rename(data, data + ".away"))
attempt("move what holds the data", lambda: os.rename(above, above + ".away"))
attempt("make keys.json", lambda: open(os.path.join(data, "keys.json"), "w").close())
for process in processes:
    attempt("stop %d" % process, lambda: os.kill(process, signal.SIGSTOP))
    attempt("look at %d" % process, lambda: open("/proc/%d/mem" % process, "rb").close())
def look(file):
    if b"SECRET_OF_THE_SERVER" in open(file, "rb").read():
        reached.append(file)
for file in glob.glob("/proc/[0-9]*/environ"):
    try:
        look(file)
    except OSError:
        pass
for file in glob.glob("/sys/fs/cgroup/**/cgroup.procs", recursive=True):
    attempt("write " + file, lambda: open(file, "r+").close())
if WALLED:
    attempt("write core_pattern", lambda: open("/proc/sys/kernel/core_pattern", "r+").close())
def uncover():
    if ctypes.CDLL(None, use_errno=True).umount2(data.encode(), 2) != 0:
        raise OSError(ctypes.get_errno(), "umount2")
attempt("uncover", uncover)
open("own", "w").write("a directory of its own can be written")
print(json.dumps(reached))
"#;

#[expect(clippy::print_stdout, reason = "what is skipped says so")]
fn is_root() -> bool {
    let is_root = geteuid().is_root();
    if !is_root {
        println!("NOTE: SKIPPED, only root can start a server as somebody else");
    }
    is_root
}

/// A place that belongs to `user`, and one with a folder `data` where no program has business of its own.
fn home_of(user: u32) -> (Home, TempDir) {
    let home = Home::new();
    let above = TempDir::new_in("/var/lib").expect("a directory");
    let data = above.path().join("data");
    std::fs::create_dir(&data).expect("a directory");
    for place in [home.file("").as_path(), above.path(), &data] {
        chown(place, Some(user), Some(user)).expect("another owner");
        std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    std::os::unix::fs::symlink(data, home.data()).expect("a link");
    (home, above)
}

/// A server that runs as `user`, whose environment has a secret.
async fn serving_as(user: u32, home: &Home, text: &str) -> Process {
    configure(home, text);
    let mut command = home.command(&["--listen", "127.0.0.1:0", "--grace-seconds", "0"]);
    if user != 0 {
        let program = home.file("futurity");
        std::fs::copy(env!("CARGO_BIN_EXE_futurity"), &program).expect("a copy");
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        command = Command::new(program);
        command.args(arguments).env_clear().current_dir(home.file("")).uid(user).gid(user);
    }
    command.env("SECRET_OF_THE_SERVER", "1").env("PATH", "/usr/bin:/bin");
    home.start_as(command).await
}

/// The server and all that descends from it.
fn family(it: &Process) -> Vec<u32> {
    let parent = |pid: u32| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let all = std::fs::read_dir("/proc").expect("/proc").flatten();
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_ours = |pid: &u32| *pid == it.pid() || parent(*pid) == Some(it.pid());
    all.filter(is_ours).collect()
}

fn layer(ready: &Value, name: &str) -> Value {
    let layers = ready["isolation"].as_array().expect("a list");
    layers.iter().find(|it| it["layer"] == name).expect("a layer").clone()
}

#[expect(clippy::print_stdout, reason = "what is skipped says so")]
async fn nothing_is_reached(isolation: &str, user: u32) {
    if !Path::new(EVERYBODYS_PYTHON).exists() {
        println!("NOTE: SKIPPED, there is no {EVERYBODYS_PYTHON} that every user may run");
        return;
    }
    let (home, above) = home_of(user);
    let script = script(
        &home,
        "reach.py",
        &REACH.replace("WALLED", if isolation == "namespaces" { "True" } else { "False" }),
    );
    let text = format!(
        "isolation = \"{isolation}\"
         [functions.reach]
         runtime = \"command\"
         argv = [\"{EVERYBODYS_PYTHON}\", \"{}\", \"{}\", \"{{processes}}\"]
         parameters = [{{ name = \"processes\" }}]
         stdin = \"none\"
         [functions.again]
         runtime = \"command\"
         argv = [\"/bin/sh\", \"-c\", \"kill -STOP $PPID; kill -KILL $PPID; echo $PPID\"]
         stdin = \"none\"
         stdout = \"text\"
        ",
        script.display(),
        above.path().join("data").display()
    );
    let it = serving_as(user, &home, &text).await;
    let ready = it.get("/readyz?verbose").await.expect(200).json();
    assert_eq!(layer(&ready, isolation)["on"], true, "{ready}");
    let processes = json!(family(&it)).to_string();
    let job = it.submit(&json!({"function": "reach", "args": [processes]})).await;
    let done = it.done(&job).await;
    assert_eq!(done["result"], json!([]), "as user {user} behind {isolation}: {done}");
    let job = it.submit(&json!({"function": "again"})).await;
    let done = it.done(&job).await;
    assert_eq!(done["state"], "succeeded", "a reaper is not to be stopped: {done}");
    it.stop().await;
}

#[tokio::test]
async fn behind_namespaces_a_program_reaches_nothing_of_the_server() {
    if is_root() {
        nothing_is_reached("namespaces", 0).await;
        nothing_is_reached("namespaces", NOBODY).await;
    }
}

#[tokio::test]
async fn behind_landlock_a_program_reaches_nothing_of_the_server() {
    if is_root() {
        nothing_is_reached("landlock", 0).await;
        nothing_is_reached("landlock", NOBODY).await;
    }
}

#[tokio::test]
async fn landlock_closes_no_data_directory_in_a_folder_of_programs_and_says_so() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let text = "isolation = \"landlock\"
        [functions.shell]
        runtime = \"command\"
        argv = [\"/bin/sh\", \"-c\", \"eval \\\"$0\\\"\", \"{script}\"]
        parameters = [{ name = \"script\" }]
        stdin = \"none\"
        stdout = \"text\"
        ";
    let it = serving(&home, text).await;
    let ready = it.get("/readyz?verbose").await.expect(200).json();
    let detail = layer(&ready, "landlock")["detail"].to_string();
    assert!(detail.contains("NOT closed"), "{detail}");
    let script = format!(
        "kill -STOP {} 2>/dev/null || echo stopped nothing; echo x > beside && cat beside
         for group in $(find /sys/fs/cgroup -name cgroup.procs); do (: >> $group) 2>/dev/null && echo $group; done; true",
        it.pid()
    );
    let job = it.submit(&json!({"function": "shell", "args": [script]})).await;
    let done = it.done(&job).await;
    assert_eq!(done["result"], "stopped nothing\nx\n", "{done}");
    it.stop().await;
}

#[tokio::test]
async fn without_walls_a_program_of_the_same_user_does_not_see_the_environment() {
    if !is_root() {
        return;
    }
    let (home, _above) = home_of(NOBODY);
    let text = "isolation = \"none\"
        [functions.look]
        runtime = \"command\"
        argv = [\"/bin/sh\", \"-c\", \"cat /proc/[0-9]*/environ 2>/dev/null | tr '\\\\0' '\\\\n' | grep SECRET_OF || echo none\"]
        stdin = \"none\"
        stdout = \"text\"
        ";
    let it = serving_as(NOBODY, &home, text).await;
    let job = it.submit(&json!({"function": "look"})).await;
    assert_eq!(it.done(&job).await["result"], "none\n");
    let ready = it.get("/readyz?verbose").await.expect(200).json();
    assert_eq!(layer(&ready, "not_dumpable")["on"], true);
    assert_eq!(layer(&ready, "namespaces")["on"], false);
    it.stop().await;
}

#[tokio::test]
async fn a_program_of_another_user_is_that_user_and_nothing_more() {
    if !is_root() {
        return;
    }
    let (home, above) = home_of(0);
    let text = format!(
        "isolation = \"none\"
         [functions.who]
         runtime = \"command\"
         argv = [\"/bin/sh\", \"-c\", \"id -u; id -g; id -G; touch mine; stat -c %a:%U . ; cat {}/seal-key 2>&1 | sed s/.*:// ; kill -STOP $PPID 2>&1 | sed s/.*:// ; echo\"]
         stdin = \"none\"
         stdout = \"text\"
         user = \"nobody\"
        ",
        above.path().join("data").display()
    );
    let it = serving_as(0, &home, &text).await;
    let job = it.submit(&json!({"function": "who"})).await;
    let done = it.done(&job).await;
    let said = done["result"].as_str().unwrap_or_else(|| panic!("{done}"));
    let expected = "65534\n65534\n65534\n700:nobody\n Permission denied\n";
    assert!(said.starts_with(expected), "{said}");
    let ready = it.get("/readyz?verbose").await.expect(200).json();
    assert_eq!(layer(&ready, "user")["on"], true, "{ready}");
    assert!(!home.log().contains("programs run as root"));
    it.stop().await;
}

#[tokio::test]
async fn programs_that_run_as_root_are_warned_of_once() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let it = serving(&home, "[functions.x]\nruntime = \"command\"\nargv = [\"/bin/true\"]\n").await;
    it.stop().await;
    let warned =
        home.log().matches("programs run as root; give them a `user`: functions.x").count();
    assert_eq!(warned, 1, "{}", home.log());
    let looked = home.run(&["check"]).await;
    assert_eq!(looked.code, Some(0), "{}", looked.errors);
    assert!(looked.output.contains("user: off: programs run as root"), "{}", looked.output);
    assert!(looked.output.contains("namespaces: "), "{}", looked.output);
}

#[tokio::test]
async fn a_user_that_the_server_cannot_become_is_a_mistake_of_the_configuration() {
    if !is_root() {
        return;
    }
    let (home, _above) = home_of(NOBODY);
    configure(
        &home,
        "[functions.x]\nruntime = \"command\"\nargv = [\"/bin/true\"]\nuser = \"root\"\n",
    );
    let program = home.file("futurity");
    std::fs::copy(env!("CARGO_BIN_EXE_futurity"), &program).expect("a copy");
    let ended = Command::new(program).arg("check").current_dir(home.file("")).uid(NOBODY).output();
    let ended = ended.expect("a process");
    assert_eq!(ended.status.code(), Some(78));
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(told.contains("line 4") && told.contains("run it as root"), "{told}");
    let looked = home.run(&["check"]).await;
    assert_eq!(looked.code, Some(0), "root may: {}", looked.errors);
}

#[tokio::test]
async fn a_program_that_lies_in_the_data_directory_runs_and_the_operator_is_told() {
    let home = Home::new();
    std::fs::create_dir(home.data()).expect("a directory");
    let program = home.data().join("hello");
    std::fs::write(&program, "#!/bin/sh\necho hello\n").expect("a program");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let text = "[functions.hello]\nruntime = \"command\"\nargv = [\"./data/hello\"]\nstdin = \"none\"\nstdout = \"text\"\n";
    let it = serving(&home, text).await;
    let job = it.submit(&json!({"function": "hello"})).await;
    assert_eq!(it.done(&job).await["result"], "hello\n");
    let ready = it.get("/readyz?verbose").await.expect(200).json();
    if layer(&ready, "namespaces")["on"] == true {
        let detail = layer(&ready, "namespaces")["detail"].to_string();
        assert!(detail.contains("NOT hidden") && detail.contains("data/hello"), "{detail}");
    }
    it.stop().await;
}

#[tokio::test]
async fn a_data_directory_that_is_open_to_others_is_closed_and_the_log_says_so() {
    let home = Home::new();
    std::fs::create_dir(home.data()).expect("a directory");
    std::fs::set_permissions(home.data(), std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let it = home.start(&[]).await;
    assert_eq!(mode(&home.data()), 0o700);
    assert!(home.log().contains("was open to other users (mode 755)"), "{}", home.log());
    it.stop().await;
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("a directory").permissions().mode() & 0o777
}

#[tokio::test]
async fn what_a_killed_server_left_in_work_directories_goes_at_the_next_start() {
    let home = Home::new();
    let work = home.file("work");
    std::fs::create_dir(&work).expect("a directory");
    let text = format!(
        "work_dir = \"{}\"
         [functions.nap]
         runtime = \"command\"
         argv = [\"/bin/sleep\", \"1000\"]
         stdin = \"none\"
         run_timeout_seconds = 900
        ",
        work.display()
    );
    let it = serving(&home, &text).await;
    let inside = || {
        let base = std::fs::read_dir(&work).expect("a directory").flatten().next().expect("one");
        assert_eq!(mode(&base.path()), 0o700);
        std::fs::read_dir(base.path()).expect("a directory").count()
    };
    let job = it.submit(&json!({"function": "nap"})).await;
    until("it has a directory", async || (inside() == 1).then_some(())).await;
    it.kill_nine();
    let it = serving(&home, &text).await;
    it.running(&job, 2).await;
    let path = format!("{}/cancel", job["urls"]["self"].as_str().expect("a URL"));
    it.post(&path, &json!({"grace_seconds": 0, "wait_seconds": 30})).await;
    assert_eq!(inside(), 0);
    it.stop().await;
    assert_eq!(std::fs::read_dir(&work).expect("a directory").count(), 0, "nothing is left");
}
