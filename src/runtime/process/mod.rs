//! Processes: how foreign programs are started, held and ended, so that nothing of them survives.
//!
//! ```text
//! server ── spawner ── reaper ── program ── whatever it starts
//!    └── a socket to each reaper ──┘
//! ```
//!
//! The *spawner* is this binary once more, started before the first program: it has one thread, so it may fork.
//! Each program gets a *reaper*, forked from it. The reaper is the subreaper of everything that descends from its
//! program: no `setsid` and no double fork leaves it. It holds one end of a socket whose other end only the server
//! has; when that closes, because the attempt is over or because the server was killed, it ends them all.
//!
//! A program may be able to stop a reaper or the spawner. So no wait for either is without an end: the server has a
//! hold of its own on each reaper, by which it ends reaper and program itself, and replaces a spawner that is silent.

mod cgroup;
mod fork;
mod handle;
mod held;
mod isolation;
mod launch;
mod link;
mod mounts;
mod process_reaper;
mod spawner;
mod tree;
mod user;
mod walls;

pub use cgroup::Cgroups;
pub use handle::{End, Ended, Process, Program, Reins, Spawner};
pub use isolation::{Isolation, Secrets};
pub use launch::{Exceeded, Limits, Refused};
pub use spawner::{become_spawner_if_asked, may_spawn};
pub use user::User;
pub use walls::Kind;
