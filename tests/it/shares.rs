//! Everybody has a share of what all requests together may hold, and what has come is counted, not what is announced.

use std::net::SocketAddr;

use futures_util::future::{join_all, select_all};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::process::{Home, Process, until};
use crate::server::Answer;

const KIB: usize = 1024;
const LINES: &str = "application/x-ndjson";

/// A server with little room, where everybody needs a key; and two of them.
struct Two {
    // Ends before its directory goes.
    it: Process,
    one: String,
    other: String,
    home: Home,
}

async fn two() -> Two {
    // Room is waited for half as long. Less, and on a busy machine a body is late.
    two_with(4).await
}

/// The same, where a body may take so many seconds.
async fn two_with(body_seconds: u32) -> Two {
    let home = Home::new();
    let limits = format!(
        "[limits]\nincoming_bytes = 1_048_576\noutgoing_bytes = 1_048_576\nbody_seconds = {body_seconds}\n"
    );
    std::fs::write(home.file("futurity.toml"), limits).expect("a file");
    let key = async || {
        let made = home.run(&["keys", "create"]).await;
        assert_eq!(made.code, Some(0), "{made:?}");
        made.output.trim().to_owned()
    };
    let (one, other) = (key().await, key().await);
    let it = home.start(&[]).await;
    Two { it, one, other, home }
}

impl Two {
    async fn submit(&self, key: &str, bytes: usize) -> Answer {
        let body = json!({"function": "echo", "args": ["x".repeat(bytes)]});
        let request = self.it.request(Method::POST, "/v1/jobs").json(&body);
        self.it.send(request.bearer_auth(key)).await
    }

    async fn get(&self, key: &str, path: &str) -> Answer {
        self.it.send(self.it.request(Method::GET, path).bearer_auth(key)).await
    }

    /// A request of the first key as far as its header, with these fields besides.
    fn head(&self, path: &str, kind: &str, fields: &str) -> Vec<u8> {
        format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: {kind}\r\n{fields}\r\n\r\n",
            self.one
        )
        .into_bytes()
    }

    /// A request that announces a body of so many bytes, and is told to go on: so the server awaits it.
    async fn announced(&self, bytes: usize) -> TcpStream {
        let fields = format!("Content-Length: {bytes}\r\nExpect: 100-continue");
        let mut stream =
            sent(self.it.address(), &self.head("/v1/jobs", "application/json", &fields)).await;
        let mut told = [0; 25];
        stream.read_exact(&mut told).await.expect("it may go on");
        assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream
    }
}

/// A client whose own buffers are small, and what it sends at once.
async fn sent(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let mut stream = socket.connect(address).await.expect("a connection");
    // It may be refused before all of it is there.
    stream.write_all(bytes).await.unwrap_or_default();
    stream
}

/// Lines with long answers that nobody takes: the server holds them, and takes no more.
async fn unread(it: &Two) -> impl Drop + use<> {
    // Jobs that do not run: only their answers matter.
    let call = json!({"function": "echo", "args": ["x".repeat(15 * KIB)], "delay_seconds": 3_600});
    let lines = (call.to_string() + "\n").repeat(1_000);
    let fields = format!("Content-Length: {}", lines.len());
    let mut stream = sent(it.it.address(), &it.head("/v1/jobs", LINES, &fields)).await;
    let task = tokio::spawn(async move {
        stream.write_all(lines.as_bytes()).await.unwrap_or_default();
        std::future::pending::<()>().await;
    });
    Aborted(task)
}

/// As many of these as hold all of a share, and how the next body is refused. One that came to a stop in the middle of a line is
/// refused itself when others need its room.
async fn full(two: &Two) -> (Vec<impl Drop + use<>>, Answer) {
    let mut holders = Vec::new();
    let refused = until("its share is full", async || {
        holders.push(unread(two).await);
        for _ in 0..50 {
            let answer = two.submit(&two.one, 100 * KIB).await;
            if answer.status != 202 {
                return Some(answer);
            }
        }
        None
    })
    .await;
    (holders, refused)
}

struct Aborted(tokio::task::JoinHandle<()>);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test]
async fn g14_bodies_that_are_announced_and_do_not_come_hold_nothing() {
    let two = two_with(60).await;
    let silent = join_all((0..100).map(|_| two.announced(1_000 * KIB))).await;
    for key in [&two.other, &two.one] {
        two.submit(key, 100 * KIB).await.expect(202);
    }
    drop(silent);
}

#[tokio::test]
async fn g14_whoever_holds_its_share_is_refused_and_others_are_not_until_it_gives_back() {
    let two = two().await;
    let (mut unread, refused) = full(&two).await;
    let refused = refused.expect(503);
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("overloaded", Some("1")));
    two.submit(&two.other, 100 * KIB).await.expect(202);
    // Lines that have not begun are refused as a body is.
    let code = until("lines are refused", async || {
        unread.extend(full(&two).await.0);
        let lines = two.it.request(Method::POST, "/v1/jobs").header("content-type", LINES);
        let lines = lines.body("x".repeat(100 * KIB)).bearer_auth(&two.one);
        let answer = two.it.send(lines).await;
        (answer.status == 503).then(|| answer.code())
    });
    assert_eq!(code.await, "overloaded");
    // What is small needs none.
    two.submit(&two.one, 100).await.expect(202);
    drop(unread);
    until("it is given back", async || {
        (two.submit(&two.one, 100 * KIB).await.status == 202).then_some(())
    })
    .await;
}

#[tokio::test]
async fn g14_a_body_for_whose_first_piece_there_is_no_room_is_not_asked_for() {
    let two = two().await;
    let mut unread = Vec::new();
    for (kind, length) in [
        ("application/json", "Content-Length: 100000"),
        ("application/json", "Transfer-Encoding: chunked"),
        (LINES, "Transfer-Encoding: chunked"),
    ] {
        let head = two.head("/v1/jobs", kind, &format!("{length}\r\nExpect: 100-continue"));
        let place = format!("{kind}, {length}: it is not asked for");
        until(&place, async || {
            unread.extend(full(&two).await.0);
            let mut stream = sent(two.it.address(), &head).await;
            let mut begin = [0; 12];
            stream.read_exact(&mut begin).await.expect("an answer");
            (&begin == b"HTTP/1.1 503").then_some(())
        })
        .await;
    }
    // What is small needs none.
    drop(two.announced(4_000).await);
    drop(unread);
    until("it is given back", async || {
        (two.submit(&two.one, 100 * KIB).await.status == 202).then_some(())
    })
    .await;
    drop(two.announced(100 * KIB).await);
}

#[tokio::test]
async fn g14_the_log_says_when_requests_begin_to_be_refused_and_when_that_is_over() {
    let two = two().await;
    let mut unread = Vec::new();
    let mut refused = 0;
    while refused < 3 {
        let (more, answer) = full(&two).await;
        answer.expect(503);
        unread.extend(more);
        refused += 1;
    }
    drop(unread);
    until("it is given back", async || {
        let status = two.submit(&two.one, 100 * KIB).await.status;
        refused += u64::from(status == 503);
        (status == 202).then_some(())
    })
    .await;
    let lines = |text: &str| {
        let log = two.home.log();
        log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect::<Vec<_>>()
    };
    let begins = || lines("overloaded: there is no room in memory");
    // Beside other work it may be over, and begin again.
    let ends = until("it is over", async || {
        let ends = lines("no longer overloaded");
        (!ends.is_empty() && ends.len() == begins().len()).then_some(ends)
    })
    .await;
    assert!(begins().iter().all(|it| it.contains(" WARN ") && it.contains("incoming_bytes")));
    let told = ends.iter().map(|line| {
        let (_, rest) = line.split_once(" refused=").expect("how many");
        rest.split(' ').next().and_then(|it| it.parse::<u64>().ok()).expect("a number")
    });
    // The lines that nobody reads may be refused as well.
    assert!(told.sum::<u64>() >= refused, "{refused}, {ends:?}");
}

#[tokio::test]
async fn g14_half_headers_without_a_key_leave_room_for_whoever_has_one() {
    let two = two().await;
    let head = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(31 * KIB));
    let strangers = join_all((0..60).map(|_| sent(two.it.address(), head.as_bytes()))).await;
    let closed = strangers.iter().map(|stream| {
        Box::pin(async {
            stream.readable().await.unwrap_or_default();
        })
    });
    // There is no room for all of them.
    select_all(closed).await;
    two.submit(&two.other, 100 * KIB).await.expect(202);
    drop(strangers);
}

#[tokio::test]
async fn g14_maps_to_which_nothing_comes_hold_nothing() {
    let two = two().await;
    let head =
        two.head("/v1/map?function=echo&buffersize=4096", LINES, "Transfer-Encoding: chunked");
    let maps = join_all((0..30).map(|_| async {
        let stream = sent(two.it.address(), &head).await;
        stream.readable().await.expect("it is answered");
        stream
    }))
    .await;
    for key in [&two.other, &two.one] {
        two.get(key, "/v1/jobs?page_size=5").await.expect(200);
    }
    drop(maps);
}

#[tokio::test]
async fn g14_a_map_of_many_lines_comes_to_its_end_in_little_room() {
    let two = two().await;
    let lines: String = (0..2_000).map(|number| format!("[{number}]\n")).collect();
    let map = async |lines: &str| {
        let request = two.it.request(Method::POST, "/v1/map?function=echo&buffersize=4096");
        let request = request.header("content-type", LINES).bearer_auth(&two.one);
        two.it.send(request.body(lines.to_owned())).await.expect(200)
    };
    for answer in join_all((0..4).map(|_| map(&lines))).await {
        let text = String::from_utf8(answer.body).expect("text");
        let results: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(results.len(), 2_001);
        assert_eq!(results[1_999]["result"], 1_999);
        assert_eq!(results[2_000]["end"]["completed"], 2_000);
    }
}

#[tokio::test]
async fn g14_a_body_or_line_that_does_not_come_to_its_end_makes_room_for_others() {
    // A body would have much time.
    let two = two_with(60).await;
    let part = vec![b' '; 900 * KIB];
    let chunk = [format!("{:x}\r\n", part.len()).as_bytes(), &part].concat();
    for (kind, begins) in [("application/json", "HTTP/1.1 503"), (LINES, "HTTP/1.1 200")] {
        let head = two.head("/v1/jobs", kind, "Transfer-Encoding: chunked");
        let mut stream = sent(two.it.address(), &[head, chunk.clone()].concat()).await;
        let refused = async {
            let (mut text, mut piece) = (String::new(), [0; 1_024]);
            while !text.contains("\"overloaded\"") {
                let count = stream.read(&mut piece).await.expect("an answer");
                assert!(count > 0, "it says why: {text}");
                text.push_str(std::str::from_utf8(&piece[..count]).expect("text"));
            }
            text
        };
        // More than a share: whoever is past its share lets none of them come to its end.
        let large = json!({"function": "echo", "args": ["x".repeat(300 * KIB)]});
        let others = async {
            loop {
                let request = two.it.request(Method::POST, "/v1/jobs").json(&large);
                drop(request.bearer_auth(&two.one).send().await);
            }
        };
        let text = tokio::select! {
            text = refused => text,
            () = others => unreachable!("they go on"),
        };
        assert!(text.starts_with(begins), "{text}");
        until("there is room", async || {
            (two.submit(&two.one, 100 * KIB).await.status == 202).then_some(())
        })
        .await;
    }
}
