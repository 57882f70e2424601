//! Values too large for a job's row, in pieces beside it.

use crate::store::Error;
use crate::store::payload::{self, Stored};

use super::Group;

impl Group<'_> {
    /// Writes a piece of a value that no job owns yet.
    pub(in crate::store) fn write_ahead(
        &mut self,
        payload: i64,
        number: usize,
        bytes: &[u8],
    ) -> Result<(), Error> {
        self.sql.mark_unlinked(payload)?;
        Ok(self.sql.insert_chunk(payload, number, bytes)?)
    }

    /// Deletes a payload that nobody will own.
    pub(in crate::store) fn abandon(&mut self, payload: i64) -> Result<(), Error> {
        Ok(self.sql.delete_payload(payload)?)
    }

    /// Keeps a value in its row, or in pieces beside it if it is large and not there yet.
    pub(super) fn store<'t>(
        &mut self,
        text: &'t str,
        written_ahead: Option<i64>,
    ) -> Result<Stored<'t>, Error> {
        let bytes = text.len();
        if let Some(payload) = written_ahead {
            self.sql.link(payload)?;
            return Ok(Stored::Payload { payload, bytes, sum: payload::sum(text) });
        }
        if bytes <= payload::INLINE_BYTES_MAX {
            return Ok(Stored::Inline(text));
        }
        let payload = self.counters.next_payload();
        for (number, piece) in text.as_bytes().chunks(payload::CHUNK_BYTES_MAX).enumerate() {
            self.sql.insert_chunk(payload, number, piece)?;
        }
        Ok(Stored::Payload { payload, bytes, sum: payload::sum(text) })
    }
}
