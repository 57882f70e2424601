//! What is on its way, and how much more may be: nobody who is slow or silent takes the place of others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{Id, JoinError, JoinSet};

use crate::domain::{Ordinal, ReceiverHealth, Tier};
use crate::engine::Engine;
use crate::store::{DueDelivery, DueReceiver};

use super::post::Bodies;

/// POSTs at once to receivers that have answered quickly, as long as they do.
const QUICK_MAX: usize = 192;
/// The same to those that nothing is known of, in their first second.
const NEW_MAX: usize = 128;
/// POSTs at once to those that were slow or silent.
const TRIED_MAX: usize = 128;
/// POSTs at once to all that were not quick: those that are new always find room beside those that were tried.
const NOT_QUICK_MAX: usize = 320;
/// POSTs at once.
const IN_FLIGHT_MAX: usize = 512;
/// A POST that takes longer is none that its receiver's tier has room for.
const BRISK_FOR: Duration = Duration::from_millis(ReceiverHealth::QUICK_MS.unsigned_abs());

/// What is on its way.
#[derive(Debug)]
pub(super) struct InFlight {
    sending: JoinSet<()>,
    /// What each task sends.
    tasks: HashMap<Id, Ordinal>,
    room: Room,
}

impl InFlight {
    pub(super) fn new(at_once_per_host: usize) -> Self {
        Self { sending: JoinSet::new(), tasks: HashMap::new(), room: Room::new(at_once_per_host) }
    }

    /// Whether anything more may be sent to receivers of that tier.
    pub(super) fn has_room(&self, tier: Tier) -> bool {
        self.room.is_left(tier, Instant::now()) > 0
    }

    /// How many more may be sent to that receiver, and how many are on their way to it.
    pub(super) fn room_for(&self, receiver: &DueReceiver) -> (usize, usize) {
        (self.room.for_receiver(receiver, Instant::now()), self.room.under_way_to(&receiver.host))
    }

    pub(super) fn has(&self, callback: Ordinal) -> bool {
        self.room.posts.contains_key(&callback)
    }

    /// Takes a place for a delivery that will be sent.
    pub(super) fn take(&mut self, due: &DueDelivery, health: ReceiverHealth) {
        self.room.take(due.callback, &due.host, health, Instant::now());
    }

    /// Gives the place of a delivery back that will not be sent.
    pub(super) fn give_back(&mut self, callback: Ordinal) {
        self.room.leave(callback);
    }

    /// Sends a delivery that has a place.
    pub(super) fn send(&mut self, engine: Engine, due: DueDelivery, bodies: Arc<Bodies>) {
        let callback = due.callback;
        let task = self.sending.spawn(engine.deliver(due, bodies));
        self.tasks.insert(task.id(), callback);
    }

    /// Ends when one has finished; never while none is on its way.
    pub(super) async fn next_finished(&mut self) {
        match self.sending.join_next_with_id().await {
            Some(finished) => self.finished(finished),
            None => std::future::pending().await,
        }
    }

    /// Takes in all that have finished.
    pub(super) fn take_finished(&mut self) {
        while let Some(finished) = self.sending.try_join_next_with_id() {
            self.finished(finished);
        }
    }

    /// Gives up what is on its way.
    pub(super) async fn end(&mut self) {
        self.sending.shutdown().await;
    }

    fn finished(&mut self, finished: Result<(Id, ()), JoinError>) {
        let task = match finished {
            Ok((task, ())) => task,
            Err(error) => {
                tracing::error!(%error, "a delivery's task ended early");
                error.id()
            }
        };
        if let Some(callback) = self.tasks.remove(&task) {
            self.room.leave(callback);
        }
    }
}

/// A POST that is on its way.
#[derive(Clone, Debug)]
struct Post {
    host: String,
    /// Whose place it has.
    tier: Tier,
    since: Instant,
}

impl Post {
    fn is_brisk(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < BRISK_FOR
    }
}

/// The places that there are.
#[derive(Debug)]
struct Room {
    at_once_per_host: usize,
    posts: HashMap<Ordinal, Post>,
    to_hosts: HashMap<String, usize>,
}

impl Room {
    fn new(at_once_per_host: usize) -> Self {
        Self { at_once_per_host, posts: HashMap::new(), to_hosts: HashMap::new() }
    }

    /// How many more may be sent to receivers of that tier.
    fn is_left(&self, tier: Tier, now: Instant) -> usize {
        let (mut brisk, mut all, mut not_quick) = (0, 0, 0);
        for post in self.posts.values() {
            not_quick += usize::from(post.tier != Tier::Quick);
            all += usize::from(post.tier == tier);
            brisk += usize::from(post.tier == tier && post.is_brisk(now));
        }
        let not_quick = NOT_QUICK_MAX.saturating_sub(not_quick);
        let left = match tier {
            Tier::Quick => QUICK_MAX.saturating_sub(brisk),
            Tier::New => NEW_MAX.saturating_sub(brisk).min(not_quick),
            Tier::Tried => TRIED_MAX.saturating_sub(all).min(not_quick),
        };
        left.min(IN_FLIGHT_MAX.saturating_sub(self.posts.len()))
    }

    fn for_receiver(&self, receiver: &DueReceiver, now: Instant) -> usize {
        let at_once = receiver.health.at_once(self.at_once_per_host);
        let of_its_own = at_once.saturating_sub(self.under_way_to(&receiver.host));
        if of_its_own == 0 {
            return 0;
        }
        of_its_own.min(self.is_left(self.tier_now(&receiver.host, receiver.health, now), now))
    }

    /// One that has been quick, and keeps us waiting now, is none until it answers.
    fn tier_now(&self, host: &str, health: ReceiverHealth, now: Instant) -> Tier {
        let lags = |post: &Post| post.host == host && !post.is_brisk(now);
        if health == ReceiverHealth::Quick && self.posts.values().any(lags) {
            return Tier::Tried;
        }
        health.tier()
    }

    fn under_way_to(&self, host: &str) -> usize {
        self.to_hosts.get(host).copied().unwrap_or(0)
    }

    fn take(&mut self, callback: Ordinal, host: &str, health: ReceiverHealth, now: Instant) {
        let tier = self.tier_now(host, health, now);
        self.posts.insert(callback, Post { host: host.to_owned(), tier, since: now });
        *self.to_hosts.entry(host.to_owned()).or_default() += 1;
    }

    fn leave(&mut self, callback: Ordinal) {
        let Some(post) = self.posts.remove(&callback) else { return };
        if let Some(count) = self.to_hosts.get_mut(&post.host) {
            *count -= 1;
            if *count == 0 {
                self.to_hosts.remove(&post.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PER_HOST: usize = 16;

    /// Sends as much as there is room for to each of `hosts`; gives how many went to each.
    fn fill(room: &mut Room, hosts: &[String], health: ReceiverHealth, now: Instant) -> Vec<usize> {
        let mut next = 1 + room.posts.keys().map(|callback| callback.0).max().unwrap_or(0);
        let mut sent = Vec::new();
        for host in hosts {
            let receiver = DueReceiver { host: host.clone(), health };
            let more = room.for_receiver(&receiver, now);
            for _ in 0..more {
                room.take(Ordinal(next), host, health, now);
                next += 1;
            }
            sent.push(more);
        }
        sent
    }

    fn hosts(name: &str, count: usize) -> Vec<String> {
        (0..count).map(|number| format!("{name}{number}:80")).collect()
    }

    #[test]
    fn receivers_that_hang_however_many_leave_room_for_those_that_answer_and_those_that_are_new() {
        let start = Instant::now();
        let mut room = Room::new(PER_HOST);
        for health in [ReceiverHealth::Silent, ReceiverHealth::Slow] {
            fill(&mut room, &hosts(health.as_str(), 10_000), health, start);
        }
        assert_eq!(room.posts.len(), TRIED_MAX);
        for second in 0..10 {
            let hosts = hosts(&format!("new{second}-"), 1_000);
            fill(&mut room, &hosts, ReceiverHealth::New, start + BRISK_FOR * second);
        }
        assert_eq!(room.posts.len(), NOT_QUICK_MAX);
        assert_eq!(
            fill(&mut room, &hosts("quick", 3), ReceiverHealth::Quick, start),
            [PER_HOST; 3]
        );
    }

    #[test]
    fn a_new_receiver_waits_for_others_that_are_new_and_hang_a_second_at_most() {
        let start = Instant::now();
        let mut room = Room::new(PER_HOST);
        fill(&mut room, &hosts("hangs", 1_000), ReceiverHealth::New, start);
        let one = hosts("one", 1);
        assert_eq!(fill(&mut room, &one, ReceiverHealth::New, start), [0]);
        assert_ne!(fill(&mut room, &one, ReceiverHealth::New, start + BRISK_FOR), [0]);
    }

    #[test]
    fn receivers_that_were_quick_and_begin_to_hang_make_room_after_a_second() {
        let sent = Instant::now();
        let mut room = Room::new(PER_HOST);
        let hanging = hosts("hangs", QUICK_MAX / PER_HOST);
        fill(&mut room, &hanging, ReceiverHealth::Quick, sent);
        assert_eq!(fill(&mut room, &hosts("quick", 1), ReceiverHealth::Quick, sent), [0]);
        let later = sent + BRISK_FOR;
        assert_eq!(fill(&mut room, &hosts("quick", 1), ReceiverHealth::Quick, later), [PER_HOST]);
        fill(&mut room, &hosts("silent", TRIED_MAX), ReceiverHealth::Silent, later);
        room.leave(Ordinal(1));
        assert_eq!(
            fill(&mut room, &hanging[..1], ReceiverHealth::Quick, later),
            [0],
            "it is no quick one now"
        );
    }

    #[test]
    fn there_is_an_end_even_if_every_quick_one_begins_to_hang() {
        let mut room = Room::new(PER_HOST);
        let start = Instant::now();
        for second in 0..10 {
            let hosts = hosts(&format!("wave{second}-"), 100);
            fill(&mut room, &hosts, ReceiverHealth::Quick, start + BRISK_FOR * second);
        }
        assert_eq!(room.posts.len(), IN_FLIGHT_MAX);
    }

    #[test]
    fn each_receiver_has_its_own_limit_and_gets_its_place_back() {
        let now = Instant::now();
        let mut room = Room::new(2);
        let one = hosts("one", 1);
        assert_eq!(fill(&mut room, &one, ReceiverHealth::Silent, now), [1]);
        assert_eq!(fill(&mut room, &one, ReceiverHealth::Silent, now), [0]);
        assert_eq!(fill(&mut room, &one, ReceiverHealth::Quick, now), [1]);
        room.leave(Ordinal(1));
        room.leave(Ordinal(1));
        assert_eq!(room.under_way_to(&one[0]), 1);
        room.leave(Ordinal(2));
        assert!(room.to_hosts.is_empty() && room.posts.is_empty());
    }
}
