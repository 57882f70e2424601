//! What a transaction has decided and not written yet: many rows go together.

use crate::domain::Ordinal;

/// The changes of one transaction, in their order.
#[derive(Debug, Default)]
pub struct Feed {
    pub first_seq: i64,
    pub entries: Vec<u8>,
    /// The ordinal of the last one.
    pub last: i64,
}

/// Ends in a row: it stays within a page.
pub const ENDS_PER_ROW: usize = 128;

/// Jobs of one batch that have ended.
#[derive(Debug, Default)]
pub struct BatchEnds {
    pub first_seq: i64,
    pub count: usize,
    /// Their ordinals, a JSON array that is still open.
    pub jobs: String,
}

impl BatchEnds {
    /// The job at that place has ended by the change at `seq`.
    pub fn add(&mut self, job: Ordinal, seq: i64) {
        if self.count == 0 {
            self.first_seq = seq;
        }
        self.jobs.push(if self.count == 0 { '[' } else { ',' });
        self.jobs.push_str(itoa::Buffer::new().format(job.0));
        self.count += 1;
    }
}
