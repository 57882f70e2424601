//! HTTP in few words on one connection, for load that knows how many requests are under way.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A connection that stays open.
pub struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answered {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

impl Wire {
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::new() })
    }

    /// Posts JSON. `under_way` counts it from its last byte sent to its answer's last byte read.
    pub async fn post(
        &mut self,
        path: &str,
        body: &Value,
        under_way: &AtomicUsize,
    ) -> io::Result<Answered> {
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        under_way.fetch_add(1, Ordering::SeqCst);
        let answer = self.answer().await;
        under_way.fetch_sub(1, Ordering::SeqCst);
        answer
    }

    pub async fn get(&mut self, path: &str) -> io::Result<Answered> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> io::Result<Answered> {
        loop {
            if let Some((answer, length)) = whole(&self.read)? {
                self.read.drain(..length);
                return Ok(answer);
            }
            let more = self.stream.read_buf(&mut self.read).await?;
            if more == 0 || self.read.len() > ANSWER_BYTES_MAX {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The first answer and how many bytes it has, if it is there to its last byte.
fn whole(read: &[u8]) -> io::Result<Option<(Answered, usize)>> {
    let bad = || io::Error::from(io::ErrorKind::InvalidData);
    let Some(head) = read.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&read[..head]).map_err(|_binary| bad())?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let (Some(status), Some(length)) = (status, length) else { return Err(bad()) };
    let (start, end) = (head + 4, head + 4 + length);
    let body = read.get(start..end).map(<[u8]>::to_vec);
    Ok(body.map(|body| (Answered { status, body }, end)))
}
