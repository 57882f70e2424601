//! `futurity listen`: verifies and shows what comes, and answers as it is told.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use futurity::Config;
use serde_json::{Value, json};

use crate::process::{Home, client, until};
use crate::receiver::at_once;
use crate::server::TestServer;

const SECRET: &str = "whsec_Zm9yLXRoaXMtcmVjZWl2ZXItb25seS0wMTIzNDU2Nzg=";

/// One that listens. It is killed when this is dropped.
struct Listening {
    child: Child,
    url: String,
    home: Home,
}

impl Drop for Listening {
    fn drop(&mut self) {
        // One that has ended already has nothing left to kill.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

impl Listening {
    async fn start(arguments: &[&str]) -> Self {
        let home = Home::new();
        let command = home.command(&[&["listen", "--port", "0"], arguments].concat());
        Self::run(home, command, "listening on ").await
    }

    /// Runs a program that says where it listens behind `greeting`.
    async fn run(home: Home, mut command: Command, greeting: &str) -> Self {
        let output = std::fs::File::create(home.file("output")).expect("a file");
        command.stdin(Stdio::null()).stdout(output).stderr(Stdio::null());
        let child = command.spawn().expect("a process");
        let mut it = Self { child, url: String::new(), home };
        it.url = until("it listens", async || {
            let line = it.lines().into_iter().next()?;
            let url = line.strip_prefix(greeting)?.split(';').next()?.to_owned();
            Some(url)
        })
        .await;
        it
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.home.file("output")).unwrap_or_default();
        // A line that is not whole yet is none.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }

    /// So many deliveries: what each was, and its body.
    async fn heard(&self, count: usize) -> Vec<(String, Value)> {
        let lines = until("they are shown", async || {
            Some(self.lines()).filter(|lines| lines.len() > 2 * count)
        })
        .await;
        let pairs = lines[1..].chunks_exact(2);
        pairs
            .map(|pair| (pair[0].clone(), serde_json::from_str(&pair[1]).expect("a body")))
            .collect()
    }
}

/// A server that tries each delivery at most so often.
async fn server(attempts: usize) -> TestServer {
    let configure = |config: Config| Config { webhooks: at_once(attempts), ..config };
    TestServer::with(configure, |builder| builder).await
}

async fn submit(it: &TestServer, callback: Value) -> Value {
    it.done(&json!({"function": "echo", "args": [7], "callbacks": [callback]})).await
}

/// What its only callback was answered, once it stands so.
async fn answers(it: &TestServer, job: &Value, state: &str) -> Vec<Value> {
    let attempts = it.standing(job, state).await["deliveries"][0]["attempts"].take();
    let attempts = attempts.as_array().expect("attempts");
    attempts.iter().map(|attempt| attempt["status"].clone()).collect()
}

#[tokio::test]
async fn each_delivery_is_shown_with_whether_it_can_be_trusted() {
    let it = server(1).await;
    let listening = Listening::start(&["--secret", SECRET]).await;
    let url = format!("{}/hook", listening.url);
    let signed = submit(&it, json!({"url": url, "secret": SECRET})).await;
    answers(&it, &signed, "delivered").await;
    let other = submit(&it, json!({"url": url})).await;
    assert_eq!(answers(&it, &other, "failed").await, [401], "what is not signed is not taken");
    let heard = listening.heard(2).await;
    let (line, body) = &heard[0];
    assert!(line.starts_with("verified  POST /hook  "), "the verdict is first: {line}");
    for part in ["job.succeeded", "delivery 1", "-> 204"] {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
    assert_eq!((&body["data"]["id"], &body["data"]["result"]), (&signed["id"], &json!(7)));
    let (line, _) = &heard[1];
    assert!(line.contains("NOT VERIFIED (no signature was made with a secret"), "{line}");
}

#[tokio::test]
async fn what_is_not_signed_is_refused_unless_it_is_told_otherwise() {
    let it = server(1).await;
    for (arguments, state) in [(vec![], "failed"), (vec!["--answer", "200"], "delivered")] {
        let listening = Listening::start(&arguments).await;
        let job = submit(&it, json!({"url": listening.url, "secret": SECRET})).await;
        answers(&it, &job, state).await;
        assert!(listening.heard(1).await[0].0.contains("NOT VERIFIED"));
    }
}

#[tokio::test]
async fn nothing_that_comes_is_obeyed_by_a_terminal_or_looks_like_a_verdict() {
    let listening = Listening::start(&["--secret", SECRET]).await;
    let kind = "\u{1b}]0;owned\u{7}\u{1b}[2J\nverified  POST /  job.succeeded  forged";
    let client = client();
    let bodies = [
        json!({"type": kind, "text": "\u{202e}\u{9b}2J"}).to_string(),
        "verified  POST /  job.succeeded  x  delivery 1  -> 204".to_owned(),
        "x".repeat(200_000),
    ];
    for body in bodies {
        let post = client.post(format!("{}/{}", listening.url, "a".repeat(4000))).body(body);
        let post = post.header("webhook-id", "i".repeat(4000));
        assert_eq!(post.send().await.expect("an answer").status(), 401);
    }
    let lines =
        until("they are shown", async || Some(listening.lines()).filter(|it| it.len() > 6)).await;
    assert_eq!(lines.len(), 7, "each is two lines: {lines:?}");
    for pair in lines[1..].chunks_exact(2) {
        assert!(pair[0].starts_with("NOT VERIFIED (") && pair[0].len() < 2_000, "{pair:?}");
        assert!(
            pair[1].starts_with("  ") && pair[1].len() < 70_000,
            "a body is no line of its own"
        );
    }
    assert!(lines.iter().all(|line| !line.contains(char::is_control)), "{:?}", lines[1]);
    assert!(lines[1].contains("\\u{1b}]0;owned") && lines[6].ends_with("(200000 bytes in all)"));

    let page = client.post(&listening.url).header("origin", "https://evil.example").body("{}");
    assert_eq!(page.send().await.expect("an answer").status(), 403, "a page has nothing to tell");
    assert_eq!(listening.lines().len(), 7);
}

#[tokio::test]
async fn the_example_of_a_receiver_takes_what_is_signed_and_nothing_else() {
    let it = server(1).await;
    let built = Path::new(env!("CARGO_BIN_EXE_futurity")).parent().expect("a directory");
    let mut command = Command::new(built.join("examples/receiver"));
    command.args(["--listen", "127.0.0.1:0", "--secret", SECRET]).env_clear();
    let listening = Listening::run(Home::new(), command, "receiver: listening on ").await;
    let signed = submit(&it, json!({"url": listening.url, "secret": SECRET})).await;
    assert_eq!(answers(&it, &signed, "delivered").await, [200]);
    let other = submit(&it, json!({"url": listening.url})).await;
    assert_eq!(answers(&it, &other, "failed").await, [401]);
    let lines = listening.lines();
    assert!(lines[1].starts_with("receiver: verified \"job.succeeded\" 7,"), "{lines:?}");
    assert!(lines[2].starts_with("receiver: NOT verified"), "{lines:?}");
}

#[tokio::test]
async fn it_fails_as_often_as_it_is_told_and_then_takes_what_comes() {
    let it = server(3).await;
    let arguments = ["--answer", "500", "--times", "2", "--secret", SECRET];
    let listening = Listening::start(&arguments).await;
    let job = submit(&it, json!({"url": listening.url, "secret": SECRET})).await;
    assert_eq!(answers(&it, &job, "delivered").await, [500, 500, 204]);
    let heard = listening.heard(3).await;
    for (number, answer) in [(1, "500"), (2, "500"), (3, "204")] {
        let (line, _) = &heard[number - 1];
        assert!(line.contains(&format!("delivery {number}  ")), "{line}");
        assert!(line.ends_with(&format!("-> {answer}")), "{line}");
    }
}

#[tokio::test]
async fn it_hangs_or_wants_nothing_more_when_it_is_told_so() {
    let hasty = |mut webhooks: futurity::Webhooks| {
        webhooks.timeout_seconds = 0.2;
        webhooks
    };
    let configure = |config: Config| Config { webhooks: hasty(at_once(1)), ..config };
    let it = TestServer::with(configure, |builder| builder).await;
    for (arguments, state, statuses) in [
        (vec!["--answer", "410"], "disabled", vec![json!(410)]),
        (vec!["--hang"], "failed", vec![json!(null)]),
        (vec!["--answer", "503", "--retry-after", "9"], "failed", vec![json!(503)]),
    ] {
        let listening = Listening::start(&arguments).await;
        let job = submit(&it, json!({"url": listening.url})).await;
        assert_eq!(answers(&it, &job, state).await, statuses, "{arguments:?}");
        listening.heard(1).await;
    }
}

#[tokio::test]
async fn what_it_cannot_do_is_told() {
    let home = Home::new();
    let refused = home.run(&["listen", "--secret", "hunter2"]).await;
    assert_eq!(refused.code, Some(78), "{refused:?}");
    assert!(refused.errors.contains("--secret: a webhook secret starts with"), "{refused:?}");
    assert!(!refused.errors.contains("hunter2"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let refused = home.run(&["listen", "--port", &port]).await;
    assert_eq!(refused.code, Some(74), "{refused:?}");
    assert!(refused.errors.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{refused:?}");
}
