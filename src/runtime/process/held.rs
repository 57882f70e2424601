//! The server's own hold on a reaper, for when the reaper does not do what it is there for: a program that runs as the
//! same user may have stopped it.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, pidfd_send_signal};

use super::cgroup::Cgroups;
use super::tree;

/// How long a reaper that was killed may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(2);
/// Between the first two looks whether a reaper has ended; each wait is twice the one before.
const ASK_FIRST: Duration = Duration::from_millis(1);
/// The longest.
const ASK_LAST: Duration = Duration::from_millis(50);

/// A reaper, by what stays its own however it fares.
#[derive(Debug)]
pub(super) struct Held {
    reaper: OwnedFd,
    cgroup: Option<PathBuf>,
    /// What its program is called in the log.
    name: String,
}

impl Held {
    pub(super) fn new(reaper: OwnedFd, name: String, cgroup: Option<PathBuf>) -> Self {
        Self { reaper, cgroup, name }
    }

    /// Whether somebody has stopped it.
    pub(super) fn is_stopped(&self) -> bool {
        self.pid().is_some_and(tree::is_stopped)
    }

    /// Ends the program, all that it started, and its reaper.
    pub(super) async fn end(&self, why: &str) {
        tracing::warn!(program = %self.name, %why, "the server ends a program itself");
        let signal = |signal| pidfd_send_signal(&self.reaper, signal).unwrap_or_default();
        // Whatever its program starts stays its own while it stands still.
        signal(Signal::STOP);
        let (reaper, cgroup) = (self.pid(), self.cgroup.clone());
        let ended = tokio::task::spawn_blocking(move || end_tree(reaper, cgroup.as_deref()));
        let survived = ended.await.unwrap_or_default();
        signal(Signal::KILL);
        let is_gone = tokio::time::timeout(GONE_WITHIN, self.gone()).await.is_ok();
        if survived > 0 || !is_gone {
            tracing::error!(program = %self.name, processes = survived, "processes could not be ended");
        }
    }

    /// Ends when the reaper has ended. Seldom waited for, so it asks again and again.
    pub(super) async fn gone(&self) {
        let mut wait = ASK_FIRST;
        while !self.has_ended() {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(ASK_LAST);
        }
    }

    fn has_ended(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.reaper, PollFlags::IN)], Some(&now))
            .is_ok_and(|ended| ended > 0)
    }

    /// Its number. None once it has ended and was taken note of.
    fn pid(&self) -> Option<Pid> {
        let reaper = self.reaper.as_raw_fd();
        let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{reaper}")).ok()?;
        let number = text.lines().find_map(|line| line.strip_prefix("Pid:"))?;
        Pid::from_raw(number.trim().parse().ok().filter(|number| *number > 0)?)
    }
}

fn end_tree(reaper: Option<Pid>, cgroup: Option<&Path>) -> usize {
    if let Some(cgroup) = cgroup {
        Cgroups::kill(cgroup);
    }
    reaper.map_or(0, tree::end_below)
}
