//! Bytes that all requests together may hold: a limit for each of them is no limit while there are thousands.
//!
//! What has come is counted, not what is announced, and everybody has a share: see `holdings.rs`.

mod holdings;
mod refusals;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use holdings::{Holdings, Served, Taken};
use refusals::Refusals;

pub use holdings::Who;

/// What a request holds of one kind without being counted: 16,384 of them are 64 MiB.
pub const FREE_BYTES: usize = 4 * 1_024;

/// A number of bytes that may be held at once. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    holdings: Mutex<Holdings>,
    refusals: Refusals,
}

/// A budget as one of those who share it has it. Cheap to clone.
///
/// What is small is free everywhere. More than its share has only one at a time: the first in turn of those who wait.
#[derive(Clone, Debug)]
pub struct Share {
    budget: Budget,
    who: Who,
}

/// Bytes that are held as long as this is there.
#[derive(Debug, Default)]
pub struct Held(Option<Counted>);

#[derive(Debug)]
struct Counted {
    share: Share,
    taken: Taken,
}

impl Budget {
    /// One of so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let (holdings, refusals) = (Mutex::new(Holdings::new(bytes)), Refusals::default());
        Self(Arc::new(Shared { holdings, refusals }))
    }

    /// What `who` may have of it.
    #[must_use]
    pub fn share(&self, who: Who) -> Share {
        Share { budget: self.clone(), who }
    }

    /// Nothing that can panic runs under the lock, so a poisoned table is still whole.
    fn lock(&self) -> MutexGuard<'_, Holdings> {
        self.0.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says in the log when requests begin to be refused for want of this budget's room, and when that is over: when none was
    /// for `quiet`, or at the `end`. `limit` is the name of its setting.
    pub async fn tell_refusals(&self, limit: &'static str, quiet: Duration, end: impl Future) {
        self.0.refusals.tell(limit, quiet, end).await;
    }

    fn tell(&self, served: Served) {
        for (sender, who, taken) in served {
            // Whoever has gone meanwhile gives it back.
            drop(sender.send(Held(Some(Counted { share: self.share(who), taken }))));
        }
    }
}

impl Share {
    /// Room for so many bytes, if the share has it now.
    #[must_use]
    pub fn try_take(&self, bytes: usize) -> Option<Held> {
        let mut held = Held::default();
        self.try_grow(&mut held, bytes).then_some(held)
    }

    /// Waits for room for so many bytes.
    pub async fn take(&self, bytes: usize) -> Held {
        let mut held = Held::default();
        self.grow(&mut held, bytes).await;
        held
    }

    /// Counts bytes that are there in any case.
    #[must_use]
    pub fn owe(&self, bytes: usize) -> Held {
        if counted(bytes) == 0 {
            return Held::default();
        }
        let taken = self.budget.lock().owe(&self.who, bytes);
        self.held(taken)
    }

    /// Makes what is held as much as this, if the share has room for it now. It never becomes less.
    pub fn try_grow(&self, held: &mut Held, bytes: usize) -> bool {
        self.grows(held, bytes, false)
    }

    /// The same, but waits for room.
    pub async fn grow(&self, held: &mut Held, bytes: usize) {
        if !self.grows(held, bytes, true) {
            held.join(self.more(held, bytes, true).await);
        }
    }

    fn grows(&self, held: &mut Held, bytes: usize, may_pass: bool) -> bool {
        let Some(more) = counted(bytes).checked_sub(held.bytes()).filter(|more| *more > 0) else {
            return true;
        };
        if let Some(held) = held.0.as_mut().filter(|it| it.taken.beyond > 0) {
            held.taken.beyond += more;
            return true;
        }
        let Some(taken) = self.budget.lock().take(&self.who, more, may_pass) else { return false };
        held.join(self.held(taken));
        true
    }

    /// Waits for what makes as much as this of what is held. It may go past its share, or not: whoever may hold for hours what
    /// it gets must not.
    #[must_use]
    pub fn more(&self, held: &Held, bytes: usize, may_pass: bool) -> Waiting {
        let more = counted(bytes).saturating_sub(held.bytes());
        let (sender, receiver) = oneshot::channel();
        let mut table = self.budget.lock();
        let taken = match more {
            0 => Some(Taken::default()),
            more => table.take(&self.who, more, may_pass),
        };
        match taken {
            Some(taken) => {
                drop(table);
                drop(sender.send(self.held(taken)));
            }
            None => table.wait(&self.who, (more, may_pass), sender),
        }
        Waiting { receiver, share: self.clone(), is_over: false }
    }

    /// Whether others wait for what is held with this share.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.budget.lock().is_short(&self.who)
    }

    /// A request was refused because this share has no room for it.
    pub fn has_refused(&self) {
        self.budget.0.refusals.add();
    }

    fn held(&self, taken: Taken) -> Held {
        Held(Some(Counted { share: self.clone(), taken }))
    }
}

/// What is small is not counted.
fn counted(bytes: usize) -> usize {
    if bytes <= FREE_BYTES { 0 } else { bytes }
}

/// One who waits for room. It keeps its turn when nobody asks for a while.
#[derive(Debug)]
pub struct Waiting {
    receiver: oneshot::Receiver<Held>,
    share: Share,
    is_over: bool,
}

impl Future for Waiting {
    type Output = Held;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Held> {
        let held = ready!(Pin::new(&mut self.receiver).poll(context));
        self.is_over = true;
        // Nobody is forgotten who waits.
        Poll::Ready(held.unwrap_or_default())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let budget = &self.share.budget;
        let mut table = budget.lock();
        self.receiver.close();
        match self.receiver.try_recv() {
            Ok(held) => {
                drop(table);
                drop(held);
            }
            Err(_nothing) => {
                let served = table.leave(&self.share.who);
                drop(table);
                budget.tell(served);
            }
        }
    }
}

impl Held {
    /// How many bytes are counted.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |it| it.taken.within + it.taken.beyond)
    }

    /// It is no more than so many bytes; the rest is given back.
    pub fn shrink_to(&mut self, bytes: usize) {
        drop(self.split_off(bytes));
    }

    /// Keeps so many bytes, and gives those that are left.
    #[must_use]
    pub fn split_off(&mut self, bytes: usize) -> Self {
        let kept = counted(bytes);
        if kept == 0 {
            return std::mem::take(self);
        }
        let Some(it) = self.0.as_mut().filter(|it| it.taken.within + it.taken.beyond > kept) else {
            return Self::default();
        };
        let all = it.taken;
        it.taken.within = all.within.min(kept);
        it.taken.beyond = kept - it.taken.within;
        let mut rest = Taken { within: all.within - it.taken.within, beyond: 0 };
        let mut beyond = all.beyond - it.taken.beyond;
        if it.taken.beyond > 0 {
            // Whoever is past its share is one: what goes away of that is not counted.
            beyond = 0;
        }
        rest.beyond = beyond;
        Self(Some(Counted { share: it.share.clone(), taken: rest }))
    }

    /// Both together: they are of the same share.
    pub fn join(&mut self, mut other: Self) {
        match (&mut self.0, &mut other.0) {
            (Some(it), Some(more)) => {
                let more = std::mem::take(&mut more.taken);
                it.taken.within += more.within;
                it.taken.beyond += more.beyond;
            }
            (None, _) => std::mem::swap(self, &mut other),
            (Some(_), None) => {}
        }
    }

    /// The same bytes, for which this is held until whoever has them lets them go.
    pub fn counted<T>(mut self, bytes: T) -> Bytes
    where
        T: AsRef<[u8]> + Into<Bytes> + Send + 'static,
    {
        self.shrink_to(bytes.as_ref().len());
        if self.0.is_none() {
            return bytes.into();
        }
        Bytes::from_owner(Owned { bytes, _held: self })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Taken { within, beyond } = self.taken;
        if within + beyond == 0 {
            return;
        }
        let Share { budget, who } = &self.share;
        let served = budget.lock().give_back(who, within, beyond > 0);
        budget.tell(served);
    }
}

/// Bytes with the room that is held for them, until the last part of them is let go.
struct Owned<T> {
    bytes: T,
    _held: Held,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Owned<T> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}
