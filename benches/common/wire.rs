//! Requests and answers that are streams, with chunks both ways.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

const READ_AHEAD: usize = 64 * 1024;

/// The half that sends a body in chunks.
#[derive(Debug)]
pub struct Sender(OwnedWriteHalf);

/// The half that reads the answer's body, chunk by chunk.
#[derive(Debug)]
pub struct Receiver {
    read: BufReader<OwnedReadHalf>,
    is_begun: bool,
}

/// Opens a connection to `address`, which must be of this machine, and sends `head`: whole lines, without the empty one.
pub async fn open(address: SocketAddr, head: &str) -> Result<(Sender, Receiver)> {
    ensure!(address.ip().is_loopback(), "{address} is not on the loopback interface");
    let stream = TcpStream::connect(address).await.context("cannot connect")?;
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    write.write_all(format!("{head}\r\n").as_bytes()).await?;
    let read = BufReader::with_capacity(READ_AHEAD, read);
    Ok((Sender(write), Receiver { read, is_begun: false }))
}

impl Sender {
    pub async fn chunk(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
        self.0.write_all(bytes).await?;
        Ok(self.0.write_all(b"\r\n").await?)
    }

    pub async fn end(&mut self) -> Result<()> {
        Ok(self.0.write_all(b"0\r\n\r\n").await?)
    }
}

impl Receiver {
    /// The next chunk; none at the end.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>> {
        if !self.is_begun {
            self.head().await?;
            self.is_begun = true;
        }
        let size = self.line().await?;
        let size = usize::from_str_radix(size.trim(), 16).context("bad size of a chunk")?;
        let mut bytes = vec![0; size + 2];
        self.read.read_exact(&mut bytes).await?;
        bytes.truncate(size);
        Ok((size > 0).then_some(bytes))
    }

    async fn head(&mut self) -> Result<()> {
        let status = self.line().await?;
        if !status.starts_with("HTTP/1.1 200") {
            bail!("{status}");
        }
        while !self.line().await?.trim().is_empty() {}
        Ok(())
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            line.push(self.read.read_u8().await?);
        }
        Ok(String::from_utf8(line)?)
    }
}
