//! A rate: of each kind only so many lines a second are written, and how many more there were is said.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, callsite};
use tracing_subscriber::layer::{Context, Layer};

/// Most lines of a kind in a second.
const LINES_A_SECOND: u32 = 20;
const SECOND: Duration = Duration::from_secs(1);
/// Most of a message that names its kind.
const MESSAGE_CHARS_MAX: usize = 80;

/// What the log says of itself.
pub(super) const OWN: &str = "futurity::log";
/// Lines that have a rate of their own, or are to be there each and every one.
const WITHOUT: [&str; 3] = [OWN, "futurity::worker", "futurity::access"];

/// Crates whose lines for whoever debugs hold no URL, header or body. `log` stands for those of them that use the crate of
/// that name, whose targets were looked at before.
const DISCREET: [&str; 5] = ["futurity", "hyper_util", "log", "rustls", "sqlx"];

/// Holds back what comes too often. A kind is a place in the source. What was asked for with `debug` or `trace` comes
/// whole. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Rate {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    kinds: Mutex<Kinds>,
    /// Something was left out.
    left_out: Condvar,
}

#[derive(Debug, Default)]
struct Kinds {
    by_place: HashMap<callsite::Identifier, Kind>,
    has_thread: bool,
}

/// How much of one kind there was.
#[derive(Debug)]
struct Kind {
    since: Instant,
    lines: u32,
    left_out: u64,
    place: &'static Metadata<'static>,
    /// What the first line that was left out says.
    message: String,
}

/// What was left out of one kind.
struct LeftOut {
    lines: u64,
    place: &'static Metadata<'static>,
    message: String,
}

impl Rate {
    fn admits(&self, event: &Event<'_>) -> bool {
        let place = event.metadata();
        if *place.level() > Level::INFO || WITHOUT.contains(&place.target()) {
            return true;
        }
        let now = Instant::now();
        let mut kinds = self.shared.lock();
        let kind = kinds.by_place.entry(place.callsite()).or_insert_with(|| Kind {
            since: now,
            lines: 0,
            left_out: 0,
            place,
            message: String::new(),
        });
        if now.duration_since(kind.since) >= SECOND {
            (kind.since, kind.lines) = (now, 0);
        }
        kind.lines = kind.lines.saturating_add(1);
        if kind.lines <= LINES_A_SECOND {
            return true;
        }
        kind.left_out += 1;
        if kind.left_out == 1 {
            kind.message.clear();
            event.record(&mut Message(&mut kind.message));
            self.will_be_told(kinds);
        }
        false
    }

    fn will_be_told(&self, mut kinds: MutexGuard<'_, Kinds>) {
        if !kinds.has_thread {
            let rate = self.clone();
            let thread = std::thread::Builder::new().name("log rate".to_owned());
            // Where no thread can be had, the next that is left out tries again.
            kinds.has_thread = thread.spawn(move || rate.tell_on()).is_ok();
        }
        drop(kinds);
        self.shared.left_out.notify_one();
    }

    /// Says once a second what was left out, as long as the process lives.
    fn tell_on(&self) {
        loop {
            let nothing = |kinds: &mut Kinds| kinds.by_place.values().all(|it| it.left_out == 0);
            let kinds = self.shared.left_out.wait_while(self.shared.lock(), nothing);
            let kinds = kinds.unwrap_or_else(PoisonError::into_inner);
            drop(self.shared.left_out.wait_timeout_while(kinds, SECOND, |_| true));
            self.tell_all();
        }
    }

    /// Says what was left out.
    pub(super) fn tell_all(&self) {
        let left_out: Vec<LeftOut> = {
            let mut kinds = self.shared.lock();
            let kinds = kinds.by_place.values_mut().filter(|kind| kind.left_out > 0);
            let take = |kind: &mut Kind| LeftOut {
                lines: std::mem::take(&mut kind.left_out),
                place: kind.place,
                message: kind.message.clone(),
            };
            kinds.map(take).collect()
        };
        for LeftOut { lines, place, message } in left_out {
            let (from, line) = (place.target(), place.line());
            // As serious as what it stands for, so that the same filter passes it.
            match *place.level() {
                Level::ERROR => {
                    tracing::error!(target: OWN, lines, message_of_kind = message, from, line, "more lines of a kind were left out");
                }
                _ => {
                    tracing::warn!(target: OWN, lines, message_of_kind = message, from, line, "more lines of a kind were left out");
                }
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Kinds> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a line may be written at all: below `info` crates of others may print what passes through them.
fn is_discreet(place: &Metadata<'_>) -> bool {
    let home = place.target().split("::").next().unwrap_or_default();
    *place.level() <= Level::INFO || DISCREET.contains(&home)
}

impl<S: Subscriber> Layer<S> for Rate {
    fn enabled(&self, place: &Metadata<'_>, _context: Context<'_, S>) -> bool {
        is_discreet(place)
    }

    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        self.admits(event)
    }
}

/// Takes the message of an event, cut.
struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            *self.0 = format!("{value:?}").chars().take(MESSAGE_CHARS_MAX).collect();
        }
    }
}
