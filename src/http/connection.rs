//! A connection with time-outs: for the header once it has begun, and for a reader that takes nothing.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::engine::{Budget, Held};

use super::Desk;
use super::strangers::Newcomer;

/// Less than what hyper has room for at first: then it never makes room for more.
const READ_BYTES_MAX: usize = 8 * 1024 - 1;
/// A client that sends all before it reads has so many times the time of one that takes nothing.
const SENDS_TIMES: u32 = 4;
/// What is thrown away at once.
const THROWN_AWAY_BYTES: usize = 16 * 1024;
const THROWN_AWAY_TIMES: usize = 64;
/// hyper's room for a header grows by doubling.
const HEADER_HELD_TIMES: usize = 2;

/// Whether a request is under way. hyper alone knows where a header ends; the service tells us.
#[derive(Clone, Debug, Default)]
pub(super) struct Phase(Arc<Requests>);

#[derive(Debug, Default)]
struct Requests {
    is_under_way: AtomicBool,
    /// How many have begun.
    begun: AtomicUsize,
    /// Whether one was answered before it was read to its end.
    is_unread: AtomicBool,
    /// Whether the one that is under way has a body that has not come to its end.
    has_input: AtomicBool,
    /// Whether what came of that body was thrown away.
    input_is_lost: AtomicBool,
}

impl Phase {
    /// A request is under way as long as what this gives is there.
    pub(super) fn begin_request(&self) -> UnderWay {
        self.0.is_under_way.store(true, Ordering::Relaxed);
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        self.0.input_is_lost.store(false, Ordering::Relaxed);
        UnderWay(self.clone())
    }

    pub(super) fn in_request(&self) -> bool {
        self.0.is_under_way.load(Ordering::Relaxed)
    }

    /// A request was answered before it was read to its end: what its client still sends means nothing.
    pub(super) fn leaves_unread(&self) {
        self.0.is_unread.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_unread(&self) -> bool {
        self.0.is_unread.load(Ordering::Relaxed)
    }

    /// Notes whether more of the body of the request is to come.
    pub(super) fn expects_input(&self, is_expected: bool) {
        self.0.has_input.store(is_expected, Ordering::Relaxed);
    }

    fn has_input(&self) -> bool {
        self.0.has_input.load(Ordering::Relaxed)
    }

    /// Whether what came of the request's body was thrown away.
    pub(super) fn input_is_lost(&self) -> bool {
        self.0.input_is_lost.load(Ordering::Relaxed)
    }

    /// From here on what comes of the request's body is thrown away; not if nothing is to come, or it is already.
    fn lose_input(&self) -> bool {
        self.has_input() && !self.0.input_is_lost.swap(true, Ordering::Relaxed)
    }

    fn begun(&self) -> usize {
        self.0.begun.load(Ordering::Relaxed)
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
        self.0.0.is_under_way.store(false, Ordering::Relaxed);
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
    /// Who reads, if the client said within a request that it sends no more.
    said_it_ends: Option<Waker>,
    incoming: Budget,
    /// Headers that were whole.
    whole: usize,
    /// Bytes of the header that comes in, and room for them when they are not few.
    header_bytes: usize,
    held: Held,
    /// Whether all that is there may be read at once.
    roomy: bool,
    newcomer: Newcomer,
}

impl Timed {
    pub(super) fn new(
        stream: TcpStream,
        phase: Phase,
        desk: &Desk,
        (roomy, newcomer): (bool, Newcomer),
    ) -> Self {
        // Answers are small and whole: there is nothing to wait for.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let limits = &desk.config.limits;
        Self {
            stream,
            phase,
            header_within: limits.header,
            stall_within: limits.stall,
            header: None,
            stall: None,
            said_it_ends: None,
            incoming: desk.incoming.clone(),
            whole: 0,
            header_bytes: 0,
            held: Held::default(),
            roomy,
            newcomer,
        }
    }

    /// The connection itself, for its end.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Reads what is there. hyper makes room for twice as much whenever that was filled, and keeps it.
    fn read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let before = buffer.filled().len();
        if self.roomy || buffer.remaining() <= READ_BYTES_MAX {
            let read = Pin::new(&mut self.stream).poll_read(context, buffer);
            return read.map_ok(|()| buffer.filled().len() - before);
        }
        // By way of the stack: of a buffer in which nothing is written the system keeps no page.
        let mut bytes = [MaybeUninit::uninit(); READ_BYTES_MAX];
        let mut part = ReadBuf::uninit(&mut bytes);
        let read = Pin::new(&mut self.stream).poll_read(context, &mut part);
        buffer.put_slice(part.filled());
        read.map_ok(|()| part.filled().len())
    }

    /// Counts what has come of a header, before anybody knows whose it is: what was read of it was not all.
    fn count(&mut self) -> io::Result<()> {
        if self.header_bytes == 0 {
            self.held = Held::default();
        } else if self.header_bytes >= READ_BYTES_MAX {
            let share = self.incoming.share(self.newcomer.who());
            if !share.try_grow(&mut self.held, HEADER_HELD_TIMES * self.header_bytes) {
                share.has_refused();
                return Err(io::Error::other("there is no room for a large header"));
            }
        }
        Ok(())
    }

    /// Room for a header that is whole is held as long as its request.
    fn header_is_whole(&mut self) {
        self.header_bytes = 0;
        self.header = None;
    }

    /// What a write that made no progress comes to. One who sends all before it reads waits for the server as the server does
    /// for it: the rest of what it sends is thrown away, once, so that it comes to read what became of it.
    fn stalled(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let within = self.stall_within;
        let mut stall = self.stall.take().unwrap_or_else(|| timer(within));
        if stall.as_mut().poll(context).is_ready() {
            if !self.phase.lose_input() {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            stall = timer(SENDS_TIMES * within);
            if stall.as_mut().poll(context).is_ready() {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
        }
        self.stall = Some(stall);
        if self.phase.input_is_lost() {
            self.throw_away(context);
        }
        Poll::Pending
    }

    fn throw_away(&mut self, context: &mut Context<'_>) {
        let mut bytes = [0; THROWN_AWAY_BYTES];
        for _ in 0..THROWN_AWAY_TIMES {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                // Whether the client is gone is found by writing.
                Poll::Ready(_) | Poll::Pending => return,
            }
        }
        context.waker().wake_by_ref();
    }

    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        progress: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.stall = None;
            // It may have been the last of the answer, behind which the end is the end.
            if let Some(reader) = self.said_it_ends.take() {
                reader.wake();
            }
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
        if self.whole != self.phase.begun() {
            self.whole = self.phase.begun();
            self.header_is_whole();
        }
        if self.phase.in_request() || self.stall.is_some() {
            return match self.read(context, buffer) {
                // Who has sent all of a request may say that it sends no more, and waits for the answer all the same. Whether it
                // is gone is found by writing, or by a reset.
                Poll::Ready(Ok(0)) if !self.phase.has_input() => {
                    self.said_it_ends = Some(context.waker().clone());
                    Poll::Pending
                }
                read => read.map_ok(|_bytes| ()),
            };
        }
        self.count()?;
        match self.read(context, buffer) {
            Poll::Ready(Ok(bytes)) => {
                // The first bytes of a header; the time runs from here, however slowly the rest drips.
                if bytes > 0 && self.header.is_none() {
                    self.header = Some(timer(self.header_within));
                }
                self.header_bytes += bytes;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
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
