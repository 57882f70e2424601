//! The bare axum JSON echo that the throughput benchmark measures against.
//!
//! `echo PORT` serves on 127.0.0.1 (0: any free port), prints the address as its first line and
//! ends when its standard input does, so that it never outlives the benchmark. `echo --source`
//! prints this file, by which the benchmark knows that it has found a build of it. With any other
//! argument (`cargo bench` without a filter passes `--bench`) it does nothing.

#![expect(clippy::print_stdout, reason = "the address is handed over on standard output")]

use std::io;
use std::net::Ipv4Addr;
use std::thread;

use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

#[tokio::main]
async fn main() -> io::Result<()> {
    let argument = std::env::args().nth(1).unwrap_or_default();
    if argument == "--source" {
        print!("{}", include_str!("echo.rs"));
        return Ok(());
    }
    match argument.parse() {
        Ok(port) => serve(port).await,
        Err(_) => Ok(()),
    }
}

async fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("{}", listener.local_addr()?);
    let app = Router::new().route("/", post(echo));
    tokio::select! {
        served = async { axum::serve(listener, app).await } => served,
        _ = end_of_input() => Ok(()),
    }
}

/// Does what axum's `Json` does on both ways, a feature that the server itself has no use for.
async fn echo(body: Bytes) -> Response {
    match serde_json::from_slice::<Value>(&body).and_then(|value| serde_json::to_vec(&value)) {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

/// A thread of its own, since tokio would otherwise wait for the blocked read at the end.
fn end_of_input() -> oneshot::Receiver<io::Result<u64>> {
    let (ended, end) = oneshot::channel();
    thread::spawn(move || ended.send(io::copy(&mut io::stdin().lock(), &mut io::sink())));
    end
}
