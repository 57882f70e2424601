//! Reading a body up to a limit.

use bytes::{Bytes, BytesMut};

/// What to do with a body that is larger than its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// Keep what fits, and say so.
    Truncate,
    /// Answer [`super::Error::TooLarge`].
    Fail,
}

/// What was read of a body.
pub(super) enum Body {
    Whole(Bytes),
    /// There is more; these bytes are as many as the limit.
    Cut(Bytes),
}

/// Reads until the end, or until the first byte beyond the limit.
pub(super) async fn read(
    answer: &mut reqwest::Response,
    limit_bytes: usize,
) -> Result<Body, reqwest::Error> {
    // Nothing is reserved by the length that the sender announces: it may lie.
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await? {
        let room = limit_bytes - body.len();
        if chunk.len() > room {
            body.extend_from_slice(&chunk[..room]);
            return Ok(Body::Cut(body.freeze()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Body::Whole(body.freeze()))
}
