//! `http.request` of a thousand URLs, 64 at once, beside Python's threads that do the same.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use crate::common::process::Process;
use crate::deliveries::ask;
use crate::receiver::Receivers;

const FETCH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/webhooks/fetch.py");
const URLS: usize = 1_000;
const AT_ONCE: usize = 64;
/// 1 KiB, as text.
const ANSWER: &str = concat!(
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n",
    include_str!("body.txt")
);

/// Requests a second.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Requested {
    pub ours: f64,
    pub session: f64,
    pub get: f64,
}

pub async fn measure(place: &Path, command_line: &mut String) -> Result<Requested> {
    std::fs::create_dir_all(place)?;
    let config = place.join("futurity.toml");
    std::fs::write(
        &config,
        format!("[queues.downloads]\nmax_workers = {AT_ONCE}\n[egress]\nallow_loopback = true\n"),
    )?;
    let config = config.to_str().context("a path that is no text")?;
    let server = Process::start(&place.join("data"), Some(config), &place.join("log")).await?;
    command_line.clone_from(&server.command_line);
    let receiver = Receivers::start(1, ANSWER.as_bytes()).await?;
    let url = format!("http://{}/", receiver.addresses[0]);
    // Each goes first once, so that connections and modules are there.
    ours(&server, &url).await?;
    let ours = ours(&server, &url).await?;
    let session = theirs("session", &url).await?;
    let get = theirs("get", &url).await?;
    ensure!(receiver.taken() == URLS * 6, "{} requests have come", receiver.taken());
    Ok(Requested { ours, session, get })
}

/// From the submission of the batch to the end of its last job.
async fn ours(server: &Process, url: &str) -> Result<f64> {
    let calls: Vec<Value> = (0..URLS).map(|nth| json!({"args": [format!("{url}{nth}")]})).collect();
    let body =
        json!({"function": "http.request", "queue": "downloads", "calls": calls}).to_string();
    let begun = Instant::now();
    let json = "application/json";
    let text = ask(server.address, "POST", "/v1/batches?wait=60", &body, json).await?;
    let mut batch: Value = serde_json::from_str(&text)?;
    while batch["done"] != true {
        let path = batch["urls"]["self"].as_str().context("a batch without a URL")?;
        let text = ask(server.address, "GET", &format!("{path}?wait=60"), "", json).await?;
        batch = serde_json::from_str(&text)?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    ensure!(batch["counts"]["succeeded"] == URLS, "not all succeeded: {batch}");
    #[expect(clippy::cast_precision_loss, reason = "a thousand")]
    Ok(URLS as f64 / seconds)
}

async fn theirs(how: &str, url: &str) -> Result<f64> {
    let mut command = Command::new("python3");
    command.args([FETCH, how, url, &URLS.to_string(), &AT_ONCE.to_string()]);
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "fetch.py {how} (it needs requests from PyPI): {errors}");
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}
