//! The real program in a process of its own: started, asked, stopped, killed.

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::server::{self, Answer};

/// A start, an exit, or whatever else a test waits for is there within this.
pub const LIMIT: Duration = Duration::from_secs(60);
const ASK_EVERY: Duration = Duration::from_millis(5);

/// A directory that one process after another works on. Removed at the end.
pub struct Home {
    dir: TempDir,
}

/// A server in a process of its own. It is killed when this is dropped.
pub struct Process {
    child: Child,
    address: SocketAddr,
    client: reqwest::Client,
}

/// A process that ended by itself.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub output: String,
    pub errors: String,
}

impl Home {
    pub fn new() -> Self {
        Self { dir: TempDir::new().expect("a temporary directory") }
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn database(&self) -> PathBuf {
        self.data().join("futurity.db")
    }

    /// A place for a file of the test's own, beside the data.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Everything that the servers of this directory have said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.file("log")).expect("a log")
    }

    fn log_if_any(&self) -> String {
        std::fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    /// The program with these arguments, on this directory, with nothing in its environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_futurity"));
        command.args(arguments).arg("--data-dir").arg(self.data());
        command.env_clear().current_dir(self.dir.path());
        command
    }

    /// A server that is ready.
    pub async fn start(&self, flags: &[&str]) -> Process {
        let mut command = self.command(flags);
        command.args(["--listen", "127.0.0.1:0"]);
        self.start_as(command).await
    }

    /// A server that is ready, started by a command of the test's own.
    pub async fn start_as(&self, mut command: Command) -> Process {
        let log = OpenOptions::new().create(true).append(true).open(self.file("log"));
        let log = log.expect("a log file");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        self.started(command).await
    }

    /// A server that is ready, whose output goes where the command says.
    pub async fn started(&self, command: Command) -> Process {
        self.started_after(command, async |_pid| {}).await
    }

    /// The same, of which something is done before it is ready.
    pub async fn started_after(
        &self,
        mut command: Command,
        meanwhile: impl AsyncFnOnce(u32),
    ) -> Process {
        let file = self.data().join("address");
        // What a killed server left would be taken for the new one's.
        if let Err(error) = std::fs::remove_file(&file) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
        }
        let child = command.spawn().expect("a process");
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        // The command keeps its ends of pipes.
        drop(command);
        let mut process = Process { child, address, client: client() };
        meanwhile(process.pid()).await;
        process.address = until("the server writes its address", async || {
            let ended = process.child.try_wait().expect("a child");
            assert!(
                ended.is_none(),
                "the server ended at its start, {ended:?}:\n{}",
                self.log_if_any()
            );
            std::fs::read_to_string(&file).ok()?.trim().parse().ok()
        })
        .await;
        assert!(process.address.ip().is_loopback(), "tests stay on this machine");
        process.get("/readyz").await.expect(200);
        process
    }

    /// Runs the program to its end.
    pub async fn run(&self, arguments: &[&str]) -> Finished {
        let mut command = self.command(arguments);
        let (output, errors) = (self.file("output"), self.file("errors"));
        let create = |path: &Path| File::create(path).expect("a file");
        command.stdin(Stdio::null()).stdout(create(&output)).stderr(create(&errors));
        let mut child = Reaped(command.spawn().expect("a process"));
        let code = child.exit().await.code();
        let read = |path: &Path| std::fs::read_to_string(path).expect("text");
        Finished { code, output: read(&output), errors: read(&errors) }
    }
}

impl Process {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills the server as the kernel would, with no chance to do anything.
    pub fn kill_nine(mut self) {
        self.child.kill().expect("a process to kill");
        let status = self.child.wait().expect("a child");
        assert_eq!(status.code(), None, "the server was killed, and did not end by itself");
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("a process to signal");
    }

    /// Waits for the end of the server; none if a signal ended it.
    pub async fn exit_code(&mut self) -> Option<i32> {
        exit(&mut self.child).await.code()
    }

    /// Stops the server, which must go without a complaint.
    pub async fn stop(mut self) {
        self.terminate();
        assert_eq!(self.exit_code().await, Some(0));
    }

    /// Stops the server without its grace.
    pub async fn stop_at_once(mut self) {
        self.terminate();
        until("the server has heard the first signal", async || {
            // It may listen no more, and not have ended.
            let asked = self.request(Method::GET, "/readyz").send().await;
            asked.map_or(true, |answer| answer.status() == 503).then_some(())
        })
        .await;
        self.terminate();
        assert_eq!(self.exit_code().await, Some(0));
    }

    /// A request to be finished by the test.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    /// Sends a request and checks its answer against the contract.
    pub fn send(&self, request: reqwest::RequestBuilder) -> impl Future<Output = Answer> + use<> {
        server::send(self.client.clone(), request)
    }

    pub fn get(&self, path: &str) -> impl Future<Output = Answer> + use<> {
        self.send(self.request(Method::GET, path))
    }

    pub fn post(&self, path: &str, body: &Value) -> impl Future<Output = Answer> + use<> {
        self.send(self.request(Method::POST, path).json(body))
    }

    /// Submits a call and gives the job as it was accepted.
    pub async fn submit(&self, body: &Value) -> Value {
        self.post("/v1/jobs", body).await.expect(202).json()
    }

    /// The job as it stands now.
    pub async fn job(&self, job: &Value) -> Value {
        self.get(&path_of(job)).await.expect(200).json()
    }

    /// The job once its attempt of this number runs: a server is ready before it has claimed what waits.
    pub async fn running(&self, job: &Value, attempt: u64) -> Value {
        until("the attempt runs", async || {
            let job = self.job(job).await;
            (job["state"] == "running" && job["attempt"] == attempt).then_some(job)
        })
        .await
    }

    /// The job when it is done.
    pub async fn done(&self, job: &Value) -> Value {
        let path = format!("{}?wait=30", path_of(job));
        until("the job is done", async || {
            Some(self.get(&path).await.expect(200).json()).filter(|job| job["done"] == true)
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        reap(&mut self.child);
    }
}

struct Reaped(Child);

impl Reaped {
    async fn exit(&mut self) -> ExitStatus {
        exit(&mut self.0).await
    }
}

impl Drop for Reaped {
    fn drop(&mut self) {
        reap(&mut self.0);
    }
}

/// The path of a job.
pub fn path_of(job: &Value) -> String {
    job["urls"]["self"].as_str().expect("a path").to_owned()
}

/// Asks until there is an answer. A test that waits in vain ends here.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    let mut again = tokio::time::interval(ASK_EVERY);
    loop {
        again.tick().await;
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "in vain for {LIMIT:?}: {what}");
    }
}

async fn exit(child: &mut Child) -> ExitStatus {
    until("the process ends", async || child.try_wait().expect("a child")).await
}

fn reap(child: &mut Child) {
    // One that has ended already has nothing left to kill.
    child.kill().unwrap_or_default();
    child.wait().map(drop).unwrap_or_default();
}

pub fn client() -> reqwest::Client {
    // No request of these tests is encrypted, but the client wants to know how it would be.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy().timeout(server::REQUEST_LIMIT).build().expect("a client")
}
