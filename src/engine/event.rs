//! What the deliverer tells receivers.

use crate::domain::{State, When};

/// The type of the event that a done job makes, as webhooks name it; none while it is not done.
#[must_use]
pub fn type_of(state: State) -> Option<&'static str> {
    match state {
        State::Pending | State::Running => None,
        State::Succeeded => Some("job.succeeded"),
        State::Failed => Some("job.failed"),
        State::Cancelled => Some("job.cancelled"),
    }
}

/// The type of the event that a batch makes when this has come about.
#[must_use]
pub fn type_of_batch(when: When) -> &'static str {
    match when {
        When::AllCompleted => "batch.completed",
        When::FirstCompleted => "batch.first_completed",
        When::FirstException => "batch.first_exception",
    }
}
