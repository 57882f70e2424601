//! The signals that a server hears.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;

/// SIGTERM and SIGINT ask a server to stop, SIGHUP to read its configuration anew.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Stop,
    Reload,
}

impl Signals {
    /// From now on they are heard, and end the process no more: SIGHUP not even when nobody asks what was heard.
    pub(crate) fn heard() -> Result<Self, Failure> {
        let heard = |kind| signal(kind).map_err(Failure::io("signals cannot be heard"));
        let (terminate, interrupt) =
            (heard(SignalKind::terminate())?, heard(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, hang_up: heard(SignalKind::hangup())? })
    }

    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }

    pub(super) async fn stop(&mut self) {
        while self.next().await != Asked::Stop {}
    }
}
