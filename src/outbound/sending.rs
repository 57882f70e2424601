//! The request that a task sends, for those below the HTTP library: it shares connections between requests, makes one
//! in the task of the request that first needs it, and says nothing of that request.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// For a connection that is made ahead of any request.
const OTHERWISE: Duration = Duration::from_secs(10);

/// What a request is for. Those of one purpose do not wait for those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// It tells a receiver of something. Its time-outs do not count while it waits for a turn.
    Delivery,
    /// A function asked for it, and named the time for everything.
    Call,
}

tokio::task_local! {
    static SENDING: Arc<Sending>;
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) purpose: Purpose,
    /// How long a connection may take to be ready.
    pub(super) connect_within: Duration,
    waited: Mutex<Waited>,
    connections: AtomicUsize,
}

/// How long it has waited for turns.
#[derive(Debug, Default)]
struct Waited {
    before: Duration,
    since: Option<Instant>,
}

impl Sending {
    pub(super) fn new(purpose: Purpose, connect_within: Duration) -> Arc<Self> {
        let (waited, connections) = (Mutex::default(), AtomicUsize::new(0));
        Arc::new(Self { purpose, connect_within, waited, connections })
    }

    /// That of this task.
    pub(super) fn current() -> Arc<Self> {
        SENDING.try_with(Arc::clone).unwrap_or_else(|_none| Self::new(Purpose::Call, OTHERWISE))
    }

    /// Does `exchange`, which is what it sends.
    pub(super) async fn scope<T>(self: Arc<Self>, exchange: impl Future<Output = T>) -> T {
        SENDING.scope(self, exchange).await
    }

    /// A connection is begun for it.
    pub(super) fn connects(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were begun for it by now. If there is none more after an exchange, that took one which was kept.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// From now on it waits for a turn, or waits no more.
    pub(super) fn waits(&self, waits: bool) {
        let (mut waited, now) = (self.lock(), Instant::now());
        match (waited.since, waits) {
            (None, true) => waited.since = Some(now),
            (Some(since), false) => {
                waited.before += now.saturating_duration_since(since);
                waited.since = None;
            }
            (None, false) | (Some(_), true) => {}
        }
    }

    /// How long it has waited for turns by now.
    pub(super) fn waited(&self) -> Duration {
        let waited = self.lock();
        waited.before + waited.since.map(|since| since.elapsed()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Waited> {
        self.waited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What `work` gives, if it ends within `time`; what `apart` says has passed meanwhile is not counted.
pub(super) async fn within<T>(
    time: Duration,
    apart: impl Fn() -> Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    let (begun, before) = (Instant::now(), apart());
    let mut work = std::pin::pin!(work);
    loop {
        let counted = begun.elapsed().saturating_sub(apart().saturating_sub(before));
        let left = time.saturating_sub(counted);
        if left.is_zero() {
            return None;
        }
        if let Ok(done) = tokio::time::timeout(left, &mut work).await {
            return Some(done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_waited_for_a_turn_is_not_counted() {
        let (begun, moment) = (Instant::now(), Duration::from_millis(1));
        let passes = async {
            while begun.elapsed() < 20 * moment {
                tokio::task::yield_now().await;
            }
        };
        let everything = || begun.elapsed();
        assert_eq!(within(moment, everything, passes).await, Some(()));
        let nothing = || Duration::ZERO;
        assert_eq!(within(moment, nothing, std::future::pending::<()>()).await, None);
    }

    #[test]
    fn waits_of_one_request_are_added_up() {
        let sending = Sending::new(Purpose::Delivery, Duration::from_secs(1));
        assert_eq!(sending.waited(), Duration::ZERO);
        for _ in 0..2 {
            let before = sending.waited();
            sending.waits(true);
            while sending.waited() == before {}
            sending.waits(true);
            sending.waits(false);
            assert!(sending.waited() > before);
        }
        assert_eq!(sending.waited(), sending.waited(), "it waits no more");
    }
}
