//! What goes again: jobs whose time is over, what is left of them, and the room that they took.

use uuid::Uuid;

use crate::domain::{JobId, Ordinal, Timestamp};

use super::change::Change;
use super::{Error, Store};

/// How long a client is told that a job is gone, rather than that it never was; and how long an idempotency
/// key is kept at least.
pub(super) const DAY_MS: i64 = 86_400_000;

/// A batch that is being removed has no tombstone yet.
const SELECT_GONE: &str = "select t.gone_at from tombstones as t where t.id = ?1
union all select b.expires_at from batches as b where b.id = ?1 and b.going = 1 limit 1";

/// How far a pass over everything that may be over has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Jobs up to here, by expiry and then by place.
    pub jobs: (Timestamp, Ordinal),
    /// In the range of ordinals that is being looked through: jobs up to here.
    pub in_range: Ordinal,
    /// Idempotency keys up to those made then. A key is looked at once, when it is a day old: one whose job
    /// is still there goes with the job.
    pub keys: Timestamp,
}

impl Swept {
    /// Nothing was looked at.
    pub const NOTHING: Self = Self {
        jobs: (Timestamp(i64::MIN), Ordinal(i64::MIN)),
        in_range: Ordinal(0),
        keys: Timestamp(i64::MIN),
    };
}

/// What one portion of a pass did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleaned {
    /// Jobs that were removed.
    pub removed: usize,
    /// Whether this pass has met an expired job that stays because a delivery of it is open. It goes in the
    /// commit that ends the delivery.
    pub holds: bool,
    /// Where the next portion goes on; none when the pass is over.
    pub next: Option<Swept>,
    /// How far keys have been looked at, for the next pass.
    pub keys: Timestamp,
    /// When something more will be over, as far as is known now.
    pub due_at: Option<Timestamp>,
}

/// What was done to make the file smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shrunk {
    /// Free pages were given back, and there are more.
    Partly,
    /// There is nothing to give back but what will soon be written again.
    Wholly,
    /// Others had something to write; nothing was done.
    Busy,
}

/// What came of the wish to forget a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgetting {
    /// It is gone.
    Forgotten,
    /// There is no such job.
    Missing,
    /// It is not done.
    NotDone,
    /// A delivery of it is still open.
    DeliveryOpen,
    /// It goes with its batch.
    OfBatch,
}

impl Store {
    /// Removes a portion of what is over at `now`: done jobs that have expired, ids that are gone for a day,
    /// idempotency keys of jobs that are gone.
    ///
    /// # Errors
    /// A failure of the disk.
    pub async fn clean(&self, now: Timestamp, from: Swept) -> Result<Cleaned, Error> {
        self.write(|reply| Change::Clean { now, from, reply }).await
    }

    /// Gives a portion of the database's free pages back to the file system. Unless it is `forced`, only when
    /// nobody else writes.
    ///
    /// # Errors
    /// A failure of the disk.
    pub async fn shrink(&self, forced: bool) -> Result<Shrunk, Error> {
        self.write(|reply| Change::Shrink { forced, reply }).await
    }

    /// Forgets a job that is done, as if it had never been.
    ///
    /// # Errors
    /// A failure of the disk.
    pub async fn forget(&self, id: JobId, now: Timestamp) -> Result<Forgetting, Error> {
        self.write(|reply| Change::Forget { id, now, reply }).await
    }

    /// Whether a job or batch of that id expired less than a day before `now`.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn is_gone(&self, id: Uuid, now: Timestamp) -> Result<bool, Error> {
        let query = sqlx::query_scalar(SELECT_GONE).bind(id.as_bytes().to_vec());
        let gone_at: Option<i64> = query.fetch_optional(&self.readers).await?;
        Ok(gone_at.is_some_and(|at| now.millis_since(Timestamp(at)) < DAY_MS))
    }
}
