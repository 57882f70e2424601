//! Receivers that do what they should not: each has the delivery log that it deserves, and nobody waits for it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futurity::{Config, Webhooks};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::receiver::{Receiver, Reply};
use crate::server::TestServer;

/// How long a POST may take here, in seconds.
const TIMEOUT_SECONDS: f64 = 1.0;
/// The pause before a second attempt, in seconds: it never comes.
const PAUSE_SECONDS: u32 = 1_000;
/// A body this long is read by nobody.
const ENDLESS_BYTES: u64 = 100_000_000_000;

/// What came to a hostile receiver: the path, and how many bytes of its answer were taken.
type Done = (String, u64);

/// Answers each connection by the path that it asks for. Ends with the test.
struct Hostile {
    address: SocketAddr,
    done: mpsc::UnboundedReceiver<Done>,
    serving: JoinHandle<()>,
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Hostile {
    /// `elsewhere` is where it redirects to.
    async fn start(elsewhere: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, done) = mpsc::unbounded_channel();
        let bomb: Arc<[u8]> = gzip_of_zeros(64 * 1024 * 1024).into();
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _peer) = listener.accept().await.expect("a connection");
                let (sender, bomb) = (sender.clone(), Arc::clone(&bomb));
                tokio::spawn(async move {
                    let ended = misbehave(stream, elsewhere, &bomb).await;
                    // A test that has ended looks no more.
                    drop(sender.send(ended));
                });
            }
        });
        Self { address, done, serving }
    }

    fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many bytes of its answer were taken by whoever asked for `path`.
    async fn taken(&mut self, path: &str) -> u64 {
        loop {
            let (of, bytes) = self.done.recv().await.expect("a receiver that serves");
            if of == path {
                return bytes;
            }
        }
    }
}

/// Reads a request and answers it as its path says.
async fn misbehave(mut stream: TcpStream, elsewhere: SocketAddr, bomb: &[u8]) -> Done {
    let path = path_asked(&mut stream).await;
    let ok = "HTTP/1.1 200 OK\r\n";
    let taken = match path.as_str() {
        "/500" => write(&mut stream, "HTTP/1.1 500 No\r\ncontent-length: 4\r\n\r\noops").await,
        "/gone" => write(&mut stream, "HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n").await,
        "/later" => {
            let head =
                "HTTP/1.1 503 Later\r\nretry-after: 1000000000000\r\ncontent-length: 0\r\n\r\n";
            write(&mut stream, head).await
        }
        "/metadata" => {
            let head = "HTTP/1.1 307 There\r\nlocation: http://169.254.169.254/latest\r\n\
                        content-length: 0\r\n\r\n";
            write(&mut stream, head).await
        }
        "/elsewhere" => {
            let head = format!(
                "HTTP/1.1 302 There\r\nlocation: http://{elsewhere}/\r\ncontent-length: 0\r\n\r\n"
            );
            write(&mut stream, &head).await
        }
        "/garbage" => write(&mut stream, "SSH-2.0-OpenSSH_9.9\r\n\r\n").await,
        "/short" => write(&mut stream, &format!("{ok}content-length: 100\r\n\r\nshort")).await,
        "/endless" => {
            write(&mut stream, &format!("{ok}content-length: {ENDLESS_BYTES}\r\n\r\n")).await;
            flood(&mut stream, &[b'x'; 16 * 1024]).await
        }
        "/bomb" => {
            let head =
                format!("{ok}content-encoding: gzip\r\ncontent-length: {}\r\n\r\n", bomb.len());
            write(&mut stream, &head).await;
            stream.write_all(bomb).await.map(|()| 0).unwrap_or_default()
        }
        "/headers" => {
            write(&mut stream, ok).await;
            flood(
                &mut stream,
                b"x-flood: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
            )
            .await
        }
        "/drip-head" => drip(&mut stream, ok).await,
        "/drip-body" => {
            write(&mut stream, &format!("{ok}content-length: 100\r\n\r\n")).await;
            drip(&mut stream, &"b".repeat(100)).await
        }
        "/reset" => {
            stream.set_zero_linger().expect("a socket");
            0
        }
        _ => std::future::pending().await,
    };
    (path, taken)
}

async fn path_asked(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !is_complete(&request) {
        if stream.read_buf(&mut request).await.expect("a request") == 0 {
            break;
        }
    }
    let text = String::from_utf8_lossy(&request);
    text.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn is_complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().expect("a length"))
}

async fn write(stream: &mut TcpStream, text: &str) -> u64 {
    // Whoever asked may have gone.
    stream.write_all(text.as_bytes()).await.map(|()| 0).unwrap_or_default()
}

/// Writes `piece` again and again until nobody takes any more; gives how many bytes were taken.
async fn flood(stream: &mut TcpStream, piece: &[u8]) -> u64 {
    let mut taken = 0;
    while taken < ENDLESS_BYTES && stream.write_all(piece).await.is_ok() {
        taken += piece.len() as u64;
    }
    taken
}

/// One byte each half of the time that a POST has.
async fn drip(stream: &mut TcpStream, text: &str) -> u64 {
    let mut again = tokio::time::interval(Duration::from_secs_f64(TIMEOUT_SECONDS / 2.0));
    for (taken, byte) in (0..).zip(text.as_bytes()) {
        again.tick().await;
        if stream.write_all(&[*byte]).await.is_err() {
            return taken;
        }
    }
    text.len() as u64
}

fn gzip_of_zeros(bytes: usize) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let piece = vec![b'0'; 1024 * 1024];
    for _ in 0..bytes / piece.len() {
        encoder.write_all(&piece).expect("memory");
    }
    encoder.finish().expect("memory")
}

/// What the log of a delivery says after its only attempt.
struct Expected {
    path: &'static str,
    status: Value,
    /// A part of the error; none if there is none.
    error: Option<&'static str>,
    body: Value,
    state: &'static str,
    /// Seconds until the next attempt, at least and at most.
    next: Option<(i64, i64)>,
}

fn answered(path: &'static str, status: u16, body: &str) -> Expected {
    let planned = i64::from(PAUSE_SECONDS);
    let next = Some((planned * 4 / 5, planned * 6 / 5));
    let (status, body) = (json!(status), json!(body));
    Expected { path, status, error: None, body, state: "pending", next }
}

fn taken(path: &'static str, body: &str) -> Expected {
    Expected { state: "delivered", next: None, ..answered(path, 200, body) }
}

fn unanswered(path: &'static str, error: &'static str) -> Expected {
    let nothing = answered(path, 0, "");
    Expected { status: json!(null), body: json!(null), error: Some(error), ..nothing }
}

fn all_expected() -> Vec<Expected> {
    let late = "no complete answer within 1 s";
    let zeros = "0".repeat(256);
    vec![
        answered("/500", 500, "oops"),
        answered("/metadata", 307, ""),
        answered("/elsewhere", 302, ""),
        Expected { next: Some((86_390, 86_401)), ..answered("/later", 503, "") },
        Expected { state: "disabled", next: None, ..answered("/gone", 410, "") },
        unanswered("/hang", late),
        unanswered("/drip-head", late),
        unanswered("/headers", "message head is too large"),
        unanswered("/garbage", "invalid HTTP"),
        unanswered("/reset", "Connection reset"),
        taken("/endless", &"x".repeat(256)),
        taken("/bomb", &zeros),
        Expected { error: Some("end of file"), ..taken("/short", "short") },
        Expected { error: Some(late), ..taken("/drip-body", "b") },
    ]
}

/// The job's only callback once it has been tried.
async fn tried(it: &TestServer, job: &Value) -> Value {
    let path = job["urls"]["callbacks"].as_str().expect("a path");
    loop {
        let mut list = it.get(path).await.expect(200).json();
        let callback = list["callbacks"][0].take();
        if callback["deliveries"][0]["attempts"][0].is_object() {
            return callback;
        }
    }
}

fn check(expected: &Expected, callback: &Value) {
    let delivery = &callback["deliveries"][0];
    let attempt = &delivery["attempts"][0];
    let path = expected.path;
    assert_eq!(callback["state"], expected.state, "{path}: {callback}");
    assert_eq!(attempt["status"], expected.status, "{path}: {attempt}");
    let error = attempt["error"].as_str();
    match expected.error {
        Some(part) => assert!(error.is_some_and(|error| error.contains(part)), "{path}: {attempt}"),
        None => assert_eq!(error, None, "{path}"),
    }
    let body = attempt["body"].as_str();
    match expected.body.as_str() {
        // Of a body that drips, more or less has come.
        Some("b") => assert!(body.is_some_and(|body| body.starts_with('b')), "{path}: {attempt}"),
        whole => assert_eq!(body, whole, "{path}"),
    }
    let moment =
        |value: &Value| value.as_str().map(|at| at.parse::<jiff::Timestamp>().expect("a time"));
    let wait = moment(&delivery["next_at"]).map(|next| {
        let at = moment(&attempt["at"]).expect("when it was sent");
        next.as_second() - at.as_second()
    });
    let fits = |(least, most): (i64, i64)| wait.is_some_and(|wait| (least..=most).contains(&wait));
    match expected.next {
        // From the end of the attempt, which took up to a second.
        Some((least, most)) => assert!(fits((least, most + 2)), "{path}: {wait:?} s"),
        None => assert_eq!(wait, None, "{path}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f15_each_hostile_receiver_has_its_own_log_and_a_good_one_is_told_meanwhile() {
    let webhooks = Webhooks {
        schedule_seconds: vec![0, PAUSE_SECONDS],
        timeout_seconds: TIMEOUT_SECONDS,
        ..Webhooks::default()
    };
    let it = TestServer::with(|config| Config { webhooks, ..config }, |builder| builder).await;
    let canary = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    canary.set_nonblocking(true).expect("a socket");
    let mut hostile = Hostile::start(canary.local_addr().expect("an address")).await;
    let mut good = Receiver::start(|_| Reply::Status(200)).await;
    let mut jobs = Vec::new();
    for expected in all_expected() {
        let callbacks = json!([{"url": hostile.at(expected.path)}]);
        jobs.push((
            expected,
            it.submit(&json!({"function": "echo", "callbacks": callbacks})).await,
        ));
        let callbacks = json!([{"url": good.at("/good")}]);
        let job = it.submit(&json!({"function": "echo", "callbacks": callbacks})).await;
        let event = good.next().await.event(&it.webhook_secret());
        assert_eq!(event["data"]["id"], job["id"], "in time, whatever its neighbour does");
    }
    for (expected, job) in &jobs {
        check(expected, &tried(&it, job).await);
    }
    let nobody = canary.accept().expect_err("no redirect is followed");
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
    // What is not read piles up in buffers of the kernel, and nowhere else.
    let bytes = hostile.taken("/endless").await;
    assert!(bytes < 64 * 1024 * 1024, "{bytes} bytes of an endless body were taken");
}

/// Takes connections and never answers: the kernel does the former by itself.
fn silent() -> std::net::TcpListener {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port")
}

async fn with_patience() -> TestServer {
    let webhooks = Webhooks { timeout_seconds: 120.0, ..Webhooks::default() };
    TestServer::with(|config| Config { webhooks, ..config }, |builder| builder).await
}

#[tokio::test]
async fn receivers_that_hang_delay_nobody_however_many_there_are() {
    // No POST of theirs ends within this test.
    let it = with_patience().await;
    let hanging: Vec<_> = (0..200).map(|_| silent()).collect();
    let url = |listener: &std::net::TcpListener| {
        format!("http://{}/", listener.local_addr().expect("an address"))
    };
    let mut known = Receiver::start(|_| Reply::Status(200)).await;
    let call = |url: String| json!({"function": "echo", "callbacks": [{"url": url}]});
    it.submit(&call(known.at("/first"))).await;
    assert_eq!(known.next().await.path, "/first");
    for listener in hanging.iter().chain(&hanging) {
        it.submit(&call(url(listener))).await;
    }
    it.submit(&call(known.at("/again"))).await;
    assert_eq!(known.next().await.path, "/again");
    let mut new = Receiver::start(|_| Reply::Status(200)).await;
    it.submit(&call(new.at("/new"))).await;
    assert_eq!(new.next().await.path, "/new", "also one that nothing is known of");
}

#[tokio::test]
async fn f13_a_callback_does_not_wait_for_an_earlier_one_of_its_job_that_hangs() {
    let it = with_patience().await;
    let hangs = silent();
    let mut good = Receiver::start(|_| Reply::Status(200)).await;
    let url = format!("http://{}/", hangs.local_addr().expect("an address"));
    let callbacks = json!([{"url": url}, {"url": good.at("/good")}]);
    it.submit(&json!({"function": "echo", "callbacks": callbacks})).await;
    assert_eq!(good.next().await.path, "/good");
}
