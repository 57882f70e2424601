//! Connections on which nobody has shown a key: when all places are taken, the one that came first makes room, once it has had
//! time to speak.
//!
//! So sockets that say nothing, or nothing that a key allows, shut nobody out, however many there are. There is no limit for an
//! address: behind a proxy all clients have one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::Who;

/// All of them, by the order in which they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Strangers(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    next: u64,
    waiting: BTreeMap<u64, Stranger>,
}

#[derive(Debug)]
struct Stranger {
    since: Instant,
    gone: CancellationToken,
}

/// Whoever is at the other end of a connection, until it is known.
#[derive(Clone, Debug)]
pub(super) struct Newcomer(Arc<Entry>);

#[derive(Debug)]
struct Entry {
    strangers: Strangers,
    number: u64,
    known: OnceLock<Who>,
}

impl Strangers {
    /// One more. It is told by `gone` when it must go.
    pub(super) fn enter(&self, gone: CancellationToken) -> Newcomer {
        let mut table = self.lock();
        table.next += 1;
        let number = table.next;
        table.waiting.insert(number, Stranger { since: Instant::now(), gone });
        drop(table);
        Newcomer(Arc::new(Entry { strangers: self.clone(), number, known: OnceLock::new() }))
    }

    /// Waits until the one that came first has had its time, and lets it go. Never ends if there is none.
    pub(super) async fn make_room(&self, time: Duration) {
        loop {
            let first = self.lock().waiting.first_key_value().map(|(_, first)| first.since);
            match first {
                None => std::future::pending().await,
                Some(since) => tokio::time::sleep_until(since + time).await,
            }
            let mut table = self.lock();
            // Meanwhile it may have become known.
            let first = table.waiting.first_entry().filter(|it| Some(it.get().since) == first);
            if let Some(first) = first {
                return first.remove().gone.cancel();
            }
        }
    }

    /// Nothing that can panic runs under the lock, so a poisoned table is still whole.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Newcomer {
    /// It has shown that it may be here, and as whom.
    pub(super) fn is_known(&self, who: &Who) {
        if self.0.known.get().is_none() && self.0.known.set(who.clone()).is_ok() {
            self.0.leave();
        }
    }

    /// Whoever it was when it was let in first. A header comes before anybody knows whose it is.
    pub(super) fn who(&self) -> Who {
        self.0.known.get().cloned().unwrap_or(Who::Strangers)
    }

    /// The name of the connection itself, where nobody needs a key.
    pub(super) fn as_itself(&self) -> Who {
        Who::Connection(self.0.number)
    }
}

impl Entry {
    fn leave(&self) {
        self.strangers.lock().waiting.remove(&self.number);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn the_first_of_those_who_are_not_known_makes_room() {
        let strangers = Strangers::default();
        let tokens = [(); 4].map(|()| CancellationToken::new());
        let gone = || tokens.each_ref().map(CancellationToken::is_cancelled);
        let mut newcomers: Vec<Newcomer> =
            tokens.iter().map(|it| strangers.enter(it.clone())).collect();
        assert_eq!(newcomers[0].who(), Who::Strangers);
        newcomers[0].is_known(&newcomers[0].as_itself());
        assert_eq!(newcomers[0].who(), Who::Connection(1));
        drop(newcomers.remove(1));
        let long = Duration::from_secs(3_600);
        assert!(strangers.make_room(long).now_or_never().is_none(), "it has time to speak");
        strangers.make_room(Duration::ZERO).await;
        assert_eq!(gone(), [false, false, true, false]);
        strangers.make_room(Duration::ZERO).await;
        assert!(strangers.make_room(Duration::ZERO).now_or_never().is_none());
        assert_eq!(gone(), [false, false, true, true], "one that is known stays");
        drop(newcomers);
        assert!(strangers.lock().waiting.is_empty());
    }
}
