//! What an attempt tells of itself while it runs: how far it is, and the lines of its log.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::log::LOG_BYTES_MAX;
use crate::domain::{LogLine, LogPlace, LogStream, Progress, text};

/// What was told and is not kept elsewhere yet.
#[derive(Debug)]
pub(super) struct AttemptOutput {
    attempt: u32,
    state: Mutex<State>,
    /// How often something was told. Most attempts tell nothing: it costs them next to nothing.
    times: AtomicU64,
    news: Notify,
}

/// Hears whenever an attempt tells something.
#[derive(Clone, Debug)]
pub struct Changes {
    output: Arc<AttemptOutput>,
    heard: u64,
}

impl Changes {
    pub(super) fn of(output: &Arc<AttemptOutput>) -> Self {
        Self { output: Arc::clone(output), heard: output.times.load(Ordering::Acquire) }
    }

    /// Ends when something was told since this was last called, or since the beginning.
    pub async fn changed(&mut self) {
        loop {
            // Listens before it looks, so that nothing is told in between.
            let news = self.output.news.notified();
            let times = self.output.times.load(Ordering::Acquire);
            if times != self.heard {
                self.heard = times;
                return;
            }
            news.await;
        }
    }
}

#[derive(Debug, Default)]
struct State {
    progress: Option<Progress>,
    /// At most [`LOG_BYTES_MAX`]: of a flood the first lines are cut.
    lines: VecDeque<LogLine>,
    bytes: usize,
    last: i64,
}

impl AttemptOutput {
    pub(super) fn new(attempt: u32) -> Self {
        let (state, news) = (Mutex::default(), Notify::new());
        Self { attempt, state, times: AtomicU64::new(0), news }
    }

    pub(super) fn progress(&self, progress: Progress) {
        self.lock().progress = Some(progress);
        self.tell();
    }

    fn tell(&self) {
        self.times.fetch_add(1, Ordering::Release);
        self.news.notify_waiters();
    }

    pub(super) fn last_progress(&self) -> Option<Progress> {
        self.lock().progress.clone()
    }

    /// Takes what stands in `text`, line by line.
    pub(super) fn log(&self, stream: LogStream, text: &str) {
        let mut state = self.lock();
        for line in text.lines() {
            for part in LogLine::parts(&text::without_nul(line)) {
                state.last += 1;
                let place = LogPlace { attempt: self.attempt, number: state.last };
                state.push(LogLine { place, stream, text: part.to_owned() });
            }
        }
        drop(state);
        self.tell();
    }

    /// The lines behind `after` that are not kept elsewhere yet.
    pub(super) fn lines_after(&self, after: LogPlace) -> Vec<LogLine> {
        self.lock().lines.iter().filter(|line| line.place > after).cloned().collect()
    }

    /// The place of the last line.
    pub(super) fn last_line(&self) -> LogPlace {
        LogPlace { attempt: self.attempt, number: self.lock().last }
    }

    /// The lines up to this number are kept elsewhere.
    pub(super) fn kept(&self, number: i64) {
        let mut state = self.lock();
        while state.lines.front().is_some_and(|first| first.place.number <= number) {
            state.pop();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, line: LogLine) {
        self.bytes += line.bytes();
        self.lines.push_back(line);
        while self.bytes > LOG_BYTES_MAX {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(line) = self.lines.pop_front() {
            self.bytes -= line.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_and_go_when_they_are_kept() {
        let output = AttemptOutput::new(2);
        output.log(LogStream::Log, "a\nb\n\nc");
        let texts = |after| {
            let after = LogPlace { attempt: 2, number: after };
            let lines = output.lines_after(after);
            lines.into_iter().map(|line| (line.place.number, line.text)).collect::<Vec<_>>()
        };
        let all = [(1, "a"), (2, "b"), (3, ""), (4, "c")].map(|(it, text)| (it, text.to_owned()));
        assert_eq!(texts(0), all);
        assert_eq!(texts(2), all[2..]);
        output.kept(3);
        assert_eq!(texts(0), all[3..]);
    }

    #[test]
    fn of_a_flood_the_tail_is_left_and_a_long_line_makes_several() {
        let output = AttemptOutput::new(1);
        let long = "ö".repeat(LogLine::TEXT_BYTES_MAX);
        for _ in 0..1_000 {
            output.log(LogStream::Log, &long);
        }
        let lines = output.lines_after(LogPlace::default());
        let bytes: usize = lines.iter().map(LogLine::bytes).sum();
        assert!(bytes <= LOG_BYTES_MAX && bytes > LOG_BYTES_MAX - 2 * LogLine::TEXT_BYTES_MAX);
        assert_eq!(lines.last().map(|line| line.place.number), Some(2_000));
        assert!(lines.iter().all(|line| line.text.len() <= LogLine::TEXT_BYTES_MAX));
    }
}
