//! A body of lines of JSON that still comes in: `application/x-ndjson`.

use std::error::Error;
use std::time::Duration;
use std::{fmt, io};

use axum::body::{Body, Bytes};
use bytes::{Buf as _, BytesMut};
use http_body_util::BodyExt as _;

use crate::domain::{Hidden, Invalid};
use crate::engine::{FREE_BYTES, Held, Share, Waiting};

use super::Desk;
use super::linger::HalfDuplex;
use super::problem::{Code, Problem};
use super::room::{Pace, counted_in, first_piece};

/// A client that is awaited must send something within this.
const IDLE_MAX: Duration = Duration::from_secs(300);

/// A line is held as it came, as what is made of it, and as its answer.
const LINE_HELD_TIMES: usize = 3;
/// What stands in the last line of a client that counts, and how long that may be.
const COUNT: &[u8] = b"\"end\"";
const COUNT_BYTES_MAX: usize = 256;
/// What the answer to a line has beside what came with it, about.
const ANSWER_BYTES: usize = 1_024;

/// One line, without its end.
pub(super) enum Line {
    /// The line.
    Whole(Bytes),
    /// It was longer than so many bytes, which a line may have, and is passed by.
    TooLong(usize),
}

impl fmt::Debug for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(line) => Hidden::of(line).fmt(formatter),
            Self::TooLong(most) => write!(formatter, "<more than {most} bytes>"),
        }
    }
}

impl Line {
    /// Its bytes.
    ///
    /// # Errors
    /// It was too long.
    pub(super) fn whole(&self) -> Result<&Bytes, Problem> {
        match self {
            Self::Whole(line) => Ok(line),
            Self::TooLong(most) => {
                Err(Problem::new(Code::TooLarge, format!("a line may have {most} bytes")))
            }
        }
    }

    /// What it holds in memory.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Whole(line) => line.len(),
            Self::TooLong(_) => 0,
        }
    }
}

/// Lines that came together, and the room that is held for them and for their answers.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) lines: Vec<Line>,
    pub(super) held: Held,
}

/// The lines of a request's body, as they come. Empty lines are passed by.
#[derive(Debug)]
pub(super) struct LineReader {
    body: Body,
    line_bytes_max: usize,
    share: Share,
    pace: Pace,
    /// Room for what was read and is not given yet, if it is not small.
    held: Held,
    waits: Option<Waiting>,
    /// Room for the first piece, until there was some: it is looked for, and not held.
    first: Option<usize>,
    read: BytesMut,
    /// Lines of that which are to be given.
    taken: Vec<Line>,
    /// How far `read` is known to hold no line end.
    searched: usize,
    /// Whether the rest of a line that is too long is passed by.
    skips: bool,
    is_over: bool,
    /// Whether the client went away before the end of its body.
    is_cut: bool,
    /// How many lines the client says that it sends, if it says so.
    told: Option<u64>,
}

impl LineReader {
    pub(super) fn new(body: Body, line_bytes_max: usize, share: Share, pace: Pace) -> Self {
        let (held, waits, read, taken) = (Held::default(), None, BytesMut::new(), Vec::new());
        let (searched, skips, is_over, is_cut, told) = (0, false, false, false, None);
        let first = first_piece(&body, LINE_HELD_TIMES);
        Self {
            body,
            line_bytes_max,
            share,
            pace,
            held,
            waits,
            first,
            read,
            taken,
            searched,
            skips,
            is_over,
            is_cut,
            told,
        }
    }

    /// Whether the client went away before the end of its body. A connection that it has closed for sending alone looks the
    /// same: but who has not ended its request waits for no answer.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The client says that it sends so many lines.
    pub(super) fn expect(&mut self, lines: Option<u64>) {
        self.told = lines.or(self.told);
    }

    /// What is wrong at the end, if so many lines came: there are proxies that lose some of a body that is sent bit by bit,
    /// and end it as if it were whole.
    pub(super) fn difference(&self, came: u64) -> Option<Problem> {
        let told = self.told.filter(|told| *told != came)?;
        let detail = format!(
            "{told} lines were sent, says the client, and {came} came: something on the way has lost or added some"
        );
        Some(Problem::new(Code::LinesLost, detail))
    }

    /// The next lines that are there, at most so many; waits for the first. None at all at the end. What was
    /// read is kept if nobody waits for it to the end.
    ///
    /// # Errors
    /// The body broke off, or a line that others wait for did not come in time.
    pub(super) async fn next(&mut self, most: usize) -> Result<Lines, Problem> {
        loop {
            self.make_room().await;
            if !self.taken.is_empty() || self.is_over && self.read.is_empty() && !self.skips {
                let lines = std::mem::take(&mut self.taken);
                let rest = held_for(&lines);
                return Ok(Lines { lines, held: self.split_off(rest) });
            }
            while self.taken.len() < most
                && let Some(line) = self.take()
            {
                self.taken.push(line);
            }
            if self.taken.is_empty()
                && !self.is_over
                && let Err(problem) = self.read_more().await
            {
                // Nothing comes after it, though answers may still be taken for long.
                (self.read, self.held, self.is_over) = (BytesMut::new(), Held::default(), true);
                return Err(problem);
            }
        }
    }

    /// The share of whoever sends the lines.
    pub(super) fn share(&self) -> &Share {
        &self.share
    }

    /// Room for so much of what is held; the rest is kept for what was read behind it.
    fn split_off(&mut self, bytes: usize) -> Held {
        let mut held = std::mem::take(&mut self.held);
        self.held = held.split_off(bytes);
        let bytes = LINE_HELD_TIMES * self.read.len();
        self.held.shrink_to(counted_in(bytes));
        if self.read.capacity() > bytes.max(FREE_BYTES) {
            // It was as large as a long line, all of which would stay.
            self.read = BytesMut::from(&self.read[..]);
        }
        held
    }

    /// Waits until there is room for what was read, before more is. The client is held back meanwhile.
    async fn make_room(&mut self) {
        if let Some(first) = self.first {
            self.grow(first).await;
            (self.first, self.held) = (None, Held::default());
        }
        self.grow(counted_in(LINE_HELD_TIMES * self.read.len() + held_for(&self.taken))).await;
        // What is whole has come.
        self.pace.holds(self.taken.is_empty() && self.held.bytes() > 0);
    }

    /// Waits for room. The turn is kept if nobody waits for it to the end.
    async fn grow(&mut self, bytes: usize) {
        if let Some(waits) = &mut self.waits {
            self.held.join(waits.await);
            self.waits = None;
            self.pace.begins_again();
        }
        if !self.share.try_grow(&mut self.held, bytes) {
            let waits = self.waits.insert(self.share.more(&self.held, bytes, true));
            self.held.join(waits.await);
            self.waits = None;
            self.pace.begins_again();
        }
    }

    /// Reads until there is something, or the body is over; and there is room for it.
    ///
    /// # Errors
    /// The body broke off, nothing came for too long, or there is no room: nothing has happened yet.
    pub(super) async fn begin(&mut self, desk: &Desk) -> Result<(), Problem> {
        if self.read.is_empty() && !self.is_over {
            if let Some(first) = self.first.take() {
                desk.look(&self.share, first).await?;
            }
            tokio::select! {
                biased;
                read = self.read_more() => read?,
                problem = idle() => return Err(problem),
            }
        }
        let bytes = counted_in(LINE_HELD_TIMES * self.read.len());
        desk.grow(&self.share, &mut self.held, bytes).await
    }

    async fn read_more(&mut self) -> Result<(), Problem> {
        match self.pace.next(&self.share, self.body.frame()).await? {
            None => self.is_over = true,
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    self.read.extend_from_slice(&data);
                }
            }
            Some(Err(error)) => {
                self.is_over = true;
                if causes(&error).any(<dyn Error>::is::<HalfDuplex>) {
                    return Err(Problem::new(Code::HalfDuplex, HalfDuplex.to_string()));
                }
                self.is_cut = ends_early(&error);
                let detail = format!("the body cannot be read to its end: {error}");
                return Err(Problem::new(Code::BadRequest, detail));
            }
        }
        Ok(())
    }

    /// The next line of what was read.
    fn take(&mut self) -> Option<Line> {
        loop {
            let found = self.read[self.searched..].iter().position(|byte| *byte == b'\n');
            let Some(length) = found.map(|place| self.searched + place) else {
                self.searched = self.read.len();
                return self.take_rest();
            };
            self.searched = 0;
            let line = self.read.split_to(length).freeze();
            self.read.advance(1);
            let was_skipped = std::mem::take(&mut self.skips);
            if was_skipped || line.len() > self.line_bytes_max {
                return Some(Line::TooLong(self.line_bytes_max));
            }
            if !is_empty(&line) && !self.is_count(&line) {
                return Some(Line::Whole(line));
            }
        }
    }

    /// Whether it is the last line, `{"end":{"lines":N}}`, by which a client says how many it has sent.
    fn is_count(&mut self, line: &[u8]) -> bool {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Last {
            end: Count,
        }
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Count {
            lines: u64,
        }
        // Most lines are none, and are not read twice.
        if line.len() > COUNT_BYTES_MAX || !line.windows(COUNT.len()).any(|part| part == COUNT) {
            return false;
        }
        let Ok(Last { end }) = serde_json::from_slice(line) else { return false };
        self.told = Some(end.lines);
        true
    }

    /// Of a line that has not ended: the last one needs no end, and of one that is too long nothing is kept.
    fn take_rest(&mut self) -> Option<Line> {
        if self.read.len() > self.line_bytes_max {
            self.skips = true;
            self.read.clear();
            self.searched = 0;
        }
        if !self.is_over || (self.read.is_empty() && !self.skips) {
            return None;
        }
        self.searched = 0;
        let line = self.read.split().freeze();
        if std::mem::take(&mut self.skips) {
            return Some(Line::TooLong(self.line_bytes_max));
        }
        (!is_empty(&line) && !self.is_count(&line)).then_some(Line::Whole(line))
    }
}

/// What lines take until their answers are taken.
fn held_for(lines: &[Line]) -> usize {
    let bytes: usize = lines.iter().map(Line::bytes).sum();
    LINE_HELD_TIMES * bytes + lines.len() * ANSWER_BYTES
}

/// How many lines a client says that it sends.
pub(super) fn count(text: &str) -> Result<u64, Invalid> {
    let count = text.parse().ok().filter(|count| *count <= i64::MAX.unsigned_abs());
    count.ok_or_else(|| Invalid::new(format!("must be a whole number from 0 to {}", i64::MAX)))
}

/// Whether a body ended before its end.
fn ends_early(error: &axum::Error) -> bool {
    causes(error).any(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(kind, Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset))
            || cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message)
    })
}

fn causes(error: &axum::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(Some(error as &(dyn Error + 'static)), |it| (**it).source())
}

/// Whether there is nothing on a line but blanks.
fn is_empty(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

/// Ends when a client that is awaited has sent nothing for too long.
pub(super) async fn idle() -> Problem {
    tokio::time::sleep(IDLE_MAX).await;
    let detail = format!("no line came within {} seconds", IDLE_MAX.as_secs());
    Problem::new(Code::RequestTimeout, detail)
}

#[cfg(test)]
mod tests;
