//! What an attempt gave.

use super::{JobError, Json};

/// How an attempt ended. [`super::settle()`] makes the job's next state of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The function returned this value.
    Returned(Json),
    /// The function raised, panicked, or returned what cannot be kept.
    Raised(JobError),
    /// No process or descriptor was to be had for it (G23): nothing of it ran, and it is tried again.
    NotStarted {
        /// What was missing.
        reason: String,
        /// How long it waits before, in milliseconds.
        wait_ms: i64,
    },
    /// It was asked to stop by a cancel, and it stopped or its grace ran out.
    Cancelled,
    /// The server is stopping, and the attempt did not end within the grace.
    Stopped,
    /// The server died while the attempt ran; found at the next start.
    Crashed,
}
