//! The counters, and how far they are reserved.

use crate::domain::{Ordinal, Timestamp};

/// The indexes take so many ordinals at once, and leave at least as many out.
pub const INDEX_STEP: i64 = 2_048;

/// Numbers that are reserved at once. They are kept so that none is ever given twice; to keep each one when
/// it is given would write a page more at every commit. What a dead server had reserved is left out.
const RESERVE: i64 = 65_536;

/// The counters that only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub epoch: i64,
    pub ordinal: i64,
    pub seq: i64,
    pub payload: i64,
    /// Up to this ordinal the indexes know every job that they have to.
    pub indexed_to: i64,
    /// The last change of a job that is kept.
    pub logged_to: i64,
    /// Commits that changed no job.
    pub unlogged_commits: i64,
    /// When the first job is over that has ended and that no index knows yet, or earlier: of those that the index reaches
    /// next, and of all behind them.
    pub first_expiries: [Option<Timestamp>; 2],
}

impl Counters {
    /// What to keep once one of them has passed what is `kept`.
    pub fn beyond(self, kept: Self) -> Option<Self> {
        let within =
            self.ordinal <= kept.ordinal && self.seq <= kept.seq && self.payload <= kept.payload;
        let reserved = Self {
            ordinal: self.ordinal + RESERVE,
            seq: self.seq + RESERVE,
            payload: self.payload + RESERVE,
            ..self
        };
        (!within).then_some(reserved)
    }

    /// A job has ended that no index knows, and is over then.
    pub fn expires(&mut self, job: Ordinal, at: Timestamp) {
        let of = usize::from(job.0 > self.indexed_to + INDEX_STEP);
        let first = &mut self.first_expiries[of];
        *first = Some(first.map_or(at, |first| first.min(at)));
    }

    /// The indexes reach further; gives when the first job is over of those that they have reached, or earlier.
    pub fn indexes_reach(&mut self, to: Ordinal) -> Option<Timestamp> {
        self.indexed_to = to.0;
        let [near, far] = self.first_expiries;
        self.first_expiries = [far, None];
        near.into_iter().chain(far).min()
    }

    pub fn next_seq(&mut self) -> i64 {
        self.seq += 1;
        self.seq
    }

    pub fn next_payload(&mut self) -> i64 {
        self.payload += 1;
        self.payload
    }
}
