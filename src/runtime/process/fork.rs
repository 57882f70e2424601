//! The few calls that no safe interface offers: `fork`, what a signal does, and namespaces.
#![expect(unsafe_code, reason = "forks, signal dispositions and namespaces have no safe interface")]

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::process::{Pid, getpid};
use rustix::thread::{UnshareFlags, unshare_unsafe};

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
pub(super) fn fork() -> io::Result<Side> {
    check_threads()?;
    // SAFETY: there is one thread, so no lock and no half-written state of another is copied.
    side(unsafe { libc::fork() }.into())
}

/// The same, but the copy is the first process of a namespace: what it starts sees nothing outside, and is ended with it.
pub(super) fn fork_apart() -> io::Result<Side> {
    check_threads()?;
    let flags = libc::c_long::from(libc::CLONE_NEWPID | libc::SIGCHLD);
    // SAFETY: as above; without a stack of its own the copy goes on on a copy of this one, as after a fork. What the C
    // library would do beside is for processes with threads.
    side(unsafe { libc::syscall(libc::SYS_clone, flags, 0_usize, 0_usize, 0_usize, 0_usize) })
}

fn check_threads() -> io::Result<()> {
    if threads()? == 1 {
        return Ok(());
    }
    Err(io::Error::other("a process with several threads must not fork"))
}

fn side(forked: libc::c_long) -> io::Result<Side> {
    match forked {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Side::Child),
        pid => {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            pid.map(Side::Parent).ok_or_else(|| io::Error::other("no such process"))
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
pub(super) fn close_at_exec() -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    // SAFETY: no descriptor is closed now, so nothing that uses one is cut off.
    let done = unsafe {
        libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives this process, which must have one thread, namespaces of its own.
pub(super) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    check_threads()?;
    // SAFETY: no descriptors are unshared, so none is closed or left open behind the back of its owner.
    Ok(unsafe { unshare_unsafe(flags) }?)
}

/// Nobody writes any more to what is mounted at `point`, nor to what is mounted below it (`mount_setattr(2)`).
pub(super) fn make_read_only(point: &Path) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        namespace: u64,
    }
    let attributes =
        Attributes { set: libc::MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, namespace: 0 };
    let point = CString::new(point.as_os_str().as_bytes())?;
    // SAFETY: the path ends with a zero, and the kernel reads as many bytes as the structure has.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            point.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Kills every other process of the namespace whose first process this is; in any other process it does nothing.
pub(super) fn kill_namespace() {
    if getpid() == Pid::INIT {
        // SAFETY: no memory is involved. The first process of a namespace reaches none outside.
        unsafe { libc::kill(-1, libc::SIGKILL) };
    }
}

/// Ends this copy at once: what its parent registered to be done at an exit is not its own to do.
pub(super) fn leave(code: i32) -> ! {
    // SAFETY: nothing of this process is used afterwards.
    unsafe { libc::_exit(code) }
}
