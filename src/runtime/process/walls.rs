//! What stands between programs and the server, as far as the system lets it be put up.
//!
//! With *namespaces* a program sees its own processes only, so it can name no other, and something empty lies over the
//! data directory. With *Landlock* it sees all of them and can signal or look into none. Neither can be taken off.

use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, Scope, make_bitflags,
};
use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind, mount_bind_recursive, mount_change,
};
use rustix::process::{DumpableBehavior, getegid, geteuid, set_dumpable_behavior};
use rustix::thread::{CapabilitySet, UnshareFlags, capabilities};
use serde::{Deserialize, Serialize};

use super::fork::{make_read_only, unshare};
use super::launch::Failed;

/// Which walls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Namespaces of processes and of mounts for each program.
    Namespaces,
    /// Landlock.
    Landlock,
    /// None.
    #[default]
    None,
}

/// What is to be put up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Walls {
    pub(super) kind: Kind,
    /// What no program may read or write.
    pub(super) hidden: Vec<PathBuf>,
    /// What no program may write: groups, by which the server could be ended or frozen.
    pub(super) read_only: Vec<PathBuf>,
    /// What a program that runs as root may not write either.
    pub(super) read_only_for_root: Vec<PathBuf>,
}

/// The same, once it is prepared in the spawner for all programs that it will start.
#[derive(Debug)]
pub(super) struct Standing {
    walls: Walls,
    ruleset: Option<RulesetCreated>,
}

/// What of `/proc` belongs to the whole machine, and is not kept from root by a namespace.
const MACHINE: [&str; 4] = ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"];

impl Walls {
    /// Prepares them. With namespaces this process gets one of users of its own, if it may not make others without.
    pub(super) fn prepare(self) -> Result<Standing, Failed> {
        let ruleset = match self.kind {
            Kind::Namespaces => {
                let own = capabilities(None).map_err(Failed::errno("see what is allowed"))?;
                if !own.effective.contains(CapabilitySet::SYS_ADMIN) {
                    become_admin().map_err(Failed::at("make a namespace of users"))?;
                }
                None
            }
            Kind::Landlock => Some(self.ruleset().map_err(Failed::at("make rules of Landlock"))?),
            Kind::None => None,
        };
        Ok(Standing { walls: self, ruleset })
    }

    fn ruleset(&self) -> io::Result<RulesetCreated> {
        let empty = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let closes = !(self.hidden.is_empty() && self.read_only.is_empty());
        let of_files = match closes {
            true => empty.handle_access(guarded()).map_err(io::Error::other)?,
            false => empty,
        };
        let whole = of_files.set_compatibility(CompatLevel::BestEffort).scope(Scope::Signal);
        let mut ruleset = whole.and_then(Ruleset::create).map_err(io::Error::other)?;
        if closes {
            ruleset = self.open(Path::new("/"), ruleset)?;
        }
        Ok(ruleset)
    }

    /// Allows all that is in a directory, but for what is closed. Landlock cannot forbid what lies in something allowed.
    fn open(&self, directory: &Path, mut ruleset: RulesetCreated) -> io::Result<RulesetCreated> {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            // What a link leads to is judged for itself.
            if kind.is_symlink() || self.hidden.contains(&path) {
                continue;
            }
            let closed = || self.hidden.iter().chain(&self.read_only);
            let is_read_only = self.read_only.contains(&path);
            if !is_read_only && closed().any(|closed| closed.starts_with(&path)) {
                ruleset = self.open(&path, ruleset)?;
                continue;
            }
            let mut access = if is_read_only { AccessFs::ReadFile.into() } else { guarded() };
            if !kind.is_dir() {
                access &= make_bitflags!(AccessFs::{ReadFile | WriteFile | Truncate});
            }
            // One that is gone, or may not be seen, is nothing that programs use.
            let Ok(found) = PathFd::new(&path) else { continue };
            let rule = PathBeneath::new(found, access);
            ruleset = ruleset.add_rule(rule).map_err(io::Error::other)?;
        }
        Ok(ruleset)
    }
}

/// What needs to be allowed. To run a file, or to see names, is left to the usual rights. Linux has all of it since 6.2.
fn guarded() -> BitFlags<AccessFs> {
    make_bitflags!(AccessFs::{
        ReadFile | WriteFile | Truncate | RemoveDir | RemoveFile | MakeChar | MakeDir | MakeReg
            | MakeSock | MakeFifo | MakeBlock | MakeSym | Refer
    })
}

/// Whether the kernel scopes signals by Landlock; it does since 6.12.
pub(super) fn landlock_scopes_signals() -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    ruleset.scope(Scope::Signal).is_ok()
}

impl Standing {
    /// Whether each program has processes of its own.
    pub(super) fn separates_processes(&self) -> bool {
        self.walls.kind == Kind::Namespaces
    }

    /// Whether anything is put up.
    pub(super) fn is_something(&self) -> bool {
        self.walls.kind != Kind::None
    }

    /// Gives this process and its program mounts of their own.
    pub(super) fn hide(&self, is_root: bool) -> Result<(), Failed> {
        if !self.separates_processes() {
            return Ok(());
        }
        unshare(UnshareFlags::NEWNS).map_err(Failed::at("make a namespace of mounts"))?;
        let downstream = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        mount_change("/", downstream).map_err(Failed::errno("keep mounts to itself"))?;
        let bare = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("proc", "/proc", "proc", bare, None).map_err(Failed::errno("mount /proc"))?;
        for place in holders(&self.walls.hidden) {
            // What something is mounted on cannot be renamed: else another could be put in its place, with keys of its own.
            mount_bind_recursive(place, place)
                .map_err(Failed::errno("hold what the data directory lies in"))?;
        }
        for hidden in &self.walls.hidden {
            mount("none", hidden, "tmpfs", bare | MountFlags::RDONLY, Some(c"size=4k,mode=0555"))
                .map_err(Failed::errno("hide the data directory"))?;
        }
        let for_root = self.walls.read_only_for_root.iter().filter(|_| is_root);
        for point in self.walls.read_only.iter().chain(for_root) {
            make_read_only(point).map_err(Failed::at("make groups read-only"))?;
        }
        if is_root {
            for place in MACHINE.map(Path::new).into_iter().filter(|place| place.exists()) {
                mount_bind(place, place).map_err(Failed::errno("guard /proc"))?;
                make_read_only(place).map_err(Failed::at("guard /proc"))?;
            }
        }
        Ok(())
    }

    /// The last before this process becomes a program: what Landlock closes stays closed.
    pub(super) fn restrict(&self) -> Result<(), Failed> {
        let Some(ruleset) = &self.ruleset else { return Ok(()) };
        let failed = || Failed::at("be restricted by Landlock");
        let own = ruleset.try_clone().map_err(failed())?;
        own.restrict_self().map(drop).map_err(|error| failed()(io::Error::other(error)))
    }
}

/// The directories in which these lie, each once, the outer ones first.
fn holders(hidden: &[PathBuf]) -> Vec<&Path> {
    let above = hidden.iter().flat_map(|it| it.ancestors().skip(1));
    let mut holders: Vec<&Path> = above.filter(|it| it.parent().is_some()).collect();
    holders.sort_unstable();
    holders.dedup();
    holders
}

/// Makes this process the one that may do everything in a namespace of users, where it is the only one.
fn become_admin() -> io::Result<()> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    unshare(UnshareFlags::NEWUSER)?;
    // The maps of a process that may not be read by others belong to root.
    set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}
