//! A value that a caller gave and that cannot be taken.

/// Why a value was refused, in a sentence that says what would be accepted.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Invalid {
    /// The sentence.
    pub detail: String,
}

impl Invalid {
    /// Refuses with `detail`.
    pub fn new(detail: impl Into<String>) -> Self {
        Self { detail: detail.into() }
    }
}
