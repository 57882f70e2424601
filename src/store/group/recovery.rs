//! What a dead server left.

use crate::domain::{Job, Outcome, State, settle};
use crate::store::Error;

use super::{Group, Guard};

impl Group<'_> {
    /// Settles a job whose server ended while it ran, with what is made of that; gives it back if it fails by that.
    pub(in crate::store) fn recover(
        &mut self,
        job: &Job,
        outcome: &Outcome,
    ) -> Result<Option<Job>, Error> {
        let guard = Guard { from: State::Running, attempt: Some(job.attempt) };
        let mut next = settle(job, outcome.clone(), self.now, 0.5);
        self.end(&mut next, guard, None)?;
        self.make_due(&mut next)?;
        Ok(Some(next).filter(|job| job.state == State::Failed))
    }
}
