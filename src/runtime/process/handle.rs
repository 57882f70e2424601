//! The server's side: the spawner as it is asked, and a program as it is held.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::launch::{Exceeded, KILL, LAUNCH_BYTES_MAX, Launch, Limits, Refused, Report, TERMINATE};
use super::spawner::{ARGUMENT, DESCRIPTORS};

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Program {
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
}

/// Starts programs. Cheap to clone; the process behind it ends with the last clone, or with the server.
#[derive(Clone, Debug, Default)]
pub struct Spawner {
    link: Arc<Mutex<Option<Link>>>,
}

#[derive(Debug)]
struct Link {
    socket: StdStream,
    process: Child,
}

impl Link {
    fn new() -> io::Result<Self> {
        let (socket, theirs) = StdStream::pair()?;
        socket.set_nonblocking(true)?;
        let process = Command::new("/proc/self/exe")
            .arg(ARGUMENT)
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self { socket, process })
    }

    fn send(&self, descriptors: [&OwnedFd; DESCRIPTORS]) -> Result<(), Errno> {
        let borrowed = descriptors.map(|descriptor| descriptor.as_fd());
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fits = ancillary.push(SendAncillaryMessage::ScmRights(&borrowed));
        debug_assert!(fits, "there is space for that many");
        sendmsg(&self.socket, &[IoSlice::new(b"+")], &mut ancillary, SendFlags::NOSIGNAL).map(drop)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        drop(self.socket.shutdown(std::net::Shutdown::Both));
        // It has ended, or ends now; a process that nobody waits for would stay as a name.
        drop(self.process.wait());
    }
}

impl Spawner {
    /// Starts the process, so that whatever hinders it is known before the first program.
    ///
    /// # Errors
    /// What the system says.
    pub fn start() -> io::Result<Self> {
        Ok(Self { link: Arc::new(Mutex::new(Some(Link::new()?))) })
    }

    /// Starts a program. When this returns it runs, or does not.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn spawn(&self, program: Program) -> Result<Process, Refused> {
        let refused = |step: &'static str| move |error: io::Error| Refused::of(step, error);
        let errno = |step: &'static str| move |error: Errno| Refused::of(step, error.into());
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(errno("make a pipe"));
        let ((stdin, in_end), (out_end, stdout), (error_end, stderr)) = (pipe()?, pipe()?, pipe()?);
        let (ours, theirs) = StdStream::pair().map_err(refused("make a socket"))?;
        for end in [&in_end, &out_end, &error_end] {
            ioctl_fionbio(end, true).map_err(errno("prepare a pipe"))?;
        }
        ours.set_nonblocking(true).map_err(refused("prepare a socket"))?;
        self.order([&OwnedFd::from(theirs), &stdin, &stdout, &stderr])?;
        drop((stdin, stdout, stderr));
        let kept = Self::launched(ours, program).await?;
        let (reins, end) = kept;
        Ok(Process {
            stdin: Some(Sender::from_owned_fd(in_end).map_err(refused("use a pipe"))?),
            stdout: Receiver::from_owned_fd(out_end).map_err(refused("use a pipe"))?,
            stderr: Receiver::from_owned_fd(error_end).map_err(refused("use a pipe"))?,
            reins,
            end,
        })
    }

    /// Hands the descriptors to the spawner, which is started anew if it is gone.
    fn order(&self, descriptors: [&OwnedFd; DESCRIPTORS]) -> Result<(), Refused> {
        let refused = |error: io::Error| Refused::of("reach the spawner of processes", error);
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(alive) = link.as_ref() {
            match alive.send(descriptors) {
                Ok(()) => return Ok(()),
                Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => {
                    tracing::warn!("the spawner of processes is gone; it is started again");
                }
                Err(error) => return Err(refused(error.into())),
            }
        }
        let alive = link.insert(Link::new().map_err(refused)?);
        alive.send(descriptors).map_err(|error| refused(error.into()))
    }

    async fn launched(socket: StdStream, program: Program) -> Result<(Reins, End), Refused> {
        let refused = |error: io::Error| Refused::of("reach the keeper of a process", error);
        let launch = Launch {
            argv: program.argv,
            environment: program.environment,
            directory: program.directory,
            cgroup: program.cgroup,
            limits: program.limits,
        };
        let text = serde_json::to_vec(&launch).map_err(|error| refused(error.into()))?;
        let length = u32::try_from(text.len()).ok().filter(|_| text.len() <= LAUNCH_BYTES_MAX);
        let length = length.ok_or_else(|| refused(Errno::TOOBIG.into()))?;
        let (read, mut write) = UnixStream::from_std(socket).map_err(refused)?.into_split();
        // A socket that breaks before all was read of it: spawner or keeper is gone, and nothing was started.
        let unread = |error: io::Error| match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Refused::Exhausted(error),
            _ => refused(error),
        };
        write.write_all(&length.to_le_bytes()).await.map_err(unread)?;
        write.write_all(&text).await.map_err(unread)?;
        let mut end = End { reports: BufReader::new(read).lines(), so_far: Ended::default() };
        let first = end.reports.next_line().await.map_err(unread)?;
        match first.and_then(|line| serde_json::from_str(&line).ok()) {
            Some(Report::Started) => Ok((Reins(write), end)),
            Some(Report::Refused { errno, step }) => {
                Err(Refused::of(step, io::Error::from_raw_os_error(errno)))
            }
            _ => Err(refused(io::ErrorKind::UnexpectedEof.into())),
        }
    }
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
pub struct Reins(OwnedWriteHalf);

impl Reins {
    /// Asks its process group to stop: SIGTERM.
    pub fn terminate(&self) {
        self.say(TERMINATE);
    }

    /// Ends it, and all that it started.
    pub fn kill(&self) {
        self.say(KILL);
    }

    /// The keeper reads at once; one that cannot be told anything is gone.
    fn say(&self, byte: u8) {
        drop(self.0.try_write(&[byte]));
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
    so_far: Ended,
}

impl End {
    /// Waits until nothing of the program is left. To give up waiting loses nothing.
    pub async fn wait(&mut self) -> Ended {
        while let Some(report) = self.report().await {
            let ended = &mut self.so_far;
            match report {
                Report::Exited { code, signal } => (ended.code, ended.signal) = (code, signal),
                Report::Exceeded(exceeded) => ended.exceeded = Some(exceeded),
                Report::Survived { count } => ended.survived = count,
                Report::Started | Report::Refused { .. } => {}
            }
        }
        self.so_far
    }

    async fn report(&mut self) -> Option<Report> {
        let line = self.reports.next_line().await.ok().flatten()?;
        serde_json::from_str(&line).ok()
    }
}
