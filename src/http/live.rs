//! What of the configuration may change while the server runs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{App, Config, Desk};

/// What counts now. By which names the server goes is not among it: that decides whether it may be open without a key.
#[derive(Debug)]
pub(super) struct Live {
    wait_max_ms: AtomicU64,
}

impl Live {
    pub(super) fn new(config: &Config) -> Self {
        let live = Self { wait_max_ms: AtomicU64::new(0) };
        live.take(config);
        live
    }

    fn take(&self, config: &Config) {
        let wait_max_ms = u64::try_from(config.wait_max.as_millis()).unwrap_or(u64::MAX);
        self.wait_max_ms.store(wait_max_ms, Ordering::Relaxed);
    }
}

impl App {
    /// From now on requests may wait as long as `config` says.
    pub fn reload(&self, config: &Config) {
        self.desk.live.take(config);
    }
}

impl Desk {
    /// The longest wait of one request.
    pub(super) fn wait_max(&self) -> Duration {
        Duration::from_millis(self.live.wait_max_ms.load(Ordering::Relaxed))
    }
}
