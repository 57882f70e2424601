//! Who may: every operation of the contract with a key of each scope, and with keys that do not hold.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::process::{Home, Process, until};

const SCOPES: [&str; 4] = ["submit", "read", "manage", "admin"];
const NOBODY: &str = "0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e6f";

/// What the contract says of an operation that any key will do for.
const ANY: &str = "any key";

/// An operation, and the scope that `openapi.yaml` says it needs; none for the server's own pages.
pub struct Operation {
    pub method: Method,
    pub template: String,
    pub needs: Option<String>,
}

impl Operation {
    pub fn path(&self) -> String {
        let of_nobody = self.template.replace("{id}", NOBODY).replace("{code}", "forbidden");
        of_nobody.replace("{name}", "default")
    }
}

/// All of them, as the contract has them.
pub fn operations() -> Vec<Operation> {
    let contract: Value =
        serde_yaml_ng::from_str(include_str!("../../openapi.yaml")).expect("YAML");
    let paths = contract["paths"].as_object().expect("paths");
    let mut found = Vec::new();
    for (template, item) in paths {
        for (method, operation) in item.as_object().expect("operations") {
            let Some(security) = operation["security"].as_array() else { continue };
            let scopes = security.iter().find_map(|it| it["bearer"].as_array());
            let needs =
                scopes.map(|it| it.first().map_or(ANY, |scope| scope.as_str().expect("a word")));
            let needs = needs.map(str::to_owned);
            let method = method.to_uppercase().parse().expect("a method");
            found.push(Operation { method, template: template.clone(), needs });
        }
    }
    found
}

async fn key(home: &Home, flags: &[&str]) -> (String, String) {
    let made = home.run(&[&["keys", "create"], flags].concat()).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    let text = made.output.trim().to_owned();
    let id = text.split('_').nth(1).expect("an id").to_owned();
    (id, text)
}

/// Keys that hold no more, never did, or are no keys: by what is wrong with each, the whole header.
async fn broken(home: &Home) -> BTreeMap<&'static str, String> {
    let (_, expired) = key(home, &["--expires-in", "1ms"]).await;
    let (id, revoked) = key(home, &[]).await;
    assert_eq!(home.run(&["keys", "revoke", &id]).await.code, Some(0));
    let (id, good) = key(home, &[]).await;
    let secret = good.rsplit('_').next().expect("a secret");
    BTreeMap::from([
        ("expired", format!("Bearer {expired}")),
        ("revoked", format!("Bearer {revoked}")),
        ("another scheme", format!("Basic {good}")),
        ("no scheme", good.clone()),
        ("cut short", format!("Bearer {}", &good[..good.len() - 1])),
        ("too long", format!("Bearer {good}0")),
        ("upper case", format!("Bearer {}", good.to_uppercase())),
        ("another's id", format!("Bearer fut_000000000000_{secret}")),
        ("its id alone", format!("Bearer fut_{id}_")),
        ("its secret alone", format!("Bearer {secret}")),
        ("two keys", format!("Bearer {good}, Bearer {good}")),
        ("nothing", "Bearer ".to_owned()),
    ])
}

/// The status of an operation that is asked for without a body. Streams are not read.
async fn status(server: &Process, it: &Operation, authorization: Option<&str>) -> u16 {
    let mut request = server.request(it.method.clone(), &it.path());
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    request.send().await.expect("an answer").status().as_u16()
}

/// What was not admitted has changed nothing.
async fn nothing_changed(server: &Process, admin: &str) {
    let get = async |path: &str| {
        let request = server.request(Method::GET, path).bearer_auth(admin);
        server.send(request).await.expect(200).json()
    };
    assert_eq!(get("/v1/jobs").await["jobs"], json!([]));
    assert_eq!(get("/v1/batches").await["batches"], json!([]));
    let queues = get("/v1/queues").await;
    assert_eq!(queues["queues"].as_array().map(Vec::len), Some(1), "{queues}");
    assert_eq!(
        (&queues["queues"][0]["paused"], &queues["queues"][0]["shutdown"]),
        (&json!(false), &json!(false))
    );
}

#[tokio::test]
async fn every_operation_asks_for_its_scope_and_no_broken_key_opens_any() {
    let home = Home::new();
    let server = home.start(&[]).await;
    let mut keys = BTreeMap::new();
    for scope in SCOPES {
        keys.insert(scope, format!("Bearer {}", key(&home, &["--scope", scope]).await.1));
    }
    let broken = broken(&home).await;
    let operations = operations();
    assert!(operations.len() > 40, "the whole contract");
    for it in &operations {
        let place = format!("{} {}", it.method, it.template);
        let refused = it.needs.as_ref().map(|_| 401);
        for (wrong, header) in &broken {
            let status = status(&server, it, Some(header)).await;
            assert_eq!(refused, Some(status).filter(|it| *it == 401), "{place}, {wrong}");
        }
        let without = status(&server, it, None).await;
        assert_eq!(refused, Some(without).filter(|it| *it == 401), "{place} without a key");
    }
    println!("{:<48}{}", "", SCOPES.map(|scope| format!("{scope:>8}")).concat());
    // Those that are refused first: what is admitted may change something.
    let allows = |it: &Operation, scope: &str| {
        it.needs.as_deref().is_none_or(|needs| [scope, ANY].contains(&needs) || scope == "admin")
    };
    for admitted in [false, true] {
        for it in &operations {
            let mut row = String::new();
            for scope in SCOPES {
                let allowed = allows(it, scope);
                row.push_str(if allowed { "     yes" } else { "     403" });
                if allowed != admitted {
                    continue;
                }
                let status = status(&server, it, Some(&keys[scope])).await;
                let place = format!("{} {} with {scope}", it.method, it.template);
                assert_eq!(status == 403, !allowed, "{place}: {status}");
                assert_ne!(status, 401, "{place}");
            }
            if admitted {
                println!("{:<48}{row}", format!("{} {}", it.method, it.template));
            }
        }
        if !admitted {
            nothing_changed(&server, keys["admin"].trim_start_matches("Bearer ")).await;
        }
    }
    println!(
        "{} operations, {} keys that do not hold: 401 for each",
        operations.len(),
        broken.len()
    );
}

#[tokio::test]
async fn a_refusal_names_the_scope_and_fits_the_contract() {
    let home = Home::new();
    let server = home.start(&[]).await;
    let (id, text) = key(&home, &["--scope", "read", "--scope", "submit"]).await;
    let path = format!("/v1/jobs/{NOBODY}/cancel");
    let request = server.request(Method::POST, &path).bearer_auth(&text);
    let answer = server.send(request).await.expect(403);
    assert_eq!(answer.code(), "forbidden");
    let detail = answer.json()["detail"].as_str().expect("a detail").to_owned();
    assert_eq!(detail, format!("key {id} allows submit, read; this needs one that allows manage"));
    // No path that a router might take for another one opens what the key does not allow.
    for path in
        ["/v1//queues/default/shutdown", "/v1/queues/default%2Fshutdown", "/v1/nothing", "/"]
    {
        let request = server.request(Method::POST, path).bearer_auth(&text);
        server.send(request).await.expect(403);
    }
    let listed = home.run(&["keys", "list"]).await.output;
    assert!(listed.contains("\tnever\tsubmit,read\t"), "{listed}");
}

#[tokio::test]
async fn a_key_that_cannot_be_made_says_why() {
    let home = Home::new();
    for (flags, says) in [
        ("--scope=everything", "possible values: submit, read, manage, admin"),
        ("--expires-in=soon", "write 90d, 12h or 30m"),
        ("--expires-in=0s", "longer than nothing"),
        ("--expires-in=-3d", "longer than nothing"),
    ] {
        let made = home.run(&["keys", "create", flags]).await;
        assert_eq!(made.code, Some(2), "{made:?}");
        assert!(made.errors.contains(says), "{made:?}");
    }
    assert_eq!(home.run(&["keys", "list"]).await.output, "");
}

#[tokio::test]
async fn while_the_file_of_keys_cannot_be_read_nobody_is_let_in_and_that_is_told_once() {
    let home = Home::new();
    let server = home.start(&[]).await;
    let degraded =
        async || server.get("/readyz?verbose").await.expect(200).json()["degraded"].take();
    assert_eq!(degraded().await, json!([]));
    let (_, text) = key(&home, &[]).await;
    let file = home.data().join("keys.json");
    let sound = std::fs::read_to_string(&file).expect("keys");
    let broken = home.file("broken");
    // In one step, as commands do: half a file is one that cannot be read, too.
    let becomes = |text: &str| {
        std::fs::write(&broken, text).expect("a file");
        std::fs::rename(&broken, &file).expect("its name");
    };
    becomes(&sound[1..]);
    let told = until("the server sees the file", async || {
        let told = degraded().await;
        (told != json!([])).then_some(told)
    })
    .await;
    assert!(told[0].as_str().is_some_and(|it| it.contains("keys cannot be read")), "{told}");
    for it in operations().iter().filter(|it| it.needs.is_some()) {
        let request = || server.request(it.method.clone(), &it.path());
        for request in [request(), request().bearer_auth(&text)] {
            let refused = server.send(request).await;
            assert_eq!(refused.status, 503, "{} {}", it.method, it.template);
            if it.method != Method::HEAD {
                assert_eq!(refused.code(), "keys_unreadable");
            }
        }
    }
    becomes(&sound);
    until("the server sees the file", async || (degraded().await == json!([])).then_some(())).await;
    server.send(server.request(Method::GET, "/v1/jobs").bearer_auth(&text)).await.expect(200);
    assert_eq!(home.log().matches("cannot be read").count(), 1, "{}", home.log());
    assert!(home.log().contains("the file can be read again"), "{}", home.log());
}

#[tokio::test]
async fn who_may_not_read_is_told_that_the_server_is_ready_and_nothing_of_what_is_in_it() {
    let home = Home::new();
    let server = home.start(&[]).await;
    let (_, submits) = key(&home, &["--scope", "submit"]).await;
    let (_, reads) = key(&home, &["--scope", "read"]).await;
    let verbose = async |key: &str| {
        let request = server.request(Method::GET, "/readyz?verbose").bearer_auth(key);
        let ready = server.send(request).await.expect(200).json();
        let names = ready.as_object().expect("an object").keys().cloned();
        names.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    for key in ["", "fut_nobody_nothing", &submits] {
        assert_eq!(verbose(key).await, ["degraded", "status"], "{key}");
    }
    assert_eq!(verbose(&reads).await, ["degraded", "deliveries", "status", "workers"]);
}

#[tokio::test]
async fn whoever_brings_a_key_may_call_the_server_by_its_address_and_by_no_other_name() {
    let home = Home::new();
    let (_, key) = key(&home, &["--scope", "read"]).await;
    let it = home.start(&[]).await;
    let asked = |host: &'static str, bearer: Option<String>| {
        let request = it.request(Method::GET, "/v1/jobs").header("host", host);
        it.send(match bearer {
            Some(bearer) => request.header("authorization", format!("Bearer {bearer}")),
            None => request,
        })
    };
    for host in ["10.244.0.5:8080", "192.168.0.1", "[2001:db8::1]:80"] {
        asked(host, Some(key.clone())).await.expect(200);
        asked(host, Some("fut_a_b".to_owned())).await.expect(401);
        asked(host, None).await.expect(421);
    }
    asked("evil.com", Some(key.clone())).await.expect(421);
}
