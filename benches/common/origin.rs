//! Where figures come from, and the file in which they are kept.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Serialize;

use super::machine::{Build, Machine};

#[derive(Debug, Serialize)]
pub struct Origin {
    pub unix_seconds: i64,
    pub machine: Machine,
    pub build: Build,
    pub file_system: String,
    /// The server's command line.
    pub server: String,
}

impl Origin {
    /// Of a run that begins. Disk and server are told later.
    pub fn now() -> Self {
        Self {
            unix_seconds: Timestamp::now().as_second(),
            machine: Machine::read(),
            build: Build::read(),
            file_system: String::new(),
            server: String::new(),
        }
    }

    /// `settings` are the run's own.
    pub fn print(&self, settings: &str) {
        let Machine { processor, cores, kernel, load } = &self.machine;
        let dirty = if self.build.dirty { " (dirty)" } else { "" };
        let debug = if self.build.optimised { "" } else { ", NOT OPTIMISED: no figure counts" };
        println!("machine   {processor}, {cores} cores, Linux {kernel}, load before {load}");
        println!("commit    {}{dirty}", self.build.commit);
        println!("versions  {}, {}{debug}", self.build.rustc, self.build.packages.join(", "));
        println!("settings  {settings}; client and server on the same cores");
        println!("disk      {}", self.file_system);
        println!("server    {}", self.server);
    }
}

/// Writes a report as JSON.
pub fn write(report: &impl Serialize, file: &Path) -> Result<()> {
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(file, serde_json::to_vec_pretty(report)?)
        .with_context(|| format!("cannot write {}", file.display()))
}
