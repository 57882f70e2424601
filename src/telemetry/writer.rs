//! A writer with a thread of its own: whoever says something never waits for whoever should read it.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use tracing_subscriber::fmt::MakeWriter;

/// Most that waits to be taken. What comes beyond it is dropped, and counted.
const BYTES_MAX: usize = 1024 * 1024;
/// How long a process that ends waits for its last words to be taken.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Writes to standard output or standard error. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Writer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    to: BorrowedFd<'static>,
    waiting: Mutex<Waiting>,
    /// Something waits, or has been written.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Lines that found no room since it was last said.
    dropped: u64,
    is_written: bool,
    has_thread: bool,
}

impl Writer {
    /// To standard error.
    #[must_use]
    pub fn stderr() -> Self {
        Self::to(rustix::stdio::stderr())
    }

    /// To standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self::to(rustix::stdio::stdout())
    }

    fn to(to: BorrowedFd<'static>) -> Self {
        let (waiting, changed) = (Mutex::default(), Condvar::new());
        Self { shared: Arc::new(Shared { to, waiting, changed }) }
    }

    /// Leaves it to the thread, unless too much waits there already.
    pub fn say(&self, bytes: &[u8]) {
        let mut waiting = self.shared.lock();
        if waiting.bytes.len() + bytes.len() > BYTES_MAX {
            waiting.dropped += 1;
            return;
        }
        waiting.bytes.extend_from_slice(bytes);
        if !waiting.has_thread {
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new().name("log".to_owned());
            // Where no thread can be had, the next line tries again.
            waiting.has_thread = thread.spawn(move || shared.write_on()).is_ok();
        }
        drop(waiting);
        self.shared.changed.notify_all();
    }

    /// Waits until all is written; not longer than a second, since nobody may take it.
    pub fn flush(&self) {
        let waiting = self.shared.lock();
        let is_there = |waiting: &mut Waiting| !waiting.bytes.is_empty() || waiting.is_written;
        drop(self.shared.changed.wait_timeout_while(waiting, LAST_WORDS, is_there));
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl io::Write for &Writer {
    /// A line of the log comes in one piece.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.say(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes whatever comes, as long as the process lives.
    fn write_on(&self) {
        let mut piece = Vec::new();
        loop {
            let nothing = |waiting: &mut Waiting| waiting.bytes.is_empty() && waiting.dropped == 0;
            let waiting = self.changed.wait_while(self.lock(), nothing);
            let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
            piece.clear();
            std::mem::swap(&mut piece, &mut waiting.bytes);
            waiting.is_written = true;
            drop(waiting);
            write_all(self.to, &piece);
            let dropped = {
                let mut waiting = self.lock();
                waiting.is_written = false;
                std::mem::take(&mut waiting.dropped)
            };
            // There is room again: what waited is written.
            if dropped > 0 {
                tracing::warn!(
                    target: super::rate::OWN,
                    lines = dropped,
                    "lines of this log were dropped, since nobody took them"
                );
            }
            self.changed.notify_all();
        }
    }
}

/// Blocks as long as nobody takes it. What cannot be written is lost: there is nowhere to say so.
fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(0) => return,
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            // Whoever shares the descriptor has made it so.
            Err(Errno::AGAIN) => {
                if poll(&mut [PollFd::new(&to, PollFlags::OUT)], None).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}
