//! Reading the body of an answer, piece by piece and up to a limit.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;
use url::Url;

use super::decoded::Pieces;
use super::error::Error;

/// The body of an answer, decompressed, still to be read.
pub struct Body {
    pieces: Pieces,
    announced_bytes: Option<u64>,
    url: Url,
    deadline: Instant,
    timeout: Duration,
}

/// What was read of a body.
#[derive(Debug)]
pub struct Read {
    /// The first bytes, as many as were to be kept.
    pub bytes: Bytes,
    /// How the reading ended.
    pub end: End,
}

/// How the reading of a body ended.
#[derive(Debug)]
pub enum End {
    /// With the body.
    Whole,
    /// At the limit: there is more.
    Cut,
    /// Before either.
    Failed(Error),
}

impl Body {
    pub(super) fn new(
        pieces: Pieces,
        announced_bytes: Option<u64>,
        url: Url,
        (deadline, timeout): (Instant, Duration),
    ) -> Self {
        // Of a body that is decoded nobody says how long it is.
        let announced_bytes = announced_bytes.filter(|_| pieces.are_as_sent());
        Self { pieces, announced_bytes, url, deadline, timeout }
    }

    /// How long the sender says it is; none if it does not, or if it comes compressed. It may lie.
    #[must_use]
    pub fn announced_bytes(&self) -> Option<u64> {
        self.announced_bytes
    }

    /// Reads until the end, until the first byte beyond `limit_bytes`, or until the request's time is over, and
    /// keeps the first `kept_bytes`. `told` hears after each piece how many bytes have come.
    pub async fn read(
        &mut self,
        kept_bytes: usize,
        limit_bytes: usize,
        mut told: impl FnMut(usize),
    ) -> Read {
        // Nothing is reserved by the length that the sender announces.
        let (mut kept, mut come) = (BytesMut::new(), 0_usize);
        let end = loop {
            let piece = match self.piece().await {
                Ok(Some(piece)) => piece,
                Ok(None) => break End::Whole,
                Err(error) => break End::Failed(error),
            };
            let room = kept_bytes.min(limit_bytes).saturating_sub(kept.len());
            kept.extend_from_slice(&piece[..piece.len().min(room)]);
            come = come.saturating_add(piece.len());
            if come > limit_bytes {
                break End::Cut;
            }
            told(come);
        };
        Read { bytes: kept.freeze(), end }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        match tokio::time::timeout_at(self.deadline, self.pieces.next(&self.url)).await {
            Ok(piece) => piece,
            Err(_elapsed) => Err(Error::Timeout { after: self.timeout }),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}
