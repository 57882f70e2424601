//! What a dead server left.

use crate::domain::callback::DeliveryAttempt;
use crate::domain::{CRASHES_MAX, CRASHES_SUSPECT, Job, Ordinal, Outcome, State, settle};
use crate::store::Error;

use super::{Group, Guard};

/// What a start makes of the deliveries that were on their way.
#[derive(Debug, Default)]
pub(in crate::store) struct Begun {
    /// Those during which servers have died so often that the next time they will be taken for the cause.
    pub(in crate::store) suspects: Vec<Ordinal>,
    /// Whether one is taken for it now.
    pub(in crate::store) has_culprit: bool,
}

impl Group<'_> {
    /// Counts the death of the last server for the deliveries that were on their way, unless it ended by itself. The third
    /// time a delivery has failed; it can be made once more if somebody asks for it.
    pub(in crate::store) fn recover_deliveries(
        &mut self,
        ended: Option<i64>,
    ) -> Result<Begun, Error> {
        let mut found = Begun::default();
        for it in self.sql.deliveries_begun()? {
            let died = Some(it.epoch) != ended;
            let deaths = it.deaths + u32::from(died);
            if !died || deaths < CRASHES_MAX {
                self.sql.died_during(it.callback, deaths)?;
                found.suspects.extend((deaths >= CRASHES_SUSPECT).then_some(it.callback));
                continue;
            }
            found.has_culprit = true;
            let error = Some(format!("the server died {deaths} times while this was being sent"));
            let (at, status, body, duration_ms) = (self.now, None, None, 0);
            let attempt = DeliveryAttempt { at, status, error, body, duration_ms };
            self.sql.died_too_often(it.callback, (it.attempts + 1, &attempt), deaths)?;
            tracing::error!(
                callback = it.callback.0,
                deaths,
                "a delivery during which servers died has failed"
            );
            let job = self.sql.job_of_callback(it.callback)?;
            job.map_or(Ok(()), |job| self.expire_if_over(job))?;
        }
        Ok(found)
    }

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
