//! A streaming map that is read slowly.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::common::process::Process;
use crate::map::{self, Mapped};
use crate::site::Site;
use crate::usage;

/// Sends as much as it may, and reads a thousand lines a second.
pub async fn slow(server: &Process, site: &Site, seconds: u64) -> Result<Mapped> {
    let before_mib = usage::resident_kib(server.child.id())? / 1024.0;
    let (mut sender, receiver) = map::open(site).await?;
    let begun = Instant::now();
    let send = async {
        for from in (0_u64..).step_by(500) {
            let lines: String = (from..from + 500).map(|number| format!("[{number}]\n")).collect();
            sender.chunk(lines.as_bytes()).await?;
        }
        anyhow::Ok(())
    };
    let read = map::read(receiver, Some(Duration::from_secs(seconds)));
    let lines = tokio::select! {
        sent = send => return sent.and(Err(anyhow::anyhow!("the input ended"))),
        read = read => read?,
    };
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Mapped { lines, seconds, before_mib, peak_mib: map::peak_mib(server.child.id())? })
}
