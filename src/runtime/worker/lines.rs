//! Lines of a process, none longer than it may be.

use std::fmt;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;

use crate::domain::Hidden;

/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;

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
            self.read.reserve(READ_BYTES);
            match self.from.read_buf(&mut self.read).await {
                Ok(0) | Err(_) => return Err(NoLine::Closed),
                Ok(_) => {}
            }
        }
    }
}
