//! How the store fares.

/// How the store fares at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreHealth {
    /// Whether there is so little room on the disk that submissions are refused (G16).
    pub has_little_room: bool,
    /// What is wrong though it goes on, each in a sentence.
    pub troubles: Vec<String>,
    /// How many outcomes were handed over, could not be recorded, and are tried again.
    pub outcomes_kept: usize,
    /// Whether a job runs with nothing beside it, or is to, because servers died while it ran (G9).
    pub runs_alone: bool,
}
