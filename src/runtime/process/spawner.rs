//! The spawner: a process of one thread that forks a reaper for each program.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitCode;
use std::sync::OnceLock;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{
    DumpableBehavior, Pid, Resource, Rlimit, getpid, getrlimit, set_child_subreaper,
    set_dumpable_behavior, setrlimit, setsid,
};

use super::fork::{Side, close_at_exec, fork, fork_apart, ignore_stops, leave};
use super::process_reaper;
use super::tree::{end, end_beside, pause, reap};
use super::walls::{Standing, Walls};

/// What the spawner is told to be by, as its first argument. The second says which walls there are to be, the third is
/// [`files_given`].
pub(super) const ARGUMENT: &str = "futurity-spawner";
/// Descriptors that come with each order: the socket, and the program's standard streams.
pub(super) const DESCRIPTORS: usize = 4;

/// Looks, some milliseconds apart, whether the reapers have ended, once the server is gone.
const LEAVING_ROUNDS: usize = 1_500;

/// How many files this process might open when it began, once [`become_spawner_if_asked`] was called: then a process
/// that is started from this program is a spawner.
static FILES: OnceLock<Option<u64>> = OnceLock::new();
/// As many as the system allows.
const UNLIMITED: &str = "unlimited";

/// Becomes the spawner of commands and workers, if this process was started to be it; else it returns at once.
///
/// A program that serves with commands or workers calls this first in its `main`, before it starts a thread. A
/// process with one thread is the only one that may fork, and the server has many.
pub fn become_spawner_if_asked() -> Option<ExitCode> {
    FILES.get_or_init(|| getrlimit(Resource::Nofile).current);
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(ARGUMENT)) {
        return None;
    }
    let walls = arguments.next().and_then(|text| serde_json::from_slice(text.as_bytes()).ok());
    let served = walls
        .ok_or(io::ErrorKind::InvalidInput.into())
        .and_then(|walls| serve(walls, arguments.next()));
    Some(match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("futurity: the spawner of processes: {error}"));
            ExitCode::FAILURE
        }
    })
}

/// Whether a spawner can be started from this program.
pub fn may_spawn() -> bool {
    FILES.get().is_some()
}

/// How many files programs may open: as many as this server might before it raised that for itself. Whoever calls
/// `select` breaks above 1,024.
pub(super) fn files_given() -> String {
    let given = FILES.get().copied().flatten();
    given.map_or_else(|| UNLIMITED.to_owned(), |files| files.to_string())
}

fn give_files(files: Option<OsString>) -> io::Result<()> {
    let given = files.and_then(|files| files.to_str()?.parse().ok());
    let Some(given) = given else { return Ok(()) };
    let maximum = getrlimit(Resource::Nofile).maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(given), maximum })?)
}

/// Its orders come over the socket that is its standard input, until the server is gone.
fn serve(walls: Walls, files: Option<OsString>) -> io::Result<()> {
    give_files(files)?;
    // A Ctrl-C in the server's terminal is for the server.
    setsid()?;
    // Nor is it for a program of the same user to look into this process, or the reapers, its copies.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    ignore_stops();
    close_at_exec()?;
    let mut orders = Some(fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?);
    rustix::stdio::dup2_stdin(open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)?;
    // What a reaper leaves that was killed becomes a child of this process, and is ended too.
    set_child_subreaper(Some(getpid()))?;
    let walls = walls.prepare();
    let is_apart = walls.as_ref().is_ok_and(Standing::separates_processes);
    let fork = if is_apart { fork_apart } else { fork };
    let mut reapers = HashSet::new();
    while let Some(socket) = &orders {
        let mut was_killed = false;
        reap(|pid, status| {
            was_killed |= reapers.remove(&pid) && status.signaled();
        });
        if was_killed {
            end_beside(&reapers, |_, _| {});
        }
        if !is_readable(socket, 1)? {
            continue;
        }
        let Some(descriptors) = receive(socket)? else { break };
        match fork() {
            Ok(Side::Parent(reaper)) => {
                reapers.insert(reaper);
                drop(descriptors);
            }
            Ok(Side::Child) => {
                // A reaper that held the orders would keep them from ending.
                drop(orders.take());
                leave(process_reaper::run(descriptors, &walls));
            }
            Err(error) => process_reaper::refuse(descriptors, error),
        }
    }
    end_with(&mut reapers);
    Ok(())
}

/// The reapers hear the end of the server by themselves; one that does not was stopped, and is ended with its program.
fn end_with(reapers: &mut HashSet<Pid>) {
    for _ in 0..LEAVING_ROUNDS {
        reap(|pid, _| {
            reapers.remove(&pid);
        });
        if reapers.is_empty() {
            break;
        }
        pause();
    }
    end(|_, _| {});
}

pub(super) fn is_readable(fd: impl AsFd, seconds: i64) -> io::Result<bool> {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let mut polled = [PollFd::new(&fd, PollFlags::IN)];
    match poll(&mut polled, Some(&time)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The descriptors of the next order; none when the server is gone.
fn receive(orders: &OwnedFd) -> io::Result<Option<Vec<OwnedFd>>> {
    let mut byte = [0; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let received = recvmsg(orders, &mut bytes, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let rights = ancillary.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => rights.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    Ok(Some(rights.collect()))
}

/// There may be nobody left to hear it, as on a terminal that was closed.
pub(super) fn tell(text: &str) {
    writeln!(io::stderr(), "{text}").unwrap_or_default();
}
