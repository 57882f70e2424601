//! Manual jobs: they wait in no lane, and for nobody here. They are only counted.

use super::{Slots, Undo};
use crate::store::contract::Refusal;

/// How many wait, and how many may.
#[derive(Clone, Copy, Debug)]
pub struct Manual {
    pub waiting: usize,
    max: usize,
}

impl Manual {
    pub fn new(max: usize) -> Self {
        Self { waiting: 0, max }
    }
}

impl Slots {
    /// Takes a manual job.
    pub fn admit_manual(&mut self) -> Result<(), Refusal> {
        if self.manual.waiting >= self.manual.max {
            return Err(Refusal::TooManyManual(self.manual.max));
        }
        self.readmit_manual();
        Ok(())
    }

    /// Counts a manual job that was accepted before, also where fewer may wait now.
    pub fn readmit_manual(&mut self) {
        self.count_manual(self.manual.waiting + 1);
    }

    /// Counts a manual job no longer: it has its end.
    pub fn withdraw_manual(&mut self) {
        self.count_manual(self.manual.waiting.saturating_sub(1));
    }

    fn count_manual(&mut self, waiting: usize) {
        self.undo.push(Undo::Manual(self.manual.waiting));
        self.manual.waiting = waiting;
    }
}
