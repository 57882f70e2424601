//! Functions and settings of the pages, as they stand there: an image tool as a command, the worker that is copied, the
//! first configuration.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::process::Home;
use crate::programs::{script, search_path};

const README: &str = include_str!("../../README.md");
const FUNCTIONS: &str = include_str!("../../docs/functions.md");
const WORKER: &str = include_str!("../../examples/worker.py");
const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// The block of TOML on `page` in which `mark` stands.
fn block(page: &'static str, mark: &str) -> &'static str {
    let blocks = page.split("```toml\n").skip(1).filter_map(|text| text.split_once("```"));
    blocks.map(|(block, _)| block).find(|block| block.contains(mark)).expect("a block")
}

/// Width and height of a PNG image (RFC 2083, section 4.1.1).
fn size_of(image: &[u8]) -> (u32, u32) {
    assert_eq!(image[..8], SIGNATURE, "a PNG image");
    let number = |at: usize| u32::from_be_bytes(image[at..at + 4].try_into().expect("four bytes"));
    (number(16), number(20))
}

#[tokio::test]
async fn the_worker_of_the_readme_computes_factorials() {
    let home = Home::new();
    script(&home, "worker.py", WORKER);
    script(&home, "futurity.toml", block(README, "[workers.python]"));
    let mut command = home.command(&["--listen", "127.0.0.1:0"]);
    command.env("PATH", search_path());
    let it = home.start_as(command).await;
    let job = it.submit(&json!({"function": "compute_factorial", "args": [30]})).await;
    assert_eq!(it.done(&job).await["result"], "265252859812191058636308480000000");
    let worker =
        it.get("/v1/functions/compute_factorial").await.expect(200).json()["worker"].clone();
    assert_eq!(worker["processes"], 4);
    it.stop().await;
}

#[tokio::test]
async fn the_thumbnail_of_the_pages_is_made_by_a_real_program_from_the_bytes_of_the_job() {
    let made = Command::new("gm")
        .args(["convert", "-size", "640x480", "gradient:#ff0000-#0000ff", "png:-"])
        .output();
    let Ok(made) = made else {
        println!("NOTE: SKIPPED, gm is missing (apt-get install graphicsmagick)");
        return;
    };
    assert_eq!(size_of(&made.stdout), (640, 480));
    let home = Home::new();
    script(&home, "futurity.toml", block(FUNCTIONS, "[functions.\"image.thumbnail\"]"));
    let mut command = home.command(&["--listen", "127.0.0.1:0"]);
    command.env("PATH", search_path());
    let it = home.start_as(command).await;
    let image = STANDARD.encode(&made.stdout);
    let job = it
        .submit(&json!({"function": "image.thumbnail", "kwargs": {"image": image, "width": 64}}))
        .await;
    let job = it.done(&job).await;
    assert_eq!(job["result"]["content_type"], "image/png", "{job}");
    let thumbnail =
        STANDARD.decode(job["result"]["body"].as_str().expect("base64")).expect("base64");
    assert_eq!(size_of(&thumbnail), (64, 48));
    let job = it
        .submit(&json!({"function": "image.thumbnail", "args": [STANDARD.encode("no image")]}))
        .await;
    let error = it.done(&job).await["error"].clone();
    assert_eq!(error["type"], "CalledProcessError", "{error}");
    assert!(error["traceback"].as_str().expect("text").contains("gm convert"), "{error}");
    it.stop().await;
}

#[tokio::test]
async fn the_configuration_of_the_readme_is_taken() {
    let home = Home::new();
    script(&home, "futurity.toml", block(README, "[queues.downloads]"));
    let finished = home.run(&["config"]).await;
    assert_eq!(finished.code, Some(0), "{}", finished.errors);
    assert!(finished.output.contains("hooks.corp.example:443"), "{}", finished.output);
}
