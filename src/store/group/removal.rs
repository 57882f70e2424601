//! Jobs that are over go, with all that belongs to them, in one transaction.

use crate::domain::{CallbackId, DeliveryState, JobId, Ordinal, Timestamp};
use crate::store::removal::{Cleaned, DAY_MS, Forgetting, Shrunk, Swept};
use crate::store::sqlite::write::indexing::Range;
use crate::store::sqlite::write::removal::DoneRow;
use crate::store::{DeliveryReport, Error, Event};

use super::{Group, disagree};

/// Rows of each kind that one group looks at.
const PORTION: usize = 500;
/// The same in a group that others wait for.
const PORTION_AMONG_OTHERS: usize = 100;
/// Bytes of values that one group removes, about: each page of a large value is touched when it goes.
const PORTION_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Free pages that stay in the file (1 MiB): they will be written again soon.
const FREE_PAGES_KEPT: usize = 256;

/// What one group removes.
#[derive(Debug, Default)]
pub(super) struct Portion {
    /// Rows that it may still look at.
    pub(super) rows_left: usize,
    /// Of what it removes, about.
    bytes: usize,
    gone: Vec<JobId>,
    /// Whether it met something that is held back.
    pub(super) holds: bool,
}

impl Portion {
    /// Whether it has no room left.
    pub(super) fn is_full(&self) -> bool {
        self.rows_left == 0 || self.bytes >= PORTION_BYTES_MAX
    }
}

impl Group<'_> {
    /// Removes a portion of what is over; a small one, unless nobody else is in this group.
    pub(super) fn clean(
        &mut self,
        now: Timestamp,
        from: Swept,
        alone: bool,
    ) -> Result<Cleaned, Error> {
        self.now = self.now.max(now);
        let limit = if alone { PORTION } else { PORTION_AMONG_OTHERS };
        let mut next = from;
        if from.jobs == Swept::NOTHING.jobs {
            self.index_what_is_over(now)?;
        }
        let mut portion = Portion { rows_left: limit, ..Portion::default() };
        let more_jobs = self.clean_jobs(now, &mut next, &mut portion)?;
        let more_batches = !portion.is_full() && self.clean_batches(now, &mut portion)?;
        let Portion { gone, holds, .. } = portion;
        let removed = gone.len();
        if removed > 0 {
            self.events.push(Event::Gone(gone));
        }
        let a_day_ago = now.plus_millis(-DAY_MS);
        let more_tombstones = self.sql.purge_tombstones(a_day_ago, limit)? == limit;
        let more_keys = self.sql.portion_of_keys(from.keys, a_day_ago, limit)?;
        if let Some(to) = more_keys {
            self.sql.purge_keys(from.keys, to)?;
            next.keys = to;
        }
        let more_receivers = self.sql.forget_receivers(a_day_ago, limit)? == limit;
        let goes_on =
            more_jobs || more_batches || more_tombstones || more_keys.is_some() || more_receivers;
        // Those that are held back do not make the cleaner come again and again.
        let after = if holds { now } else { Timestamp(i64::MIN) };
        let expiry = [self.sql.next_expiry(after)?, self.sql.next_batch_expiry(after)?];
        let expiry = expiry.into_iter().flatten().min();
        let later = [self.sql.oldest_tombstone()?, self.sql.oldest_key(next.keys)?];
        let later = later.into_iter().flatten().map(|at| at.plus_millis(DAY_MS));
        Ok(Cleaned {
            removed,
            holds,
            next: goes_on.then_some(next),
            keys: next.keys,
            due_at: expiry.into_iter().chain(later).min(),
        })
    }

    /// Removes jobs that have expired; whether there may be more.
    fn clean_jobs(
        &mut self,
        now: Timestamp,
        at: &mut Swept,
        portion: &mut Portion,
    ) -> Result<bool, Error> {
        let rows = self.sql.expired(at.jobs, now, portion.rows_left)?;
        let is_full =
            self.expire_some(&rows, portion, |row| at.jobs = (row.expires_at, row.ordinal))?;
        if is_full {
            return Ok(true);
        }
        let Some(range) = self.sql.due_range(now)? else { return Ok(false) };
        let rest = Range { after: range.after.max(at.in_range), ..range };
        let rows = self.sql.expired_in(rest, now, portion.rows_left)?;
        let is_full = self.expire_some(&rows, portion, |row| at.in_range = row.ordinal)?;
        if !is_full {
            self.looked_through(range, now)?;
            at.in_range = Swept::NOTHING.in_range;
        }
        Ok(true)
    }

    /// Removes what the portion has room for, and tells how far it came; true if that was its end.
    pub(super) fn expire_some(
        &mut self,
        rows: &[DoneRow],
        portion: &mut Portion,
        mut passed: impl FnMut(&DoneRow),
    ) -> Result<bool, Error> {
        for row in rows {
            // One job may be larger than all that a group removes; it goes alone.
            if portion.bytes > 0 && portion.bytes.saturating_add(row.bytes) > PORTION_BYTES_MAX {
                return Ok(true);
            }
            passed(row);
            portion.rows_left -= 1;
            if row.has_open_delivery {
                portion.holds = true;
                continue;
            }
            portion.bytes = portion.bytes.saturating_add(row.bytes);
            self.expire(row)?;
            portion.gone.push(row.id);
        }
        Ok(portion.rows_left == 0)
    }

    /// Forgets a job because it is asked for: nothing is left to tell of it.
    pub(super) fn forget(&mut self, id: JobId, now: Timestamp) -> Result<Forgetting, Error> {
        self.now = self.now.max(now);
        let Some(row) = self.sql.job_to_remove(id)? else { return Ok(Forgetting::Missing) };
        if !row.is_done {
            return Ok(Forgetting::NotDone);
        }
        if row.is_of_batch {
            return Ok(Forgetting::OfBatch);
        }
        if row.has_open_delivery {
            return Ok(Forgetting::DeliveryOpen);
        }
        self.remove(&row)?;
        self.events.push(Event::Gone(vec![id]));
        Ok(Forgetting::Forgotten)
    }

    /// Records one POST. A job that has expired meanwhile goes with the last delivery that was open.
    pub(super) fn delivered(&mut self, report: &DeliveryReport) -> Result<(), Error> {
        self.now = self.now.max(report.now);
        self.sql.record_delivery(report, self.now)?;
        // A first attempt may be what a later callback of the same job waits for.
        self.makes_due = true;
        if report.state != DeliveryState::Pending {
            let job = self.sql.job_of_callback(report.callback)?;
            job.map_or(Ok(()), |job| self.expire_if_over(job))?;
        }
        Ok(())
    }

    /// Removes a callback with its deliveries; false if there is none.
    pub(super) fn drop_callback(&mut self, id: CallbackId, now: Timestamp) -> Result<bool, Error> {
        self.now = self.now.max(now);
        let Some((callback, job)) = self.sql.callback(id)? else { return Ok(false) };
        self.sql.delete_callback(callback)?;
        // Its first attempt may be what a later one has waited for.
        self.makes_due = true;
        if let Some(job) = job {
            self.expire_if_over(job)?;
        }
        Ok(true)
    }

    /// Gives free pages back to the file system, if nobody else is in this group or it must be.
    pub(super) fn shrink(&mut self, may: bool) -> Result<Shrunk, Error> {
        if self.sql.free_pages()? <= FREE_PAGES_KEPT {
            return Ok(Shrunk::Wholly);
        }
        if !may {
            return Ok(Shrunk::Busy);
        }
        self.sql.give_back_pages()?;
        Ok(Shrunk::Partly)
    }

    /// Removes a job that the cleaner had to hold back, once nothing is open any more.
    pub(super) fn expire_if_over(&mut self, job: Ordinal) -> Result<(), Error> {
        let row = self.sql.expired_at(job, self.now)?;
        if let Some(row) = row.filter(|row| !row.has_open_delivery) {
            self.expire(&row)?;
            self.events.push(Event::Gone(vec![row.id]));
        }
        Ok(())
    }

    fn expire(&mut self, row: &DoneRow) -> Result<(), Error> {
        self.remove(row)?;
        Ok(self.sql.keep_tombstone(row.id.0, self.now)?)
    }

    /// Removes a done job and all that belongs to it. A key that is not a day old stays.
    fn remove(&mut self, row: &DoneRow) -> Result<(), Error> {
        self.is_gone(row.id);
        self.sql.delete_belongings(row.ordinal)?;
        for payload in row.payloads.into_iter().flatten() {
            self.sql.delete_payload(payload)?;
        }
        self.sql.delete_keys_of(row.id.0, self.now.plus_millis(-DAY_MS))?;
        if !self.sql.delete_job(row.ordinal)? {
            return Err(disagree(format!("job {} is not done", row.ordinal.0)));
        }
        Ok(())
    }
}
