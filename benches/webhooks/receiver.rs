//! Receivers on this machine: they read whole requests, count them, and answer each the same.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Some receivers, which end when this is dropped.
#[derive(Debug)]
pub struct Receivers {
    pub addresses: Vec<SocketAddr>,
    taken: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl Receivers {
    /// So many, each on a port of its own; `answer` is a whole answer.
    pub async fn start(count: usize, answer: &'static [u8]) -> Result<Self> {
        let (mut addresses, mut serving) = (Vec::new(), JoinSet::new());
        let taken = Arc::new(AtomicUsize::new(0));
        for _ in 0..count {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            addresses.push(listener.local_addr()?);
            serving.spawn(serve(listener, answer, Arc::clone(&taken)));
        }
        Ok(Self { addresses, taken, _serving: serving })
    }

    /// How many requests have come.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, answer: &'static [u8], taken: Arc<AtomicUsize>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _peer)) = listener.accept().await {
        let taken = Arc::clone(&taken);
        connections.spawn(async move {
            // It ends when the other side hangs up.
            drop(answer_all(stream, answer, &taken).await);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer_all(mut stream: TcpStream, answer: &[u8], taken: &AtomicUsize) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut inbox = Vec::with_capacity(16 * 1024);
    loop {
        let length = loop {
            match request_length(&inbox)? {
                Some(length) if inbox.len() >= length => break length,
                _ => {
                    let read = stream.read_buf(&mut inbox).await?;
                    anyhow::ensure!(read > 0, "the other side has hung up");
                }
            }
        };
        inbox.drain(..length);
        taken.fetch_add(1, Ordering::Relaxed);
        stream.write_all(answer).await?;
    }
}

/// How long the first request is, once its head has come.
fn request_length(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).context("a head that is no text")?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    Ok(Some(end + 4 + length.unwrap_or(0)))
}
