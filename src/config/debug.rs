//! What a debug build can be told by its environment, for tests; a release build cannot.

use std::time::Duration;

use crate::store::{BUSY_TIMEOUT, LOCK_PATIENCE, Synchronous};

use super::Config;

impl Config {
    /// How long another process may lock the database before that is said. A test need not be as patient.
    pub(crate) fn busy_timeout() -> Duration {
        let asked = asked("FUTURITY_DEBUG_BUSY_TIMEOUT_MS").and_then(|asked| asked.parse().ok());
        asked.map_or(BUSY_TIMEOUT, Duration::from_millis)
    }

    /// How long a start waits for another process that has locked the database.
    pub(crate) fn lock_patience() -> Duration {
        let asked = asked("FUTURITY_DEBUG_LOCK_PATIENCE_MS").and_then(|asked| asked.parse().ok());
        asked.map_or(LOCK_PATIENCE, Duration::from_millis)
    }

    /// How commits reach the disk. A test has it done wrongly: the durability test must fail then, or it proves nothing.
    pub(crate) fn synchronous() -> Synchronous {
        #[cfg(debug_assertions)]
        if asked("FUTURITY_DEBUG_SYNCHRONOUS").as_deref() == Some("normal") {
            return Synchronous::Normal;
        }
        Synchronous::Full
    }
}

#[cfg(debug_assertions)]
fn asked(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this floor is the reader of the environment")]
    std::env::var(name).ok()
}

#[cfg(not(debug_assertions))]
fn asked(_name: &str) -> Option<String> {
    None
}
