//! Where a value is kept: in its row, or in pieces beside it.

use crate::store::codec;

/// Values up to this many bytes stay in the row. Larger ones would be copied at every change of it.
pub const INLINE_BYTES_MAX: usize = 1_024;

/// Largest piece. Also the most that a value may add to a group: a larger one is written ahead, so
/// that a result of 8 MiB does not hold up every submit.
pub const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// Where a value is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored<'a> {
    /// In the row.
    Inline(&'a str),
    /// Beside it.
    Payload { payload: i64, bytes: usize, sum: i64 },
}

impl Stored<'_> {
    pub fn bytes(&self) -> i64 {
        let bytes = match self {
            Self::Inline(text) => text.len(),
            Self::Payload { bytes, .. } => *bytes,
        };
        i64::try_from(bytes).unwrap_or(i64::MAX)
    }

    /// What it must read back as.
    pub fn sum(&self) -> i64 {
        match self {
            Self::Inline(text) => codec::sum(text),
            Self::Payload { sum, .. } => *sum,
        }
    }

    pub fn payload(&self) -> Option<i64> {
        match self {
            Self::Inline(_) => None,
            Self::Payload { payload, .. } => Some(*payload),
        }
    }
}
