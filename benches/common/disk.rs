//! The directory on which the server works, and what its disk can do.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::stats::{Latency, micros};

/// File system types of statfs(2).
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;
const BLOCK: usize = 4096;
const SYNC_LIMIT: usize = 1_000_000;
/// No disk makes 4 KiB durable in less: what answers faster does not sync.
const FASTEST_SYNC_MS: f64 = 0.005;

/// A directory of this run alone, removed at its end.
#[derive(Debug)]
pub struct WorkDirectory {
    path: PathBuf,
}

impl WorkDirectory {
    /// Makes one in `parent`, which must not be in memory.
    pub fn create(parent: &Path) -> Result<Self> {
        fs::create_dir_all(parent)?;
        let parent = parent.canonicalize()?;
        let kind = u64::try_from(rustix::fs::statfs(&parent)?.f_type)?;
        ensure!(
            kind != TMPFS && kind != RAMFS,
            "{} is in memory, where fdatasync is free: choose another --data-dir",
            parent.display()
        );
        let path = parent.join(format!("run-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Type, device and options of the mount below, as the kernel lists them.
    pub fn mount(&self) -> Result<String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let mount = mounts
            .lines()
            .filter_map(|line| {
                let (mount, file_system) = line.split_once(" - ")?;
                let point = mount.split(' ').nth(4)?;
                self.path.starts_with(point).then_some((point.len(), file_system))
            })
            // Of two mounts on one point the later covers the earlier; max_by_key takes the last.
            .max_by_key(|(length, _)| *length);
        Ok(mount.map_or("unknown", |(_, file_system)| file_system).to_owned())
    }

    /// Appends 4 KiB and syncs, again and again for `duration`.
    pub fn measure_sync(&self, duration: Duration) -> Result<Latency> {
        let path = self.path.join("sync-probe");
        let mut file = File::create(&path)?;
        let mut latencies = Vec::new();
        let begun = Instant::now();
        while begun.elapsed() < duration && latencies.len() < SYNC_LIMIT {
            let append = Instant::now();
            file.write_all(&[0x66; BLOCK])?;
            file.sync_data()?;
            latencies.push(micros(append.elapsed()));
        }
        fs::remove_file(&path)?;
        let latency = Latency::of(&mut latencies).context("not one fdatasync")?;
        ensure!(
            latency.p50_ms >= FASTEST_SYNC_MS,
            "fdatasync takes {} ms: this file system does not sync",
            latency.p50_ms
        );
        Ok(latency)
    }
}

impl Drop for WorkDirectory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}
