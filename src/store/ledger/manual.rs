//! Manual jobs: they wait in no lane, and for nobody here. The ledger only counts them.

use crate::store::Error;

use super::{Ledger, Undo};

/// How many wait, and how many may.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manual {
    pub(super) waiting: usize,
    max: usize,
}

impl Manual {
    pub(super) fn new(max: usize) -> Self {
        Self { waiting: 0, max }
    }
}

impl Ledger {
    /// Takes a manual job.
    ///
    /// # Errors
    /// [`Error::TooManyManual`].
    pub(in crate::store) fn admit_manual(&mut self) -> Result<(), Error> {
        if self.manual.waiting >= self.manual.max {
            return Err(Error::TooManyManual(self.manual.max));
        }
        self.readmit_manual();
        Ok(())
    }

    /// Counts a manual job that was accepted before, also where fewer may wait now.
    pub(in crate::store) fn readmit_manual(&mut self) {
        self.count_manual(self.manual.waiting + 1);
    }

    /// Counts a manual job no longer: it has its end.
    pub(in crate::store) fn withdraw_manual(&mut self) {
        self.count_manual(self.manual.waiting.saturating_sub(1));
    }

    fn count_manual(&mut self, waiting: usize) {
        self.undo.push(Undo::Manual(self.manual.waiting));
        self.manual.waiting = waiting;
    }
}
