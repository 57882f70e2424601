//! What a neighbour feels of programs that take all they can get.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use crate::common::client::Connection;
use crate::common::stats::{Latency, micros};
use crate::rounds::Bench;
use crate::usage::{cpu_time, resident_kib};

/// How long the neighbour is measured beside each.
const MEASURED: Duration = Duration::from_secs(4);

/// Each is started again and again while the neighbour is measured.
const GREEDY: [(&str, &str); 4] = [
    ("nothing", ""),
    ("10 GB of output", "flood"),
    ("10 GB of memory", "hog"),
    ("1,000 forks", "forks"),
];

/// A round trip of `echo`, one after the other, beside something else.
#[derive(Debug, Serialize)]
pub struct Neighbour {
    pub beside: &'static str,
    pub latency: Latency,
    /// The most that the server had meanwhile.
    pub server_mib: f64,
    /// How many cores the server used meanwhile.
    pub server_cores: f64,
    /// What became of the job beside it.
    pub error: String,
}

pub async fn neighbours(bench: &Bench) -> Result<Vec<Neighbour>> {
    let mut all = Vec::new();
    for (beside, function) in GREEDY {
        eprintln!("a neighbour beside {beside}");
        let server = bench.server.child.id();
        let (begun, used) = (Instant::now(), cpu_time(server)?);
        let end = begun + MEASURED;
        let mut connection = Connection::open(bench.server.address).await?;
        let request = bench.request("POST", "/v1/jobs?wait=60", "{\"function\":\"echo\"}");
        let (mut latencies, mut memory, mut error) = (Vec::new(), 0.0_f64, "-".to_owned());
        let neighbour = async {
            while Instant::now() < end {
                let begun = Instant::now();
                let answer = connection.exchange(request.as_bytes()).await?;
                let succeeded = answer.body.windows(11).any(|text| text == b"\"succeeded\"");
                ensure!(answer.status == 200 && succeeded, "the neighbour fails");
                latencies.push(micros(begun.elapsed()));
                memory = memory.max(resident_kib(server)? / 1024.0);
            }
            Ok(())
        };
        let greedy = async {
            while !function.is_empty() && Instant::now() < end {
                let job = done(bench, function).await?;
                job["error"]["type"].as_str().context("it did not fail")?.clone_into(&mut error);
            }
            Ok(())
        };
        let (neighbour, greedy): (Result<()>, Result<()>) = tokio::join!(neighbour, greedy);
        neighbour.and(greedy)?;
        let latency = Latency::of(&mut latencies).context("no latency")?;
        let seconds = begun.elapsed().as_secs_f64();
        let server_cores = (cpu_time(server)? - used).as_secs_f64() / seconds;
        all.push(Neighbour { beside, latency, server_mib: memory, server_cores, error });
    }
    Ok(all)
}

async fn done(bench: &Bench, function: &str) -> Result<Value> {
    let job =
        bench.ask("POST", "/v1/jobs?wait=60", &json!({"function": function}).to_string()).await?;
    ensure!(job["done"] == true, "not done in time: {job}");
    Ok(job)
}
