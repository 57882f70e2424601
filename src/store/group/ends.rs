//! How jobs end: what was written of a job stays, and its end is added. Those that one group brings are inserted together.

use crate::domain::{Job, Ordinal, State, Timestamp};
use crate::store::Error;
use crate::store::payload::Stored;
use crate::store::sqlite::write::ends::{End, EndOfVersion, Outcome};
use crate::store::sqlite::write::jobs::Guard;
use crate::store::sqlite::write::together::SIXTEEN;

use super::{Group, disagree};

impl Group<'_> {
    /// Writes the end of an attempt, or of the waiting.
    pub(super) fn end(
        &mut self,
        next: &mut Job,
        guard: Guard,
        result: Option<&Stored<'_>>,
    ) -> Result<(), Error> {
        let (from, to) = (guard.from, next.state);
        debug_assert!(from.may_become(to), "{from} may not become {to}");
        let seq = self.change_of(next.ordinal);
        next.finished_seq = next.is_done().then_some(seq);
        let deadline = next.deadline(self.now);
        // A value changes nothing of what was written before.
        let is_as_it_ran = from == State::Running && to == State::Succeeded;
        if !is_as_it_ran && !self.sql.leave(next, deadline, (guard, seq))? {
            let attempt = guard.attempt;
            return Err(disagree(format!("job {} is not {from} in {attempt:?}", next.ordinal.0)));
        }
        let is_unfinished = self.ledger.running(next.ordinal).is_none_or(|it| it.indexed);
        match self.end_of(next, result) {
            Some(end) => {
                self.keep_end(end, guard.attempt.map(|_| next.version))?;
                if is_unfinished {
                    self.is_finished(next.ordinal)?;
                }
            }
            None if is_unfinished => {}
            None => self.sql.insert_unfinished(&[next.ordinal])?,
        }
        self.waits_for(next, deadline);
        let batch = next.spec.batch.map(|of| of.place);
        self.moved(batch, (next.ordinal, seq), (from, to))
    }

    /// A job that was kept among those that are not done has an end.
    fn is_finished(&self, job: Ordinal) -> Result<(), Error> {
        match self.sql.delete_unfinished(job)? {
            true => Ok(()),
            false => Err(disagree(format!("job {} is not among the unfinished", job.0))),
        }
    }

    /// Keeps the end of a job that waited, whose row says that it is done, and of which version it is now, if that is known.
    pub(super) fn end_waiting(&mut self, end: End, version: Option<i64>) -> Result<(), Error> {
        self.is_finished(end.job)?;
        self.keep_end(end, version)
    }

    fn end_of(&self, next: &Job, result: Option<&Stored<'_>>) -> Option<End> {
        let (finished_at, seq) = (next.finished_at?, next.finished_seq?);
        let outcome = match (&next.result, result, &next.error) {
            (Some(value), Some(stored), _) => Outcome::returned(next.ordinal, value, stored),
            (_, _, Some(error)) => Outcome::failed(next.ordinal, error),
            _ => Outcome::default(),
        };
        let (job, state, expires_at) = (next.ordinal, next.state, next.expires_at);
        let indexed = self.expires_by_index(next);
        Some(End { job, state, seq, finished_at, expires_at, indexed, outcome })
    }

    /// Keeps the end of a job that is of that version now; none: only its row says of which.
    fn keep_end(&mut self, end: End, version: Option<i64>) -> Result<(), Error> {
        if let Some(at) = end.expires_at.filter(|_| !end.indexed) {
            self.counters.expires(end.job, at);
        }
        let Some(version) = version else {
            let job = end.job;
            return match self.sql.insert_end_of(&end)? {
                true => Ok(()),
                false => Err(disagree(format!("job {} is not done", job.0))),
            };
        };
        self.ends.push(EndOfVersion(end, version));
        if self.ends.len() == SIXTEEN { self.insert_ends() } else { Ok(()) }
    }

    /// Inserts the ends that are not inserted yet.
    pub(super) fn insert_ends(&mut self) -> Result<(), Error> {
        self.sql.insert_ends(&self.ends)?;
        self.ends.clear();
        Ok(())
    }

    /// Makes the deliveries of a job that is done due.
    pub(super) fn make_due(&mut self, next: &mut Job) -> Result<(), Error> {
        if let Some(finished_at) = next.finished_at {
            next.may_have_callbacks |= self.make_due_of(next.ordinal, self.now.max(finished_at))?;
        }
        Ok(())
    }

    /// Makes the deliveries of a job due, if it is done; whether there are any.
    pub(super) fn make_due_of(&mut self, job: Ordinal, at: Timestamp) -> Result<bool, Error> {
        self.insert_ends()?;
        let is_due = self.sql.make_due(job, at)?;
        self.makes_due |= is_due;
        Ok(is_due)
    }
}
