//! The logs of jobs: their tail is kept.

use crate::domain::log::LOG_BYTES_MAX;
use crate::domain::{LogLine, Ordinal};
use crate::store::Error;
use crate::store::sqlite::write::logs::{PIECE_BYTES_MAX, Piece};

use super::Group;

impl Group<'_> {
    /// Adds lines of one attempt to the log of its job, and cuts what is too old. Lines that are there already, because
    /// nobody heard that they were kept, are passed by.
    pub(super) fn keep_log_lines(&mut self, job: Ordinal, lines: &[LogLine]) -> Result<(), Error> {
        let Some(first) = lines.first() else { return Ok(()) };
        let kept_to = self.sql.last_line(job, first.place.attempt)?;
        let is_known = lines.partition_point(|line| line.place.number <= kept_to);
        for piece in pieces(&lines[is_known..]) {
            self.sql.keep_lines(job, &piece)?;
        }
        let mut bytes = self.sql.log_bytes(job)?;
        let most = i64::try_from(LOG_BYTES_MAX).unwrap_or(i64::MAX);
        while bytes > most {
            bytes -= self.sql.cut_log(job)?;
        }
        Ok(())
    }
}

/// The lines as pieces, none of which is too large.
fn pieces(lines: &[LogLine]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for line in lines {
        let text = printed(line);
        match pieces.last_mut() {
            Some(piece) if piece.lines.len() + text.len() <= PIECE_BYTES_MAX => {
                piece.lines.push_str(&text);
                piece.last = line.place;
            }
            _ => pieces.push(Piece { first: line.place, last: line.place, lines: text }),
        }
    }
    pieces
}

fn printed(line: &LogLine) -> String {
    let parts = (line.place.number, line.stream.as_str(), &line.text);
    // Numbers and texts: nothing in it can fail to be written.
    let mut text = serde_json::to_string(&parts).unwrap_or_default();
    text.push('\n');
    text
}
