//! The few calls that no safe interface offers: `fork`, and what a signal does.
#![expect(unsafe_code, reason = "fork and signal dispositions have no safe interface")]

use std::io;

use rustix::process::Pid;

/// On which side of a fork the caller is.
pub(super) enum Side {
    /// The new process.
    Child,
    /// The one that forked.
    Parent(Pid),
}

/// Signals that ask a service to stop. They are meant for the server, also where a service manager sends them to
/// every process: the server decides what becomes of the programs.
const STOPS: [libc::c_int; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// Makes a copy of this process, which must have one thread: then the copy may do whatever this one may.
///
/// # Errors
/// What the system says when it has no process left, or that there are more threads.
pub(super) fn fork() -> io::Result<Side> {
    if threads()? != 1 {
        return Err(io::Error::other("a process with several threads must not fork"));
    }
    // SAFETY: there is one thread, so no lock and no half-written state of another is copied.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Side::Child),
        pid => {
            Pid::from_raw(pid).map(Side::Parent).ok_or_else(|| io::Error::other("no such process"))
        }
    }
}

fn threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// Stops that are sent to this process no longer end it.
pub(super) fn ignore_stops() {
    for signal in STOPS {
        // SAFETY: no handler is installed, so none can be called at a wrong moment.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// They do again, as a program that is started expects.
pub(super) fn heed_stops() {
    for signal in STOPS {
        // SAFETY: as above.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// What this process inherited by chance is not handed on to programs.
///
/// # Errors
/// What the system says; Linux has the call since 5.11.
pub(super) fn close_at_exec() -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    // SAFETY: no descriptor is closed now, so nothing that uses one is cut off.
    let done = unsafe {
        libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Ends this copy at once: what its parent registered to be done at an exit is not its own to do.
pub(super) fn leave(code: i32) -> ! {
    // SAFETY: nothing of this process is used afterwards.
    unsafe { libc::_exit(code) }
}
