//! What passes between the server and a keeper, over the socket that they share.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a program may use. None: as much as the server may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory of all its processes together.
    pub memory_bytes_max: Option<u64>,
    /// How many processes it may be.
    pub processes_max: Option<u32>,
}

/// A program to start. Its standard streams and the socket come beside it, as descriptors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Launch {
    /// The program and its arguments, as they are: no shell reads them.
    pub(super) argv: Vec<String>,
    /// Its whole environment.
    pub(super) environment: Vec<(String, String)>,
    /// Where it runs.
    pub(super) directory: PathBuf,
    /// The cgroup that is made for it.
    pub(super) cgroup: Option<PathBuf>,
    pub(super) limits: Limits,
}

/// The first byte that a keeper says. With it comes a descriptor of its process: the server's own hold on it.
pub(super) const HELLO: u8 = b'k';

/// What a keeper says then, a line of JSON each. Then it closes the socket: nothing of the program is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Report {
    /// The program runs.
    Started,
    /// It could not be started: the system's number for why, and what was being done.
    Refused { errno: i32, step: String },
    /// Its first process has ended.
    Exited { code: Option<i32>, signal: Option<i32> },
    /// It used more than it may, and is being ended.
    Exceeded(Exceeded),
    /// Processes of it that could not be ended.
    Survived { count: usize },
}

/// Which limit was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exceeded {
    /// [`Limits::memory_bytes_max`].
    Memory,
    /// [`Limits::processes_max`].
    Processes,
}

/// What the server says to a keeper: one byte. To close the socket means [`KILL`].
pub(super) const TERMINATE: u8 = b't';
/// End everything now.
pub(super) const KILL: u8 = b'k';
/// Longest text of a launch.
pub(super) const LAUNCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a program could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The system has no process, descriptor or memory left just now: it is worth another try (G23).
    #[error("no process can be had just now: {0}")]
    Exhausted(io::Error),
    /// It was given up before it ran.
    #[error("it was given up before it ran")]
    GivenUp,
    /// Its keeper ended, or was ended, before it said whether the program runs.
    #[error("what kept it is gone")]
    Lost,
    /// There is no such program, or it may not be run.
    #[error("{step}: {error}")]
    Program {
        /// What was being done.
        step: String,
        /// What the system said.
        error: io::Error,
    },
}

impl Refused {
    /// By what the system said: a shortage passes, anything else does not.
    pub(super) fn of(step: impl Into<String>, error: io::Error) -> Self {
        const SHORTAGES: [rustix::io::Errno; 5] = [
            rustix::io::Errno::AGAIN,
            rustix::io::Errno::NOMEM,
            rustix::io::Errno::MFILE,
            rustix::io::Errno::NFILE,
            rustix::io::Errno::NOBUFS,
        ];
        let errno = error.raw_os_error();
        if SHORTAGES.iter().any(|shortage| errno == Some(shortage.raw_os_error())) {
            return Self::Exhausted(error);
        }
        Self::Program { step: step.into(), error }
    }
}
