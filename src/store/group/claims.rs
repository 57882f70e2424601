//! What waits starts as soon as it has a slot, in the commit that gives it one.

use std::sync::Arc;

use crate::domain::{Job, Ordinal, State, Timestamp};
use crate::store::ledger::Running;
use crate::store::{Claimed, Error};

use super::{Group, disagree};

impl Group<'_> {
    /// What waits, has a slot now, and may take it in this group.
    pub(super) fn next_claim(&mut self) -> Option<Ordinal> {
        if self.has_cancelled_enough() { None } else { self.ledger.claim() }
    }

    /// Starts what waits and has a slot now.
    pub(super) fn claim(&mut self) -> Result<(), Error> {
        while let Some(ordinal) = self.next_claim() {
            if self.ledger.has_marks() && self.is_cancelled_at_claim(ordinal)? {
                continue;
            }
            let seq = self.change_of(ordinal);
            let fresh = self.ledger.take_fresh(ordinal);
            let claim = self.sql.claim_job(ordinal, seq, self.counters.epoch, self.now)?;
            let Some((attempt, batch, version)) = claim else {
                return Err(disagree(format!("job {} does not wait", ordinal.0)));
            };
            self.moved(batch, (ordinal, seq), (State::Pending, State::Running))?;
            let running = Running { attempt, ..Running::default() };
            self.ledger.set_running(ordinal, Some(running));
            let known = fresh.filter(|it| it.job.version + 1 == version);
            let known = known.map(|it| (started(it.job, version, self.now), it.bound));
            self.claimed.push(Claimed { ordinal, known });
        }
        Ok(())
    }
}

/// A job that nobody has touched since it was submitted, as its claim leaves it.
fn started(job: Arc<Job>, version: i64, now: Timestamp) -> Arc<Job> {
    let started_at = Some(now.max(job.spec.created_at));
    let job = Arc::unwrap_or_clone(job);
    Arc::new(Job { state: State::Running, attempt: job.attempt + 1, version, started_at, ..job })
}
