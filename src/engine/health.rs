//! How the service fares.

use super::Engine;

impl Engine {
    /// Whether submissions are refused for want of room on the disk (G16).
    #[must_use]
    pub fn has_little_room(&self) -> bool {
        self.shared.store.has_little_room()
    }

    /// What is wrong though the service goes on, each in a sentence.
    #[must_use]
    pub fn troubles(&self) -> Vec<&'static str> {
        self.shared.store.troubles()
    }
}
