//! A small HTTP/1.1 client: one kept-alive connection, one request at a time.
//!
//! It costs little beside the server it measures: requests arrive here as finished bytes, and
//! of an answer only what frames it is read.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// No answer of a benchmark comes near it.
const ANSWER_LIMIT: usize = 1024 * 1024;
const READ_AHEAD: usize = 16 * 1024;

#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    inbox: Vec<u8>,
    unchunked: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

struct Head {
    status: u16,
    /// Bytes up to and with the empty line.
    length: usize,
    framing: Framing,
}

enum Framing {
    Length(usize),
    Chunked,
}

impl Connection {
    /// Connects to `address`, which must be of this machine.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        ensure!(address.ip().is_loopback(), "{address} is not on the loopback interface");
        let stream = TcpStream::connect(address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, inbox: Vec::with_capacity(READ_AHEAD), unchunked: Vec::new() })
    }

    /// Sends the bytes of one whole request and reads the whole answer.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Response<'_>> {
        self.inbox.clear();
        self.stream.write_all(request).await?;
        let head = loop {
            match Head::parse(&self.inbox)? {
                Some(head) => break head,
                None => self.read_more().await?,
            }
        };
        match head.framing {
            Framing::Length(length) => self.read_length(&head, length).await,
            Framing::Chunked => self.read_chunks(&head).await,
        }
    }

    async fn read_length(&mut self, head: &Head, length: usize) -> Result<Response<'_>> {
        let end = head.length.saturating_add(length);
        while self.inbox.len() < end {
            self.read_more().await?;
        }
        ensure!(self.inbox.len() == end, "bytes after the end of an answer");
        Ok(Response { status: head.status, body: &self.inbox[head.length..] })
    }

    async fn read_chunks(&mut self, head: &Head) -> Result<Response<'_>> {
        while !unchunk(&self.inbox[head.length..], &mut self.unchunked)? {
            self.read_more().await?;
        }
        Ok(Response { status: head.status, body: &self.unchunked })
    }

    async fn read_more(&mut self) -> Result<()> {
        ensure!(self.inbox.len() < ANSWER_LIMIT, "an answer of more than {ANSWER_LIMIT} bytes");
        // A full vector would be offered to the read 64 bytes at a time.
        self.inbox.reserve(READ_AHEAD / 4);
        let read = self.stream.read_buf(&mut self.inbox).await?;
        ensure!(read > 0, "the server closed the connection");
        Ok(())
    }
}

impl Head {
    /// `None` as long as the empty line has not arrived.
    fn parse(bytes: &[u8]) -> Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes[..end]).context("a head that is no text")?;
        let mut lines = text.lines();
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1.1 "))
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .context("no HTTP/1.1 status line")?;
        let mut framing = None;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                framing = Some(Framing::Length(value.parse().context("bad Content-Length")?));
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                ensure!(value.eq_ignore_ascii_case("chunked"), "Transfer-Encoding: {value}");
                framing = Some(Framing::Chunked);
            }
        }
        let framing = framing.context("neither Content-Length nor chunks")?;
        Ok(Some(Self { status, length: end + 4, framing }))
    }
}

/// Decodes into `body`; false as long as the last chunk has not arrived.
fn unchunk(mut bytes: &[u8], body: &mut Vec<u8>) -> Result<bool> {
    body.clear();
    while let Some(line_end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let line = std::str::from_utf8(&bytes[..line_end]).context("bad size of a chunk")?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(digits, 16).context("bad size of a chunk")?;
        ensure!(size <= ANSWER_LIMIT, "a chunk of {size} bytes");
        let rest = &bytes[line_end + 2..];
        if rest.len() < size + 2 {
            return Ok(false);
        }
        if &rest[size..size + 2] != b"\r\n" {
            bail!("a chunk does not end where it said, or trailers follow");
        }
        body.extend_from_slice(&rest[..size]);
        bytes = &rest[size + 2..];
        if size == 0 {
            ensure!(bytes.is_empty(), "bytes after the end of an answer");
            return Ok(true);
        }
    }
    Ok(false)
}
