//! Functions that ask for a scope of their own: no door to a call is open without it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::process::{Home, Process};
use crate::programs::{configure, script};
use crate::submit_lines::{NDJSON, text};

const WORKER: &str = r#"
import json, sys
for line in sys.stdin:
    it = json.loads(line)
    result = {"functions": [{"name": "python.call"}]} if it["method"] == "initialize" else "called"
    if "id" in it: print(json.dumps({"jsonrpc": "2.0", "id": it["id"], "result": result}), flush=True)
"#;

async fn key(home: &Home, scopes: &[&str]) -> String {
    let flags = scopes.iter().flat_map(|scope| ["--scope", scope]);
    let made = home.run(&["keys", "create"].into_iter().chain(flags).collect::<Vec<_>>()).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    made.output.trim().to_owned()
}

fn configured(home: &Home) {
    let file = script(home, "worker.py", WORKER);
    let text = format!(
        "[workers.code]\nargv = [\"PYTHON\", \"{}\"]\nscope = \"code\"\n\
         [functions.\"sh.run\"]\nruntime = \"command\"\nargv = [\"/bin/true\"]\nstdout = \"text\"\nscope = \"shell\"\n",
        file.display()
    );
    configure(home, &text);
}

/// What each door to a call says to this key: 403, or that it was not refused.
async fn doors(it: &Process, key: &str, function: &str, failed: &Value) -> Vec<(String, bool)> {
    let call = json!({"function": function});
    let batch = json!({"function": function, "calls": [{}]});
    let mut told = Vec::new();
    let retry = format!("{}/retry", crate::process::path_of(failed));
    for (path, body) in [
        ("/v1/jobs", &call),
        ("/v1/jobs?wait=30", &call),
        ("/v1/batches", &batch),
        (&*retry, &json!({})),
    ] {
        let request = it.request(Method::POST, path).bearer_auth(key).json(body);
        let answer = it.send(request).await;
        assert!([200, 202, 403].contains(&answer.status.as_u16()), "{path}: {answer:?}");
        told.push((path.to_owned(), answer.status == 403));
    }
    for (path, line) in [("/v1/jobs", call), (&*format!("/v1/map?function={function}"), json!([]))]
    {
        let request = it.request(Method::POST, path).bearer_auth(key);
        let answer = it.send(request.header("content-type", NDJSON).body(text(&[line]))).await;
        let body = String::from_utf8(answer.body).expect("a text");
        let refused = body.contains("\"code\":\"forbidden\"");
        assert!(refused || body.contains("\"state\":"), "{path}: {body}");
        told.push((format!("lines to {path}"), refused));
    }
    told
}

#[tokio::test]
async fn a_key_calls_what_asks_for_a_scope_only_if_it_has_it_through_every_door() {
    let home = Home::new();
    configured(&home);
    let it = home.start(&["--grace-seconds", "0"]).await;
    let admin = key(&home, &["admin"]).await;
    let both = ["submit", "manage"];
    let without = key(&home, &both).await;
    let code = key(&home, &["submit", "manage", "code"]).await;
    let shell = key(&home, &["submit", "manage", "shell"]).await;
    for (function, mine, other) in [("python.call", &code, &shell), ("sh.run", &shell, &code)] {
        let send = async |key: &str, path: &str, body: &Value| {
            let request = it.request(Method::POST, path).bearer_auth(key).json(body);
            it.send(request).await
        };
        // One to be retried: it was cancelled before it could start.
        let later = json!({"function": function, "delay_seconds": 3600});
        let job = send(mine, "/v1/jobs", &later).await.expect(202).json();
        let cancel = format!("{}/cancel", crate::process::path_of(&job));
        send(mine, &cancel, &json!({})).await.expect(200);
        for (key, is_refused) in [(&without, true), (other, true), (mine, false), (&admin, false)] {
            for (door, refused) in doors(&it, key, function, &job).await {
                assert_eq!(refused, is_refused, "{function} by {door}");
            }
        }
        let refused = send(&without, "/v1/jobs", &json!({"function": function})).await.expect(403);
        let detail = refused.json()["detail"].as_str().expect("a detail").to_owned();
        assert!(detail.starts_with(&format!("{function} needs a key that allows ")), "{detail}");
    }
    let request = it.request(Method::GET, "/v1/functions/python.call").bearer_auth(&admin);
    assert_eq!(it.send(request).await.expect(200).json()["scope"], "code");
    let echo = it.request(Method::POST, "/v1/jobs").bearer_auth(&without);
    it.send(echo.json(&json!({"function": "echo"}))).await.expect(202);
    it.stop().await;
}

#[tokio::test]
async fn where_nobody_needs_a_key_nobody_needs_a_scope() {
    let home = Home::new();
    configured(&home);
    let it = home.start(&["--grace-seconds", "0"]).await;
    let job = it.submit(&json!({"function": "python.call"})).await;
    assert_eq!(it.done(&job).await["result"], "called");
    it.stop().await;
}

#[tokio::test]
async fn a_scope_that_nothing_asks_for_is_a_slip() {
    let home = Home::new();
    configured(&home);
    let made = home.run(&["keys", "create", "--scope", "coed"]).await;
    assert_eq!(made.code, Some(2), "{made:?}");
    assert!(made.errors.contains("submit, read, manage, admin, code, shell"), "{made:?}");
    configure(
        &home,
        "[functions.\"a\"]\nruntime = \"command\"\nargv = [\"/bin/true\"]\nscope = \"admin\"\n",
    );
    let refused = home.run(&["config"]).await;
    assert_eq!(refused.code, Some(78), "{refused:?}");
    assert!(refused.errors.contains("a scope of the service"), "{refused:?}");
}
