//! A sign of life in streams that have nothing to say: so proxies keep them open, and a peer that is gone is found.

use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream::{self, Stream, StreamExt as _};

/// A reader that hears nothing for so long is sent something that means nothing.
pub(super) const ALIVE: Duration = Duration::from_secs(15);
/// Before a line of JSON: blanks before a value are no part of it (RFC 8259, section 2).
pub(super) const SPACE: &str = " ";
/// Before a server-sent event: a comment.
pub(super) const COMMENT: &str = ":\n";

/// The pieces as a body, with `beat` between them while they do not come. Each piece begins a new line.
pub(super) fn beating<E>(
    pieces: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    beat: &'static str,
) -> Body
where
    E: std::error::Error + Send + Sync + 'static,
{
    Body::from_stream(with_beats(pieces, beat, ALIVE))
}

fn with_beats<E: Send + 'static>(
    pieces: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    beat: &'static str,
    every: Duration,
) -> impl Stream<Item = Result<Bytes, E>> + Send {
    let pieces: Pin<Box<dyn Stream<Item = Result<Bytes, E>> + Send>> = Box::pin(pieces);
    stream::unfold(pieces, move |mut pieces| async move {
        tokio::select! {
            biased;
            piece = pieces.next() => piece.map(|piece| (piece, pieces)),
            () = tokio::time::sleep(every) => Some((Ok(Bytes::from_static(beat.as_bytes())), pieces)),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn a_stream_that_is_silent_gives_signs_of_life_and_loses_nothing() {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<&str>();
        let lines = stream::unfold(receiver, |mut lines| async move {
            let line = lines.recv().await?;
            Some((Ok::<_, Infallible>(Bytes::from(line)), lines))
        });
        let mut body = Box::pin(with_beats(lines, SPACE, Duration::from_millis(1)));
        let mut next = async || body.next().await.map(|piece| piece.expect("it cannot fail"));
        assert_eq!((next().await, next().await), (Some(SPACE.into()), Some(SPACE.into())));
        for line in ["1\n", "2\n"] {
            sender.send(line).expect("it is read");
            assert_eq!(next().await, Some(line.into()));
            assert_eq!(next().await, Some(SPACE.into()));
        }
        drop(sender);
        assert_eq!(next().await, None);
    }
}
