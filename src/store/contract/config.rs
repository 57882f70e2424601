//! Where the data is, and what the slots are at the start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::queue::QueueSettings;
use crate::domain::{Pool, QueueName};

/// Only another process, such as a backup, can hold the database; then we wait this long.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// So long a start waits for it, and says so.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(60);

/// When a commit counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// Once it is on stable storage: what G1 rests on.
    Full,
    /// Once the kernel has it: a power cut loses it. Only for the negative control of the durability
    /// test, so a release build does not have it.
    #[cfg(debug_assertions)]
    Normal,
}

/// Where the database is, and when a commit to it counts as done.
#[derive(Clone, Debug)]
pub struct DatabasePath {
    /// The file.
    pub file: PathBuf,
    /// When a commit counts as done.
    pub synchronous: Synchronous,
    /// How long the writer waits for another process that has locked the database, before it says so.
    pub busy_timeout: Duration,
    /// How long a start waits for it.
    pub patience: Duration,
}

impl From<PathBuf> for DatabasePath {
    fn from(file: PathBuf) -> Self {
        Self {
            file,
            synchronous: Synchronous::Full,
            busy_timeout: BUSY_TIMEOUT,
            patience: LOCK_PATIENCE,
        }
    }
}

/// Everything that has to be known of slots at the start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The database file, and how it is written.
    pub path: DatabasePath,
    /// The queues, by name.
    pub queues: BTreeMap<QueueName, QueueSettings>,
    /// What a queue that is made later has where nothing else is said.
    pub queue_default: QueueSettings,
    /// Most manual jobs that wait.
    pub manual_max: usize,
    /// Slots of each pool. [`Pool::Absent`] has none, ever.
    pub slots: BTreeMap<Pool, usize>,
    /// Where each registered function runs, by name; all others are absent.
    pub pools: BTreeMap<String, Pool>,
    /// The longest that a delivery waits for its next attempt, in milliseconds.
    pub delivery_wait_ms_max: i64,
    /// Whether to go on where something that was acknowledged is lost (G3).
    pub accept_data_loss: bool,
}

impl Config {
    /// Where the function of that name runs.
    pub fn pool_of(&self, function: &str) -> Pool {
        self.pools.get(function).copied().unwrap_or(Pool::Absent)
    }
}
