//! The signals that a server hears; and the end of standard input, for who starts a server and must not leave it behind.

use std::io::{self, Read as _};

use nix::sys::signal::{SigSet, Signal as Number};
use rustix::event::{PollFd, PollFlags, poll};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::Failure;

/// SIGTERM and SIGINT ask a server to stop, SIGHUP to read its configuration anew.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    /// Told when standard input is closed; none if that means nothing, or was told.
    input: Option<oneshot::Receiver<()>>,
}

/// What a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Stop,
    Reload,
    /// Whoever started the server is gone, or wants it gone.
    InputClosed,
}

/// SIGHUP waits from now on: until it is known what this process is to be, nobody can say what it means.
pub(crate) fn hold_hang_ups() {
    hang_up().thread_block().unwrap_or_else(not_changed);
}

/// It comes, also one that has waited.
pub(crate) fn take_hang_ups() {
    hang_up().thread_unblock().unwrap_or_else(not_changed);
}

fn hang_up() -> SigSet {
    SigSet::from_iter([Number::SIGHUP])
}

/// The kernel knows no reason.
fn not_changed(error: nix::Error) {
    tracing::warn!(%error, "the mask of signals cannot be changed");
}

impl Signals {
    /// From now on they are heard, and end the process no more: SIGHUP not even when nobody asks what was heard. No thread was
    /// started for that, so that those which come later have nothing to hold back.
    pub(crate) fn heard_first() -> Result<Self, Failure> {
        let here = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let here = here.map_err(Failure::io("signals cannot be heard"))?;
        let heard = here.block_on(async { Self::heard() })?;
        take_hang_ups();
        Ok(heard)
    }

    /// The same, in a runtime that there is.
    pub(crate) fn heard() -> Result<Self, Failure> {
        let heard = |kind| signal(kind).map_err(Failure::io("signals cannot be heard"));
        let (terminate, interrupt) =
            (heard(SignalKind::terminate())?, heard(SignalKind::interrupt())?);
        let hang_up = heard(SignalKind::hangup())?;
        Ok(Self { terminate, interrupt, hang_up, input: None })
    }

    /// The end of standard input asks for a stop as well. The system closes it when whoever holds its other end dies,
    /// however that happens.
    pub(crate) fn or_end_of_input(mut self) -> Result<Self, Failure> {
        let (sender, receiver) = oneshot::channel();
        let watch = move || {
            let why = drain(io::stdin().lock());
            tracing::debug!(?why, "standard input is over");
            sender.send(()).unwrap_or_default();
        };
        let thread = std::thread::Builder::new().name("standard-input".to_owned()).spawn(watch);
        thread.map_err(Failure::io("cannot start threads"))?;
        self.input = Some(receiver);
        Ok(self)
    }

    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hang_up.recv() => Asked::Reload,
            () = ended(&mut self.input) => Asked::InputClosed,
        }
    }

    /// Ends when it is not to serve at all: asked to stop, or by the end of its input. A reload that is asked for meanwhile is there
    /// for [`Self::next`].
    pub(crate) async fn given_up(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = ended(&mut self.input) => {}
        }
    }

    /// Ends with a signal that asks for a stop. An input that is closed hurries nobody: it has no second time.
    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Ends once, with the input.
async fn ended(input: &mut Option<oneshot::Receiver<()>>) {
    let Some(receiver) = input else { return std::future::pending().await };
    // A thread that is gone without a word watches over nothing any more.
    receiver.await.unwrap_or_default();
    *input = None;
}

/// Reads to the end. What is written there means nothing.
fn drain(mut input: io::StdinLock<'_>) -> io::Result<()> {
    let mut bytes = [0; 1_024];
    loop {
        match input.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Whoever opened it may have said that its readers do not wait.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(&input, PollFlags::IN)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
}
