//! The client against a real server on loopback.

use reqwest::header::{AUTHORIZATION, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::super::body::{self, End};
use super::super::egress::Denied;
use super::*;

/// Answers the n-th connection with the n-th text, keeps what it was asked, and hangs up only when
/// all have been asked.
struct Server {
    address: SocketAddr,
    asked: JoinSet<Vec<String>>,
}

impl Server {
    async fn start(listener: TcpListener, answers: Vec<String>) -> Server {
        let address = listener.local_addr().unwrap();
        let mut asked = JoinSet::new();
        asked.spawn(async move {
            let (mut requests, mut connections) = (Vec::new(), Vec::new());
            for answer in answers {
                let (mut stream, _peer) = listener.accept().await.unwrap();
                requests.push(answer_once(&mut stream, &answer).await);
                connections.push(stream);
            }
            requests
        });
        Server { address, asked }
    }

    async fn requests(mut self) -> Vec<String> {
        self.asked.join_next().await.unwrap().unwrap()
    }
}

async fn answer_once(stream: &mut TcpStream, answer: &str) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !is_complete(&request) {
        let read = stream.read(&mut buffer).await.unwrap();
        assert_ne!(read, 0, "the client hung up within its request");
        request.extend_from_slice(&buffer[..read]);
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    String::from_utf8_lossy(&request).into_owned()
}

fn is_complete(request: &[u8]) -> bool {
    const TLS_HANDSHAKE: u8 = 0x16;
    if request.first() == Some(&TLS_HANDSHAKE) {
        return true;
    }
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

async fn server(answers: &[&str]) -> Server {
    let answers = answers.iter().map(|&answer| answer.to_owned()).collect();
    Server::start(listener().await, answers).await
}

async fn has_authorities(client: &Client) -> bool {
    let any = Url::parse("https://a.invalid/").unwrap();
    client.shared.ordinary.kept(&any).await.is_ok()
}

fn client(own: Vec<SocketAddr>) -> Client {
    Client::new(&Config { allow: Vec::new(), allow_loopback: true }, own).unwrap()
}

fn get(url: &str) -> Request {
    Request {
        method: Method::GET,
        url: Url::parse(url).unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        purpose: Purpose::Call,
        connect_timeout: Duration::from_secs(30),
        timeout: Duration::from_secs(30),
        follow_redirects: false,
    }
}

fn redirect_to(status: u16, location: &str) -> String {
    format!(
        "HTTP/1.1 {status} Moved\r\nlocation: {location}\r\nconnection: close\r\n\
         content-length: 0\r\n\r\n"
    )
}

const OK: &str = "HTTP/1.1 200 OK\r\nx-a: b\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";

#[tokio::test]
async fn an_answer_comes_back_whole() {
    let server = server(&[OK]).await;
    let mut request = get(&format!("http://{}/path?query", server.address));
    request.method = Method::POST;
    request.body = Bytes::from_static(b"ping");
    let mut answer = client(Vec::new()).send(request).await.unwrap();
    assert_eq!(answer.body.announced_bytes(), Some(5));
    let read = answer.body.read(1024, 1024, |_bytes| {}).await;
    assert!(matches!(read.end, End::Whole), "{read:?}");
    assert_eq!((answer.status, &read.bytes[..]), (200, &b"hello"[..]));
    assert_eq!(answer.headers["x-a"], "b");
    assert_eq!(answer.url.path(), "/path");
    let asked = server.requests().await.remove(0);
    assert!(asked.starts_with("POST /path?query HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains(&format!("\r\nuser-agent: futurity/{}\r\n", env!("CARGO_PKG_VERSION"))));
    assert!(asked.ends_with("\r\n\r\nping"), "{asked}");
}

#[tokio::test]
async fn headers_of_the_connection_are_left_out() {
    let server = server(&[OK]).await;
    let mut request = get(&format!("http://{}/", server.address));
    for name in &OF_CONNECTION {
        request.headers.insert(name, HeaderValue::from_static("7"));
    }
    client(Vec::new()).send(request).await.unwrap();
    let host = format!("host: {}", server.address);
    let asked = server.requests().await.remove(0);
    assert!(asked.contains(&host), "{asked}");
    assert!(!asked.contains(": 7\r\n"), "{asked}");
    assert!(!asked.contains("content-length"), "{asked}");
}

#[tokio::test]
async fn a_name_that_resolves_to_loopback_is_reached_when_loopback_is_permitted() {
    let server = server(&[OK]).await;
    let url = format!("http://a.localhost:{}/", server.address.port());
    assert_eq!(client(Vec::new()).send(get(&url)).await.unwrap().status, 200);
}

#[tokio::test]
async fn an_entry_opens_one_port_and_no_other() {
    let server = server(&[OK]).await;
    let closed = listener().await.local_addr().unwrap();
    let entry = format!("localhost:{}", server.address.port());
    let config = Config { allow: vec![entry.parse().unwrap()], allow_loopback: false };
    let client = Client::new(&config, Vec::new()).unwrap();
    assert_eq!(client.send(get(&format!("http://{entry}/"))).await.unwrap().status, 200);
    for host in [server.address.to_string(), format!("localhost:{}", closed.port())] {
        let refused = client.send(get(&format!("http://{host}/"))).await;
        assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn the_own_port_is_denied_by_literal_and_by_name() {
    let own = listener().await.local_addr().unwrap();
    let client = client(vec![own]);
    for host in ["127.0.0.1", "127.0.0.2", "[::1]", "0.0.0.0", "localhost", "a.localhost."] {
        let refused = client.send(get(&format!("http://{host}:{}/", own.port()))).await;
        let Err(Error::Denied(Denied::Own { address, .. })) = refused else {
            panic!("{host}: {refused:?}")
        };
        assert_eq!(address.port(), own.port());
    }
}

#[tokio::test]
async fn a_redirect_is_followed_only_on_request() {
    let there = server(&[OK]).await;
    let away = redirect_to(302, &format!("http://{}/next", there.address));
    let here = server(&[&away, &away]).await;
    let mut request = get(&format!("http://{}/", here.address));
    request.headers.insert(AUTHORIZATION, HeaderValue::from_static("secret"));
    let client = client(Vec::new());
    assert_eq!(client.send(get(request.url.as_str())).await.unwrap().status, 302);
    request.follow_redirects = true;
    let answer = client.send(request).await.unwrap();
    assert_eq!((answer.status, answer.url.path()), (200, "/next"));
    assert!(here.requests().await[1].contains("authorization: secret"));
    assert!(!there.requests().await[0].contains("authorization"));
}

#[tokio::test]
async fn a_redirect_to_a_denied_address_is_denied_before_any_connection() {
    let canary = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    canary.set_nonblocking(true).unwrap();
    let port = canary.local_addr().unwrap().port();
    for host in ["http://127.0.0.1", "//127.1", "//0x7f000001", "//[::ffff:7f00:1]", "//localhost."]
    {
        let server = server(&[&redirect_to(307, &format!("{host}:{port}/"))]).await;
        let entry = server.address.to_string().parse().unwrap();
        let config = Config { allow: vec![entry], allow_loopback: false };
        let mut request = get(&format!("http://{}/", server.address));
        request.follow_redirects = true;
        let refused = Client::new(&config, Vec::new()).unwrap().send(request).await;
        let is_policy = matches!(&refused, Err(Error::Denied(denied)) if denied.is_policy());
        assert!(is_policy, "{host}: {refused:?}");
        server.requests().await;
    }
    assert_eq!(canary.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_redirect_to_an_unfit_url_is_an_error() {
    for location in ["file:///etc/passwd", "//user@127.0.0.1:9/", "//127.0.0.1:0/"] {
        let server = server(&[&redirect_to(302, location)]).await;
        let mut request = get(&format!("http://{}/", server.address));
        request.follow_redirects = true;
        let refused = client(Vec::new()).send(request).await;
        let is_unfit = matches!(&refused, Err(Error::Denied(denied)) if !denied.is_policy());
        assert!(is_unfit, "{location}: {refused:?}");
    }
}

#[tokio::test]
async fn ten_redirects_are_followed_and_no_more() {
    for (redirects, arrives) in [(10, true), (11, false)] {
        let mut answers = vec![redirect_to(301, "/again"); redirects];
        answers.push(OK.to_owned());
        let server = Server::start(listener().await, answers).await;
        let mut request = get(&format!("http://{}/", server.address));
        request.follow_redirects = true;
        match client(Vec::new()).send(request).await {
            Ok(answer) => assert!(arrives && answer.status == 200),
            Err(error) => {
                assert!(!arrives && matches!(error, Error::TooManyRedirects { limit: 10 }));
            }
        }
    }
}

#[tokio::test]
async fn a_body_is_read_up_to_its_limit_and_kept_as_far_as_asked() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
                   3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
    for answer in [OK, chunked] {
        for (limit, is_whole) in [(0, false), (4, false), (5, true), (6, true)] {
            for (kept, text) in [(0, ""), (2, "he"), (4, "hell"), (9, "hello")] {
                let server = server(&[answer]).await;
                let request = get(&format!("http://{}/", server.address));
                let mut answer = client(Vec::new()).send(request).await.unwrap();
                let mut told = Vec::new();
                let read = answer.body.read(kept, limit, |bytes| told.push(bytes)).await;
                assert_eq!(matches!(read.end, End::Whole), is_whole, "{read:?}");
                assert_eq!(matches!(read.end, End::Cut), !is_whole, "{read:?}");
                assert_eq!(read.bytes, text[..text.len().min(limit)]);
                assert!(told.is_sorted() && told.iter().all(|bytes| *bytes <= limit), "{told:?}");
                assert!(!is_whole || told.last() == Some(&5));
            }
        }
    }
}

#[tokio::test]
async fn the_timeout_covers_the_head_and_the_body() {
    let silent = listener().await;
    // The second answer is never asked for, so the first connection stays open.
    let stalled = server(&["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", OK]).await;
    let client = client(Vec::new());
    for address in [silent.local_addr().unwrap(), stalled.address] {
        let mut request = get(&format!("http://{address}/"));
        request.timeout = Duration::from_millis(50);
        let error = match client.send(request).await {
            Ok(mut answer) => match answer.body.read(9, 9, |_bytes| {}).await {
                body::Read { end: End::Failed(error), bytes } if bytes == "half" => error,
                other => panic!("{other:?}"),
            },
            Err(error) => error,
        };
        assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn connecting_has_a_limit_of_its_own() {
    // Nobody answers the handshake, so the connection is never ready.
    let silent = listener().await.local_addr().unwrap();
    let client = client(Vec::new());
    if !has_authorities(&client).await {
        return;
    }
    let listening = TcpListener::bind(silent).await.unwrap();
    let mut request = get(&format!("https://{silent}/secret-path"));
    request.connect_timeout = Duration::from_millis(50);
    let error = client.send(request).await.unwrap_err();
    assert_eq!(error.to_string(), "no connection to 127.0.0.1 within 0.05 s");
    drop(listening);
}

#[tokio::test]
async fn a_failure_tells_its_reason_but_neither_path_nor_query() {
    let closed = listener().await.local_addr().unwrap();
    let garbage = server(&["SSH-2.0-x\r\n\r\n", "SSH-2.0-x\r\n\r\n"]).await;
    let client = client(Vec::new());
    // A system without certificates does not come as far as the handshake.
    let https = if has_authorities(&client).await { "corrupt message" } else { "certificates" };
    let urls = [
        (format!("http://{closed}/token?key=s3cret"), "Connection refused"),
        (format!("http://{}/token?key=s3cret", garbage.address), "HTTP"),
        (format!("https://{}/token?key=s3cret", garbage.address), https),
    ];
    for (url, reason) in urls {
        let error = client.send(get(&url)).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(reason), "{shown}");
        assert!(!shown.contains("token") && !shown.contains("s3cret"), "{shown}");
    }
}

#[tokio::test]
async fn methods_that_are_not_for_servers_are_not_sent() {
    for method in [Method::CONNECT, Method::TRACE] {
        let mut request = get("http://127.0.0.1:9/");
        request.method = method;
        let refused = client(Vec::new()).send(request).await;
        assert!(matches!(refused, Err(Error::ForbiddenMethod { .. })), "{refused:?}");
    }
}

#[test]
fn the_ports_that_rules_may_name_are_bounded() {
    let own = (1..=65).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
    let refused = Client::new(&Config::default(), own);
    assert!(matches!(refused, Err(Error::TooManyPorts { limit: MAX_PORTS })));
}
