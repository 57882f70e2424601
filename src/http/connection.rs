//! A connection with time-outs: for the header once it has begun, and for a reader that takes nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::limits::Limits;

/// Whether a request is under way. hyper alone knows where a header ends; the service tells us.
#[derive(Clone, Debug, Default)]
pub(super) struct Phase(Arc<AtomicBool>);

impl Phase {
    /// A request is under way as long as what this gives is there.
    pub(super) fn begin_request(&self) -> UnderWay {
        self.0.store(true, Ordering::Relaxed);
        UnderWay(self.clone())
    }

    pub(super) fn in_request(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct UnderWay(Phase);

impl UnderWay {
    /// It is still under way: whatever calls this keeps it so.
    pub(super) fn goes_on(&self) {
        debug_assert!(self.0.in_request(), "one request at a time");
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}

/// A stream that fails when a client is too slow.
#[derive(Debug)]
pub(super) struct Timed {
    stream: TcpStream,
    phase: Phase,
    header_within: Duration,
    stall_within: Duration,
    header: Option<Pin<Box<Sleep>>>,
    stall: Option<Pin<Box<Sleep>>>,
}

impl Timed {
    pub(super) fn new(stream: TcpStream, phase: Phase, limits: &Limits) -> Self {
        let (header_within, stall_within) = (limits.header, limits.stall);
        Self { stream, phase, header_within, stall_within, header: None, stall: None }
    }

    /// What a write that made no progress comes to.
    fn stalled(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let within = self.stall_within;
        let stall = self.stall.get_or_insert_with(|| timer(within));
        stall.as_mut().poll(context).map(|()| io::ErrorKind::TimedOut.into())
    }

    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        progress: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.stall = None;
            return progress;
        }
        self.stalled(context).map(Err)
    }
}

fn timer(duration: Duration) -> Pin<Box<Sleep>> {
    Box::pin(tokio::time::sleep_until(Instant::now() + duration))
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if self.phase.in_request() {
            self.header = None;
            return read;
        }
        match read {
            Poll::Ready(result) => {
                // The first bytes of a header; the time runs from here, however slowly the rest drips.
                if buffer.filled().len() > before && self.header.is_none() {
                    self.header = Some(timer(self.header_within));
                }
                Poll::Ready(result)
            }
            Poll::Pending => match &mut self.header {
                Some(header) => {
                    header.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
                }
                None => Poll::Pending,
            },
        }
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_flush(context);
        self.written(context, progress)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
