//! A reaper: starts one program, watches it, and ends all that descends from it.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    DumpableBehavior, Pid, PidfdFlags, Signal, WaitStatus, geteuid, getpid, getppid,
    kill_process_group, pidfd_open, set_child_subreaper, set_dumpable_behavior,
    set_parent_process_death_signal, setpriority_process, setsid,
};

use super::cgroup::Cgroup;
use super::fork::{Side, fork, heed_stops, leave};
use super::launch::{
    Exceeded, Failed, HELLO, KILL, LAUNCH_BYTES_MAX, Launch, Limits, Report, TERMINATE,
};
use super::spawner::DESCRIPTORS;
use super::tree;
use super::user::{User, weaken_root};
use super::walls::Standing;

/// Between two looks at what a program uses, where no cgroup counts it.
const LOOK_NANOSECONDS: i64 = 50_000_000;
/// Between two looks for orphans that have ended.
const REAP_SECONDS: i64 = 1;
/// How far programs stand back behind what answers requests, as the threads of the pool do.
const NICENESS: i32 = 10;
/// When memory is short the system ends programs before the server.
const OOM_SCORE: &str = "500";

/// Keeps one program to its end, behind `walls` if they stand; gives this process's exit code.
pub(super) fn run(descriptors: Vec<OwnedFd>, walls: &Result<Standing, Failed>) -> i32 {
    let Ok([socket, stdin, stdout, stderr]) = <[OwnedFd; DESCRIPTORS]>::try_from(descriptors)
    else {
        return 1;
    };
    let mut server = Server(UnixStream::from(socket));
    // A server that is gone, or waits no more, has nothing to be run.
    if server.greet().is_err() {
        return 1;
    }
    let kept = server.launch().and_then(|launch| {
        let streams = [stdin, stdout, stderr];
        let walls = walls.as_ref().map_err(Failed::again)?;
        Reaper::start(&launch, streams, walls).map(|reaper| (reaper, launch))
    });
    match kept {
        Ok((reaper, launch)) => {
            server.tell(&Report::Started);
            reaper.watch(&mut server, &launch);
            0
        }
        Err(error) => {
            server.refuse(&error);
            1
        }
    }
}

/// Tells the server that there is no process for a reaper: no descriptor comes with this.
pub(super) fn refuse(descriptors: Vec<OwnedFd>, error: io::Error) {
    if let Some(socket) = descriptors.into_iter().next() {
        Server(UnixStream::from(socket)).refuse(&Failed::at("make a process")(error));
    }
}

/// The socket to the server.
struct Server(UnixStream);

impl Server {
    /// Hands over a hold on this process.
    fn greet(&self) -> Result<(), Errno> {
        let own = pidfd_open(getpid(), PidfdFlags::empty())?;
        let rights = [own.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fits = ancillary.push(SendAncillaryMessage::ScmRights(&rights));
        debug_assert!(fits, "there is space for one");
        sendmsg(&self.0, &[IoSlice::new(&[HELLO])], &mut ancillary, SendFlags::NOSIGNAL).map(drop)
    }

    fn launch(&mut self) -> Result<Launch, Failed> {
        let failed = || Failed::at("read what is to be started");
        let mut length = [0; 4];
        self.0.read_exact(&mut length).map_err(failed())?;
        let length = u32::from_le_bytes(length) as usize;
        if length > LAUNCH_BYTES_MAX {
            return Err(failed()(io::Error::other("it is too long")));
        }
        let mut text = vec![0; length];
        self.0.read_exact(&mut text).map_err(failed())?;
        serde_json::from_slice(&text).map_err(|error| failed()(io::Error::other(error)))
    }

    /// A server that is gone hears nothing, and that is seen elsewhere.
    fn tell(&mut self, report: &Report) {
        let mut line = serde_json::to_vec(report).unwrap_or_default();
        line.push(b'\n');
        drop(self.0.write_all(&line));
    }

    fn refuse(&mut self, failed: &Failed) {
        let errno = failed.error.raw_os_error().unwrap_or(0);
        self.tell(&Report::Refused { errno, step: failed.step.clone() });
    }

    /// What the server wants now: it wants an end when it is gone.
    fn order(&mut self) -> u8 {
        let mut byte = [KILL];
        match self.0.read(&mut byte) {
            Ok(1) => byte[0],
            _ => KILL,
        }
    }
}

/// The program as it runs.
struct Reaper {
    program: Pid,
    /// Whether all that it starts is in a namespace, whose first process this is.
    is_apart: bool,
    ended: OwnedFd,
    cgroup: Option<Cgroup>,
    status: Option<WaitStatus>,
}

impl Reaper {
    fn start(launch: &Launch, streams: [OwnedFd; 3], walls: &Standing) -> Result<Self, Failed> {
        rustix::thread::set_name(c"futurity-reaper").unwrap_or_default();
        set_child_subreaper(Some(getpid())).map_err(Failed::errno("become the subreaper"))?;
        let cgroup = launch.cgroup.as_ref().map(|path| Cgroup::make(path, &launch.limits));
        let cgroup = cgroup.transpose().map_err(Failed::at("make the cgroup"))?;
        // The mounts are this process's own as well, not only its program's: to take them down takes the system a
        // while, and so nobody waits for it.
        let is_root = launch.user.as_ref().map_or(geteuid().is_root(), User::is_root);
        walls.hide(is_root)?;
        let (said, says) = pipe_with(PipeFlags::CLOEXEC).map_err(Failed::errno("make a pipe"))?;
        let reaper = getpid();
        let program = match fork().map_err(Failed::at("fork"))? {
            Side::Parent(program) => program,
            Side::Child => {
                drop(said);
                let failed = become_program(launch, streams, (cgroup.as_ref(), walls), reaper);
                let errno = failed.error.raw_os_error().unwrap_or(0);
                let text = format!("{errno} {}", failed.step);
                rustix::io::write(&says, text.as_bytes()).unwrap_or_default();
                leave(127);
            }
        };
        drop(streams);
        drop(says);
        // It closes when the program has taken the place of this copy.
        let mut failure = String::new();
        drop(std::fs::File::from(said).read_to_string(&mut failure));
        let ended = pidfd_open(program, PidfdFlags::empty()).map_err(Failed::errno("watch it"));
        let is_apart = walls.separates_processes();
        let mut it = Self { program, is_apart, ended: ended?, cgroup, status: None };
        let Some((errno, step)) = failure.split_once(' ') else { return Ok(it) };
        it.end();
        let error = io::Error::from_raw_os_error(errno.parse().unwrap_or(0));
        Err(Failed { step: step.to_owned(), error })
    }

    /// Until the program has ended by itself, has passed a limit, or is to be ended.
    fn watch(mut self, server: &mut Server, launch: &Launch) {
        let counts_itself =
            self.cgroup.as_ref().is_none_or(|cgroup| !cgroup.limits(&launch.limits));
        let looks = counts_itself && launch.limits != Limits::default();
        let mut exceeded = None;
        while self.status.is_none() && exceeded.is_none() {
            let (order, has_ended) = self.wait(server, looks);
            self.reap();
            match order.then(|| server.order()) {
                // Once it has ended, its number may be another's.
                Some(TERMINATE) if self.status.is_some() => {}
                Some(TERMINATE) => {
                    kill_process_group(self.program, Signal::TERM).unwrap_or_default();
                }
                Some(_kill) => break,
                None if has_ended => {}
                None if looks => exceeded = passed(launch),
                None => {}
            }
        }
        exceeded = exceeded.or_else(|| self.cgroup.as_ref().and_then(Cgroup::exceeded));
        if let Some(exceeded) = exceeded {
            server.tell(&Report::Exceeded(exceeded));
        }
        let survived = self.end();
        if let Some(status) = self.status {
            let (code, signal) = (status.exit_status(), status.terminating_signal());
            server.tell(&Report::Exited { code, signal });
        }
        if survived > 0 {
            server.tell(&Report::Survived { count: survived });
        }
    }

    /// Whether the server says something, and whether the program has ended.
    fn wait(&self, server: &Server, looks: bool) -> (bool, bool) {
        let socket = server.0.as_fd();
        let mut polled =
            [PollFd::new(&socket, PollFlags::IN), PollFd::new(&self.ended, PollFlags::IN)];
        let time = match looks {
            true => Timespec { tv_sec: 0, tv_nsec: LOOK_NANOSECONDS },
            false => Timespec { tv_sec: REAP_SECONDS, tv_nsec: 0 },
        };
        poll(&mut polled, Some(&time)).unwrap_or_default();
        (!polled[0].revents().is_empty(), !polled[1].revents().is_empty())
    }

    fn reap(&mut self) {
        tree::reap(|pid, status| {
            if pid == self.program {
                self.status = Some(status);
            }
        });
    }

    /// Ends everything; gives how many could not be ended.
    fn end(&mut self) -> usize {
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
        let (program, status) = (self.program, &mut self.status);
        let ended = |pid, ended| {
            if pid == program {
                *status = Some(ended);
            }
        };
        let survived = match self.is_apart {
            true => usize::from(tree::end_namespace(ended)),
            false => tree::end(ended),
        };
        if let Some(cgroup) = self.cgroup.take() {
            cgroup.remove();
        }
        survived
    }
}

fn passed(launch: &Launch) -> Option<Exceeded> {
    let (limits, used) = (&launch.limits, tree::usage(getpid()));
    let memory = limits.memory_bytes_max.is_some_and(|most| used.memory_bytes > most);
    let processes = limits.processes_max.is_some_and(|most| used.processes > most);
    match (processes, memory) {
        // Many processes have much memory; that is not what went wrong.
        (true, _) => Some(Exceeded::Processes),
        (false, true) => Some(Exceeded::Memory),
        (false, false) => None,
    }
}

/// When memory is short the system ends this process before the server.
fn yield_memory() {
    // What may not be read by others belongs to root, so only a moment's openness lets another user write there.
    let may_be_read = |behaviour| set_dumpable_behavior(behaviour).unwrap_or_default();
    may_be_read(DumpableBehavior::Dumpable);
    drop(std::fs::write("/proc/self/oom_score_adj", OOM_SCORE));
    may_be_read(DumpableBehavior::NotDumpable);
}

/// In the copy that becomes the program: returns only if it could not.
fn become_program(
    launch: &Launch,
    [stdin, stdout, stderr]: [OwnedFd; 3],
    (cgroup, walls): (Option<&Cgroup>, &Standing),
    reaper: Pid,
) -> Failed {
    if let Err(failed) = prepare(launch, cgroup, walls, reaper) {
        return failed;
    }
    let Some((program, arguments)) = launch.argv.split_first() else { leave(0) };
    let error = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(launch.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&launch.directory)
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::from(stdout))
        .stderr(Stdio::from(stderr))
        .exec();
    Failed::at(&format!("run {program}"))(error)
}

/// All that a program is given, and all that is taken from it, before it runs.
fn prepare(
    launch: &Launch,
    cgroup: Option<&Cgroup>,
    walls: &Standing,
    reaper: Pid,
) -> Result<(), Failed> {
    setsid().map_err(Failed::errno("make a session"))?;
    if let Some(cgroup) = cgroup {
        cgroup.enter().map_err(Failed::at("enter its cgroup"))?;
    }
    // A program that cannot stand back runs as it is.
    setpriority_process(None, NICENESS).unwrap_or_default();
    yield_memory();
    heed_stops();
    let is_root = launch.user.as_ref().map_or(geteuid().is_root(), User::is_root);
    if is_root && walls.is_something() {
        weaken_root()?;
    }
    if let Some(user) = &launch.user {
        user.become_it()?;
    }
    rustix::thread::set_no_new_privs(true).map_err(Failed::errno("give up privileges"))?;
    walls.restrict()?;
    // After all else: a process that changes its user is let go again.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(Failed::errno("be tied"))?;
    match getppid() == Some(reaper) {
        true => Ok(()),
        false => Err(Failed::errno("find its reaper")(Errno::SRCH)),
    }
}
