//! All that descends from a process, and its end.

use std::collections::{HashMap, HashSet};
use std::fs;

use super::fork::kill_namespace;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, wait};

/// Looks that a tree is given to stand still. Each finds only what was forked since the one before.
const STOPPING_ROUNDS: usize = 100;
/// Rounds of killing and reaping, some milliseconds apart; then what is left is told.
const KILLING_ROUNDS: usize = 500;

/// A process as the system shows it.
struct Seen {
    pid: i32,
    parent: i32,
    is_zombie: bool,
}

/// What a tree uses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) processes: u32,
    pub(super) memory_bytes: u64,
}

/// What descends from `root`, and lives.
pub(super) fn usage(root: Pid) -> Usage {
    let living = living(root, &HashSet::new()).into_iter();
    living.fold(Usage::default(), |sum, pid| Usage {
        processes: sum.processes + 1,
        memory_bytes: sum.memory_bytes + memory_of(pid),
    })
}

/// What a process has of its own, or shares by asking for it; not the files that it has mapped (proc(5), `status`).
fn memory_of(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kibibytes = |line: &str| {
        let value = line.strip_prefix("RssAnon:").or_else(|| line.strip_prefix("RssShmem:"))?;
        value.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    status.lines().filter_map(kibibytes).sum::<u64>() * 1024
}

/// Whether somebody has stopped a process, by a signal or as a debugger does (proc(5)).
pub(super) fn is_stopped(pid: Pid) -> bool {
    let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    let stat = String::from_utf8_lossy(&stat);
    let state = stat.rsplit_once(')').and_then(|(_, fields)| fields.trim_start().chars().next());
    matches!(state, Some('T' | 't'))
}

/// Ends all that descends from this process, their subreaper; gives how many could not be ended.
pub(super) fn end(ended: impl FnMut(Pid, WaitStatus)) -> usize {
    end_beside(&HashSet::new(), ended)
}

/// The same, but for the children that are `spared`, and all that descends from them.
///
/// First everything is stopped, so that nothing forks while it is looked for; then everything is killed.
pub(super) fn end_beside(spared: &HashSet<Pid>, mut ended: impl FnMut(Pid, WaitStatus)) -> usize {
    // Most programs leave nothing, and then nobody needs to look through all processes.
    if !has_children(&mut ended) {
        return 0;
    }
    let living = || living(getpid(), spared);
    end_all(living, || reap(&mut ended))
}

/// Ends all that descends from `root`, a subreaper that is stopped and has another parent; gives how many could not be
/// ended.
pub(super) fn end_below(root: Pid) -> usize {
    end_all(|| living(root, &HashSet::new()), || {})
}

/// Ends every other process of the namespace whose first process this is; gives whether there are still some.
pub(super) fn end_namespace(mut ended: impl FnMut(Pid, WaitStatus)) -> bool {
    for _ in 0..KILLING_ROUNDS {
        // Whatever is orphaned becomes this one's child.
        if !has_children(&mut ended) {
            return false;
        }
        kill_namespace();
        pause();
    }
    has_children(ended)
}

fn end_all(living: impl Fn() -> Vec<i32>, mut reap: impl FnMut()) -> usize {
    let mut stopped = HashSet::new();
    for _ in 0..STOPPING_ROUNDS {
        let mut running = living();
        running.retain(|pid| !stopped.contains(pid));
        if running.is_empty() {
            break;
        }
        for pid in running {
            send(pid, Signal::STOP);
            stopped.insert(pid);
        }
    }
    for _ in 0..KILLING_ROUNDS {
        living().into_iter().for_each(|pid| send(pid, Signal::KILL));
        reap();
        if living().is_empty() {
            break;
        }
        pause();
    }
    reap();
    living().len()
}

/// Takes note of every child that has ended. What was orphaned has become one.
pub(super) fn reap(ended: impl FnMut(Pid, WaitStatus)) {
    has_children(ended);
}

/// The same; gives whether there are children that have not ended. Without one nothing descends from this process.
fn has_children(mut ended: impl FnMut(Pid, WaitStatus)) -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => ended(pid, status),
            Ok(None) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(_none) => return false,
        }
    }
}

fn living(root: Pid, spared: &HashSet<Pid>) -> Vec<i32> {
    let found = descendants(root, spared).into_iter();
    found.filter(|seen| !seen.is_zombie).map(|seen| seen.pid).collect()
}

fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may have ended meanwhile; that is what is wanted.
        kill_process(pid, signal).unwrap_or_default();
    }
}

/// A short time for the system to do what it was told.
pub(super) fn pause() {
    let time = rustix::event::Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
    rustix::event::poll(&mut [], Some(&time)).unwrap_or_default();
}

fn descendants(root: Pid, spared: &HashSet<Pid>) -> Vec<Seen> {
    let mut children: HashMap<i32, Vec<Seen>> = HashMap::new();
    for seen in processes() {
        children.entry(seen.parent).or_default().push(seen);
    }
    let mut found = Vec::new();
    let mut parents = vec![root.as_raw_nonzero().get()];
    while let Some(parent) = parents.pop() {
        for seen in children.remove(&parent).into_iter().flatten() {
            if Pid::from_raw(seen.pid).is_some_and(|pid| spared.contains(&pid)) {
                continue;
            }
            parents.push(seen.pid);
            found.push(seen);
        }
    }
    found
}

fn processes() -> impl Iterator<Item = Seen> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read(entry.path().join("stat")).ok()?;
        parsed(pid, &String::from_utf8_lossy(&stat))
    })
}

/// From a line of `/proc/<pid>/stat` (proc(5)): the name is in brackets and may contain anything.
fn parsed(pid: i32, stat: &str) -> Option<Seen> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    Some(Seen {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        is_zombie: matches!(*fields.first()?, "Z" | "X"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_name_is_odd_is_read() {
        let seen = parsed(77, "77 (a ) R 1) S 12 77 77 0 -1 4194560").unwrap();
        assert_eq!((seen.pid, seen.parent, seen.is_zombie), (77, 12, false));
        assert!(parsed(1, "1 (x) Z 0 1").unwrap().is_zombie);
        assert!(parsed(1, "nothing").is_none());
    }
}
