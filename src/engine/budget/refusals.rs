//! Requests that were refused because there was no room for them: the log says when that begins, and when it is over.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Those of one budget.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Since it was last said that it is over.
    count: AtomicU64,
    one_more: Notify,
}

impl Refusals {
    pub(super) fn add(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.one_more.notify_one();
    }

    /// Says so for as long as it is asked for. It is over when nobody was refused for `quiet`, so there are at most two lines
    /// in that time, however many are refused; or when the server ends.
    pub(super) async fn tell(&self, limit: &'static str, quiet: Duration, end: impl Future) {
        let mut end = std::pin::pin!(end);
        loop {
            tokio::select! {
                biased;
                () = self.one_more.notified() => {}
                _ = &mut end => return,
            }
            // It was counted already.
            if self.count.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let since = Instant::now();
            tracing::warn!(
                limit,
                "overloaded: there is no room in memory, and requests are refused"
            );
            let is_the_end = loop {
                tokio::select! {
                    biased;
                    () = self.one_more.notified() => {}
                    () = tokio::time::sleep(quiet) => break false,
                    _ = &mut end => break true,
                }
            };
            let (refused, seconds) = (self.count.swap(0, Ordering::Relaxed), since.elapsed());
            let seconds = seconds.as_secs();
            tracing::warn!(limit, refused, seconds, "no longer overloaded");
            if is_the_end {
                return;
            }
        }
    }
}
