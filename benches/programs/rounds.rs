//! One round: calls a second, and what they are compared with.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::common::client::Connection;
use crate::common::process::Process;

const WORKER: &str = include_str!("../../examples/worker.py");
const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/programs/peers.py");
/// Added to the worker that a user copies.
const ADDED: &str = "@function
def wait(seconds):
    time.sleep(seconds)


@function
def same(value):
    return value


";
/// Commands that take all they can get.
const GREEDY: &str = r#"
[functions.flood]
runtime = "command"
argv = ["/usr/bin/head", "-c", "10000000000", "/dev/zero"]
stdin = "none"
stdout = "bytes"
[functions.hog]
runtime = "command"
argv = ["PYTHON", "-c", "x = bytearray(10**10); x[::4096] = b'1' * len(x[::4096])"]
stdin = "none"
memory_bytes_max = 200_000_000
[functions.forks]
runtime = "command"
argv = ["/bin/sh", "-c", "i=0; while [ $i -lt 1000 ]; do sleep 100 & i=$((i+1)); done; wait"]
stdin = "none"
processes_max = 50
"#;
/// A factorial that takes some 0.1 s.
const LARGE: u32 = 20_000;
const LARGE_CALLS: usize = 40;

/// A server with workers of one and of two processes, and commands.
pub struct Bench {
    pub server: Process,
    worker: PathBuf,
    python: String,
}

impl Bench {
    pub async fn start(directory: &Path) -> Result<Self> {
        let asked =
            Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
        let python =
            String::from_utf8(asked.context("python3 is missing")?.stdout)?.trim().to_owned();
        let (worker, twice) = (directory.join("worker.py"), directory.join("twice.py"));
        let text = WORKER.replacen("def progress", &format!("{ADDED}def progress"), 1);
        std::fs::write(&worker, &text)?;
        // Both have the same functions, so those of the second have other names.
        std::fs::write(
            &twice,
            text.replace("\"name\": f.__name__", "\"name\": \"twice.\" + f.__name__")
                .replace("FUNCTIONS[f.__name__]", "FUNCTIONS[\"twice.\" + f.__name__]"),
        )?;
        let config = directory.join("programs.toml");
        let greedy = GREEDY.replace("PYTHON", &python);
        std::fs::write(
            &config,
            format!(
                "[queues.default]\nmax_workers = 64\n[workers.one]\nargv = [\"{python}\", \"{}\"]\nprocesses = 1\n\
                 [workers.two]\nargv = [\"{python}\", \"{}\"]\nprocesses = 2\n\
                 [functions.\"true\"]\nruntime = \"command\"\nargv = [\"/bin/true\"]\nstdin = \"none\"\nstdout = \"text\"\n{greedy}",
                worker.display(),
                twice.display()
            ),
        )?;
        let config = config.to_str().context("a path that is no text")?;
        let server =
            Process::start(&directory.join("data"), Some(config), &directory.join("log")).await?;
        let bench = Self { server, worker, python };
        // All processes are there, and have run each function once.
        for function in ["twice.wait", "wait", "true"] {
            bench.calls(function, &json!(0), 8).await?;
        }
        Ok(bench)
    }

    pub fn command_line(&self) -> String {
        self.server.command_line.clone()
    }

    /// The bytes of a request.
    pub fn request(&self, method: &str, path: &str, body: &str) -> String {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.server.address,
            body.len()
        )
    }

    /// A request on a connection of its own, and its answer.
    pub async fn ask(&self, method: &str, path: &str, body: &str) -> Result<Value> {
        let mut connection = Connection::open(self.server.address).await?;
        let request = self.request(method, path, body);
        let answer = connection.exchange(request.as_bytes()).await?;
        let text = String::from_utf8_lossy(answer.body);
        ensure!(answer.status < 300, "{method} {path} is answered {}: {text}", answer.status);
        Ok(serde_json::from_str(&text)?)
    }

    /// Calls a second of one batch, from its submission to its end.
    async fn calls(&self, function: &str, argument: &Value, count: usize) -> Result<f64> {
        let call = if function == "true" { json!({}) } else { json!({"args": [argument]}) };
        let body = json!({"function": function, "calls": vec![call; count]});
        let begun = Instant::now();
        let mut batch = self.ask("POST", "/v1/batches?wait=60", &body.to_string()).await?;
        while batch["done"] != true {
            let path = batch["urls"]["self"].as_str().context("a batch without a URL")?;
            batch = self.ask("GET", &format!("{path}?wait=60"), "").await?;
        }
        let seconds = begun.elapsed().as_secs_f64();
        ensure!(batch["counts"]["succeeded"] == count, "not all succeeded: {batch}");
        #[expect(clippy::cast_precision_loss, reason = "some thousands")]
        Ok(count as f64 / seconds)
    }

    /// Calls a second of what it is compared with.
    async fn peer(&self, arguments: &[&str]) -> Result<f64> {
        let mut command = Command::new(&self.python);
        command.arg(PEERS).args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "peers.py {arguments:?}: {errors}");
        Ok(String::from_utf8(output.stdout)?.trim().parse()?)
    }

    pub async fn round(&self) -> Result<Vec<(String, f64)>> {
        let mut figures = Vec::new();
        let mut keep = |name: &str, figure: f64| {
            figures.push((name.to_owned(), figure));
            figure
        };
        let large = json!(LARGE);
        let one = self.calls("compute_factorial", &large, LARGE_CALLS).await?;
        let one = keep("compute_factorial(20000), 1 process, calls/s", one);
        let two = self.calls("twice.compute_factorial", &large, LARGE_CALLS).await?;
        let two = keep("  2 processes, calls/s", two);
        keep("  2 processes / 1", two / one);
        let pool = self
            .peer(&["pool", "2", "compute_factorial", &LARGE.to_string(), &LARGE_CALLS.to_string()])
            .await?;
        let pool = keep("  ProcessPoolExecutor(2), calls/s", pool);
        keep("  2 processes / ProcessPoolExecutor(2)", two / pool);
        for (milliseconds, seconds, count) in
            [(0, "0", 5_000), (1, "0.001", 2_000), (10, "0.01", 400)]
        {
            let argument: Value = serde_json::from_str(seconds)?;
            let ours = self.calls("twice.wait", &argument, count).await?;
            let ours = keep(&format!("wait({milliseconds} ms), 2 processes, calls/s"), ours);
            let pool = self.peer(&["pool", "2", "wait", seconds, &count.to_string()]).await?;
            let pool = keep("  ProcessPoolExecutor(2), calls/s", pool);
            keep("  ratio", ours / pool);
        }
        let ours = self.calls("same", &json!("x"), 4_000).await?;
        let ours = keep("echo through 1 process, calls/s", ours);
        let worker = self.worker.to_str().context("a path that is no text")?;
        let pipe = self.peer(&["pipe", worker, "same", "\"x\"", "4000"]).await?;
        let pipe = keep("  the same lines through a bare pipe, calls/s", pipe);
        keep("  ratio", ours / pipe);
        let ours = self.calls("true", &Value::Null, 400).await?;
        let ours = keep("/bin/true as a command, 64 at once, calls/s", ours);
        let run = self.peer(&["run", "400"]).await?;
        let run = keep("  subprocess.run, one after the other, calls/s", run);
        keep("  ratio", ours / run);
        Ok(figures)
    }
}
