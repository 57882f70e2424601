//! What passes between the server and a reaper, over the socket that they share.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::user::User;

/// What a program may use. None: as much as the server may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory of all its processes together.
    pub memory_bytes_max: Option<u64>,
    /// How many processes it may be.
    pub processes_max: Option<u32>,
}

/// A program to start; without one everything is done but the last step. Its standard streams and the socket come beside it, as descriptors.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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
    /// Whose it is; none: the server's.
    pub(super) user: Option<User>,
}

/// What went wrong before a program ran, and in doing what.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) step: String,
    pub(super) error: io::Error,
}

impl Failed {
    /// The same once more.
    pub(super) fn again(&self) -> Self {
        let error = match self.error.raw_os_error() {
            Some(number) => io::Error::from_raw_os_error(number),
            None => io::Error::other(self.error.to_string()),
        };
        Self { step: self.step.clone(), error }
    }

    pub(super) fn at(step: &str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self { step: step.to_owned(), error }
    }

    pub(super) fn errno(step: &str) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |error| Self { step: step.to_owned(), error: error.into() }
    }
}

/// The first byte that a reaper says. With it comes a descriptor of its process: the server's own hold on it.
pub(super) const HELLO: u8 = b'k';

/// What a reaper says then, a line of JSON each. Then it closes the socket: nothing of the program is left.
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

/// What the server says to a reaper: one byte. To close the socket means [`KILL`].
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
    /// Its reaper ended, or was ended, before it said whether the program runs.
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
