//! Checkpoints: what is in the log is copied into the database, off the writer's path.

use rusqlite::Connection;
use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use crate::store::sqlite::durability::health::Health;

/// Groups between two checkpoints: some 4 MiB of log at full load.
const GROUPS_BETWEEN: u32 = 64;
/// While writes go on without a pause, the log never gets empty by itself. From this many pages on
/// (16 MiB) the writer stops for the moment that the rest takes.
const PAGES_MAX: i64 = 4_096;

/// Copies what it can without stopping readers or the writer: pages of the log, pages copied.
const PASSIVE: &str = "pragma wal_checkpoint(passive)";

/// Copies nothing, and says only how long the log is.
const NOOP: &str = "pragma wal_checkpoint(noop)";

thread_local! {
    /// Pages in the log, as the last commit of this thread has left it.
    static PAGES: Cell<u32> = const { Cell::new(0) };
}

/// A thread that makes checkpoints when the writer has written enough.
#[derive(Debug)]
pub struct Checkpointer {
    wanted: SyncSender<()>,
    behind: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    groups: u32,
    health: Arc<Health>,
}

impl Checkpointer {
    /// Starts it, with a connection of its own.
    pub fn start(connection: Connection, health: Arc<Health>) -> io::Result<Self> {
        let (wanted, asked) = sync_channel(1);
        let behind = Arc::new(AtomicBool::new(false));
        let (told, of_thread) = (Arc::clone(&behind), Arc::clone(&health));
        let thread = std::thread::Builder::new().name("checkpointer".to_owned());
        let thread = thread.spawn(move || run(&connection, &asked, &told, &of_thread))?;
        Ok(Self { wanted, behind, thread, groups: 0, health })
    }

    /// A group was committed. Now and then that is a reason for a checkpoint; if the thread could not
    /// keep up, the writer makes one itself, on `connection`.
    pub fn committed(&mut self, connection: &Connection) {
        if self.behind.swap(false, Ordering::Relaxed) {
            logged(passive(connection), &self.health);
        }
        self.groups += 1;
        if self.groups >= GROUPS_BETWEEN {
            self.groups = 0;
            if let Err(TrySendError::Full(())) = self.wanted.try_send(()) {
                tracing::debug!("a checkpoint that has not begun covers this group too");
            }
        }
    }

    /// Ends the thread and closes its connection.
    pub fn close(self) {
        drop(self.wanted);
        if self.thread.join().is_err() {
            tracing::warn!("the checkpointer ended early");
        }
    }
}

fn run(connection: &Connection, asked: &Receiver<()>, behind: &AtomicBool, health: &Health) {
    while asked.recv().is_ok() {
        if let Some((pages, copied)) = logged(passive(connection), health) {
            behind.store(pages > PAGES_MAX && copied > 0, Ordering::Relaxed);
        }
    }
}

/// One passive checkpoint: pages in the log, and pages of it that are in the database now.
pub fn passive(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    connection.query_row(PASSIVE, (), |row| Ok((row.get(1)?, row.get(2)?)))
}

/// From now on [`pages_in_log`] knows of the commits of this connection, which all are made by the calling thread.
pub fn count_pages(connection: &Connection) -> rusqlite::Result<()> {
    PAGES.set(connection.query_row(NOOP, (), |row| row.get(1))?);
    connection.wal_hook(Some(|_, pages| {
        PAGES.set(u32::try_from(pages).unwrap_or(0));
        Ok(())
    }));
    Ok(())
}

/// Pages in the log, all of which are commits of the calling thread's connection. To ask SQLite takes it six locks.
pub fn pages_in_log() -> u32 {
    PAGES.get()
}

fn logged(checkpoint: rusqlite::Result<(i64, i64)>, health: &Health) -> Option<(i64, i64)> {
    health.checkpoint(checkpoint.is_err());
    checkpoint
        .inspect_err(|error| {
            tracing::warn!(%error, "a checkpoint failed; the log grows until one succeeds");
        })
        .ok()
}
