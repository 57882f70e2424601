//! The spawner as the server holds it: a process that may be gone, stopped or slow, and is replaced then.

use std::fs::OpenOptions;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::launch::{HELLO, Launch, Refused, Report};
use super::spawner::{ARGUMENT, DESCRIPTORS, files_given};
use super::tree::pause;
use super::walls::Walls;

/// Looks, some milliseconds apart, whether a spawner has ended by itself: it waits for its reapers.
const LEAVING_ROUNDS: usize = 2_000;
/// The same for one that was killed. One that the system does not end is left to it.
const DYING_ROUNDS: usize = 500;
/// How long a program that is none may take.
const TRIED_WITHIN: Duration = Duration::from_secs(10);

/// A spawner, and the socket over which it takes orders. It ends with this.
#[derive(Debug)]
pub(super) struct Link {
    /// How many there were before it.
    pub(super) number: u64,
    socket: UnixStream,
    process: Child,
}

impl Link {
    pub(super) fn new(number: u64, walls: &Walls) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        let process = Command::new("/proc/self/exe")
            .arg(ARGUMENT)
            .arg(serde_json::to_string(walls)?)
            .arg(files_given())
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

    /// Starts a program that is none, to see whether the walls stand.
    pub(super) fn try_out(&self) -> Result<(), Refused> {
        let failed = |error: io::Error| Refused::of("try a process", error);
        let (mut ours, theirs) = UnixStream::pair().map_err(failed)?;
        let null = OpenOptions::new().read(true).write(true).open("/dev/null").map_err(failed)?;
        let null = OwnedFd::from(null);
        self.send([&OwnedFd::from(theirs), &null, &null, &null])
            .map_err(|error| failed(error.into()))?;
        let launch =
            serde_json::to_vec(&Launch::default()).map_err(|error| failed(error.into()))?;
        let length = u32::try_from(launch.len()).unwrap_or_default().to_le_bytes();
        ours.set_read_timeout(Some(TRIED_WITHIN)).map_err(failed)?;
        ours.write_all(&[&length, launch.as_slice()].concat()).map_err(failed)?;
        let mut said = String::new();
        ours.read_to_string(&mut said).map_err(failed)?;
        let report = said.trim_start_matches(char::from(HELLO)).lines().next();
        match report.and_then(|line| serde_json::from_str(line).ok()) {
            Some(Report::Started) => Ok(()),
            Some(Report::Refused { errno, step }) => {
                Err(Refused::of(step, io::Error::from_raw_os_error(errno)))
            }
            _ => Err(Refused::Lost),
        }
    }

    /// Ends it at once; the reapers that it started go on by themselves.
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
