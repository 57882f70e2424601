//! Connections: of peers that are gone, of strangers that say nothing, and of more than there are descriptors for.

use futurity::{Config, Limits};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::limits::answered;
use crate::process::{Home, until};
use crate::server::TestServer;

/// The kind of the timer that the kernel keeps for the server's end of this connection.
fn timer(server: u16, client: u16) -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the table of connections");
    let (from, to) = (format!(":{server:04X}"), format!(":{client:04X}"));
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut rows =
        rows.filter(|row| row.len() > 5 && row[1].ends_with(&from) && row[2].ends_with(&to));
    Some(rows.next()?[5][..2].to_owned())
}

#[tokio::test]
async fn g14_a_peer_that_says_nothing_is_asked_whether_it_is_there() {
    let it = TestServer::start().await;
    let mut idle = TcpStream::connect(it.server.address()).await.expect("a connection");
    answered(&mut idle).await;
    let (server, client) =
        (it.server.address().port(), idle.local_addr().expect("an address").port());
    // 02 is keepalive. For a moment there may be another timer: the answer is not acknowledged yet.
    let is_asked = async || (timer(server, client)? == "02").then_some(());
    until("keepalive is on", is_asked).await;
}

#[tokio::test]
async fn g14_sockets_that_say_nothing_shut_nobody_out() {
    let limits = Limits { connections: 3, ..Limits::default() };
    let it = TestServer::with(|config| Config { limits, ..config }, |builder| builder).await;
    let address = it.server.address();
    let mut known = TcpStream::connect(address).await.expect("a connection");
    answered(&mut known).await;
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(TcpStream::connect(address).await.expect("a connection"));
    }
    let mut comes = TcpStream::connect(address).await.expect("a connection");
    answered(&mut comes).await;
    assert_eq!(silent[0].read(&mut [0]).await.expect("an end"), 0, "the first one made room");
    answered(&mut known).await;
    answered(&mut silent[1]).await;
}

#[tokio::test]
async fn g14_connections_are_fitted_to_the_descriptors_and_leave_some_for_the_service() {
    let home = Home::new();
    std::fs::write(home.file("futurity.toml"), "[functions.hello]\nruntime = \"command\"\nargv = [\"echo\", \"{name}\"]\nstdout = \"text\"\nparameters = [{ name = \"name\", type = \"string\" }]\n").expect("a file");
    let program = home.command(&["--listen", "127.0.0.1:0"]);
    let mut limited = std::process::Command::new("/bin/sh");
    limited.args(["-c", "ulimit -n 256 && exec \"$0\" \"$@\""]);
    limited.arg(program.get_program()).args(program.get_args());
    limited.env_clear().env("PATH", "/usr/bin:/bin").current_dir(home.file(""));
    let it = home.start_as(limited).await;
    assert!(home.log().contains("fewer connections"), "{}", home.log());
    let mut crowd = Vec::new();
    for _ in 0..400 {
        // The kernel keeps more of them waiting than there are places.
        crowd.push(TcpStream::connect(it.address()).await.expect("a connection"));
    }
    let job = it.submit(&json!({"function": "hello", "args": ["x"]})).await;
    assert_eq!(it.done(&job).await["result"], "x\n");
    let made = home.run(&["keys", "create", "--name", "late"]).await;
    let key = made.output.lines().find(|line| line.starts_with("fut_")).expect("a key").to_owned();
    it.get("/v1/jobs").await.expect(401);
    it.send(it.request(reqwest::Method::GET, "/v1/jobs").bearer_auth(key)).await.expect(200);
    drop(crowd);
    it.stop().await;
}
