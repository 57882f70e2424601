//! The spawner as the server holds it: a process that may be gone, stopped or slow, and is replaced then.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::spawner::{ARGUMENT, DESCRIPTORS};
use super::tree::pause;

/// Looks, some milliseconds apart, whether a spawner has ended by itself: it waits for its keepers.
const LEAVING_ROUNDS: usize = 2_000;
/// The same for one that was killed. One that the system does not end is left to it.
const DYING_ROUNDS: usize = 500;

/// A spawner, and the socket over which it takes orders. It ends with this.
#[derive(Debug)]
pub(super) struct Link {
    /// How many there were before it.
    pub(super) number: u64,
    socket: UnixStream,
    process: Child,
}

impl Link {
    pub(super) fn new(number: u64) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        let process = Command::new("/proc/self/exe")
            .arg(ARGUMENT)
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self { number, socket, process })
    }

    pub(super) fn send(&self, descriptors: [&OwnedFd; DESCRIPTORS]) -> Result<(), Errno> {
        let borrowed = descriptors.map(|descriptor| descriptor.as_fd());
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fits = ancillary.push(SendAncillaryMessage::ScmRights(&borrowed));
        debug_assert!(fits, "there is space for that many");
        sendmsg(&self.socket, &[IoSlice::new(b"+")], &mut ancillary, SendFlags::NOSIGNAL).map(drop)
    }

    /// Ends it at once; the keepers that it started go on by themselves.
    pub(super) fn kill(mut self) {
        self.process.kill().unwrap_or_default();
    }

    fn has_ended(&mut self, rounds: usize) -> bool {
        for _ in 0..rounds {
            // A child that cannot be asked is nobody's child any more.
            if !matches!(self.process.try_wait(), Ok(None)) {
                return true;
            }
            if self.is_stopped() {
                return false;
            }
            pause();
        }
        false
    }

    fn is_stopped(&self) -> bool {
        let process = rustix::process::Pid::from_child(&self.process);
        super::tree::is_stopped(process)
    }
}

impl Drop for Link {
    /// A process that nobody waits for would stay as a name; but nobody waits for one that does not end.
    fn drop(&mut self) {
        drop(self.socket.shutdown(std::net::Shutdown::Both));
        if !self.has_ended(LEAVING_ROUNDS) {
            self.process.kill().unwrap_or_default();
            self.has_ended(DYING_ROUNDS);
        }
    }
}
