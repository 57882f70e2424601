//! What bounds a queue.

/// Most jobs of one queue at once.
pub const MAX_WORKERS_MAX: usize = 100_000;
/// Most jobs that may wait in one queue: each costs some 12 bytes of memory.
pub const MAX_PENDING_MAX: usize = 100_000_000;
