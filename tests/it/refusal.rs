//! A server that must not start says why, what mends it, and touches nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use crate::process::{Finished, Home};
use crate::programs::configure;

const LOOPBACK: [&str; 2] = ["--listen", "127.0.0.1:0"];
/// G15 says one second; the rest is for a machine that is busy with other tests.
const AT_ONCE: Duration = Duration::from_secs(5);

#[track_caller]
fn expect(finished: &Finished, code: i32, words: &[&str]) {
    assert_eq!(finished.code, Some(code), "{finished:?}");
    for word in words {
        assert!(finished.errors.contains(word), "{word:?} is missing: {finished:?}");
    }
    assert!(!finished.errors.contains("panicked"), "{finished:?}");
}

#[tokio::test]
async fn g15_a_second_server_on_the_same_directory_goes_at_once_and_touches_nothing() {
    let home = Home::new();
    let first = home.start(&[]).await;
    let job = first.submit(&json!({"function": "sleep", "args": [3600]})).await;
    let address = || std::fs::read_to_string(home.data().join("address")).expect("an address");
    let before = address();

    let begun = Instant::now();
    let second = home.run(&LOOPBACK).await;
    assert!(begun.elapsed() < AT_ONCE, "took {:?}", begun.elapsed());
    let data = home.data();
    let data = data.to_str().expect("a path of text");
    expect(&second, 73, &[data, "in use", "stop it first", "--data-dir"]);
    assert_eq!(address(), before);
    assert_eq!(first.job(&job).await, job, "the first goes on, and its job is the same attempt");
    first.stop_at_once().await;
}

#[tokio::test]
async fn a_server_beyond_loopback_without_keys_is_refused_before_it_listens() {
    let home = Home::new();
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let refused = home.run(&["--listen", listen]).await;
        expect(&refused, 78, &["API key", "futurity keys create", "127.0.0.1"]);
        assert_eq!(refused.output, "", "nothing was said of an address");
    }
    assert!(!home.data().join("address").exists());
    assert!(!home.database().exists(), "the database was not made");
}

#[tokio::test]
async fn a_mistake_in_the_configuration_is_named_with_file_and_line() {
    let cases = [
        ("threads = 2\nthread = 3\n", ["line 2", "thread"]),
        ("[queues.default]\nmax_workers = \"many\"\n", ["line 2", "many"]),
        ("threads = 2\n\nthreads == 3\n", ["line 3", "threads"]),
        ("threads = 0\n", ["threads", "from 1 to"]),
        ("[queues.\"no name\"]\nmax_workers = 1\n", ["no name", "queue"]),
        ("[egress]\nallow = [\"nowhere\"]\n", ["egress.allow", "nowhere"]),
        ("max_wait_seconds = -1\n", ["max_wait_seconds", "-1"]),
        ("[limits]\nconnections = 0\n", ["line 2", "connections"]),
        ("[limits]\nidle_seconds = inf\n", ["line 2", "from 0.1 to 3600"]),
        ("[limits]\nsubmission_bytes = 100_000_000\n", ["line 2", "submission_bytes"]),
        ("[limits]\nmanual_jobs = 100_000_001\n", ["line 2", "at most 100000000"]),
        ("[limits]\nconections = 5\n", ["line 2", "conections"]),
    ];
    let home = Home::new();
    let file = home.file("futurity-test.toml");
    let name = file.to_str().expect("a path of text");
    for (text, words) in cases {
        std::fs::write(&file, text).expect("a file");
        let refused = home.run(&["--config", name, LOOPBACK[0], LOOPBACK[1]]).await;
        expect(&refused, 78, &words);
        if words[0].starts_with("line") {
            expect(&refused, 78, &["futurity-test.toml"]);
        }
    }
    let absent = home.run(&["--config", "absent.toml", LOOPBACK[0], LOOPBACK[1]]).await;
    expect(&absent, 78, &["absent.toml"]);
    assert!(!home.data().exists(), "a configuration that is refused leaves no directory");
}

#[tokio::test]
async fn g24_the_database_of_a_newer_program_is_refused() {
    let home = Home::new();
    home.start(&[]).await.stop().await;
    execute(
        &home.database(),
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (9001, 'from the future', 1, x'00', 0)",
    )
    .await;
    let refused = home.run(&LOOPBACK).await;
    expect(&refused, 78, &["9001", "newer"]);

    execute(&home.database(), "delete from _sqlx_migrations where version = 9001").await;
    home.start(&[]).await.stop().await;
}

#[tokio::test]
async fn g3_a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let home = Home::new();
    std::fs::create_dir(home.data()).expect("a directory");
    let garbage = vec![0xA5_u8; 64 * 1024];
    std::fs::write(home.database(), &garbage).expect("a file");
    let refused = home.run(&LOOPBACK).await;
    expect(&refused, 65, &["damaged", "not a database"]);
    assert_eq!(std::fs::read(home.database()).expect("the file"), garbage);
}

#[tokio::test]
async fn g3_a_row_that_does_not_read_back_is_refused_by_name() {
    let home = Home::new();
    let server = home.start(&[]).await;
    server.submit(&json!({"function": "sleep", "args": [3600]})).await;
    server.kill_nine();
    execute(&home.database(), "update calls set function = ''").await;
    let refused = home.run(&LOOPBACK).await;
    expect(&refused, 65, &["damaged"]);
}

/// Changes a database that no server has open.
pub async fn execute(database: &Path, statement: &'static str) {
    let options = SqliteConnectOptions::new().filename(database).disable_statement_logging();
    let mut connection = options.connect().await.expect("a database without a server");
    sqlx::query(statement).execute(&mut connection).await.expect("a change");
    connection.close().await.expect("a close");
}

#[tokio::test]
async fn what_an_operator_writes_is_taken_as_it_is_meant_or_the_message_says_what_to_write() {
    let home = Home::new();
    for (arguments, code, words) in [
        (vec!["--listen", ":8081"], 2, vec!["127.0.0.1:8081", "0.0.0.0:8081"]),
        (vec!["--port", "8081"], 2, vec!["part of the address: --listen 127.0.0.1:8081"]),
        (vec!["--host", "bad host"], 78, vec!["'bad host'", "without scheme"]),
        (vec!["--host", "https://x/"], 78, vec!["without scheme"]),
        (vec!["restore", "nope.bak"], 74, vec!["nope.bak cannot be read: No such file"]),
    ] {
        let refused = home.run(&arguments).await;
        expect(&refused, code, &words);
        assert!(!refused.errors.contains("served"), "{refused:?}");
    }
    let missing = home.run(&["fsck"]).await;
    expect(&missing, 74, &["is not there; name its directory with --data-dir"]);
    assert!(!missing.errors.contains("entity not found"), "{missing:?}");
    for (listen, shown) in [("8081", "127.0.0.1:8081"), ("localhost:8082", "127.0.0.1:8082")] {
        let config = home.run(&["config", "--listen", listen]).await;
        expect(&config, 0, &[]);
        assert!(config.output.contains(shown), "{config:?}");
    }
    configure(
        &home,
        "[functions.f]\nruntime = \"command\"\nargv = [\"/bin/true\"]\nparameters = [{ name = \"a\", type = \"str\" }]\n",
    );
    let words =
        "parameter 'a': its schema: there is no type 'str'; there are string, integer, number";
    expect(&home.run(&["check"]).await, 78, &[words]);
    std::fs::remove_file(home.file("futurity.toml")).expect("a file");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    expect(&home.run(&["--listen", &address]).await, 74, &["choose another with --listen"]);
}

#[tokio::test]
async fn a_variable_of_the_environment_that_is_empty_says_nothing_and_one_that_is_none_is_told() {
    let home = Home::new();
    let run = |name: &str, value: &str| {
        let mut command = home.command(&["config"]);
        let output = command.env(name, value).output().expect("it runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, output, _) = run("FUTURITY_ALLOW_LOOPBACK_EGRESS", "1");
    assert!(code == Some(0) && output.contains("allow_loopback = true"), "{output}");
    for name in ["FUTURITY_ALLOW_LOOPBACK_EGRESS", "FUTURITY_THREADS", "FUTURITY_LISTEN"] {
        let (code, _, errors) = run(name, "");
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{name} is known");
    }
    let (code, _, errors) = run("FUTURITY_THREADS", "many");
    assert!(code == Some(2) && errors.contains("FUTURITY_THREADS"), "{errors}");
    let (code, _, errors) = run("FUTURITY_GRACE", "5");
    assert!(code == Some(0) && errors.contains("FUTURITY_GRACE: no setting"), "{errors}");
    assert_eq!(run("FUTURITY_JOB_ID", "x").2, "");
}
