//! What a dead server left.

use crate::domain::{ErrorType, Job, Outcome, State, settle};
use crate::store::Error;

use super::{Group, Guard};

impl Group<'_> {
    /// Settles a job whose server ended while it ran, with what is made of that; whether it is taken for the cause.
    pub(in crate::store) fn recover(
        &mut self,
        job: &Job,
        outcome: &Outcome,
    ) -> Result<bool, Error> {
        let guard = Guard { from: State::Running, attempt: Some(job.attempt) };
        let mut next = settle(job, outcome.clone(), self.now, 0.5);
        self.end(&mut next, guard, None)?;
        self.make_due(&mut next)?;
        Ok(next.error.is_some_and(|error| error.kind == ErrorType::CrashLoop))
    }
}
