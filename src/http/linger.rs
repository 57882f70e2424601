//! The end of a connection whose client still sends. What comes is read for a while and thrown away: else the system answers it
//! with a reset, and the answer that is on its way is lost with that (RFC 9112, section 9.6).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connection::Phase;

/// So long what still comes is read.
const WITHIN: Duration = Duration::from_secs(30);
/// And no longer than this while nothing comes.
const SILENT: Duration = Duration::from_secs(5);
const READ_BYTES: usize = 16 * 1024;

/// Says that nothing more will be sent, and waits until the client has nothing more to send.
pub(super) async fn linger(mut stream: TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let rest = async { while matches!(timeout(SILENT, take(&stream)).await, Ok(Ok(1..))) {} };
    // One that sends for ever is cut all the same.
    timeout(WITHIN, rest).await.unwrap_or_default();
}

/// Takes the next piece. The bytes are nobody's while it waits: thousands may linger.
async fn take(stream: &TcpStream) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(&mut [0; READ_BYTES]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            taken => return taken,
        }
    }
}

/// The body of a request, of which it is known whether it was read to its end.
pub(super) struct Tracked {
    body: Incoming,
    phase: Phase,
    is_over: bool,
}

impl Tracked {
    pub(super) fn new(body: Incoming, phase: Phase) -> Self {
        let is_over = body.is_end_stream();
        phase.expects_input(!is_over);
        Self { body, phase, is_over }
    }
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.phase.input_is_lost() {
            return Poll::Ready(Some(Err(HalfDuplex.into())));
        }
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.is_over = true;
            self.phase.expects_input(false);
        }
        polled.map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Why nothing more is read of a body: whoever sends it takes no answer before the end of it.
#[derive(Debug, thiserror::Error)]
#[error(
    "the answers to what came filled all that lies between client and server, and the client took none while it sent; what it sent since was thrown away. Read while you send, or submit a batch (POST /v1/batches)"
)]
pub(super) struct HalfDuplex;

impl Drop for Tracked {
    fn drop(&mut self) {
        self.phase.expects_input(false);
        if !self.is_over && !self.body.is_end_stream() {
            self.phase.leaves_unread();
        }
    }
}
