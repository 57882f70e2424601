//! A write whose value is written ahead of it, one piece after the other.

use std::ops::Range;

use crate::store::sqlite::values::stored::CHUNK_BYTES_MAX;
use crate::store::sqlite::write::Pending;

#[derive(Debug)]
pub struct Staged {
    pub write: Box<dyn Pending>,
    pub payload: i64,
    pub text: String,
    /// Pieces that are committed.
    pub pieces: usize,
}

impl Staged {
    /// Whether every piece is committed.
    pub fn is_whole(&self) -> bool {
        self.pieces >= self.count()
    }

    /// The numbers of the pieces to write next, at most `limit`.
    pub fn next_pieces(&self, limit: usize) -> Range<usize> {
        self.pieces..self.count().min(self.pieces + limit)
    }

    /// That piece.
    pub fn piece(&self, number: usize) -> &[u8] {
        let bytes = self.text.as_bytes();
        let from = number * CHUNK_BYTES_MAX;
        bytes.get(from..bytes.len().min(from + CHUNK_BYTES_MAX)).unwrap_or_default()
    }

    fn count(&self) -> usize {
        self.text.len().div_ceil(CHUNK_BYTES_MAX)
    }

    /// The write, which knows now where its value is.
    pub fn into_write(self) -> Box<dyn Pending> {
        let Self { mut write, payload, .. } = self;
        write.is_written_ahead(payload);
        write
    }
}
