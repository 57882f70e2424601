//! How the service fares.

use std::borrow::Cow;

use super::Engine;

impl Engine {
    /// Whether submissions are refused for want of room on the disk (G16).
    #[must_use]
    pub fn has_little_room(&self) -> bool {
        self.shared.store.health().has_little_room
    }

    /// What is wrong though the service goes on, each in a sentence.
    #[must_use]
    pub fn troubles(&self) -> Vec<Cow<'static, str>> {
        const OVERSTAYING: &str = "attempts that were given up still run, and hold their slots";
        let overstaying = (!self.shared.overstaying.is_empty()).then_some(OVERSTAYING);
        let own =
            self.shared.store.health().troubles.into_iter().chain(self.shared.clock.trouble());
        own.map(Cow::Owned).chain(overstaying.map(Cow::Borrowed)).collect()
    }

    /// Looks at everything anew that is to be done at some moment: more time has passed than timers know.
    pub(super) fn wake_all(&self) {
        self.shared.timer.look_again();
        self.shared.due.look_again();
        self.shared.deliveries_due.notify_one();
    }
}
