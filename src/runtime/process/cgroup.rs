//! Control groups, version 2, where this process may make some: they count what a program uses, bound it, and end
//! it whole (the kernel's cgroup-v2.rst).

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use super::launch::{Exceeded, Limits};
use super::tree::pause;

/// What bounds memory and processes.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];
/// Waits of some milliseconds for a group that was ended to be empty.
const EMPTYING_ROUNDS: usize = 500;

/// Where the groups of one server's programs are made.
#[derive(Clone, Debug)]
pub struct Cgroups {
    base: PathBuf,
    /// What it counts and bounds.
    pub controllers: Vec<String>,
}

impl Cgroups {
    /// Makes a place for the groups of the server that is called `name`, below the one that this process is in, and
    /// ends what an earlier server of that name left there. None where that is not allowed, with the reason.
    pub fn prepare(name: &str) -> Result<Self, String> {
        let own = own_group()?;
        let base = own.join(format!("futurity-{name}"));
        let made = fs::create_dir(&base).or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        });
        made.map_err(|error| format!("{}: {error}", base.display()))?;
        if !base.join("cgroup.kill").exists() {
            drop(fs::remove_dir(&base));
            return Err("the kernel has no cgroup.kill; Linux has it since 5.14".to_owned());
        }
        end_leftovers(&base);
        enable_controllers(&own, name);
        let offered = words(&base.join("cgroup.controllers"));
        let granted = CONTROLLERS.into_iter().filter(|name| {
            offered.iter().any(|offered| offered == name) && enable(&base, name).is_ok()
        });
        Ok(Self { controllers: granted.map(str::to_owned).collect(), base })
    }

    /// The group of one program; `name` is taken once at a time.
    #[must_use]
    pub fn group(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    /// Ends what is left in the group of a program, and takes it away: its reaper has done so, unless it was killed.
    pub fn clear(group: &Path) {
        if group.exists() {
            let group = Cgroup { path: group.to_owned(), held: None };
            group.kill();
            group.remove();
        }
    }

    /// Ends what is in the group of a program.
    pub(super) fn kill(group: &Path) {
        Cgroup { path: group.to_owned(), held: None }.kill();
    }

    /// Takes the place away. The groups in it are empty by now, or it stays.
    pub fn remove(&self) {
        drop(fs::remove_dir(&self.base));
    }
}

/// Lets groups below `own`, which this process is in, have the controllers. A group that hands them on must have no
/// processes of its own, so this one goes down into a group beside those of its programs, if it is alone there.
fn enable_controllers(own: &Path, name: &str) {
    let (offered, enabled) =
        (words(&own.join("cgroup.controllers")), words(&own.join("cgroup.subtree_control")));
    let is_missing = |name: &&str| {
        let is_in = |list: &[String]| list.iter().any(|it| it == name);
        is_in(&offered) && !is_in(&enabled)
    };
    let missing: Vec<&str> = CONTROLLERS.into_iter().filter(is_missing).collect();
    let enable_all = || missing.iter().all(|name| enable(own, name).is_ok());
    if missing.is_empty() || enable_all() {
        return;
    }
    let leaf = own.join(format!("futurity-{name}-server"));
    let enter = |group: &Path| fs::write(group.join("cgroup.procs"), "0");
    let moved = fs::create_dir_all(&leaf).and_then(|()| enter(&leaf)).is_ok();
    if !(moved && enable_all()) {
        // It is not alone, or may not.
        drop(enter(own).and_then(|()| fs::remove_dir(&leaf)));
    }
}

fn enable(group: &Path, controller: &str) -> io::Result<()> {
    fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"))
}

fn words(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// The directory of the group that this process is in.
fn own_group() -> Result<PathBuf, String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
    let mount = mounts.lines().find_map(mount_point).ok_or("cgroup v2 is not mounted")?;
    let groups = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
    let own =
        groups.lines().find_map(|line| line.strip_prefix("0::/")).ok_or("no group of version 2")?;
    Ok(Path::new(mount).join(own))
}

/// Of a line of `/proc/self/mountinfo` (proc(5)): where a whole cgroup2 is mounted.
fn mount_point(line: &str) -> Option<&str> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ');
    let (root, point) = (fields.nth(3)?, fields.next()?);
    (after.starts_with("cgroup2 ") && root == "/").then_some(point)
}

/// Ends and takes away what stands in `base`: a server and its reapers were killed together.
fn end_leftovers(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            Cgroups::clear(&entry.path());
        }
    }
}

/// The group of one program.
#[derive(Debug)]
pub(super) struct Cgroup {
    path: PathBuf,
    /// Held, so that the group can be written to when its path cannot be any more.
    held: Option<File>,
}

impl Cgroup {
    pub(super) fn make(path: &Path, limits: &Limits) -> io::Result<Self> {
        fs::create_dir(path)?;
        let group = Self { path: path.to_owned(), held: Some(File::open(path)?) };
        if let Some(most) = limits.memory_bytes_max.filter(|_| group.has("memory.max")) {
            group.write("memory.max", &most.to_string())?;
            // All of it is ended, not the one process that asked last.
            group.write("memory.oom.group", "1")?;
            // Absent where the kernel does not swap.
            drop(group.write("memory.swap.max", "0"));
        }
        if let Some(most) = limits.processes_max.filter(|_| group.has("pids.max")) {
            group.write("pids.max", &most.to_string())?;
        }
        Ok(group)
    }

    /// Whether it bounds all that `limits` bound, so that nobody else needs to look.
    pub(super) fn limits(&self, limits: &Limits) -> bool {
        (limits.memory_bytes_max.is_none() || self.has("memory.max"))
            && (limits.processes_max.is_none() || self.has("pids.max"))
    }

    /// Lets this process belong to it, and all that it will start.
    pub(super) fn enter(&self) -> io::Result<()> {
        self.write("cgroup.procs", "0")
    }

    /// Which limit the program ran into.
    pub(super) fn exceeded(&self) -> Option<Exceeded> {
        if self.counted("memory.events", "oom_kill") > 0 {
            return Some(Exceeded::Memory);
        }
        (self.counted("pids.events", "max") > 0).then_some(Exceeded::Processes)
    }

    pub(super) fn kill(&self) {
        drop(self.write("cgroup.kill", "1"));
    }

    /// Takes it away once it is empty.
    pub(super) fn remove(self) {
        for _ in 0..EMPTYING_ROUNDS {
            match fs::remove_dir(&self.path) {
                Err(error)
                    if error.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error()) =>
                {
                    pause();
                }
                _ => return,
            }
        }
    }

    fn counted(&self, file: &str, what: &str) -> u64 {
        let text = fs::read_to_string(self.file(file)).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix(what)?.trim().parse().ok());
        count.unwrap_or(0)
    }

    fn has(&self, file: &str) -> bool {
        self.file(file).exists()
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        fs::write(self.file(file), text)
    }

    fn file(&self, name: &str) -> PathBuf {
        match &self.held {
            Some(held) => PathBuf::from(format!("/proc/self/fd/{}/{name}", held.as_raw_fd())),
            None => self.path.join(name),
        }
    }
}
