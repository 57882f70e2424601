//! Bytes that all requests together may hold: a limit for each of them is no limit while there are thousands.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted in one step.
const UNIT_BYTES: usize = 1_024;
/// What a request holds of one kind without being counted: 16,384 of them are 64 MiB.
pub const FREE_BYTES: usize = 4 * 1_024;

/// A number of bytes that may be held at once. Cheap to clone.
///
/// Nobody waits for room while it holds some of the same budget, or two that hold a part could wait for each other for
/// ever. Whoever cannot know what it needs takes the most that it may need, and gives back the rest.
#[derive(Clone, Debug)]
pub struct Budget {
    room: Arc<Semaphore>,
    units: u32,
}

/// Bytes that are held as long as this is there.
#[derive(Debug, Default)]
pub struct Held(Option<OwnedSemaphorePermit>);

impl Budget {
    /// One of so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let units = u32::try_from(bytes / UNIT_BYTES).unwrap_or(u32::MAX).max(1);
        Self { room: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// Room for so many bytes, if there is some now.
    #[must_use]
    pub fn try_take(&self, bytes: usize) -> Option<Held> {
        if bytes <= FREE_BYTES {
            return Some(Held::default());
        }
        let taken = Arc::clone(&self.room).try_acquire_many_owned(self.units_of(bytes));
        taken.ok().map(|permit| Held(Some(permit)))
    }

    /// Waits for room for so many bytes; those who wait get it in the order in which they came.
    pub async fn take(&self, bytes: usize) -> Held {
        match self.try_take(bytes) {
            Some(held) => held,
            // The semaphore is never closed.
            None => {
                Held(Arc::clone(&self.room).acquire_many_owned(self.units_of(bytes)).await.ok())
            }
        }
    }

    /// What is more than all there is can be held by one that holds nothing beside it.
    fn units_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(self.units)
    }
}

impl Held {
    /// It is no more than so many bytes; the rest is given back.
    pub fn shrink_to(&mut self, bytes: usize) {
        if bytes <= FREE_BYTES {
            self.0 = None;
        }
        let Some(permit) = &mut self.0 else { return };
        let kept = bytes.div_ceil(UNIT_BYTES);
        if let Some(rest) = permit.num_permits().checked_sub(kept) {
            drop(permit.split(rest));
        }
    }

    /// The same bytes, for which this is held until whoever has them lets them go.
    pub fn counted<T>(mut self, bytes: T) -> Bytes
    where
        T: AsRef<[u8]> + Into<Bytes> + Send + 'static,
    {
        self.shrink_to(bytes.as_ref().len());
        if self.0.is_none() {
            return bytes.into();
        }
        Bytes::from_owner(Counted { bytes, _held: self })
    }

    /// How many bytes are counted.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |permit| permit.num_permits() * UNIT_BYTES)
    }
}

/// What is read and printed at once, about. Whoever reads many jobs takes room for so much before each portion.
pub const PORTION_BYTES: usize = 512 * 1_024;
/// Jobs that are read at once, at most.
const PORTION_JOBS_MAX: usize = 256;

/// What a job without large values may take, about, as text.
pub const JOB_BYTES: usize = 64 * 1_024;

/// How many jobs the next portion has, by how large those were that came before.
#[derive(Clone, Copy, Debug)]
pub struct Portions {
    /// Bytes of one job, about.
    each: usize,
}

impl Default for Portions {
    /// Nothing is known of the jobs yet: they may be as large as they are shown in lists.
    fn default() -> Self {
        Self { each: JOB_BYTES }
    }
}

impl Portions {
    /// How many come next.
    #[must_use]
    pub fn next(self) -> usize {
        (PORTION_BYTES / self.each).clamp(1, PORTION_JOBS_MAX)
    }

    /// So many jobs took so many bytes. A few small ones do not tell that all are small.
    pub fn saw(&mut self, jobs: usize, bytes: usize) {
        if let Some(each) = bytes.checked_div(jobs) {
            self.each = each.max(self.each / 4).max(1);
        }
    }
}

/// Bytes with the room that is held for them, until the last part of them is let go.
struct Counted<T> {
    bytes: T,
    _held: Held,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Counted<T> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const MIB: usize = 1024 * 1024;

    #[tokio::test]
    async fn what_is_held_is_counted_until_it_is_let_go_and_what_is_small_is_free() {
        let budget = Budget::new(MIB);
        let mut half = budget.try_take(MIB / 2).expect("room");
        assert_eq!(half.bytes(), MIB / 2);
        assert!(budget.try_take(MIB / 2 + 1).is_none());
        assert_eq!(budget.try_take(FREE_BYTES).expect("small").bytes(), 0);
        half.shrink_to(MIB / 4 + 1);
        assert_eq!(half.bytes(), MIB / 4 + 1_024);
        half.shrink_to(MIB);
        assert_eq!(half.bytes(), MIB / 4 + 1_024, "it does not grow");
        half.shrink_to(FREE_BYTES);
        assert_eq!(budget.take(MIB).now_or_never().expect("room").bytes(), MIB);
    }

    #[test]
    fn portions_grow_while_jobs_are_small_and_shrink_at_once() {
        let mut portions = Portions::default();
        let mut counts = vec![portions.next()];
        for bytes in [1_000, 1_000, 1_000, 144 * 1_024, 10 * PORTION_BYTES] {
            portions.saw(portions.next(), portions.next() * bytes);
            counts.push(portions.next());
        }
        assert_eq!(counts, [8, 32, 128, 256, 3, 1]);
    }

    #[tokio::test]
    async fn those_who_wait_come_in_turn_and_one_that_is_larger_than_all_comes_too() {
        let budget = Budget::new(MIB);
        let first = budget.take(MIB).await;
        let mut large = Box::pin(budget.take(64 * MIB));
        let mut small = Box::pin(budget.take(MIB / 2));
        assert!((&mut large).now_or_never().is_none() && (&mut small).now_or_never().is_none());
        drop(first);
        assert!((&mut small).now_or_never().is_none(), "the large one was there before");
        let large = (&mut large).now_or_never().expect("its turn");
        assert_eq!(large.bytes(), MIB);
        drop(large);
        assert_eq!((&mut small).now_or_never().expect("its turn").bytes(), MIB / 2);
        assert!(budget.try_take(MIB).is_some(), "those that were given up hold nothing");
    }
}
