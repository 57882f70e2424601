//! Lines of a process, none longer than it may be.

use std::fmt;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;

use crate::domain::Hidden;

/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;
/// As much as is looked at of a line that is too long, to learn whose it is.
const HEAD_BYTES: usize = 4 * 1024;
/// As much of a line that is too long is read and thrown away.
const SKIPPED_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Reads lines. To give up waiting for one loses nothing.
pub(super) struct Lines {
    from: Receiver,
    read: Vec<u8>,
    /// No line ends before this place.
    searched: usize,
    bytes_max: usize,
}

/// Why there is no next line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoLine {
    /// The process has closed its output.
    Closed,
    /// It is longer than it may be.
    TooLong,
}

impl fmt::Debug for Lines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Lines({:?})", Hidden::of(&self.read))
    }
}

impl Lines {
    pub(super) fn new(from: Receiver, bytes_max: usize) -> Self {
        Self { from, read: Vec::new(), searched: 0, bytes_max }
    }

    /// The next line, without its end.
    pub(super) async fn next(&mut self) -> Result<Vec<u8>, NoLine> {
        loop {
            let found = self.read[self.searched..].iter().position(|byte| *byte == b'\n');
            if let Some(length) = found.map(|at| self.searched + at) {
                let rest = self.read.split_off(length + 1);
                let mut line = std::mem::replace(&mut self.read, rest);
                line.truncate(length);
                self.searched = 0;
                return Ok(line);
            }
            self.searched = self.read.len();
            if self.read.len() > self.bytes_max {
                return Err(NoLine::TooLong);
            }
            self.read_more().await?;
        }
    }

    /// The beginning of the line that is too long.
    pub(super) fn head(&self) -> &[u8] {
        &self.read[..self.read.len().min(HEAD_BYTES)]
    }

    /// Throws the line away that is too long, up to its end.
    pub(super) async fn skip(&mut self) -> Result<(), NoLine> {
        let mut skipped = 0;
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                self.read.drain(..=end);
                self.searched = 0;
                return Ok(());
            }
            skipped += self.read.len();
            if skipped > SKIPPED_BYTES_MAX {
                return Err(NoLine::TooLong);
            }
            self.read.clear();
            self.searched = 0;
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> Result<(), NoLine> {
        self.read.reserve(READ_BYTES);
        match self.from.read_buf(&mut self.read).await {
            Ok(0) | Err(_) => Err(NoLine::Closed),
            Ok(_) => Ok(()),
        }
    }
}
