//! The crate as a library: the server that a user copies, as it stands.

use std::process::Command;

use serde_json::{Value, json};

use crate::process::Home;

/// The example, built beside the tests.
fn example(home: &Home) -> Command {
    let own = std::env::current_exe().expect("a path");
    let built = own.ancestors().nth(2).expect("a directory").join("examples/own_server");
    let mut command = Command::new(built);
    command.arg(home.data()).env_clear().current_dir(home.file(""));
    command
}

#[tokio::test]
async fn a_server_of_ones_own_has_ones_functions_beside_the_others() {
    let home = Home::new();
    let it = home.start_as(example(&home)).await;
    let function = it.get("/v1/functions/primes.count").await.expect(200).json();
    assert_eq!(
        (&function["runtime"], &function["parameters"][0]["name"]),
        (&json!("native"), &json!("below"))
    );
    assert_eq!(function["parameters"][0]["schema"]["maximum"], 50_000_000);
    let job = it.submit(&json!({"function": "primes.count", "args": [100_000]})).await;
    assert_eq!(it.done(&job).await["result"], json!({"primes": 9592}));
    let log = it.get(&format!("{}/log", crate::process::path_of(&job))).await.expect(200);
    assert_eq!(log.body, b"9592 primes below 100000, in attempt 1\n");
    let echo = it.submit(&json!({"function": "echo", "args": ["too"]})).await;
    assert_eq!(it.done(&echo).await["result"], "too");
    let problem = it.post("/v1/jobs", &json!({"function": "primes.count", "args": ["many"]})).await;
    let problem: Value = problem.expect(422).json();
    assert_eq!(problem["errors"][0]["pointer"], "/args/0", "{problem}");
    assert_eq!(problem["detail"], "primes.count(): invalid type: string \"many\", expected u64");
    let problem =
        it.post("/v1/jobs", &json!({"function": "primes.count", "args": [60_000_000]})).await;
    let problem: Value = problem.expect(422).json();
    assert_eq!(
        problem["errors"][0]["pointer"], "/args/0",
        "the bound of the schema holds: {problem}"
    );
    it.stop().await;
}
