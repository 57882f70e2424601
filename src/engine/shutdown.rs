//! The end of a server, in its order: each part is told once, and stays so.

use std::sync::atomic::AtomicBool;

use tokio_util::sync::CancellationToken;

/// What has ended of a server.
#[derive(Debug, Default)]
pub(super) struct Shutdown {
    /// Submissions are refused.
    pub(super) draining: AtomicBool,
    /// Attempts that still run are asked to stop, then given up.
    pub(super) attempts: CancellationToken,
    /// Waits end with what is known, and nothing more is delivered or removed.
    pub(super) waits: CancellationToken,
    /// The store broke: nothing more can be promised.
    pub(super) failed: CancellationToken,
}
