//! A webhook receiver: verifies each delivery with a Standard Webhooks library and prints what came.
//!
//! FUTURITY_WEBHOOK_SECRET="$(futurity webhook-secret)" receiver --listen 127.0.0.1:9100
#![expect(clippy::print_stdout, reason = "an example shows what it received")]

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use clap::Parser;
use standardwebhooks::Webhook;

/// Prints each webhook that it receives, verified or not.
#[derive(Parser)]
struct Arguments {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:9100")]
    listen: SocketAddr,
    /// What `futurity webhook-secret` prints
    #[arg(long, env = "FUTURITY_WEBHOOK_SECRET", hide_env_values = true)]
    secret: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let webhook = Webhook::new(&arguments.secret).context("the secret is not whsec_ and base64")?;
    let app = Router::new().route("/", post(receive)).with_state(Arc::new(webhook));
    let listener = tokio::net::TcpListener::bind(arguments.listen).await?;
    println!("receiver: listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

/// Answers 2xx only to what it believes; everything else is sent again later.
async fn receive(
    State(webhook): State<Arc<Webhook>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    if let Err(error) = webhook.verify(&body, &headers) {
        println!("receiver: NOT verified: {error}");
        return (StatusCode::UNAUTHORIZED, "not verified");
    }
    // The same id comes again with every further attempt: a real receiver remembers it.
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    let event: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    println!("receiver: verified {} {}, webhook-id {id}", event["type"], event["data"]["result"]);
    (StatusCode::OK, "thank you")
}
