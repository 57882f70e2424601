//! Values too large for a job's row: kept beside it, in pieces.

use std::ops::Range;

use crate::domain::{Json, Ordinal, Outcome, Spec};

use super::change::Change;

/// Values up to this many bytes stay in the row. Larger ones would be copied at every change of it.
pub(super) const INLINE_BYTES_MAX: usize = 1_024;
/// Largest piece. Also the most that a value may add to a group: a larger one is written ahead, so
/// that a result of 8 MiB does not hold up every submit.
pub(super) const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// Where a value is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stored<'a> {
    /// In the row.
    Inline(&'a str),
    /// Beside it.
    Payload { payload: i64, bytes: usize, sum: i64 },
}

impl Stored<'_> {
    pub(super) fn bytes(&self) -> i64 {
        let bytes = match self {
            Self::Inline(text) => text.len(),
            Self::Payload { bytes, .. } => *bytes,
        };
        i64::try_from(bytes).unwrap_or(i64::MAX)
    }

    /// What it must read back as.
    pub(super) fn sum(&self) -> i64 {
        match self {
            Self::Inline(text) => sum(text),
            Self::Payload { sum, .. } => *sum,
        }
    }

    pub(super) fn payload(&self) -> Option<i64> {
        match self {
            Self::Inline(_) => None,
            Self::Payload { payload, .. } => Some(*payload),
        }
    }
}

/// CRC-32 of a value as it is kept: a row or a piece that was altered on the disk does not pass for what was written (G3).
pub(super) fn sum(text: &str) -> i64 {
    i64::from(crc32fast::hash(text.as_bytes()))
}

/// Of whichever sum an end has: that it is this job's.
const OF_JOB: i64 = 1 << 32;

/// The sum of a value as the end of a job keeps it: CRC-32 of the value, and of the job's ordinal behind it. An end that stands
/// elsewhere than it was written does not pass for that job's.
pub(super) fn sum_of(job: Ordinal, value: i64) -> i64 {
    let mut hasher = crc32fast::Hasher::new_with_initial(u32::try_from(value).unwrap_or(0));
    hasher.update(&job.0.to_be_bytes());
    OF_JOB | i64::from(hasher.finalize())
}

/// Whether the end of a job has that value. Those of before the ends were rows of their own have the sum of the value alone.
pub(super) fn is_sum_of(written: i64, job: Ordinal, text: &str) -> bool {
    let value = sum(text);
    if written & OF_JOB == 0 { written == value } else { written == sum_of(job, value) }
}

/// Positional and keyword arguments as one text, `[[…],{…}]`.
pub(super) fn arguments(spec: &Spec) -> String {
    let args = spec.args.as_ref().map_or("[]", Json::as_str);
    let kwargs = spec.kwargs.as_ref().map_or("{}", Json::as_str);
    ["[", args, ",", kwargs, "]"].concat()
}

/// A change whose value is being written ahead, one piece after the other.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) change: Change,
    pub(super) payload: i64,
    pub(super) text: String,
    /// Pieces that are committed.
    pub(super) pieces: usize,
}

/// The value of `change` that must be written ahead of it; none if it has no large one.
pub(super) fn large_value(change: &Change) -> Option<String> {
    if change.written_ahead().is_some() {
        return None;
    }
    let text = match change {
        Change::Submit { submission, .. } => arguments(&submission.spec),
        Change::Settle { settlement, .. } => match &settlement.outcome {
            Outcome::Returned(result) if is_large(&settlement.outcome) => {
                result.as_str().to_owned()
            }
            _ => return None,
        },
        Change::Complete { it, .. } => match &it.end {
            Ok(result) => result.as_str().to_owned(),
            Err(_) => return None,
        },
        _ => return None,
    };
    (text.len() > CHUNK_BYTES_MAX).then_some(text)
}

/// Whether an outcome is so large that it is written ahead.
pub(super) fn is_large(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Returned(result) if result.len() > CHUNK_BYTES_MAX)
}

impl Staged {
    /// Whether every piece is committed.
    pub(super) fn is_whole(&self) -> bool {
        self.pieces >= self.count()
    }

    /// The numbers of the pieces to write next, at most `limit`.
    pub(super) fn next_pieces(&self, limit: usize) -> Range<usize> {
        self.pieces..self.count().min(self.pieces + limit)
    }

    /// That piece.
    pub(super) fn piece(&self, number: usize) -> &[u8] {
        let bytes = self.text.as_bytes();
        let from = number * CHUNK_BYTES_MAX;
        bytes.get(from..bytes.len().min(from + CHUNK_BYTES_MAX)).unwrap_or_default()
    }

    fn count(&self) -> usize {
        self.text.len().div_ceil(CHUNK_BYTES_MAX)
    }

    /// The change, which knows now where its value is.
    pub(super) fn into_change(mut self) -> Change {
        match &mut self.change {
            Change::Submit { written_ahead, .. }
            | Change::Settle { written_ahead, .. }
            | Change::Complete { written_ahead, .. } => {
                *written_ahead = Some(self.payload);
            }
            _ => {}
        }
        self.change
    }
}
