//! What a program says beside its output: lines of the job's log, and the last of them for its error.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::time::Instant;

use crate::domain::{Hidden, LogLine};

/// Bytes that are read at once.
const READ_BYTES: usize = 16 * 1024;

/// What a program may say in a second. Who says more is not listened to for the rest of it, and has to wait: so a flood
/// costs the server next to nothing.
const BYTES_A_SECOND: usize = 4 * 1024 * 1024;
const SECOND: Duration = Duration::from_secs(1);

/// Holds a program back that says too much.
#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    bytes: usize,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), bytes: 0 }
    }

    /// So much was said: ends when there may be more.
    pub(super) async fn said(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes > BYTES_A_SECOND {
            tokio::time::sleep_until(self.since + SECOND).await;
        }
        if self.since.elapsed() >= SECOND {
            *self = Self::new();
        }
    }
}

/// How much of what the processes of a worker say goes into the log of the server: a line of the longest a second.
#[derive(Debug)]
pub(super) struct Share {
    since: Instant,
    bytes: usize,
    is_used_up: bool,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Taken,
    /// The first that is left out: this is said.
    LeftOutFirst,
    LeftOut,
}

impl Share {
    const BYTES_A_SECOND: usize = LogLine::TEXT_BYTES_MAX;

    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, bytes: 0, is_used_up: false }
    }

    pub(super) fn admit(&mut self, bytes: usize, now: Instant) -> Admission {
        if now.duration_since(self.since) >= SECOND {
            *self = Self::new(now);
        }
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes <= Self::BYTES_A_SECOND {
            return Admission::Taken;
        }
        match std::mem::replace(&mut self.is_used_up, true) {
            false => Admission::LeftOutFirst,
            true => Admission::LeftOut,
        }
    }
}

/// The last that was said.
#[derive(Default)]
pub(super) struct Tail(VecDeque<u8>);

impl fmt::Debug for Tail {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Tail(<{} bytes>)", self.0.len())
    }
}

impl Tail {
    /// As much as an error tells, in bytes.
    const BYTES_MAX: usize = 16 * 1024;

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
        let over = self.0.len().saturating_sub(Self::BYTES_MAX);
        self.0.drain(..over);
    }

    /// As text, from the beginning of a line on if some were left out.
    pub(super) fn into_text(mut self) -> String {
        let is_cut = self.0.len() == Self::BYTES_MAX;
        let bytes = self.0.make_contiguous();
        let from = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let shown = if is_cut { &bytes[from..] } else { &bytes[..] };
        String::from_utf8_lossy(shown).trim_end().replace('\0', "\u{fffd}")
    }
}

/// Makes lines of what comes in pieces. The same text makes the same lines, however it comes.
#[derive(Default)]
struct Lines {
    /// What came of the line that has not ended.
    begun: Vec<u8>,
    /// Whether parts of it were given.
    is_in_parts: bool,
}

impl fmt::Debug for Lines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Lines({:?})", Hidden::of(&self.begun))
    }
}

impl Lines {
    /// Takes a piece; gives each line that is whole, and each part of one that is as long as a line may be.
    fn push(&mut self, piece: &[u8], mut line: impl FnMut(&str)) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let whole = part.strip_suffix(b"\n");
            self.begun.extend_from_slice(whole.unwrap_or(part));
            while self.begun.len() > LogLine::TEXT_BYTES_MAX {
                let rest = self.begun.split_off(between_characters(&self.begun));
                give(&std::mem::replace(&mut self.begun, rest), &mut line);
                self.is_in_parts = true;
            }
            if whole.is_some() {
                self.end_line(&mut line);
            }
        }
    }

    fn end_line(&mut self, line: &mut impl FnMut(&str)) {
        let bytes = std::mem::take(&mut self.begun);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(&bytes);
        // The end of a line is no part of it.
        if !(std::mem::take(&mut self.is_in_parts) && bytes.is_empty()) {
            give(bytes, line);
        }
    }

    /// The last line, if nothing ended it.
    fn end(mut self, mut line: impl FnMut(&str)) {
        if !self.begun.is_empty() {
            self.end_line(&mut line);
        }
    }
}

/// Where the longest part ends that cuts no character of UTF-8 in two.
fn between_characters(bytes: &[u8]) -> usize {
    const CHARACTER_BYTES_MAX: usize = 4;
    let longest = LogLine::TEXT_BYTES_MAX;
    let continues = |at: &usize| bytes[*at] & 0b1100_0000 == 0b1000_0000;
    let ends = (longest - CHARACTER_BYTES_MAX + 1..=longest).rev();
    ends.into_iter().find(|at| !continues(at)).unwrap_or(longest)
}

/// What is no text takes more room as text.
fn give(bytes: &[u8], line: &mut impl FnMut(&str)) {
    let text = String::from_utf8_lossy(bytes);
    LogLine::parts(&text).for_each(line);
}

/// Gives it piece by piece and line by line, until it ends.
pub(super) async fn follow(
    mut stderr: Receiver,
    mut keep: impl FnMut(&[u8]),
    mut line: impl FnMut(&str),
) {
    let mut piece = vec![0; READ_BYTES];
    let (mut lines, mut pace) = (Lines::default(), Pace::new());
    while let Ok(length @ 1..) = stderr.read(&mut piece).await {
        pace.said(length).await;
        keep(&piece[..length]);
        lines.push(&piece[..length], &mut line);
    }
    lines.end(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_made_of_pieces() {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        for piece in ["a", "b\r\n\nc", "\n", "d"] {
            lines.push(piece.as_bytes(), |line| seen.push(line.to_owned()));
        }
        lines.end(|line| seen.push(line.to_owned()));
        assert_eq!(seen, ["ab", "", "c", "d"]);
    }

    fn lines_of(pieces: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.push(piece, |line| seen.push(line.to_owned()));
        }
        lines.end(|line| seen.push(line.to_owned()));
        seen
    }

    #[test]
    fn a_line_that_is_too_long_is_given_in_parts() {
        const MAX: usize = LogLine::TEXT_BYTES_MAX;
        let long = |bytes| "x".repeat(bytes);
        for (text, expected) in [
            (long(2 * MAX + 3), vec![MAX, MAX, 3]),
            (long(MAX) + "\n" + &long(MAX) + "\r\n", vec![MAX, MAX]),
            (long(2 * MAX) + "\r\n\n", vec![MAX, MAX, 0]),
            (format!("x{}", "ö".repeat(MAX / 2)), vec![MAX - 1, 2]),
        ] {
            let lines = lines_of(&[text.as_bytes()]);
            assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), expected);
            assert_eq!(lines.concat(), text.replace(['\r', '\n'], ""));
        }
    }

    #[test]
    fn the_same_text_makes_the_same_lines_however_it_comes() {
        const MAX: usize = LogLine::TEXT_BYTES_MAX;
        let mut text = "ü\u{1f600}".repeat(MAX / 3).into_bytes();
        text.extend_from_slice(b"\r\n");
        text.extend(std::iter::repeat_n(0xff, MAX + 7));
        text.extend_from_slice(b"\n\nend\r");
        let whole = lines_of(&[&text]);
        assert!(whole.iter().all(|line| line.len() <= MAX));
        for bytes in [1, 3, 4_096, MAX - 1, MAX, MAX + 1] {
            let pieces: Vec<&[u8]> = text.chunks(bytes).collect();
            assert!(lines_of(&pieces) == whole, "pieces of {bytes}");
        }
    }

    #[test]
    fn of_a_flood_the_log_takes_a_share_a_second_and_a_mark() {
        let from = Instant::now();
        let mut share = Share::new(from);
        let admitted = |share: &mut Share, bytes, at| share.admit(bytes, from + at);
        let full = Share::BYTES_A_SECOND;
        assert_eq!(admitted(&mut share, full, Duration::ZERO), Admission::Taken);
        assert_eq!(admitted(&mut share, 1, Duration::ZERO), Admission::LeftOutFirst);
        assert_eq!(admitted(&mut share, 1, Duration::from_millis(999)), Admission::LeftOut);
        assert_eq!(admitted(&mut share, 1, SECOND), Admission::Taken, "the next second");
        assert_eq!(admitted(&mut share, full, SECOND), Admission::LeftOutFirst);
    }

    #[test]
    fn the_tail_begins_with_a_line() {
        let mut tail = Tail::default();
        tail.push(b"short\n");
        assert_eq!(tail.into_text(), "short");
        let mut tail = Tail::default();
        for number in 0..10_000 {
            tail.push(format!("line {number}\n").as_bytes());
        }
        let text = tail.into_text();
        assert!(
            text.len() <= Tail::BYTES_MAX
                && text.starts_with("line ")
                && text.ends_with("line 9999")
        );
    }
}
