//! The file from outside: what people see who look at it with a program of their own.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::process::Home;

/// What the machine's own sqlite3 answers, reading only; none if there is no such program.
#[expect(clippy::print_stdout, reason = "what is skipped says so")]
fn asked(home: &Home, sql: &str) -> Option<Vec<Value>> {
    let file = home.data().join("futurity.db");
    let mut command = Command::new("sqlite3");
    let done = command.arg("-readonly").arg("-json").arg(file).arg(sql).stdin(Stdio::null());
    let Ok(done) = done.output() else {
        println!("NOTE: sqlite3 is missing; what people see of the file is SKIPPED");
        return None;
    };
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said}");
    let text = String::from_utf8(done.stdout).expect("text");
    Some(if text.is_empty() { Vec::new() } else { serde_json::from_str(&text).expect("JSON") })
}

#[tokio::test]
async fn people_read_ids_moments_and_values_from_the_file_while_the_server_writes() {
    let home = Home::new();
    let server = home.start(&[]).await;
    let done = json!({"function": "echo", "args": [{"a": 1.10}], "tags": ["nightly"], "metadata": {"k": "v"}});
    let done = server.post("/v1/jobs?wait=20", &done).await.expect(200).json();
    let raised = json!({"function": "raise", "args": ["ValueError", "no such thing"]});
    let raised = server.post("/v1/jobs?wait=20", &raised).await.expect(200).json();
    let manual = server.post("/v1/jobs", &json!({"manual": true})).await.expect(202).json();
    let batch = json!({"function": "echo", "iterables": [[1, 2]]});
    let batch = server.post("/v1/batches?wait=20", &batch).await.expect(200).json();

    let Some(jobs) = asked(&home, "select * from readable_jobs order by created_at, batch_index")
    else {
        return;
    };
    let of = |id: &Value| jobs.iter().find(|job| job["id"] == *id).expect("the job").clone();
    let seen = of(&done["id"]);
    for same in [
        "function",
        "queue",
        "state",
        "created_at",
        "started_at",
        "finished_at",
        "queued_ms",
        "run_ms",
    ] {
        assert_eq!(seen[same], done[same], "{same}");
    }
    assert_eq!((&seen["args"], &seen["kwargs"]), (&json!(r#"[{"a":1.1}]"#), &json!("{}")));
    assert_eq!((&seen["tags"], &seen["result_elsewhere"]), (&json!(r#"["nightly"]"#), &json!(0)));
    assert_eq!(seen["metadata"], json!(r#"{"k":"v"}"#));
    let seen = of(&raised["id"]);
    assert_eq!(seen["state"], "failed");
    assert_eq!(
        (&seen["error_type"], &seen["error_message"]),
        (&json!("ValueError"), &json!("no such thing"))
    );
    let seen = of(&manual["id"]);
    assert_eq!((&seen["state"], &seen["queue"]), (&json!("pending"), &Value::Null));
    let of_batch: Vec<&Value> = jobs.iter().filter(|job| job["batch"] == batch["id"]).collect();
    let indexes: Vec<&Value> = of_batch.iter().map(|job| &job["batch_index"]).collect();
    assert_eq!(indexes, [&json!(0), &json!(1)]);

    let batches = asked(&home, "select * from readable_batches").expect("it is there");
    assert_eq!(
        (&batches[0]["id"], &batches[0]["succeeded"], &batches[0]["pending"]),
        (&batch["id"], &json!(2), &json!(0))
    );
    server.post("/v1/jobs?wait=20", &json!({"function": "echo"})).await.expect(200);
}
