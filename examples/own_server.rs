//! A server of one's own, with Rust functions beside the built-in ones: `cargo run --example own_server`.

use futurity::{Call, Config, JobError, Server};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Deserialize, JsonSchema)]
struct Count {
    #[schemars(range(max = 50_000_000))]
    below: u64,
}

#[derive(Serialize)]
struct Counted {
    primes: usize,
}

/// Computes, so it runs on a thread: `blocking`. It says how far it is, and stops when it is asked to.
fn count_primes(call: &Call, Count { below }: Count) -> Result<Counted, JobError> {
    let is_prime =
        |n: &u64| *n > 1 && (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    let mut primes = 0;
    for from in (0..below).step_by(10_000) {
        if call.is_cancelled() {
            return Err(JobError::new("InterruptedError", format!("stopped at {from}")));
        }
        primes += (from..below.min(from + 10_000)).filter(is_prime).count();
        call.progress(from as f64 / below as f64, None);
    }
    call.log(&format!("{primes} primes below {below}, in attempt {}", call.attempt()));
    Ok(Counted { primes })
}

#[tokio::main]
async fn main() -> Result<(), futurity::Failure> {
    let data_dir = std::env::args_os().nth(1).unwrap_or("own-data".into()).into();
    let config = Config { listen: ([127, 0, 0, 1], 0).into(), data_dir, ..Config::default() };
    Server::builder(config).function("primes.count", futurity::blocking(count_primes)).serve().await
}
