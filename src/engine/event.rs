//! What the courier tells receivers.

use crate::domain::State;

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
