//! A real server for one test, in this process; every answer it gives is held against the contract.

use std::time::Duration;

use futurity::{Builder, Config, Server};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use crate::contract::contract;

/// No request of a test takes longer; a test that waits in vain ends here.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(90);

/// A server and a client for it.
pub struct TestServer {
    pub server: Server,
    pub url: String,
    pub client: reqwest::Client,
    /// Removed at the end.
    pub dir: TempDir,
}

/// One answer, already checked against `openapi.yaml`.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    /// The text of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header of text"))
    }

    /// The code of a problem.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().expect("a problem's code").to_owned()
    }

    /// The same answer, which must have this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status.as_u16(), status, "unexpected status, with body {text}");
        self
    }
}

/// The job without what became of its callbacks, which is no part of the future.
pub fn future_of(job: &Value) -> Value {
    let mut job = job.clone();
    job.as_object_mut().expect("a job").remove("callbacks");
    job
}

/// What every test's server has: port 0, a directory of its own, and this machine as a receiver.
pub fn config(dir: &TempDir) -> Config {
    Config {
        listen: "127.0.0.1:0".parse().expect("an address"),
        data_dir: dir.path().join("data"),
        allow_loopback_egress: true,
        ..Config::default()
    }
}

impl TestServer {
    /// A server with the built-in functions.
    pub async fn start() -> Self {
        Self::with(|config| config, |builder| builder).await
    }

    /// A server with a configuration or functions of the test's own.
    pub async fn with(
        configure: impl FnOnce(Config) -> Config,
        build: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        Self::on(dir, configure, build).await
    }

    /// A server on a directory that may hold the jobs of an earlier one.
    pub async fn on(
        dir: TempDir,
        configure: impl FnOnce(Config) -> Config,
        build: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let builder = build(Server::builder(configure(config(&dir))));
        let server = builder.start().await.expect("a server that starts");
        let url = format!("http://{}", server.address());
        let client =
            reqwest::Client::builder().no_proxy().timeout(REQUEST_LIMIT).build().expect("a client");
        Self { server, url, client, dir }
    }

    /// Stops the server, giving running jobs this long, and keeps its directory.
    pub async fn stop(self, grace: Duration) -> TempDir {
        self.server.stop(grace).await.expect("a clean stop");
        self.dir
    }

    /// The secret that signs webhooks, as an operator reads it.
    pub fn webhook_secret(&self) -> String {
        let file = self.dir.path().join("data/webhook-secret");
        std::fs::read_to_string(file).expect("a secret").trim().to_owned()
    }

    /// A request to be finished by the test.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// Sends a request and checks its answer against the contract.
    #[track_caller]
    pub fn send(&self, request: reqwest::RequestBuilder) -> impl Future<Output = Answer> + use<> {
        send(self.client.clone(), request)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Submits a call and gives the job as it was accepted.
    pub async fn submit(&self, body: &Value) -> Value {
        self.post("/v1/jobs", body).await.expect(202).json()
    }

    /// Submits a call and gives the job when it is done.
    pub async fn done(&self, body: &Value) -> Value {
        let job = self.post("/v1/jobs?wait=60", body).await.json();
        assert_eq!(job["done"], true, "the job is done in time: {job}");
        job
    }

    /// The job's first callback when it stands so.
    pub async fn standing(&self, job: &Value, state: &str) -> Value {
        let path = job["urls"]["callbacks"].as_str().expect("a path");
        let asked = async {
            loop {
                let first = self.get(path).await.expect(200).json()["callbacks"][0].take();
                if first["state"] == state {
                    return first;
                }
            }
        };
        tokio::time::timeout(REQUEST_LIMIT, asked).await.expect("the callback gets there")
    }

    /// The job when it is done.
    pub async fn wait(&self, job: &Value) -> Value {
        let id = job["id"].as_str().expect("an id");
        let job = self.get(&format!("/v1/jobs/{id}?wait=60")).await.expect(200).json();
        assert_eq!(job["done"], true, "the job is done in time: {job}");
        job
    }
}

/// Sends a request of a client whose server the test has taken.
pub async fn send(client: reqwest::Client, request: reqwest::RequestBuilder) -> Answer {
    let request = request.build().expect("a request");
    let (method, path) = (request.method().clone(), request.url().path().to_owned());
    let response = client.execute(request).await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.bytes().await.expect("a whole body").to_vec();
    let answer = Answer { status, headers, body };
    let pairs: Vec<(String, String)> = answer
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect();
    let checked = contract().check(
        method.as_str(),
        &path,
        answer.status.as_u16(),
        answer.header("content-type"),
        &pairs,
        &answer.body,
    );
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(checked, Ok(()), "{method} {path} breaks the contract\n{text}");
    answer
}
