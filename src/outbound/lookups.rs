//! Look-ups of names: who may make one now, and what is known already. A name that hangs takes the place of no other
//! one for longer than a second, and webhooks and functions have places apart (docs/decisions/0061).

mod turns;

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::sending::Purpose;
use turns::{Step, Ticket, Turns};

/// Between two looks of whoever waits for a turn: that a look-up is slow is told by nobody.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Longest wait for a turn: the system's resolver itself gives up within a minute.
const TURN_WITHIN: Duration = Duration::from_secs(120);
/// The system's resolver needs some 100 KiB.
const STACK_BYTES: usize = 256 * 1024;

/// What a name was resolved to.
pub(super) type Answer = Result<Arc<[IpAddr]>, Failed>;

/// Why a name has no addresses.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Failed(Arc<io::Error>);

impl Failed {
    fn new(error: io::Error) -> Self {
        Self(Arc::new(error))
    }
}

/// Makes look-ups and remembers their answers. A clone shares them.
#[derive(Clone, Default)]
pub(super) struct Lookups {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    turns: Mutex<Turns>,
    /// Told whenever a look-up has begun or ended.
    moved: Notify,
}

impl Lookups {
    /// The addresses of a name. While it waits for its turn, `waits` says so.
    pub(super) async fn look_up(
        &self,
        name: &str,
        purpose: Purpose,
        waits: impl Fn(bool),
    ) -> Answer {
        let mut place = InLine { lookups: self, purpose, ticket: None };
        let asked = Instant::now();
        while asked.elapsed() < TURN_WITHIN {
            let moved = self.shared.moved.notified();
            tokio::pin!(moved);
            // Heard of from here on, so that nothing is missed between the look and the wait.
            moved.as_mut().enable();
            let step = self.turns().step(name, purpose, &mut place.ticket, Instant::now());
            let answer = match step {
                Step::Known(answer) => return answer,
                Step::Join(answer) => answer,
                Step::Begin(told, answer) => {
                    self.begin(name, purpose, told);
                    answer
                }
                Step::Wait => {
                    waits(true);
                    drop(tokio::time::timeout(LOOK_AGAIN, moved).await);
                    continue;
                }
            };
            waits(false);
            drop(place);
            return awaited(answer).await;
        }
        let seconds = TURN_WITHIN.as_secs();
        let busy = format!("too many other names are being looked up, for {seconds} s");
        Err(Failed::new(io::Error::other(busy)))
    }

    /// Asks the system's resolver, on a thread of its own.
    fn begin(&self, name: &str, purpose: Purpose, told: watch::Sender<Option<Answer>>) {
        let (lookups, asked) = (self.clone(), name.to_owned());
        let begun = Instant::now();
        let work = move || {
            let found = (asked.as_str(), 0_u16).to_socket_addrs();
            let answer = found.map(|found| found.map(|it| it.ip()).collect());
            lookups.end(&asked, purpose, (answer.map_err(Failed::new), begun), &told);
        };
        let thread = thread::Builder::new().name("look-up".to_owned()).stack_size(STACK_BYTES);
        if let Err(error) = thread.spawn(work) {
            // The sender went with the thread that could not be; whoever awaits the answer hears of that.
            tracing::warn!(%error, "no thread for a look-up of a name");
            self.turns().never_began(name, purpose);
        }
        self.shared.moved.notify_waiters();
    }

    fn end(
        &self,
        name: &str,
        purpose: Purpose,
        (answer, begun): (Answer, Instant),
        told: &watch::Sender<Option<Answer>>,
    ) {
        self.turns().ended(name, purpose, (&answer, begun), Instant::now());
        // Nobody may be left who wants to know.
        told.send_replace(Some(answer));
        self.shared.moved.notify_waiters();
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.shared.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn awaited(mut answer: watch::Receiver<Option<Answer>>) -> Answer {
    let told = answer.wait_for(Option::is_some).await;
    let none = || Failed::new(io::Error::other("no thread can be had for the look-up"));
    told.ok().and_then(|told| told.clone()).unwrap_or_else(|| Err(none()))
}

/// A place in the line, which is given back in any case.
struct InLine<'a> {
    lookups: &'a Lookups,
    purpose: Purpose,
    ticket: Option<Ticket>,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            self.lookups.turns().leave(self.purpose, &mut self.ticket);
            self.lookups.shared.moved.notify_waiters();
        }
    }
}
