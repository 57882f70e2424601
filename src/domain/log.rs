//! What running jobs write, line by line.

/// Where a line was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// By the function itself, as a line of its log.
    Log,
    /// By a program, to its standard error.
    Stderr,
}

impl LogStream {
    const ALL: [Self; 2] = [Self::Log, Self::Stderr];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Stderr => "stderr",
        }
    }

    /// The stream of that name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.as_str() == word)
    }
}

/// A line's place in the log of a job: lines are numbered from 1 in each attempt. What was cut is missing in the
/// numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPlace {
    /// The attempt that wrote it; 0 is before the first.
    pub attempt: u32,
    /// Its number there.
    pub number: i64,
}

/// One line.
#[derive(Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Its place.
    pub place: LogPlace,
    /// Where it was written.
    pub stream: LogStream,
    /// Its text, without the end of the line.
    pub text: String,
}

impl LogLine {
    /// Longest text, in bytes; what is longer makes several lines.
    pub const TEXT_BYTES_MAX: usize = 16 * 1024;
    /// What a line weighs beside its text, about.
    const MARGIN_BYTES: usize = 24;

    /// The texts of the lines that a line of this text makes: one, if it is not too long.
    pub fn parts(text: &str) -> impl Iterator<Item = &str> {
        let mut rest = Some(text);
        std::iter::from_fn(move || {
            let whole = rest.take()?;
            let (part, more) = whole.split_at(whole.floor_char_boundary(Self::TEXT_BYTES_MAX));
            rest = Some(more).filter(|more| !more.is_empty());
            Some(part)
        })
    }

    /// About how many bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.text.len() + Self::MARGIN_BYTES
    }

    /// How many lines were cut between the one at `before` and this one.
    #[must_use]
    pub fn cut_since(&self, before: LogPlace) -> i64 {
        let place = self.place;
        let expected = if place.attempt == before.attempt { before.number + 1 } else { 1 };
        (place.number - expected).max(0)
    }
}

/// Bytes of a job's log that are kept: its tail.
pub const LOG_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_in_the_numbers_was_cut() {
        let line = |attempt, number| LogLine {
            place: LogPlace { attempt, number },
            stream: LogStream::Log,
            text: String::new(),
        };
        let before = LogPlace { attempt: 1, number: 7 };
        assert_eq!(
            [line(1, 8), line(1, 10), line(2, 1), line(2, 4)].map(|it| it.cut_since(before)),
            [0, 2, 0, 3]
        );
        assert_eq!(line(1, 3).cut_since(LogPlace::default()), 2);
        for stream in LogStream::ALL {
            assert_eq!(LogStream::parse(stream.as_str()), Some(stream));
        }
    }
}
