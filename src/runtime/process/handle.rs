//! The server's side: the spawner as it is asked, and a program as it is held.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Interest, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::held::Held;
use super::launch::{Exceeded, KILL, LAUNCH_BYTES_MAX, Launch, Limits, Refused, Report, TERMINATE};
use super::link::Link;
use super::spawner::DESCRIPTORS;
use super::user::User;
use super::walls::Walls;

/// How long a spawner may take to make a reaper. One that takes longer was stopped, or as good as that.
const KEPT_WITHIN: Duration = Duration::from_secs(10);
/// How long a reaper may take to end its program once it was told to. Then the server does it.
const ENDED_WITHIN: Duration = Duration::from_secs(2);
/// Between two looks whether somebody has stopped a reaper. Two in a row are no accident.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Program {
    /// What it is called in the log.
    pub name: String,
    /// The program and its arguments, as they are.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub environment: Vec<(String, String)>,
    /// Where it runs.
    pub directory: PathBuf,
    /// The cgroup that is made for it, where some may be made.
    pub cgroup: Option<PathBuf>,
    /// What it may use.
    pub limits: Limits,
    /// Whose it is; none: the server's.
    pub user: Option<User>,
}

/// Starts programs. Cheap to clone; the process behind it ends with the last clone, or with the server.
#[derive(Clone, Debug)]
pub struct Spawner {
    link: Arc<Mutex<Option<Link>>>,
    walls: Arc<Walls>,
}

impl Spawner {
    /// Starts the process, so that whatever hinders it, or its walls, is known before the first program.
    pub(super) fn start(walls: Walls) -> Result<Self, Refused> {
        let link = Link::new(0, &walls);
        let link = link.map_err(|error| Refused::of("start the spawner of processes", error))?;
        link.try_out()?;
        Ok(Self { link: Arc::new(Mutex::new(Some(link))), walls: Arc::new(walls) })
    }

    /// Starts a program. When this returns it runs, or nothing of it does. It is not started any more once
    /// `given_up` ends.
    pub async fn spawn(
        &self,
        program: Program,
        given_up: impl Future<Output = ()>,
    ) -> Result<Process, Refused> {
        let refused = |step: &'static str| move |error: io::Error| Refused::of(step, error);
        let errno = |step: &'static str| move |error: Errno| Refused::of(step, error.into());
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(errno("make a pipe"));
        let ((stdin, in_end), (out_end, stdout), (error_end, stderr)) = (pipe()?, pipe()?, pipe()?);
        let (ours, theirs) = StdStream::pair().map_err(refused("make a socket"))?;
        for end in [&in_end, &out_end, &error_end] {
            ioctl_fionbio(end, true).map_err(errno("prepare a pipe"))?;
        }
        ours.set_nonblocking(true).map_err(refused("prepare a socket"))?;
        let number = self.order([&OwnedFd::from(theirs), &stdin, &stdout, &stderr])?;
        drop((stdin, stdout, stderr));
        tokio::pin!(given_up);
        let kept = tokio::select! {
            kept = timeout(KEPT_WITHIN, kept(ours, program)) => kept,
            () = &mut given_up => return Err(Refused::GivenUp),
        };
        let (reins, mut end) = kept.unwrap_or_else(|_silent| {
            self.replace(number);
            Err(Refused::Exhausted(io::ErrorKind::TimedOut.into()))
        })?;
        let started = tokio::select! {
            started = end.started() => started,
            () = &mut given_up => Err(Refused::GivenUp),
        };
        if let Err(refused) = started {
            drop(reins);
            end.wait().await;
            return Err(refused);
        }
        Ok(Process {
            stdin: Some(Sender::from_owned_fd(in_end).map_err(refused("use a pipe"))?),
            stdout: Receiver::from_owned_fd(out_end).map_err(refused("use a pipe"))?,
            stderr: Receiver::from_owned_fd(error_end).map_err(refused("use a pipe"))?,
            reins,
            end,
        })
    }

    /// Hands the descriptors to the spawner, which is started anew if it is gone; gives its number.
    fn order(&self, descriptors: [&OwnedFd; DESCRIPTORS]) -> Result<u64, Refused> {
        let refused = |error: io::Error| Refused::of("reach the spawner of processes", error);
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let mut number = 0;
        if let Some(alive) = link.as_ref() {
            match alive.send(descriptors) {
                Ok(()) => return Ok(alive.number),
                Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => {
                    tracing::warn!("the spawner of processes is gone; it is started again");
                    number = alive.number + 1;
                }
                Err(error) => return Err(refused(error.into())),
            }
        }
        let alive = link.insert(Link::new(number, &self.walls).map_err(refused)?);
        alive.send(descriptors).map_err(|error| refused(error.into()))?;
        Ok(number)
    }

    /// Ends a spawner that is silent, and starts another, unless somebody else has done so. Programs that run go on.
    fn replace(&self, number: u64) {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(silent) = link.take_if(|link| link.number == number) else { return };
        let seconds = KEPT_WITHIN.as_secs();
        tracing::warn!(
            seconds,
            "the spawner of processes is silent; it is ended and another started"
        );
        // No more programs are lost to it, and what is wrong now may pass: the next program tries again.
        match Link::new(number + 1, &self.walls) {
            Ok(new) => *link = Some(new),
            Err(error) => tracing::error!(%error, "no spawner of processes can be started"),
        }
        drop(link);
        tokio::task::spawn_blocking(|| silent.kill());
    }
}

/// Tells a reaper what is to be run, and hears that it is there.
async fn kept(socket: StdStream, program: Program) -> Result<(Reins, End), Refused> {
    let refused = |error: io::Error| Refused::of("reach the reaper of a process", error);
    let (name, cgroup) = (program.name, program.cgroup.clone());
    let launch = Launch {
        argv: program.argv,
        environment: program.environment,
        directory: program.directory,
        cgroup: program.cgroup,
        limits: program.limits,
        user: program.user,
    };
    let text = serde_json::to_vec(&launch).map_err(|error| refused(error.into()))?;
    let length = u32::try_from(text.len()).ok().filter(|_| text.len() <= LAUNCH_BYTES_MAX);
    let length = length.ok_or_else(|| refused(Errno::TOOBIG.into()))?;
    let mut socket = UnixStream::from_std(socket).map_err(refused)?;
    socket.write_all(&length.to_le_bytes()).await.map_err(unread)?;
    socket.write_all(&text).await.map_err(unread)?;
    let reaper = socket.async_io(Interest::READABLE, || descriptor(&socket)).await;
    let held = Held::new(reaper.map_err(unread)?, name, cgroup);
    let (read, write) = socket.into_split();
    let killed = CancellationToken::new();
    let reins = Reins { write, killed: killed.clone() };
    Ok((reins, End::new(BufReader::new(read).lines(), held, killed)))
}

/// A socket that breaks before all was read of it: spawner or reaper is gone, and nothing was started.
fn unread(error: io::Error) -> Refused {
    match error.kind() {
        io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::UnexpectedEof => Refused::Exhausted(error),
        _ => Refused::of("reach the reaper of a process", error),
    }
}

/// The descriptor that comes with the first byte.
fn descriptor(socket: &UnixStream) -> io::Result<OwnedFd> {
    let mut byte = [0; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [IoSliceMut::new(&mut byte)];
    recvmsg(socket, &mut bytes, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut rights = ancillary.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => rights.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    rights.next().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// A program that runs. To drop its [`Reins`] ends it, and all that it started.
#[derive(Debug)]
pub struct Process {
    /// What it reads.
    pub stdin: Option<Sender>,
    /// What it writes.
    pub stdout: Receiver,
    /// What it says beside.
    pub stderr: Receiver,
    /// By which it is asked to stop, and made to.
    pub reins: Reins,
    /// Its end.
    pub end: End,
}

/// By which a program is asked to stop, and made to.
#[derive(Debug)]
pub struct Reins {
    write: OwnedWriteHalf,
    killed: CancellationToken,
}

impl Reins {
    /// Asks its process group to stop: SIGTERM.
    pub fn terminate(&self) {
        self.say(TERMINATE);
    }

    /// Ends it, and all that it started.
    pub fn kill(&self) {
        self.say(KILL);
        self.killed.cancel();
    }

    /// The reaper reads at once; one that cannot be told anything is gone, or is ended by the server.
    fn say(&self, byte: u8) {
        drop(self.write.try_write(&[byte]));
    }
}

impl Drop for Reins {
    fn drop(&mut self) {
        self.killed.cancel();
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code, if it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The limit that it passed.
    pub exceeded: Option<Exceeded>,
    /// Processes of it that the system would not end.
    pub survived: usize,
}

/// The end of a program.
#[derive(Debug)]
pub struct End {
    reports: Lines<BufReader<OwnedReadHalf>>,
    held: Held,
    killed: CancellationToken,
    /// When the server ends it, because its reaper was to do so and has not.
    at_last: Option<Instant>,
    /// How often in a row its reaper was found stopped.
    stopped: usize,
    so_far: Ended,
}

impl End {
    fn new(
        reports: Lines<BufReader<OwnedReadHalf>>,
        held: Held,
        killed: CancellationToken,
    ) -> Self {
        Self { reports, held, killed, at_last: None, stopped: 0, so_far: Ended::default() }
    }

    /// Waits until the program runs.
    async fn started(&mut self) -> Result<(), Refused> {
        match self.report().await {
            Some(Report::Started) => Ok(()),
            Some(Report::Refused { errno, step }) => {
                Err(Refused::of(step, io::Error::from_raw_os_error(errno)))
            }
            _ => Err(Refused::Lost),
        }
    }

    /// Waits until nothing of the program is left. To give up waiting loses nothing.
    pub async fn wait(&mut self) -> Ended {
        while let Some(report) = self.report().await {
            self.so_far.hear(&report);
        }
        // What ended without a word may have left something that the system is about to end.
        if self.so_far == Ended::default() {
            self.held.gone().await;
        }
        self.so_far
    }

    /// What the reaper says next; none once it says nothing more. No reaper is waited for without an end.
    async fn report(&mut self) -> Option<Report> {
        loop {
            let at_last = self.at_last;
            tokio::select! {
                biased;
                line = self.reports.next_line() => {
                    return serde_json::from_str(&line.ok().flatten()?).ok();
                }
                () = self.killed.cancelled(), if at_last.is_none() => {
                    self.at_last = Some(Instant::now() + ENDED_WITHIN);
                }
                () = sleep_until(at_last.unwrap_or_else(Instant::now)), if at_last.is_some() => {
                    self.held.end("its reaper did not end it").await;
                    return None;
                }
                () = sleep(LOOK_EVERY), if at_last.is_none() => {
                    self.stopped = if self.held.is_stopped() { self.stopped + 1 } else { 0 };
                    if self.stopped > 1 {
                        self.held.end("its reaper was stopped").await;
                        return None;
                    }
                }
            }
        }
    }
}

impl Ended {
    fn hear(&mut self, report: &Report) {
        match *report {
            Report::Exited { code, signal } => (self.code, self.signal) = (code, signal),
            Report::Exceeded(exceeded) => self.exceeded = Some(exceeded),
            Report::Survived { count } => self.survived = count,
            Report::Started | Report::Refused { .. } => {}
        }
    }
}
