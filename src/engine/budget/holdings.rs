//! Who holds how much of a budget, and who waits for some.

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};
use tokio::sync::oneshot;

use super::Held;

/// Of those who wait, so many that find no room are looked at when some is given back: a look must not take long, and the
/// next one goes on where it stopped.
const LOOKS_MAX: usize = 32;

/// Whose bytes they are. Each has a share of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// Whoever brings the key with this id.
    Key(Arc<str>),
    /// Whoever is at the other end of this connection, where nobody needs a key.
    Connection(u64),
    /// All who have shown no key yet, together.
    Strangers,
}

/// What was taken of a budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Bytes of the share.
    pub(super) within: usize,
    /// Bytes beyond it, which only the one who is past its share has.
    pub(super) beyond: usize,
}

/// Who waits for room.
#[derive(Debug)]
struct Waits {
    bytes: usize,
    may_pass: bool,
    sender: oneshot::Sender<Held>,
}

#[derive(Debug, Default)]
struct Holder {
    held: usize,
    waiting: VecDeque<Waits>,
    /// How many of them wait no more, about.
    gone: usize,
    has_turn: bool,
}

impl Holder {
    /// Whether somebody waits before one that may pass, or may not.
    fn has_waiting(&self, before_passing: bool) -> bool {
        let is_before = |it: &&Waits| it.may_pass || !before_passing;
        self.waiting.iter().filter(is_before).any(|it| !it.sender.is_closed())
    }
}

/// A budget, as it stands.
#[derive(Debug)]
pub(super) struct Holdings {
    all: usize,
    held: usize,
    holders: HashMap<Who, Holder>,
    /// Those of whom somebody waits, in turn.
    turns: VecDeque<Who>,
    /// Whether somebody is past its share.
    is_passed: bool,
}

/// Who has room now: it is told when the table is let go.
pub(super) type Served = Vec<(oneshot::Sender<Held>, Who, Taken)>;

impl Holdings {
    pub(super) fn new(all: usize) -> Self {
        let (holders, turns) = (HashMap::new(), VecDeque::new());
        Self { all, held: 0, holders, turns, is_passed: false }
    }

    fn free(&self) -> usize {
        self.all.saturating_sub(self.held)
    }

    /// Nobody may hold more than what is left for others then: so one alone has half, two have a third each, and whoever
    /// comes next finds room.
    fn fits(&self, who: &Who, bytes: usize) -> bool {
        let held = self.holders.get(who).map_or(0, |holder| holder.held);
        held.saturating_add(bytes.saturating_mul(2)) <= self.free()
    }

    /// Takes so many bytes, behind those who wait with the same share. `may_pass`: one at a time may go past its share, so
    /// that of those who hold a part and wait for the rest one comes to its end, and then the next.
    pub(super) fn take(&mut self, who: &Who, bytes: usize, may_pass: bool) -> Option<Taken> {
        let is_first = self.holders.get(who).is_none_or(|it| !it.has_waiting(may_pass));
        if is_first { self.take_now(who, bytes, may_pass) } else { None }
    }

    fn take_now(&mut self, who: &Who, bytes: usize, may_pass: bool) -> Option<Taken> {
        if self.fits(who, bytes) {
            return Some(self.owe(who, bytes));
        }
        if !may_pass || self.is_passed {
            return None;
        }
        self.is_passed = true;
        Some(Taken { within: 0, beyond: bytes })
    }

    /// Counts what is there already.
    pub(super) fn owe(&mut self, who: &Who, bytes: usize) -> Taken {
        self.holders.entry(who.clone()).or_default().held += bytes;
        self.held += bytes;
        Taken { within: bytes, beyond: 0 }
    }

    pub(super) fn wait(
        &mut self,
        who: &Who,
        (bytes, may_pass): (usize, bool),
        sender: oneshot::Sender<Held>,
    ) {
        let holder = self.holders.entry(who.clone()).or_default();
        // Those who may not pass come last: what they wait for may be given back only by those who may.
        let passing = holder.waiting.partition_point(|it| it.may_pass);
        let place = if may_pass { passing } else { holder.waiting.len() };
        holder.waiting.insert(place, Waits { bytes, may_pass, sender });
        if !std::mem::replace(&mut holder.has_turn, true) {
            self.turns.push_back(who.clone());
        }
    }

    /// Gives bytes back; `passed`: the one who was past its share is no more.
    pub(super) fn give_back(&mut self, who: &Who, within: usize, passed: bool) -> Served {
        self.held -= within;
        if let Some(holder) = self.holders.get_mut(who) {
            holder.held -= within;
        }
        self.is_passed &= !passed;
        self.forget_if_idle(who);
        self.serve()
    }

    /// Somebody waits no more.
    pub(super) fn leave(&mut self, who: &Who) -> Served {
        if let Some(holder) = self.holders.get_mut(who) {
            holder.gone += 1;
            if 2 * holder.gone > holder.waiting.len() {
                holder.waiting.retain(|it| !it.sender.is_closed());
                holder.gone = 0;
            }
        }
        self.serve()
    }

    /// Whether others wait for what this one holds: with the same share, or because it has more than what is left.
    pub(super) fn is_short(&self, who: &Who) -> bool {
        self.holders.get(who).is_some_and(|it| {
            it.has_waiting(false) || (it.held > self.free() && !self.turns.is_empty())
        })
    }

    /// Gives room to those who wait, a share after the other.
    fn serve(&mut self) -> Served {
        let (mut served, mut misses) = (Vec::new(), 0);
        while misses < self.turns.len().min(LOOKS_MAX) {
            let Some(who) = self.turns.pop_front() else { break };
            match self.first(&who) {
                None => {
                    self.holders.entry(who.clone()).or_default().has_turn = false;
                    self.forget_if_idle(&who);
                    continue;
                }
                Some((bytes, may_pass)) => match self.take_now(&who, bytes, may_pass) {
                    None => misses += 1,
                    Some(taken) => {
                        misses = 0;
                        let holder = self.holders.entry(who.clone()).or_default();
                        let first = holder.waiting.pop_front();
                        served.extend(first.map(|it| (it.sender, who.clone(), taken)));
                    }
                },
            }
            self.turns.push_back(who);
        }
        served
    }

    /// What the first one with this share waits for.
    fn first(&mut self, who: &Who) -> Option<(usize, bool)> {
        let holder = self.holders.get_mut(who)?;
        while holder.waiting.front().is_some_and(|it| it.sender.is_closed()) {
            holder.waiting.pop_front();
            holder.gone = holder.gone.saturating_sub(1);
        }
        holder.waiting.front().map(|it| (it.bytes, it.may_pass))
    }

    fn forget_if_idle(&mut self, who: &Who) {
        let is_idle = |it: &Holder| it.held == 0 && it.waiting.is_empty() && !it.has_turn;
        if self.holders.get(who).is_some_and(is_idle) {
            self.holders.remove(who);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.held == 0 && self.holders.is_empty() && self.turns.is_empty() && !self.is_passed
    }
}
